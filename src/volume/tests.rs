//! The live volume, operation by operation, below the mount.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]
use super::api::*;
use super::*;
use crate::base::port::Seeded;
use crate::seal::genesis::Genesis;
use crate::seal::{DeviceRoot, EpochSecret, VolumeSecrets};

/// A volume in a temporary directory that can be dropped and opened again.
struct Home {
    dir: tempfile::TempDir,
    device: DeviceRoot,
    secrets: VolumeSecrets,
    options: Options,
}

impl Home {
    fn new() -> Self {
        let entropy = Seeded::new(1);
        let device = DeviceRoot::generate(&entropy);
        let nonce = [7; 32];
        let admin = device.admin_key(&nonce);
        let genesis = Genesis {
            admin: admin.public(),
            nonce,
            name: String::new(),
            chunking: crate::seal::genesis::Chunking::default(),
            dedup: crate::seal::genesis::Dedup::On,
            created: crate::base::port::Time(0),
        };
        let (id, genesis) = genesis.sign(&admin).unwrap();
        let secrets = VolumeSecrets {
            incarnation: 1,
            writer: 1,
            ..VolumeSecrets::founded(id, genesis, EpochSecret::generate(&entropy))
        };
        Self { dir: tempfile::tempdir().unwrap(), device, secrets, options: Options::default() }
    }

    /// A dropped volume lives on while one of its workers is in the middle of something.
    fn open(&self) -> Arc<Volume> {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            let mut setup = Setup::new(self.dir.path().join("v"), &self.device, &self.secrets, (0, 0));
            setup.options = self.options;
            match Volume::open(setup) {
                Ok((volume, _)) => return volume,
                Err(e) if e.kind() == Kind::Busy && std::time::Instant::now() < deadline => std::thread::yield_now(),
                Err(e) => panic!("{}", e.chain()),
            }
        }
    }
}

fn file() -> NewNode {
    NewNode { kind: FileKind::File, perm: 0o644, uid: 0, gid: 0, rdev: 0, target: None }
}

fn dir() -> NewNode {
    NewNode { kind: FileKind::Directory, perm: 0o755, ..file() }
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    crate::base::keyed_xof(&[3; 32], &[&seed.to_le_bytes()], &mut out);
    out
}

fn read_all(v: &Volume, ino: Ino) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let part = v.read(ino, out.len() as u64, 100_000).unwrap();
        if part.is_empty() {
            return out;
        }
        out.extend(part);
    }
}

fn put(v: &Volume, parent: Ino, name: &str, data: &[u8]) -> Ino {
    let (attr, fh) = v.create(parent, name.as_bytes(), &file()).unwrap();
    for (i, part) in data.chunks(1 << 20).enumerate() {
        v.write(attr.ino, (i << 20) as u64, part).unwrap();
    }
    v.release(fh).unwrap();
    attr.ino
}

fn names(v: &Volume, ino: Ino) -> Vec<String> {
    let fh = v.opendir(ino).unwrap();
    let mut out = Vec::new();
    let mut cookie = 0;
    loop {
        let before = out.len();
        let mut room = 7;
        v.readdir(fh, cookie, &mut |entry, _| {
            room -= 1;
            if room < 0 {
                return false;
            }
            cookie = entry.cookie;
            out.push(String::from_utf8_lossy(entry.name.as_bytes()).into_owned());
            true
        })
        .unwrap();
        if out.len() == before {
            v.releasedir(fh).unwrap();
            return out.into_iter().filter(|n| n != "." && n != "..").collect();
        }
    }
}

#[test]
fn what_was_closed_is_there_when_it_is_opened_again() {
    let home = Home::new();
    let big = noise(1, 9_000_001);
    let v = home.open();
    let d = v.make(ROOT_INO, b"d", &dir()).unwrap().ino;
    put(&v, d, "big", &big);
    put(&v, d, "small", b"hello");
    put(&v, ROOT_INO, "empty", b"");
    v.close().unwrap();
    drop(v);
    let v = home.open();
    assert_eq!(names(&v, ROOT_INO), ["d", "empty"]);
    let d = v.lookup(ROOT_INO, b"d").unwrap();
    assert_eq!(d.nlink, 2);
    let f = v.lookup(d.ino, b"big").unwrap();
    assert_eq!(f.size, big.len() as u64);
    assert!(read_all(&v, f.ino) == big);
    assert_eq!(read_all(&v, v.lookup(d.ino, b"small").unwrap().ino), b"hello");
    assert_eq!(v.lookup(d.ino, b"none").unwrap_err().kind(), Kind::NotFound);
    let totals = v.totals_of(crate::base::NodeId::ROOT).unwrap();
    assert_eq!((totals.rbytes, totals.rfiles, totals.rsubdirs), (big.len() as u64 + 5, 3, 1));
    v.close().unwrap();
}

#[test]
fn what_was_synced_survives_without_a_close() {
    let home = Home::new();
    let v = home.open();
    let d = v.make(ROOT_INO, b"d", &dir()).unwrap().ino;
    let (attr, _fh) = v.create(d, b"f", &file()).unwrap();
    v.write(attr.ino, 0, &noise(2, 300_000)).unwrap();
    v.fsync(attr.ino, false).unwrap();
    for i in 0..20u64 {
        v.write(attr.ino, 40_000 * i / 3, &[i as u8; 100]).unwrap();
        v.fsync(attr.ino, false).unwrap();
    }
    let expected = read_all(&v, attr.ino);
    v.write(attr.ino, 0, b"not synced").unwrap();
    drop(v); // no close: as after a kill
    let v = home.open();
    let d = v.lookup(ROOT_INO, b"d").unwrap().ino;
    let f = v.lookup(d, b"f").unwrap();
    assert!(read_all(&v, f.ino) == expected);
    v.close().unwrap();
    drop(v);
    let v = home.open();
    let d = v.lookup(ROOT_INO, b"d").unwrap().ino;
    assert!(read_all(&v, v.lookup(d, b"f").unwrap().ino) == expected);
}

#[test]
fn what_is_synced_while_a_seal_is_under_way_survives_though_the_seal_never_ends() {
    let home = Home::new();
    let v = home.open();
    let (attr, _fh) = v.create(ROOT_INO, b"f", &file()).unwrap();
    v.write(attr.ino, 0, &noise(2, 900_000)).unwrap();
    v.fsync(attr.ino, false).unwrap();
    v.write(attr.ino, 10_000, b"written before the seal").unwrap();
    let under_way = v.snapshot().unwrap();
    v.write(attr.ino, 500_000, b"written during the seal").unwrap();
    v.fsync(attr.ino, false).unwrap();
    let expected = read_all(&v, attr.ino);
    drop((under_way, v)); // no checkpoint, no close: as after a kill
    let v = home.open();
    assert!(read_all(&v, v.lookup(ROOT_INO, b"f").unwrap().ino) == expected);
}

#[test]
fn changes_beyond_what_memory_allows_wait_for_the_seal_and_fail_while_it_fails() {
    let mut home = Home::new();
    (home.options.seal_at, home.options.unsealed_max) = (512, 1024);
    let v = home.open();
    // Without its threads nobody else seals or says that it works.
    v.bell.close();
    v.work.close();
    v.threads.join();
    v.brake.report(Some(Kind::Full));
    let made = (0..4000)
        .map(|n| v.make(ROOT_INO, format!("{n}").as_bytes(), &file()))
        .take_while(|made| made.as_ref().map_err(Error::kind).map_or_else(|kind| kind != Kind::Full, |_| true))
        .count();
    assert!((1000..1300).contains(&made), "{made} made");
    v.seal().unwrap();
    v.make(ROOT_INO, b"more", &file()).unwrap();
    assert_eq!(names(&v, ROOT_INO).len(), made + 1);
    v.close().unwrap();
}

#[test]
fn a_replacing_rename_never_leaves_an_empty_file() {
    let home = Home::new();
    let v = home.open();
    put(&v, ROOT_INO, "a", b"old");
    v.sync().unwrap();
    let (attr, _open) = v.create(ROOT_INO, b"tmp", &file()).unwrap();
    v.write(attr.ino, 0, b"new content").unwrap();
    v.rename(ROOT_INO, b"tmp", ROOT_INO, b"a", RenameMode::Replace).unwrap();
    v.fsyncdir(ROOT_INO).unwrap();
    drop(v);
    let v = home.open();
    assert_eq!(names(&v, ROOT_INO), ["a"]);
    assert_eq!(read_all(&v, v.lookup(ROOT_INO, b"a").unwrap().ino), b"new content");
}

#[test]
fn a_file_that_replaced_another_is_never_empty_though_it_could_not_be_settled_in_time() {
    // The rename comes between the settling and the entry, or between the entry and the seal.
    type Write = fn(&Volume) -> Result<()>;
    let ways: [Write; 2] = [|v| v.blocks.log().sync(v.enter(None)?), Volume::seal];
    for way in ways {
        let home = Home::new();
        let v = home.open();
        put(&v, ROOT_INO, "a", b"old");
        v.sync().unwrap();
        let (attr, _open) = v.create(ROOT_INO, b"tmp", &file()).unwrap();
        v.write(attr.ino, 0, b"new content").unwrap();
        v.rename(ROOT_INO, b"tmp", ROOT_INO, b"a", RenameMode::Replace).unwrap();
        way(&v).unwrap();
        v.setattr(attr.ino, &SetAttr { perm: Some(0o600), ..SetAttr::default() }).unwrap();
        v.blocks.log().sync(v.enter(None).unwrap()).unwrap();
        drop(v);
        let v = home.open();
        assert_eq!(names(&v, ROOT_INO), ["a"]);
        assert_eq!(read_all(&v, v.lookup(ROOT_INO, b"a").unwrap().ino), b"new content");
    }
}

#[test]
fn right_after_a_crash_the_files_of_the_journal_are_counted() {
    let home = Home::new();
    let v = home.open();
    put(&v, ROOT_INO, "sealed", &noise(1, 1000));
    put(&v, ROOT_INO, "removed", &noise(1, 10));
    v.sync().unwrap();
    v.seal().unwrap();
    let d = v.make(ROOT_INO, b"d", &dir()).unwrap().ino;
    put(&v, d, "new", &noise(2, 300));
    v.link(v.lookup(d, b"new").unwrap().ino, ROOT_INO, b"again").unwrap();
    v.unlink(ROOT_INO, b"removed").unwrap();
    v.settle_all().unwrap();
    let counted = (v.figures().files, v.figures().bytes);
    assert_eq!(counted, (3, 1600));
    v.fsyncdir(ROOT_INO).unwrap();
    drop(v);
    let v = home.open();
    assert_eq!((v.figures().files, v.figures().bytes), counted);
    v.seal().unwrap();
    assert_eq!((v.figures().files, v.figures().bytes), counted);
}

#[test]
fn names_links_and_directories_follow_posix() {
    let home = Home::new();
    let v = home.open();
    let d = v.make(ROOT_INO, b"d", &dir()).unwrap().ino;
    let e = v.make(ROOT_INO, b"e", &dir()).unwrap().ino;
    let f = put(&v, d, "f", b"x");
    assert_eq!(v.link(f, e, b"g").unwrap().nlink, 2);
    assert_eq!(v.rmdir(ROOT_INO, b"d").unwrap_err().kind(), Kind::NotEmpty);
    assert_eq!(v.unlink(ROOT_INO, b"d").unwrap_err().kind(), Kind::IsDirectory);
    assert_eq!(v.rename(ROOT_INO, b"d", e, b"g", RenameMode::Replace).unwrap_err().kind(), Kind::NotDirectory);
    assert_eq!(v.rename(ROOT_INO, b"d", d, b"in", RenameMode::Replace).unwrap_err().kind(), Kind::Invalid);
    v.rename(ROOT_INO, b"d", e, b"dd", RenameMode::NoReplace).unwrap();
    assert_eq!(v.getattr(e).unwrap().nlink, 3);
    assert_eq!(v.getattr(ROOT_INO).unwrap().nlink, 3);
    v.rename(e, b"dd", e, b"g", RenameMode::Exchange).unwrap();
    assert_eq!(v.lookup(e, b"g").unwrap().kind, FileKind::Directory);
    v.unlink(e, b"dd").unwrap();
    assert_eq!(v.getattr(f).unwrap().nlink, 1);
    v.sync().unwrap();
    v.seal().unwrap();
    assert_eq!(names(&v, e), ["g"]);
    v.close().unwrap();
    drop(v);
    let v = home.open();
    let e = v.lookup(ROOT_INO, b"e").unwrap();
    assert_eq!(e.nlink, 3);
    let d = v.lookup(e.ino, b"g").unwrap();
    assert_eq!(names(&v, d.ino), ["f"]);
}

#[test]
fn a_removed_file_stays_readable_while_it_is_open() {
    let home = Home::new();
    let v = home.open();
    let (attr, fh) = v.create(ROOT_INO, b"f", &file()).unwrap();
    v.write(attr.ino, 0, &noise(3, 2_000_000)).unwrap();
    v.unlink(ROOT_INO, b"f").unwrap();
    v.sync().unwrap();
    v.seal().unwrap();
    assert!(read_all(&v, attr.ino) == noise(3, 2_000_000));
    v.write(attr.ino, 10, b"still here").unwrap();
    assert_eq!(v.read(attr.ino, 10, 10).unwrap(), b"still here");
    assert_eq!(v.getattr(attr.ino).unwrap().nlink, 0);
    v.release(fh).unwrap();
    v.close().unwrap();
}

#[test]
fn listings_are_complete_while_entries_change_and_seals_happen() {
    let home = Home::new();
    let v = home.open();
    for i in 0..3000 {
        put(&v, ROOT_INO, &format!("f{i:05}"), b"");
        if i % 1000 == 500 {
            v.seal().unwrap();
        }
    }
    for i in (0..3000).step_by(3) {
        v.unlink(ROOT_INO, format!("f{i:05}").as_bytes()).unwrap();
    }
    let expected: Vec<String> = (0..3000).filter(|i| i % 3 != 0).map(|i| format!("f{i:05}")).collect();
    assert_eq!(names(&v, ROOT_INO), expected);
    v.seal().unwrap();
    assert_eq!(names(&v, ROOT_INO), expected);
    assert_eq!(v.nodes(), 2001);
    v.close().unwrap();
}

#[test]
fn totals_follow_every_change() {
    let home = Home::new();
    let v = home.open();
    let a = v.make(ROOT_INO, b"a", &dir()).unwrap().ino;
    let b = v.make(a, b"b", &dir()).unwrap().ino;
    let c = v.make(b, b"c", &dir()).unwrap().ino;
    put(&v, c, "f", &[1; 1000]);
    let at = |v: &Volume, path: &[u8]| {
        let ino = v.resolve(path).unwrap();
        let t = v.totals_of(v.inode(ino).unwrap().id).unwrap();
        (t.rbytes, t.rfiles, t.rsubdirs)
    };
    assert_eq!(at(&v, b"/"), (1000, 1, 3));
    assert_eq!(at(&v, b"/a/b"), (1000, 1, 1));
    v.rename(a, b"b", ROOT_INO, b"b", RenameMode::Replace).unwrap();
    put(&v, c, "g", &[1; 50]);
    assert_eq!(at(&v, b"/"), (1050, 2, 3));
    assert_eq!(at(&v, b"/a"), (0, 0, 0));
    assert_eq!(at(&v, b"/b"), (1050, 2, 1));
    v.unlink(c, b"f").unwrap();
    v.unlink(c, b"g").unwrap();
    v.rmdir(b, b"c").unwrap();
    assert_eq!(at(&v, b"/"), (0, 0, 2));
    v.close().unwrap();
}

#[test]
fn a_copy_shares_blocks_and_then_goes_its_own_way() {
    let home = Home::new();
    let v = home.open();
    let data = noise(4, 5_000_000);
    let a = put(&v, ROOT_INO, "a", &data);
    v.sync().unwrap();
    let before = v.blocks().log().stat().live_bytes;
    let (b, _) = v.create(ROOT_INO, b"b", &file()).unwrap();
    assert_eq!(v.copy_range(a, 0, b.ino, 0, data.len() as u64).unwrap(), data.len() as u64);
    let (c, _) = v.create(ROOT_INO, b"c", &file()).unwrap();
    v.copy_range(a, 1000, c.ino, 500, 3_000_000).unwrap();
    assert!(v.blocks().log().stat().live_bytes - before < 100_000);
    v.write(b.ino, 7, b"changed").unwrap();
    assert!(read_all(&v, a) == data);
    let mut expected = vec![0; 500];
    expected.extend_from_slice(&data[1000..3_001_000]);
    assert!(read_all(&v, c.ino) == expected);
    v.sync().unwrap();
    assert!(read_all(&v, c.ino) == expected);
    v.close().unwrap();
}

#[test]
fn a_byte_in_front_of_a_big_file_costs_a_few_chunks() {
    let home = Home::new();
    let v = home.open();
    let data = noise(5, 30_000_000);
    put(&v, ROOT_INO, "a", &data);
    v.sync().unwrap();
    let before = v.blocks().log().stat().live_bytes;
    let mut shifted = vec![1];
    shifted.extend_from_slice(&data);
    let b = put(&v, ROOT_INO, "b", &shifted);
    v.sync().unwrap();
    let grown = v.blocks().log().stat().live_bytes - before;
    assert!(grown < 1_000_000, "grew by {grown}");
    assert!(read_all(&v, b) == shifted);
    v.close().unwrap();
}

#[test]
fn syncing_a_big_file_while_it_is_written_does_not_store_it_twice() {
    let home = Home::new();
    let v = home.open();
    let before = v.blocks().log().stat().live_bytes;
    let data = noise(11, 24_000_000);
    let (f, fh) = v.create(ROOT_INO, b"f", &file()).unwrap();
    for (i, part) in data.chunks(1 << 20).enumerate() {
        v.write(f.ino, (i << 20) as u64, part).unwrap();
        if i % 8 == 7 {
            v.fsync(f.ino, false).unwrap();
        }
    }
    v.fsync(f.ino, false).unwrap();
    v.release(fh).unwrap();
    v.sync().unwrap();
    let grown = v.blocks().log().stat().live_bytes - before;
    assert!(grown < 32_000_000, "24 MB took {grown}");
    assert!(read_all(&v, f.ino) == data);
    v.close().unwrap();
}

#[test]
fn a_file_settled_while_it_is_written_loses_nothing() {
    let home = Home::new();
    let v = home.open();
    let mut model = noise(12, 6_000_000);
    let ino = put(&v, ROOT_INO, "f", &model);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let settling = scope.spawn(|| {
            let mut settled = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                settled += u32::from(!v.settle(&v.inode(ino).unwrap()).unwrap());
            }
            settled
        });
        for n in 0..3_000_u64 {
            let at = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 5_900_000;
            let data = noise(n, 1 + usize::try_from(n % 5_000).unwrap());
            v.write(ino, at, &data).unwrap();
            model[usize::try_from(at).unwrap()..][..data.len()].copy_from_slice(&data);
            if n % 1_000 == 500 {
                v.fsync(ino, false).unwrap();
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        settling.join().unwrap();
    });
    assert!(read_all(&v, ino) == model);
    v.fsync(ino, false).unwrap();
    drop(v); // without a close
    let v = home.open();
    let ino = v.lookup(ROOT_INO, b"f").unwrap().ino;
    assert!(read_all(&v, ino) == model);
    v.close().unwrap();
}

#[test]
fn a_file_in_many_pieces_is_put_away_as_it_is_and_settled_after_the_next_start() {
    let mut home = Home::new();
    let v = home.open();
    let mut expected = noise(1, 3 << 20);
    let ino = put(&v, ROOT_INO, "f", &expected);
    v.settle_all().unwrap();
    let fh = v.open(ino, true, false).unwrap();
    for n in 0..400 {
        let (at, data) = (n * 7001, noise(n as u64, 100));
        v.write(ino, at as u64, &data).unwrap();
        expected[at..at + 100].copy_from_slice(&data);
    }
    v.release(fh).unwrap();
    v.close().unwrap();
    drop(v);
    home.options.read_only = true;
    let v = home.open();
    assert_eq!(v.unsettled.lock().len(), 1, "unmounting waited for it");
    assert!(read_all(&v, v.lookup(ROOT_INO, b"f").unwrap().ino) == expected);
    drop(v);
    home.options.read_only = false;
    let v = home.open();
    let ino = v.lookup(ROOT_INO, b"f").unwrap().ino;
    v.settle_all().unwrap();
    assert!(v.inode(ino).unwrap().inner.lock().file.is_none() && read_all(&v, ino) == expected);
}

#[test]
fn a_big_file_that_is_being_written_does_not_make_the_next_start_long() {
    let mut home = Home::new();
    home.options.tail_max = 4 << 20;
    let v = home.open();
    let (attr, _open) = v.create(ROOT_INO, b"f", &file()).unwrap();
    v.fsyncdir(ROOT_INO).unwrap();
    v.seal().unwrap();
    let before = v.figures().seq;
    for (n, part) in noise(1, 16 << 20).chunks(1 << 20).enumerate() {
        v.write(attr.ino, (n << 20) as u64, part).unwrap();
    }
    v.store_cut(&v.inode(attr.ino).unwrap()).unwrap();
    while !v.has_long_tail() {
        std::thread::yield_now(); // the workers have the last chunks in hand
    }
    v.tend().unwrap();
    assert!(v.figures().seq > before && !v.has_long_tail(), "no checkpoint");
    assert!(read_all(&v, attr.ino) == noise(1, 16 << 20));
}

#[test]
fn holes_are_kept_and_found() {
    let home = Home::new();
    let v = home.open();
    let (f, _) = v.create(ROOT_INO, b"f", &file()).unwrap();
    v.write(f.ino, 1 << 40, b"end").unwrap();
    assert_eq!(v.seek(f.ino, 0, SeekWhence::Data).unwrap(), 1 << 40);
    v.sync().unwrap();
    assert_eq!(v.getattr(f.ino).unwrap().size, (1 << 40) + 3);
    assert_eq!(v.seek(f.ino, 0, SeekWhence::Data).unwrap(), 1 << 40);
    assert_eq!(v.seek(f.ino, 1 << 40, SeekWhence::Hole).unwrap(), (1 << 40) + 3);
    v.write(f.ino, 0, &noise(6, 1_000_000)).unwrap();
    v.fallocate(f.ino, 100_000, 200_000, FallocMode { punch: true, keep_size: true, ..FallocMode::default() }).unwrap();
    v.sync().unwrap();
    assert_eq!(v.seek(f.ino, 0, SeekWhence::Hole).unwrap(), 100_000);
    assert_eq!(v.seek(f.ino, 100_000, SeekWhence::Data).unwrap(), 300_000);
    let mut expected = noise(6, 1_000_000);
    expected[100_000..300_000].fill(0);
    assert!(v.read(f.ino, 0, 1_000_000).unwrap() == expected);
    v.fallocate(f.ino, 4096, 8192, FallocMode { collapse: true, ..FallocMode::default() }).unwrap();
    expected.drain(4096..4096 + 8192);
    assert!(v.read(f.ino, 0, 900_000).unwrap() == expected[..900_000]);
    v.close().unwrap();
}

#[test]
fn a_collection_frees_what_was_removed_and_nothing_else() {
    let home = Home::new();
    let v = home.open();
    let keep = noise(7, 3_000_000);
    put(&v, ROOT_INO, "keep", &keep);
    put(&v, ROOT_INO, "drop", &noise(8, 20_000_000));
    v.sync().unwrap(); // what was never stored is nothing to free
    let (open, _fh) = v.create(ROOT_INO, b"open", &file()).unwrap();
    v.write(open.ino, 0, &noise(9, 2_000_000)).unwrap();
    v.fsync(open.ino, false).unwrap();
    v.unlink(ROOT_INO, b"open").unwrap();
    v.unlink(ROOT_INO, b"drop").unwrap();
    let mut quiet = |_: &'static str, _, _| Ok(());
    let would = v.collect(true, &mut quiet).unwrap();
    assert!(would.freed_bytes > 19_000_000);
    v.lookup(ROOT_INO, b"keep").unwrap(); // a resident node is not a reason to keep what was removed
    let done = v.collect(false, &mut quiet).unwrap();
    assert!(done.freed_bytes > 19_000_000, "{done:?}");
    assert!(read_all(&v, v.lookup(ROOT_INO, b"keep").unwrap().ino) == keep);
    assert!(read_all(&v, open.ino) == noise(9, 2_000_000));
    let checked = v.verify(false, true, &mut quiet).unwrap();
    assert_eq!((checked.bad, checked.unrepairable.len()), (0, 0), "{checked:?}");
    assert!(checked.checked > 10);
    v.close().unwrap();
}

#[test]
fn a_flipped_bit_is_never_returned_and_fsck_names_the_file() {
    let home = Home::new();
    let v = home.open();
    put(&v, ROOT_INO, "f", &noise(10, 1_000_000));
    v.close().unwrap();
    drop(v);
    let log = home.dir.path().join("v/log");
    let arena = std::fs::read_dir(&log)
        .unwrap()
        .map(|e| e.unwrap().path())
        .max_by_key(|p| p.metadata().unwrap().len())
        .unwrap();
    let mut bytes = std::fs::read(&arena).unwrap();
    bytes[400_000] ^= 1;
    std::fs::write(&arena, bytes).unwrap();
    let v = home.open();
    let f = v.lookup(ROOT_INO, b"f").unwrap();
    let expected = noise(10, 1_000_000);
    let mut bad = 0;
    for at in (0..1_000_000).step_by(10_000) {
        match v.read(f.ino, at, 10_000) {
            Ok(data) => assert!(data == expected[at as usize..at as usize + 10_000]),
            Err(e) => {
                assert_eq!(e.kind(), Kind::Corrupt);
                bad += 1;
            }
        }
    }
    assert!(bad > 0);
    let checked = v.verify(false, true, &mut |_, _, _| Ok(())).unwrap();
    assert!(checked.bad >= 1 && checked.unrepairable.iter().any(|hit| hit.path == "/f"), "{checked:?}");
}

mod cluster;
mod many;
mod merging;
mod reaching;
mod reborn;
mod sharing;
mod simulation;

#[test]
fn a_hole_punched_behind_the_end_does_not_upset_the_next_fsync() {
    let home = Home::new();
    let v = home.open();
    let ino = put(&v, ROOT_INO, "f", &noise(11, 16_000));
    v.fsync(ino, false).unwrap();
    v.write(ino, 5000, b"x").unwrap();
    v.fsync(ino, false).unwrap();
    let punch = FallocMode { keep_size: true, punch: true, ..FallocMode::default() };
    v.fallocate(ino, 32_962, 1, punch).unwrap();
    v.fsync(ino, false).unwrap();
    let mut expected = noise(11, 16_000);
    expected[5000] = b'x';
    assert!(read_all(&v, ino) == expected);
    v.close().unwrap();
    drop(v);
    let v = home.open();
    let ino = v.lookup(ROOT_INO, b"f").unwrap().ino;
    assert!(read_all(&v, ino) == expected);
}
