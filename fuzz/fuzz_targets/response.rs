//! Any bytes as a server's reply, cut at any places: following it never panics, never runs past what is there, and ends
//! the same way as following it in one piece.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir::protocol::{Capabilities, Control, ResponseTracker, Shape};

const SHAPES: [Shape; 5] = [Shape::Results, Shape::Rows, Shape::Prepare, Shape::Simple, Shape::Text];

/// What a walk found: its control packets, the bytes it took, and whether the reply ended or was malformed there.
#[derive(Debug, PartialEq)]
struct Walk {
    controls: Vec<Control>,
    taken: usize,
    done: bool,
    malformed: bool,
}

fuzz_target!(|input: (u8, u64, Vec<u8>, Vec<u8>)| {
    let (shape, capabilities, cuts, reply) = input;
    let capabilities = Capabilities::from_bits(capabilities);
    let shape = SHAPES[usize::from(shape) % SHAPES.len()];
    let whole = walk(shape, capabilities, &reply, &[]);
    let pieces = walk(shape, capabilities, &reply, &cuts);
    // Bytes that pass in front of a malformed packet may be offered with it or without.
    if !whole.malformed {
        assert_eq!(whole, pieces);
    }
    assert_eq!((whole.controls, whole.done, whole.malformed), (pieces.controls, pieces.done, pieces.malformed));
});

fn walk(shape: Shape, capabilities: Capabilities, reply: &[u8], cuts: &[u8]) -> Walk {
    let mut tracker = ResponseTracker::new(shape, capabilities);
    let mut walk = Walk { controls: Vec::new(), taken: 0, done: false, malformed: false };
    let mut end = 0;
    let mut cuts = cuts.iter();
    while end < reply.len() && !walk.malformed {
        end = cuts.next().map_or(reply.len(), |&cut| reply.len().min(end + usize::from(cut) + 1));
        loop {
            let Ok(progress) = tracker.advance(&mut reply.to_vec()[walk.taken..end]) else {
                walk.malformed = true;
                break;
            };
            walk.taken += progress.pass;
            let Some(control) = progress.control else { break };
            walk.taken += control.length;
            walk.controls.push(control);
        }
        assert!(walk.taken <= end, "what is not there was taken");
    }
    walk.done = tracker.is_done();
    walk
}
