//! The built-in figures of this machine: each step of a write and a read alone, then together, beside the
//! bare disk. Medians of a few runs.
//!
//! Must never touch anything but a directory of its own, which is gone afterwards.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::port::{Entropy, Seeded, System};
use crate::base::{Context, Result, VolumeId, hash};
use crate::cas::{Blocks, Chunker, Chunking, Options};
use crate::kv::arena::{self, Log, RealDisk};
use crate::seal::{BlockType, Codec, EpochSecret, Ref, Sealer};
use crate::wire::control::{Figure, Progress};

/// Bytes that go through memory in one run.
const MEMORY: usize = 32 << 20;
/// Bytes that go to the disk.
const DISK: usize = 128 << 20;
/// One block of content.
const BLOCK: usize = 128 << 10;
/// Synced appends timed one by one.
const SYNCS: usize = 64;
/// Runs of which the median counts.
const RUNS: usize = 3;

/// One step of the measurement.
type Step = fn(&Bench) -> Result<Vec<Figure>>;

/// Measure, with scratch files under `dir`. Takes some seconds and 400 MB of space there for that time.
pub fn measure(dir: &Path, report: &mut dyn FnMut(Progress) -> Result<()>) -> Result<Vec<Figure>> {
    let scratch = Scratch::new(dir)?;
    let bench = Bench::new(&scratch.0)?;
    let steps: [(&str, Step); 6] = [
        ("hashing", Bench::hashing),
        ("cutting", Bench::cutting),
        ("sealing", Bench::sealing),
        ("writing bare files", Bench::bare_disk),
        ("storing", Bench::storing),
        ("syncing", Bench::syncing),
    ];
    let mut figures = Vec::new();
    for (done, (stage, step)) in steps.iter().enumerate() {
        let total = Some(steps.len() as u64);
        report(Progress { stage: (*stage).into(), done: done as u64, total, bytes: false })?;
        figures.extend(step(&bench)?);
    }
    Ok(figures)
}

/// A directory that goes away.
struct Scratch(PathBuf);

impl Scratch {
    fn new(under: &Path) -> Result<Self> {
        let path = under.join(format!(".lovage-bench-{}", std::process::id()));
        fs::create_dir(&path).io("make a directory to measure in", || path.display().to_string())?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is named so that a person can.
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, dir = %self.0.display(), "left scratch files behind");
        }
    }
}

struct Bench {
    dir: PathBuf,
    data: Vec<u8>,
    sealer: Arc<Sealer>,
}

impl Bench {
    fn new(dir: &Path) -> Result<Self> {
        let mut data = vec![0; MEMORY];
        Seeded::new(1).fill(&mut data);
        let sealer = Sealer::new(VolumeId([0; 16]), &[(0, EpochSecret::generate(&System))])?;
        Ok(Self { dir: dir.to_owned(), data, sealer: Arc::new(sealer) })
    }

    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.data.chunks(BLOCK)
    }

    fn hashing(&self) -> Result<Vec<Figure>> {
        let took = median(|| Ok(self.pieces().map(|piece| hash(&[piece])).fold(0_u8, |sum, d| sum ^ d[0])))?;
        Ok(vec![rate("hash (BLAKE3)", MEMORY, took)])
    }

    fn cutting(&self) -> Result<Vec<Figure>> {
        let chunking = Chunking::Cdc { min: 32 << 10, avg: 128 << 10, max: 512 << 10 };
        let chunker = Chunker::new(&self.sealer.cut_key(), chunking)?;
        let took = median(|| {
            let mut rest = self.data.as_slice();
            while let Some(after) = rest.get(chunker.cut(rest, true).max(1)..) {
                rest = after;
            }
            Ok(())
        })?;
        Ok(vec![rate("cut by content", MEMORY, took)])
    }

    fn sealing(&self) -> Result<Vec<Figure>> {
        let mut out = Vec::with_capacity(2 * BLOCK);
        let sealing = median(|| {
            self.pieces().try_for_each(|piece| {
                out.clear();
                self.seal(piece, &mut out).map(drop)
            })
        })?;
        let Some(piece) = self.pieces().next() else { return Ok(Vec::new()) };
        out.clear();
        let reference = self.seal(piece, &mut out)?;
        let opening = median(|| {
            (0..MEMORY / BLOCK)
                .try_for_each(|_| self.sealer.open(BlockType::Data, 0, &reference, &mut out.clone()).map(drop))
        })?;
        Ok(vec![rate("seal (ChaCha20-Poly1305)", MEMORY, sealing), rate("verify and open", MEMORY, opening)])
    }

    fn seal(&self, piece: &[u8], out: &mut Vec<u8>) -> Result<Ref> {
        let len = u32::try_from(piece.len()).unwrap_or(u32::MAX);
        self.sealer.seal(BlockType::Data, 0, Codec::Raw, piece, len, None, out)
    }

    fn bare_disk(&self) -> Result<Vec<Figure>> {
        let path = self.dir.join("bare");
        let took = median(|| {
            let write = || {
                let mut file = File::create(&path)?;
                (0..DISK / MEMORY).try_for_each(|_| file.write_all(&self.data))?;
                file.sync_data()
            };
            write().io("write a bare file", || path.display().to_string())
        })?;
        Ok(vec![rate("bare file, written and synced", DISK, took)])
    }

    fn storing(&self) -> Result<Vec<Figure>> {
        let blocks = self.open_store("store", false)?;
        let mut stored = Vec::new();
        let begin = Instant::now();
        for round in 0..DISK / MEMORY {
            for piece in self.pieces() {
                let mut piece = piece.to_vec();
                piece.iter_mut().take(1).for_each(|b| *b ^= u8::try_from(round).unwrap_or(0).wrapping_add(1));
                stored.push(blocks.put(BlockType::Data, 0, &piece)?);
            }
        }
        blocks.log().sync(blocks.log().end())?;
        let writing = begin.elapsed();
        let begin = Instant::now();
        stored.iter().try_for_each(|block| blocks.get_uncached(BlockType::Data, 0, block).map(drop))?;
        let reading = begin.elapsed();
        blocks.log().close()?;
        Ok(vec![rate("store: hash, seal, log, sync", DISK, writing), rate("load: log, verify, open", DISK, reading)])
    }

    fn syncing(&self) -> Result<Vec<Figure>> {
        let path = self.dir.join("appends");
        let name = || path.display().to_string();
        let mut file = File::create(&path).io("write a bare file", name)?;
        let piece = self.data.get(..4096).unwrap_or_default();
        let bare = latencies(|| file.write_all(piece).and_then(|()| file.sync_data()).io("append", name))?;
        let blocks = self.open_store("journal", false)?;
        let ours = latencies(|| blocks.log().append_journal(piece).and_then(|at| blocks.log().sync(at)))?;
        blocks.log().close()?;
        Ok(vec![delay("bare file, append 4 KiB and sync", bare), delay("journal, append 4 KiB and sync", ours)])
    }

    fn open_store(&self, name: &str, compress: bool) -> Result<Blocks> {
        let disk = Arc::new(RealDisk::open(&self.dir.join(name))?);
        let (log, _) = Log::open(disk, arena::Options::default())?;
        let options = Options { compress, dedup: true, cache_bytes: 1 << 20 };
        Ok(Blocks::new(Arc::new(log), Arc::clone(&self.sealer), None, options))
    }
}

/// The middle of a few runs.
fn median<T>(mut run: impl FnMut() -> Result<T>) -> Result<Duration> {
    let mut took = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let begin = Instant::now();
        std::hint::black_box(run()?);
        took.push(begin.elapsed());
    }
    Ok(middle(took))
}

/// The median of single operations.
fn latencies(mut run: impl FnMut() -> Result<()>) -> Result<Duration> {
    let mut took = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let begin = Instant::now();
        run()?;
        took.push(begin.elapsed());
    }
    Ok(middle(took))
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[allow(clippy::cast_precision_loss)] // a figure for people
fn rate(name: &str, bytes: usize, took: Duration) -> Figure {
    let value = bytes as f64 / 1e6 / took.as_secs_f64().max(1e-9);
    Figure { name: name.into(), value, unit: "MB/s".into() }
}

fn delay(name: &str, took: Duration) -> Figure {
    Figure { name: name.into(), value: took.as_secs_f64() * 1e3, unit: "ms".into() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_middle_is_the_median() {
        let ms = Duration::from_millis;
        assert_eq!(middle(vec![ms(9), ms(1), ms(5)]), ms(5));
        assert_eq!(middle(Vec::new()), Duration::ZERO);
    }

    #[test]
    fn scratch_files_are_gone_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        drop(Scratch::new(dir.path()).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(Scratch::new(&dir.path().join("missing")).is_err());
    }

    #[test]
    fn figures_have_names_values_and_units() {
        let figure = rate("x", 2_000_000, Duration::from_secs(1));
        assert!((figure.value - 2.0).abs() < 1e-9 && figure.unit == "MB/s");
        assert!((delay("x", Duration::from_micros(250)).value - 0.25).abs() < 1e-9);
    }
}
