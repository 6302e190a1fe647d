//! Invites that are not good, each with its sentence and exit code.

use std::time::{Duration, SystemTime};

use fstests::harness::device::{Device, until};
use fstests::harness::lan::Lan;

#[test]
fn mistyped_expired_used_and_foreign_invites_are_told_apart() {
    let Some(lan) = Lan::new(3) else { return };
    let mut a = Device::new(&lan, 0, "alpha");
    a.mount("default");
    let (b, c) = (Device::new(&lan, 1, "beta"), Device::new(&lan, 2, "gamma"));
    let link = a.invite("default", &[]);
    let at = link.len() / 2;
    let other = if &link[at..=at] == "q" { "r" } else { "q" };
    let mistyped = format!("{}{other}{}", &link[..at], &link[at + 1..]);
    b.run(&["join", &mistyped]).failed(2, &["mistyped"]);
    b.run(&["join", &link[..at]]).failed(2, &["mistyped"]);
    let short = a.invite("default", &["--expires", "1s"]);
    let (begin, past) = (SystemTime::now(), Duration::from_millis(2100));
    until("the invite expires", || begin.elapsed().is_ok_and(|waited| waited > past));
    b.run(&["join", &short]).failed(1, &["expired", "lovage invite"]);
    let joined = b.run(&["join", &link, "--json"]).done().json();
    assert_eq!((&joined["role"], &joined["volume"]), (&"writer".into(), &"default".into()));
    b.run(&["join", &link]).failed(1, &["belongs to that volume already"]);
    c.run(&["join", &link]).failed(1, &["used by another device"]);
    a.run(&["invite", "default", "--role", "king"]).failed(2, &["no such role"]);
    a.run(&["invite", "nonesuch"]).failed(3, &["no such volume"]);
    let words = |d: &Device, n: usize| d.run(&["members", "default", "--json"]).done().json()[n]["words"].clone();
    assert_eq!(joined["words"], words(&a, 1));
    a.run(&["members", "default", "remove", "beta"]).done();
    assert_eq!(a.run(&["members", "default", "--json"]).done().json()[1]["removed"], true);
}

#[test]
fn an_inviter_that_is_away_is_unreachable_and_the_link_stays_good() {
    let Some(lan) = Lan::new(2) else { return };
    let (mut a, mut b) = (Device::new(&lan, 0, "alpha"), Device::new(&lan, 1, "beta"));
    a.mount("default");
    let link = a.invite("default", &[]);
    a.stop();
    b.run(&["join", &link]).failed(5, &["cannot be reached"]);
    a.mount("default");
    b.join(&link);
}
