//! Every target over its committed corpus and over changes of it, without a fuzzer.

use std::fs;
use std::path::{Path, PathBuf};

use lovage_fuzz::{ALL, seeds};

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// The committed inputs of a target; with `LOVAGE_BLESS=1` its seeds are written first.
fn inputs(target: &str) -> Vec<Vec<u8>> {
    let dir = corpus(target);
    if std::env::var_os("LOVAGE_BLESS").is_some() {
        fs::create_dir_all(&dir).unwrap();
        for (n, seed) in seeds::of(target).iter().enumerate() {
            fs::write(dir.join(format!("seed-{n}")), seed).unwrap();
        }
    }
    let mut paths: Vec<_> = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// A generator (splitmix64): the changes are the same every time.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One to four changes: a bit, a byte, a cut, a run taken out or said twice.
fn changed(input: &[u8], state: &mut u64) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=next(state) % 4 {
        let Some(len) = u64::try_from(bytes.len()).ok().filter(|n| *n > 0) else { break };
        let at = usize::try_from(next(state) % len).unwrap();
        let run = usize::try_from(1 + next(state) % 8).unwrap().min(bytes.len() - at);
        match next(state) % 5 {
            0 => bytes[at] ^= 1 << (next(state) % 8),
            1 => bytes[at] = u8::try_from(next(state) % 256).unwrap(),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..at + run)),
            _ => {
                let twice = bytes[at..at + run].to_vec();
                bytes.splice(at..at, twice);
            }
        }
    }
    bytes
}

#[test]
fn no_target_is_upset_by_its_corpus_or_by_changes_of_it() {
    let changes = std::env::var("FUZZ_CHANGES").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    for (name, target) in ALL {
        let inputs = inputs(name);
        assert!(!inputs.is_empty(), "{name} has no corpus");
        target(&[]);
        for (n, input) in inputs.iter().enumerate() {
            target(input);
            for change in 0..changes {
                let mut state = change * 1000 + n as u64;
                let bytes = changed(input, &mut state);
                let calm = std::panic::catch_unwind(|| target(&bytes)).is_ok();
                assert!(calm, "{name}: input {n}, change {change}: {bytes:02x?}");
            }
        }
    }
}

#[test]
fn every_target_has_its_file() {
    for (name, _) in ALL {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("targets").join(format!("{name}.rs"));
        assert!(path.exists(), "{} is missing", path.display());
    }
}
