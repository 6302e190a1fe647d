//! What is kept beside the blocks of an arena: some bytes for each that its reader can do without.
//!
//! Gathered in memory, written as a file of its own when the arena's index is, mapped when first asked for.
//! Nothing is synced or checksummed: whoever asks verifies what he gets. Must never be needed for anything,
//! and must never fail an operation of the log.

use std::collections::HashMap;

use super::disk::{Disk, Mapping};
use super::header::ArenaHeader;
use crate::base::sync::RwLock;

const MAGIC: &[u8; 8] = b"LvAside1";
const HEADER: usize = 32;
const ENTRY: usize = 8;

/// The asides of one arena.
#[derive(Default)]
pub struct Asides(RwLock<State>);

#[derive(Default)]
struct State {
    /// By offset of the record: not in the file yet.
    young: HashMap<u64, Box<[u8]>>,
    file: File,
}

#[derive(Default)]
enum File {
    /// Not looked for yet.
    #[default]
    Unknown,
    Missing,
    Mapped(Mapped),
}

/// The file name of the asides of arena `number`.
pub fn aside_name(number: u32) -> String {
    format!("{number:08x}.aside")
}

impl Asides {
    /// Keep `bytes` for the record at `offset`.
    pub fn keep(&self, offset: u64, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.0.write().young.insert(offset, bytes.into());
        }
    }

    /// What is kept for the record at `offset`; possibly damaged.
    pub fn get(&self, disk: &dyn Disk, header: &ArenaHeader, offset: u64) -> Option<Vec<u8>> {
        let state = self.0.read();
        match (&state.file, state.young.get(&offset)) {
            (_, Some(bytes)) => return Some(bytes.to_vec()),
            (File::Mapped(file), None) => return file.get(offset).map(<[u8]>::to_vec),
            (File::Missing, None) => return None,
            (File::Unknown, None) => {}
        }
        drop(state);
        let mut state = self.0.write();
        state.file = Mapped::open(disk, header);
        match &state.file {
            File::Mapped(file) => file.get(offset).map(<[u8]>::to_vec),
            File::Unknown | File::Missing => None,
        }
    }

    /// Whether something is kept that the file does not have.
    pub fn is_outdated(&self) -> bool {
        !self.0.read().young.is_empty()
    }

    /// Write the file anew with what is kept for the records at `offsets` (rising). A failure costs the
    /// asides of this arena, nothing else.
    pub fn write(&self, disk: &dyn Disk, header: &ArenaHeader, offsets: impl Iterator<Item = u64>) {
        let seen: Vec<u64> = self.0.read().young.keys().copied().collect();
        let kept: Vec<(u64, Vec<u8>)> =
            offsets.filter_map(|offset| Some((offset, self.get(disk, header, offset)?))).collect();
        let written = kept.is_empty() || replace(disk, header, &kept).is_ok();
        let mut state = self.0.write();
        if written && !kept.is_empty() {
            state.file = Mapped::open(disk, header);
        }
        // What came meanwhile stays for the next time.
        for offset in &seen {
            state.young.remove(offset);
        }
    }
}

fn replace(disk: &dyn Disk, header: &ArenaHeader, kept: &[(u64, Vec<u8>)]) -> std::io::Result<()> {
    let name = aside_name(header.number);
    let draft = format!("{name}.new");
    let _ = disk.remove(&draft);
    disk.create(&draft)?.write_at(&[&encode(header, kept)], 0)?;
    disk.rename(&draft, &name)
}

fn encode(header: &ArenaHeader, kept: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
    let mut out = vec![0; HEADER];
    out[..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&header.number.to_le_bytes());
    out[12..16].copy_from_slice(&number(kept.len()));
    out[16..24].copy_from_slice(&header.salt);
    let mut end = 0;
    for (offset, bytes) in kept {
        end += bytes.len();
        out.extend_from_slice(&u32::try_from(offset / 8).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&number(end));
    }
    for (_, bytes) in kept {
        out.extend_from_slice(bytes);
    }
    out
}

/// A mapped file. Every number in it is doubted.
struct Mapped {
    map: Mapping,
    count: usize,
}

impl Mapped {
    fn open(disk: &dyn Disk, header: &ArenaHeader) -> File {
        let find = || {
            let map = disk.map(&aside_name(header.number)).ok()?;
            let ours = map.get(..8)? == MAGIC && map.get(16..24)? == header.salt;
            let count = usize::try_from(word(&map, 12)?).ok().filter(|n| *n <= map.len() / ENTRY)?;
            (ours && word(&map, 8)? == header.number).then_some(Self { map, count })
        };
        find().map_or(File::Missing, File::Mapped)
    }

    fn entry(&self, i: usize) -> Option<(u32, usize)> {
        let at = HEADER + i * ENTRY;
        Some((word(&self.map, at)?, word(&self.map, at + 4)? as usize))
    }

    fn get(&self, offset: u64) -> Option<&[u8]> {
        let wanted = u32::try_from(offset / 8).ok()?;
        let (mut from, mut to) = (0, self.count);
        while from < to {
            let middle = from + (to - from) / 2;
            match self.entry(middle)?.0.cmp(&wanted) {
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Greater => to = middle,
                std::cmp::Ordering::Equal => return self.bytes(middle),
            }
        }
        None
    }

    fn bytes(&self, i: usize) -> Option<&[u8]> {
        let start = i.checked_sub(1).map_or(Some(0), |before| Some(self.entry(before)?.1))?;
        let end = self.entry(i)?.1;
        self.map.get(HEADER + self.count * ENTRY..)?.get(start..end)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::sim::{Call, Dice, SimDisk};
    use super::*;

    const ARENA: ArenaHeader = ArenaHeader { number: 7, previous: 0, previous_end: 0, salt: [3; 8] };

    fn filled(disk: &SimDisk, count: u64) -> Asides {
        let asides = Asides::default();
        (1..=count).for_each(|n| asides.keep(n * 8, &vec![n.to_le_bytes()[0]; usize::try_from(n % 50).unwrap()]));
        asides.write(disk, &ARENA, (1..=count).map(|n| n * 8));
        asides
    }

    #[test]
    fn what_was_kept_is_there_before_and_after_writing_and_opening_again() {
        let disk = SimDisk::default();
        let asides = filled(&disk, 300);
        assert!(!asides.is_outdated());
        asides.keep(8, b"new");
        assert!(asides.is_outdated());
        assert_eq!(asides.get(&disk, &ARENA, 8).unwrap(), b"new");
        for asides in [asides, Asides::default()] {
            for n in 2..=300u64 {
                let kept = vec![n.to_le_bytes()[0]; usize::try_from(n % 50).unwrap()];
                assert_eq!(asides.get(&disk, &ARENA, n * 8), Some(kept).filter(|k| !k.is_empty()));
            }
            assert_eq!(asides.get(&disk, &ARENA, 301 * 8), None);
        }
    }

    #[test]
    fn a_file_of_another_arena_does_not_count() {
        let disk = SimDisk::default();
        filled(&disk, 3);
        let other = ArenaHeader { salt: [4; 8], ..ARENA };
        assert_eq!(Asides::default().get(&disk, &other, 8), None);
    }

    #[test]
    fn records_that_are_gone_are_left_out_and_the_others_carried_over() {
        let disk = SimDisk::default();
        let asides = filled(&disk, 3);
        asides.keep(32, b"x");
        asides.write(&disk, &ARENA, [16, 32].into_iter());
        let again = Asides::default();
        let kept: Vec<_> = [8, 16, 24, 32].map(|at| again.get(&disk, &ARENA, at).map(|k| k.len())).into();
        assert_eq!(kept, [None, Some(2), None, Some(1)]);
    }

    #[test]
    fn a_disk_that_fails_costs_the_asides_only() {
        let disk = SimDisk::default();
        let asides = Asides::default();
        asides.keep(8, b"x");
        disk.fail_next(Call::Write, 0, libc::EIO);
        asides.write(&disk, &ARENA, std::iter::once(8));
        assert!(!asides.is_outdated());
        assert_eq!(Asides::default().get(&disk, &ARENA, 8), None);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic() {
        let kept: Vec<(u64, Vec<u8>)> = (1..40).map(|n| (n * 8, vec![7; 30])).collect();
        let good = encode(&ARENA, &kept);
        let mut dice = Dice(1);
        for _ in 0..3000 {
            let mut bad = good.clone();
            let at = usize::try_from(dice.below(bad.len() as u64)).unwrap();
            bad[at] ^= 1 << dice.below(8);
            bad.truncate(usize::try_from(dice.below(good.len() as u64 * 2)).unwrap());
            let disk = SimDisk::default();
            super::super::disk::Disk::create(&disk, &aside_name(7)).unwrap().write_at(&[&bad], 0).unwrap();
            let asides = Asides::default();
            (0..42).for_each(|n| drop(asides.get(&disk, &ARENA, n * 8)));
        }
    }
}
