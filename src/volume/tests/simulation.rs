//! Random operations on several devices that meet in any order, lose touch, crash, collect their garbage and drop what
//! another promises to keep. In the end all are equal, and every content that anybody synced and nobody removed or
//! replaced is still to be read somewhere (D11 over trees).
//!
//! `LOVAGE_SEEDS=500` runs as many; `LOVAGE_SEED=7` runs that one alone.

use std::collections::BTreeSet;

use super::cluster::*;
use super::*;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides.max(1)
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { from.get(self.roll(from.len() as u64) as usize) }
    }
}

/// Everything below the root: directories with a slash.
fn paths(v: &Volume) -> Vec<String> {
    let mut out = Vec::new();
    let mut open = vec![(ROOT_INO, String::new())];
    while let Some((ino, path)) = open.pop() {
        for name in names(v, ino) {
            let attr = v.lookup(ino, name.as_bytes()).unwrap();
            let here = format!("{path}{name}");
            if attr.kind == FileKind::Directory {
                open.push((attr.ino, format!("{here}/")));
                out.push(format!("{here}/"));
            } else {
                out.push(here);
            }
        }
    }
    out.sort();
    out
}

/// What a program would be told; anything else is a bug.
fn expect(result: Result<()>, what: &str) -> bool {
    match result {
        Ok(()) => true,
        Err(e) => {
            use Kind::{Exists, Invalid, IsDirectory, NotDirectory, NotEmpty, NotFound, NotPermitted, TooManyLinks};
            let usual = [Exists, Invalid, IsDirectory, NotDirectory, NotEmpty, NotFound, NotPermitted, TooManyLinks];
            assert!(usual.contains(&e.kind()), "{what}: {}", e.chain());
            false
        }
    }
}

fn put_file(v: &Volume, dir: Ino, name: &str, data: &[u8]) -> Result<()> {
    let (attr, fh) = v.create(dir, name.as_bytes(), &file())?;
    v.write(attr.ino, 0, data)?;
    v.release(fh)
}

fn overwrite(v: &Volume, path: &str, data: &[u8]) -> Result<()> {
    let ino = v.resolve(path.as_bytes())?;
    let fh = v.open(ino, true, true)?;
    v.write(ino, 0, data)?;
    v.release(fh)
}

fn parts(v: &Volume, path: &str) -> Result<(Ino, Vec<u8>)> {
    let path = path.trim_end_matches('/');
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    Ok((v.resolve(dir.as_bytes())?, name.as_bytes().to_vec()))
}

fn remove_all(v: &Volume, path: &str) {
    let below: Vec<String> = paths(v).into_iter().filter(|p| p.starts_with(path)).collect();
    for path in below.iter().rev() {
        let Ok((dir, name)) = parts(v, path) else { continue };
        let gone = if path.ends_with('/') { v.rmdir(dir, &name) } else { v.unlink(dir, &name) };
        expect(gone, path);
    }
}

/// One operation of one device.
fn act(c: &Cluster, at: usize, dice: &mut Dice, written: &mut u64) {
    let v = c.v(at);
    let all = paths(v);
    let dirs: Vec<String> =
        std::iter::once(String::new()).chain(all.iter().filter(|p| p.ends_with('/')).cloned()).collect();
    let files: Vec<String> = all.iter().filter(|p| !p.ends_with('/')).cloned().collect();
    let dir = dice.pick(&dirs).cloned().unwrap_or_default();
    let name = format!("n{}", dice.roll(5));
    let into = || v.resolve(dir.as_bytes());
    *written += 1;
    let data = if dice.roll(6) == 0 { format!("same {}", dice.roll(3)) } else { format!("content {written}") };
    let data = if dice.roll(8) == 0 { noise(*written, 5000) } else { data.into_bytes() };
    let result: Result<()> = (|| match dice.roll(24) {
        0..=3 => put_file(v, into()?, &name, &data),
        4..=6 => v.make(into()?, name.as_bytes(), &super::dir()).map(drop),
        7..=10 => dice.pick(&files).map_or(Ok(()), |path| overwrite(v, path, &data)),
        11..=14 => dice.pick(&all).map_or(Ok(()), |from| {
            let ((a, old), b) = (parts(v, from)?, into()?);
            v.rename(a, &old, b, name.as_bytes(), RenameMode::Replace)
        }),
        15 => match (dice.pick(&all).cloned(), dice.pick(&all)) {
            (Some(x), Some(y)) => {
                let ((a, x), (b, y)) = (parts(v, &x)?, parts(v, y)?);
                v.rename(a, &x, b, &y, RenameMode::Exchange)
            }
            _ => Ok(()),
        },
        16..=17 => dice.pick(&files).map_or(Ok(()), |path| {
            let (dir, name) = parts(v, path)?;
            v.unlink(dir, &name)
        }),
        18 => {
            if let Some(path) = dice.pick(&all) {
                remove_all(v, path);
            }
            Ok(())
        }
        19 => dice.pick(&files).map_or(Ok(()), |path| {
            let ino = v.resolve(path.as_bytes())?;
            v.link(ino, into()?, name.as_bytes()).map(drop)
        }),
        20 => dice.pick(&all).map_or(Ok(()), |path| {
            let ino = v.resolve(path.as_bytes())?;
            v.setattr(ino, &SetAttr { perm: Some(0o700 + dice.0 as u16 % 64), ..SetAttr::default() }).map(drop)
        }),
        21 => dice.pick(&all).map_or(Ok(()), |path| {
            let ino = v.resolve(path.as_bytes())?;
            v.setxattr(ino, b"user.x", &data, XattrMode::Set)
        }),
        22 => dice.pick(&files).map_or(Ok(()), |path| {
            let ino = v.resolve(path.as_bytes())?;
            v.write(ino, 3, b"unsettled").map(drop)
        }),
        _ => v.conflicts()?.first().map_or(Ok(()), |conflict| {
            let keep = conflict.versions.last().map(|version| version.dot);
            keep.map_or(Ok(()), |dot| v.resolve_conflict(conflict.node, dot))
        }),
    })();
    expect(result, "operation");
}

/// Drop what `other`, which has heard the last of it, promises to keep.
fn evict(c: &Cluster, at: usize, other: usize) {
    c.tell(at, other);
    let mut all = std::collections::HashSet::new();
    c.v(at).data_blocks(ROOT_INO, usize::MAX, &mut all).unwrap();
    let ids: Vec<_> = all.into_iter().collect();
    let kept = c.v(other).holds(&ids, true);
    let confirmed: Vec<_> = ids.iter().zip(kept).filter(|(_, kept)| *kept).map(|(id, _)| *id).collect();
    let free = c.v(at).leaving(&confirmed);
    c.v(at).evict(&free).unwrap();
    c.v(at).settled(&free);
}

fn run(seed: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let n = 3 + dice.roll(3) as usize;
    let mut c = Cluster::new(n);
    let (mut written, mut near) = (0, vec![true; n]);
    for _ in 0..50 + dice.roll(50) {
        let at = dice.roll(n as u64) as usize;
        match dice.roll(24) {
            20 | 21 => drop(c.v(at).collect(false, &mut |_, _, _| Ok(())).unwrap()),
            22 | 23 => {
                let other = dice.roll(n as u64) as usize;
                if other != at && near[other] && near[at] {
                    evict(&c, at, other);
                }
            }
            0..=11 => act(&c, at, &mut dice, &mut written),
            12..=16 => {
                let from = dice.roll(n as u64) as usize;
                if from != at && near[from] && near[at] {
                    let merged = c.tell(from, at);
                    assert!(!merged.diverged && !merged.equivocated && !merged.own_future, "{merged:?}");
                }
            }
            17 => near[at] = !near[at],
            18 => {
                c.v(at).sync().unwrap();
                c.crash(at);
            }
            _ => c.check(at),
        }
    }
    c.meet();
    // Nothing is left over: with everything removed everywhere nothing shows.
    let all: BTreeSet<String> = paths(c.v(0)).into_iter().filter(|p| !p[..p.len() - 1].contains('/')).collect();
    for path in all {
        remove_all(c.v(0), &path);
    }
    c.meet();
}

#[test]
fn devices_that_met_are_equal_whatever_happened() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    if let Some(seed) = number("LOVAGE_SEED") {
        return run(seed);
    }
    let first = 1;
    for seed in first..first + number("LOVAGE_SEEDS").unwrap_or(40) {
        let result = std::panic::catch_unwind(|| run(seed));
        assert!(result.is_ok(), "LOVAGE_SEED={seed} fails");
    }
}
