//! The judge must be able to say no.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

use super::{Context, History, Load};
use crate::harness::scratch::Scratch;

/// A load on a plain directory, stopped after some acknowledgements: `blocks`, `log`, `saved`, `names`.
fn played(scratch: &Scratch) -> Vec<Box<dyn History>> {
    let (sender, receiver) = mpsc::channel();
    let context = Context { stop: Arc::new(AtomicBool::new(false)), acknowledged: sender, now: Arc::new(|| 0) };
    let load = Load::start(&scratch.path().join("load"), 5, &context);
    // Enough that each of the four has promised something, however unfairly the processors are shared.
    for _ in 0..1600 {
        receiver.recv().unwrap();
    }
    load.finish()
}

fn verdicts(histories: &[Box<dyn History>]) -> Vec<bool> {
    histories.iter().map(|h| h.judge(0).is_ok()).collect()
}

fn with_damage(damage: impl Fn(&Path)) -> Vec<bool> {
    let scratch = Scratch::new("judge");
    let histories = played(&scratch);
    assert_eq!(verdicts(&histories), [true; 4], "before any damage");
    damage(&scratch.path().join("load"));
    verdicts(&histories)
}

fn overwrite(path: &Path, offset: u64, data: &[u8]) {
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(data, offset).unwrap();
}

#[test]
fn a_lost_file_is_noticed() {
    let lost = with_damage(|dir| {
        for name in ["blocks", "log", "saved"] {
            fs::remove_file(dir.join(name)).unwrap();
        }
        fs::remove_dir_all(dir.join("names")).unwrap();
    });
    assert_eq!(lost, [false; 4]);
}

#[test]
fn wrong_bytes_are_noticed() {
    let wrong = with_damage(|dir| {
        for name in ["blocks", "log", "saved"] {
            let len = fs::metadata(dir.join(name)).unwrap().len();
            overwrite(&dir.join(name), len / 3, b"garbage?");
        }
        fs::write(dir.join("names/f999999"), b"").unwrap();
    });
    assert_eq!(wrong, [false; 4]);
}

#[test]
fn going_back_in_time_is_noticed() {
    let back = with_damage(|dir| {
        let len = fs::metadata(dir.join("log")).unwrap().len();
        fs::OpenOptions::new().write(true).open(dir.join("log")).unwrap().set_len(len / 2).unwrap();
        overwrite(&dir.join("blocks"), 0, &vec![0; 96 * 4096]);
    });
    assert!(!back[0] && !back[1]);
}
