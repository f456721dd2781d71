//! One client's life: login, session loop, dispatch of commands, relay of replies, retries.

mod acquire;
mod admission;
mod beside;
mod calls;
mod dedicated;
mod dispatch;
mod exchange;
mod front;
mod inquire;
mod kill;
mod learn;
mod linger;
mod login;
mod observe;
mod passthrough;
mod prepared;
mod reads_first;
mod recall;
mod refusals;
mod relay;
mod request;
mod retry;
mod run;
mod session;
mod silence;
mod slow;
mod temporary;
mod texts;
mod turn;
mod upload;
mod watch;
mod worker;

pub use admission::serve;
pub use login::{Accounts, Admitted, Door, Policy};
pub use session::End;
pub use worker::Worker;
