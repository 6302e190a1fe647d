//! S5: three mounts, a random history of writes, reads, renames and removals with cables pulled and plugged, and every version
//! ever written accounted for: it is to be seen somewhere, or somebody who saw it wrote over it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use fstests::harness::bytes::{Random, count, seed};
use fstests::harness::device::{Device, until, until_equal};
use fstests::harness::lan::Lan;

const NAMES: [&str; 6] = ["one", "two", "three", "four", "dir/five", "dir/six"];

/// What was done, for a person to read.
#[derive(Debug, Default)]
struct History {
    trace: Vec<String>,
    /// Each version by its text, with the device and the step that made it.
    written: BTreeMap<Vec<u8>, (usize, usize)>,
    /// Versions that somebody had seen who then replaced, removed or renamed over them.
    replaced: BTreeSet<Vec<u8>>,
    /// Names that a device changed while others could have changed them at the same time, and when.
    together: Vec<(usize, usize)>,
}

fn shown(device: &Device, name: &str) -> Option<Vec<u8>> {
    fs::read(device.at(name)).ok()
}

impl History {
    fn note(&mut self, what: String) {
        self.trace.push(what);
    }

    /// Whoever changes what `name` shows has seen it.
    fn replace(&mut self, device: &Device, name: &str) {
        if let Some(seen) = shown(device, name) {
            self.replaced.insert(seen);
        }
    }

    fn step(&mut self, random: &mut Random, who: usize, device: &Device, alone: bool) {
        let (name, step) = (NAMES[random.index(NAMES.len())], self.trace.len());
        if !alone {
            self.together.push((who, step));
        }
        match random.below(10) {
            0..5 => {
                let mut text = format!("version {step} by {who} ").into_bytes();
                text.extend(std::iter::repeat_n(b'x', random.index(3000)));
                self.replace(device, name);
                // Whole under another name, then moved: nobody sees half of it.
                let made = device.at(&format!("made-{who}"));
                let done = fs::write(&made, &text).and_then(|()| fs::rename(&made, device.at(name)));
                self.note(format!("{step}: {who} writes {name}: {done:?}"));
                self.written.insert(text, (who, step));
            }
            5..7 => {
                self.replace(device, name);
                let done = fs::remove_file(device.at(name));
                self.note(format!("{step}: {who} removes {name}: {done:?}"));
            }
            7..9 => {
                let to = NAMES[random.index(NAMES.len())];
                if to != name {
                    self.replace(device, to);
                }
                let done = fs::rename(device.at(name), device.at(to));
                self.note(format!("{step}: {who} renames {name} to {to}: {done:?}"));
            }
            _ => {
                let found =
                    shown(device, name).map(|text| String::from_utf8_lossy(&text[..20.min(text.len())]).into_owned());
                self.note(format!("{step}: {who} reads {name}: {found:?}"));
            }
        }
    }

    /// Every version is one of `visible`, or was replaced by somebody who had seen it.
    fn explain(&self, visible: &BTreeSet<Vec<u8>>) {
        let lost = |text: &&Vec<u8>| !visible.contains(*text) && !self.replaced.contains(*text);
        for text in self.written.keys().filter(lost) {
            let (who, step) = self.written[text];
            // What came in between a look and the change that followed it was replaced unseen: only where both could meet.
            let raced = self.together.iter().any(|(other, at)| *other != who && *at > step);
            assert!(raced, "version {step} by {who} is nowhere:\n{}", self.trace.join("\n"));
            println!("S5: version {step} by {who} may have been replaced between a look and a change");
        }
        for text in visible {
            assert!(self.written.contains_key(text), "nobody wrote {:?}:\n{}", text.get(..40), self.trace.join("\n"));
        }
    }
}

/// What all files below say.
fn contents(dir: &Path, into: &mut BTreeSet<Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            contents(&entry.path(), into);
        } else {
            into.insert(fs::read(entry.path()).unwrap());
        }
    }
}

#[test]
fn every_version_of_a_random_history_is_somewhere_or_was_seen_by_who_replaced_it() {
    let (rounds, mut random) = (count("FSTESTS_ROUNDS", 8), Random::new(seed("mystery")));
    let Some(lan) = Lan::new(3) else { return };
    let mut all = [Device::new(&lan, 0, "alpha"), Device::new(&lan, 1, "beta"), Device::new(&lan, 2, "gamma")];
    all[0].mount("default");
    fs::create_dir(all[0].at("dir")).unwrap();
    for n in 1..3 {
        let link = all[0].invite("default", &[]);
        all[n].join(&link);
    }
    let mut history = History::default();
    for round in 0..rounds {
        // Apart, in the first half of all rounds; together, in the rest.
        let apart = random.below(3) > 0;
        (0..3).for_each(|n| lan.cable(n, !apart));
        history.note(format!("round {round}, {}", if apart { "apart" } else { "together" }));
        for _ in 0..12 {
            let who = random.index(3);
            history.step(&mut random, who, &all[who], apart);
        }
        (0..3).for_each(|n| lan.cable(n, true));
        until("all are connected", || all.iter().all(|device| device.connected() == 2));
        until_equal(&[&all[0], &all[1], &all[2]]);
        let visible: Vec<BTreeSet<Vec<u8>>> = all
            .iter()
            .map(|device| {
                let mut found = BTreeSet::new();
                contents(&device.dir(), &mut found);
                found
            })
            .collect();
        assert!(visible.windows(2).all(|pair| pair[0] == pair[1]), "equal roots, other files");
        history.explain(&visible[0]);
    }
    println!("S5: {} versions, {} steps, all explained", history.written.len(), history.trace.len());
}
