//! The set of reasons for which a session must keep its server connection.

use crate::telemetry::Pin;

/// A set of [`Pin`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pins(u32);

impl Pins {
    pub fn of(pin: Pin) -> Self {
        Self(1 << pin as u32)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn has(self, pin: Pin) -> bool {
        self.0 & (1 << pin as u32) != 0
    }

    pub fn add(&mut self, pin: Pin) {
        self.0 |= 1 << pin as u32;
    }

    pub fn remove(&mut self, pin: Pin) {
        self.0 &= !(1 << pin as u32);
    }

    pub fn set(&mut self, pin: Pin, present: bool) {
        if present { self.add(pin) } else { self.remove(pin) }
    }

    /// Those that are not in `others`.
    pub fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// The pins in order of declaration.
    pub fn iter(self) -> impl Iterator<Item = Pin> {
        let last = u32::BITS - self.0.leading_zeros();
        Pin::ALL.iter().copied().take(last as usize).filter(move |&pin| self.has(pin))
    }
}
