//! F6: the same random operations on a mount and on a local directory give equal results, errno and trees.
//!
//! A failing sequence is shrunk and printed as Rust; put it into `differential/regressions.rs` under a name.
//! Never compares what local filesystems differ in among themselves: directory sizes, allocation, order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "differential/operation.rs"]
mod operation;
#[path = "differential/regressions.rs"]
mod regressions;
#[path = "differential/side.rs"]
mod side;

use fstests::harness::bytes::{count, seed};
use fstests::harness::place::Place;
use fstests::harness::scratch::Scratch;
use fstests::harness::snapshot;
use operation::Operation;
use proptest::collection::vec;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use side::{Live, Side};

/// Runs one sequence on both; the error says where they part.
fn compare(place: &Place, local: &Scratch, operations: &[Operation], name: &str) -> Result<(), String> {
    let (ours_root, theirs_root) = (place.path(name), local.dir(name));
    std::fs::create_dir(&ours_root).unwrap();
    let (mut ours, mut theirs) = (Side::new(&ours_root), Side::new(&theirs_root));
    let mut live = Live::new();
    for (at, operation) in operations.iter().enumerate() {
        let concrete = live.resolve(operation);
        let expected = theirs.run(&concrete);
        let seen = ours.run(&concrete);
        if seen != expected {
            return Err(format!("step {at}, {concrete:?}:\n  mount {seen:?}\n  local {expected:?}"));
        }
        live.learn(&concrete, &expected);
    }
    drop((ours, theirs));
    let (ours, theirs) = (snapshot::take(&ours_root), snapshot::take(&theirs_root));
    snapshot::difference(&ours, &theirs).map_or(Ok(()), |why| Err(format!("final trees: {why}")))
}

fn runner(cases: usize, seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: u32::try_from(cases).unwrap(),
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

#[test]
fn random_sequences_do_the_same_on_the_mount_and_on_a_local_directory() {
    let cases = count("FSTESTS_CASES", 150);
    let mut runner = runner(cases, seed("differential"));
    let mut place = Place::new("differential");
    let local = Scratch::new("local");
    let case = std::cell::Cell::new(0);
    let result = runner.run(&vec(operation::any(), 1..80), |operations| {
        case.set(case.get() + 1);
        compare(&place, &local, &operations, &format!("case-{}", case.get()))
            .map_err(proptest::test_runner::TestCaseError::fail)
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, operations)) => panic!("{why}\nshrunk to: vec!{operations:#?}"),
        Err(other) => panic!("{other}"),
    }
    place.remount();
    let without_root = |mut tree: snapshot::Snapshot| {
        tree.remove(std::path::Path::new(""));
        tree
    };
    let (ours, theirs) = (snapshot::take(place.dir()), snapshot::take(local.path()));
    snapshot::assert_same(&without_root(ours), &without_root(theirs), "all cases after a remount");
}
