//! The buffers that all connections of one worker share.

use std::{cell::RefCell, rc::Rc};

/// The buffers of one worker: the one that every read goes through, so that an idle connection holds none, and those that
/// statements leave to the next ones.
#[derive(Debug, Clone)]
pub struct Scratch(Rc<Buffers>);

#[derive(Debug)]
struct Buffers {
    read: RefCell<Vec<u8>>,
    spare: RefCell<Vec<Vec<u8>>>,
}

/// The most memory that a buffer is kept with, bytes, and the most buffers that are kept.
const SPARE: (usize, usize) = (16 * 1024, 64);

impl Scratch {
    /// `size` of the read buffer in bytes; 256 KiB measured best for big results.
    pub fn new(size: usize) -> Self {
        Self(Rc::new(Buffers { read: RefCell::new(vec![0; size]), spare: RefCell::default() }))
    }

    /// The read buffer, for the time of one poll.
    pub fn borrow_mut(&self) -> std::cell::RefMut<'_, Vec<u8>> {
        self.0.read.borrow_mut()
    }

    /// An empty buffer, with the memory of an earlier one if there is some.
    pub fn take_spare(&self) -> Vec<u8> {
        self.0.spare.borrow_mut().pop().unwrap_or_default()
    }

    /// Leaves a buffer to whoever takes the next one.
    pub fn leave_spare(&self, mut buffer: Vec<u8>) {
        let mut spare = self.0.spare.borrow_mut();
        if (1..=SPARE.0).contains(&buffer.capacity()) && spare.len() < SPARE.1 {
            buffer.clear();
            spare.push(buffer);
        }
    }
}
