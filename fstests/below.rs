//! F5: the live volume and the reference model do the same, operation by operation, below FUSE; and the volume is
//! still the same after clean remounts and after crashes behind a sync.
//!
//! `FSTESTS_SEQUENCES` asks for more; a failure prints the seed of its sequence, which `FSTESTS_SEED` with one
//! sequence repeats. The same through the mount is `differential.rs` (against a directory of this machine).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "below/pair.rs"]
mod pair;
#[path = "below/steps.rs"]
mod steps;

use fstests::harness::bytes::{count, seed};
use pair::Pair;

#[test]
fn the_volume_does_what_the_model_does_through_remounts_and_crashes() {
    let sequences = count("FSTESTS_SEQUENCES", 300);
    let first = seed("model");
    let mut operations = 0;
    for number in 0..sequences as u64 {
        let seed = first.wrapping_add(number);
        let mut pair = Pair::new(seed);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pair.run(60)));
        let Ok(done) = result else {
            println!("{}", pair.trace.join("\n"));
            panic!("sequence {number} parts: FSTESTS_SEED={seed} FSTESTS_SEQUENCES=1 repeats it");
        };
        operations += done;
    }
    println!("{sequences} sequences, {operations} operations, no divergence");
}
