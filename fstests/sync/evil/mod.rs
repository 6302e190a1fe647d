//! C6, C7, C8: attacks on a real daemon from another machine, by strangers and by members that have all the keys.
//!
//! After each of them the daemon lives, honest changes go both ways, and nothing of the attack is to be seen. Must never use
//! lovage's own network on the attackers' side: what that would not send is the point.

mod answers;
mod doors;
mod floods;
mod frames;
mod heads;
mod session;
mod stage;
mod tree;
mod wire;
