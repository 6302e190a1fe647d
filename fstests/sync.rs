//! S1, S4, S5, S6, S7, C6, C7, C8: two and three machines with real daemons and mounts on a network that can be cut.
//!
//! Needs root for network namespaces and mounts. Never sleeps to wait: it waits for what it asserts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "sync/amnesia.rs"]
mod amnesia;
#[path = "sync/evil/mod.rs"]
mod evil;
#[path = "sync/far.rs"]
mod far;
#[path = "sync/holding.rs"]
mod holding;
#[path = "sync/invites.rs"]
mod invites;
#[path = "sync/keeping.rs"]
mod keeping;
#[path = "sync/keepsets.rs"]
mod keepsets;
#[path = "sync/members.rs"]
mod members;
#[path = "sync/mystery.rs"]
mod mystery;
#[path = "sync/partition.rs"]
mod partition;
#[path = "sync/pins.rs"]
mod pins;
#[path = "sync/placing.rs"]
mod placing;
#[path = "sync/roles.rs"]
mod roles;
#[path = "sync/three.rs"]
mod three;
#[path = "sync/two.rs"]
mod two;

use fstests::harness::device::Device;
use fstests::harness::lan::Lan;

/// Two machines that share a volume, both mounted.
fn pair() -> Option<(Lan, Device, Device)> {
    let lan = Lan::new(2)?;
    let (mut a, mut b) = (Device::new(&lan, 0, "alpha"), Device::new(&lan, 1, "beta"));
    a.mount("default");
    std::fs::write(a.at("first"), "first").unwrap();
    b.join(&a.invite("default", &[]));
    Some((lan, a, b))
}
