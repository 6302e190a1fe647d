//! Invites: the link, the proof of it, the answer, and the inviter's book of those given out.
//!
//! Pure: no clock, no file, no network. Layout and order of messages: `docs/membership.md`. Must never put a key
//! of the volume into a link.

mod book;
mod code;
mod handshake;
mod link;

pub use book::{Book, Pending};
pub use handshake::{MAX_ANSWER, MAX_REQUEST, Refusal, Request, Welcome, check_words, refuse};
pub use link::{Link, SCHEME, Verifier};

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
