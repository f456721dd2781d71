//! Where a statement goes and why. Pure: sees facts, candidates and weights, never a socket.

mod balance;
mod decision;
mod rules;

pub use balance::{Balancer, Candidate};
pub use decision::{Decision, Implicit, Situation, Target, route};
pub use rules::{Asked, first_match};
