//! One random operation on both; operands are what lives, modulo.

use fstests::harness::bytes::random;
use lovage::base::Kind;
use lovage::volume::FileSystem;
use lovage::volume::api::{Attr, FallocMode, FileKind, NewNode, RenameMode, SeekWhence, SetAttr, XattrMode};

use crate::pair::{Node, Pair, outcome, shown};

const NAMES: [&[u8]; 6] = [b"a", b"b", b"c", b"file", b"dir", b"\xc3\xa9"];

type Made = std::result::Result<Attr, Kind>;

impl Pair {
    fn name(&mut self) -> &'static [u8] {
        NAMES[self.random.index(NAMES.len())]
    }

    /// Any node.
    fn any(&mut self) -> usize {
        self.random.index(self.nodes.len())
    }

    fn of_kind(&mut self, kind: FileKind) -> Option<usize> {
        let fitting: Vec<usize> = (0..self.nodes.len()).filter(|at| self.nodes[*at].kind == kind).collect();
        if fitting.is_empty() { None } else { Some(fitting[self.random.index(fitting.len())]) }
    }

    /// Offsets on, beside and far from borders; lengths likewise.
    fn offset(&mut self) -> u64 {
        match self.random.below(4) {
            0 => self.random.below(200),
            1 => (self.random.below(20) * 4096 + self.random.below(3)).saturating_sub(1),
            _ => self.random.below(90_000),
        }
    }

    fn len(&mut self) -> usize {
        match self.random.below(4) {
            0 => self.random.index(3),
            1 => self.random.index(300),
            _ => self.random.index(30_000),
        }
    }

    /// One operation.
    pub fn step(&mut self, step: usize) {
        let pick = self.random.below(30);
        let dir = self.of_kind(FileKind::Directory).unwrap();
        match pick {
            0..=5 => self.make(dir, step),
            6..=8 => self.remove(dir, step),
            9..=11 => self.rename(dir, step),
            12 => self.link(dir, step),
            13..=14 => self.attributes(step),
            15..=16 => self.xattrs(step),
            _ => match self.of_kind(FileKind::File) {
                Some(file) => self.content(file, step),
                None => self.make(dir, step),
            },
        }
    }

    fn learn(&mut self, ours: Made, theirs: Made, what: &str) {
        assert_eq!(ours.map(|a| shown(&a)), theirs.map(|a| shown(&a)), "{what}");
        if let (Ok(ours), Ok(theirs)) = (ours, theirs)
            && !self.nodes.iter().any(|n| n.theirs == theirs.ino)
        {
            self.nodes.push(Node { ours: ours.ino, theirs: theirs.ino, kind: ours.kind, handles: Vec::new() });
        }
    }

    fn make(&mut self, dir: usize, step: usize) {
        let kinds = [FileKind::File, FileKind::File, FileKind::Directory, FileKind::Symlink, FileKind::Fifo];
        let kind = kinds[self.random.index(kinds.len())];
        let target = (kind == FileKind::Symlink).then(|| b"somewhere/else".to_vec());
        let perm = [0o644, 0o755, 0o4711, 0o1777][self.random.index(4)];
        let node = NewNode { kind, perm, uid: 1, gid: 2, rdev: 0, target };
        let (d, name) = (self.nodes[dir].clone(), self.name());
        let (ours, theirs) = (self.volume.make(d.ours, name, &node), self.model.make(d.theirs, name, &node));
        self.trace.push(format!("{step}: make {kind:?} {} in {}", name.escape_ascii(), d.theirs));
        self.learn(outcome(ours), outcome(theirs), &format!("{step}: make {kind:?}"));
    }

    fn remove(&mut self, dir: usize, step: usize) {
        let (d, name) = (self.nodes[dir].clone(), self.name());
        self.trace.push(format!("{step}: remove {} in {}", name.escape_ascii(), d.theirs));
        let (ours, theirs) = if self.random.below(2) == 0 {
            (self.volume.unlink(d.ours, name), self.model.unlink(d.theirs, name))
        } else {
            (self.volume.rmdir(d.ours, name), self.model.rmdir(d.theirs, name))
        };
        assert_eq!(outcome(ours), outcome(theirs), "{step}: remove");
        self.forget_gone();
    }

    /// Nodes without a name are used only while they are open: so does the kernel.
    fn forget_gone(&mut self) {
        let model = &self.model;
        self.nodes
            .retain(|n| !n.handles.is_empty() || n.theirs == 1 || model.getattr(n.theirs).is_ok_and(|a| a.nlink > 0));
    }

    fn rename(&mut self, dir: usize, step: usize) {
        let to = self.of_kind(FileKind::Directory).unwrap();
        let (from, to) = (self.nodes[dir].clone(), self.nodes[to].clone());
        let (name, new) = (self.name(), self.name());
        let mode = [RenameMode::Replace, RenameMode::Replace, RenameMode::NoReplace, RenameMode::Exchange];
        let mode = mode[self.random.index(4)];
        let (old, now) = (name.escape_ascii(), new.escape_ascii());
        self.trace.push(format!("{step}: rename {mode:?} {old} in {} to {now} in {}", from.theirs, to.theirs));
        if self.is_below(&from, name, &to) || mode == RenameMode::Exchange && self.is_below(&to, new, &from) {
            return; // the kernel refuses this before it asks
        }
        let ours = self.volume.rename(from.ours, name, to.ours, new, mode);
        let theirs = self.model.rename(from.theirs, name, to.theirs, new, mode);
        assert_eq!(outcome(ours), outcome(theirs), "{step}: rename {mode:?}");
        self.forget_gone();
    }

    /// Whether directory `inner` is what `name` in `outer` leads to, or below it, in the model.
    fn is_below(&self, outer: &Node, name: &[u8], inner: &Node) -> bool {
        let Ok(start) = self.model.lookup(outer.theirs, name) else { return false };
        let mut waiting = vec![start];
        while let Some(attr) = waiting.pop() {
            if attr.ino == inner.theirs {
                return true;
            }
            if attr.kind == FileKind::Directory {
                waiting.extend(NAMES.iter().filter_map(|name| self.model.lookup(attr.ino, name).ok()));
            }
        }
        false
    }

    fn link(&mut self, dir: usize, step: usize) {
        let at = self.any();
        let (node, d, name) = (self.nodes[at].clone(), self.nodes[dir].clone(), self.name());
        self.trace.push(format!("{step}: link {} as {} in {}", node.theirs, name.escape_ascii(), d.theirs));
        let linked = self.model.getattr(node.theirs).is_ok_and(|a| a.nlink > 0);
        if node.kind == FileKind::Directory || !linked {
            return;
        }
        let ours = self.volume.link(node.ours, d.ours, name);
        let theirs = self.model.link(node.theirs, d.theirs, name);
        self.learn(outcome(ours), outcome(theirs), &format!("{step}: link"));
    }

    fn attributes(&mut self, step: usize) {
        let at = self.any();
        let node = self.nodes[at].clone();
        let mut change = SetAttr::default();
        match self.random.below(3) {
            0 if node.kind != FileKind::Symlink => {
                change.perm = Some(u16::try_from(self.random.below(0o7777)).unwrap());
            }
            1 => (change.uid, change.gid) = (Some(3), Some(4)),
            _ => change.kill_suidgid = true,
        }
        let ours = self.volume.setattr(node.ours, &change);
        let theirs = self.model.setattr(node.theirs, &change);
        self.learn(outcome(ours), outcome(theirs), &format!("{step}: {change:?} of {:?}", node.kind));
    }

    fn xattrs(&mut self, step: usize) {
        let at = self.any();
        let node = self.nodes[at].clone();
        let name: &[u8] = [&b"user.a"[..], b"user.b", b"user.long"][self.random.index(3)];
        if self.random.below(3) == 0 {
            let ours = outcome(self.volume.removexattr(node.ours, name));
            assert_eq!(ours, outcome(self.model.removexattr(node.theirs, name)), "{step}: removexattr");
            return;
        }
        let value = random(self.random.word(), self.random.index(3000));
        let mode = [XattrMode::Set, XattrMode::Create, XattrMode::Replace][self.random.index(3)];
        let ours = outcome(self.volume.setxattr(node.ours, name, &value, mode));
        assert_eq!(ours, outcome(self.model.setxattr(node.theirs, name, &value, mode)), "{step}: setxattr");
        let ours = outcome(self.volume.getxattr(node.ours, name));
        assert_eq!(ours, outcome(self.model.getxattr(node.theirs, name)), "{step}: getxattr");
    }

    fn content(&mut self, file: usize, step: usize) {
        let node = self.nodes[file].clone();
        let (offset, len) = (self.offset(), self.len());
        match self.random.below(14) {
            0..=3 => self.write(&node, offset, len, step),
            4 => {
                // As the kernel does for O_APPEND: at the size it knows.
                let end = self.model.getattr(node.theirs).unwrap().size;
                self.write(&node, end, len, step);
            }
            5..=6 => {
                let len = u32::try_from(len).unwrap();
                let ours = outcome(self.volume.read(node.ours, offset, len));
                let theirs = outcome(self.model.read(node.theirs, offset, len));
                let part = crate::pair::difference(&ours, &theirs);
                assert!(ours == theirs, "{step}: read {} {offset}+{len}: {part}", node.theirs);
            }
            7 => {
                self.trace.push(format!("{step}: truncate {} to {offset}", node.theirs));
                let change = SetAttr { size: Some(offset), ..SetAttr::default() };
                let ours = outcome(self.volume.setattr(node.ours, &change));
                let theirs = outcome(self.model.setattr(node.theirs, &change));
                assert_eq!(ours.map(|a| shown(&a)), theirs.map(|a| shown(&a)), "{step}: truncate to {offset}");
            }
            8..=9 => self.allocate(&node, offset, len, step),
            10 => self.copy(&node, offset, len, step),
            11 => self.toggle(file),
            12 => {
                let whence = if len % 2 == 0 { SeekWhence::Data } else { SeekWhence::Hole };
                // Where holes are is the filesystem's own affair; that there is none behind the end is not.
                let (ours, theirs) =
                    (self.volume.seek(node.ours, offset, whence), self.model.seek(node.theirs, offset, whence));
                let size = self.model.getattr(node.theirs).unwrap().size;
                assert_eq!(offset >= size, outcome(ours).is_err() && outcome(theirs).is_err() && offset >= size);
            }
            _ => {
                self.trace.push(format!("{step}: fsync {}", node.theirs));
                self.volume.fsync(node.ours, len % 2 == 0).unwrap();
            }
        }
    }

    fn write(&mut self, node: &Node, offset: u64, len: usize, step: usize) {
        let data = random(self.random.word(), len);
        self.trace.push(format!("{step}: write {} {offset}+{len}", node.theirs));
        let ours = outcome(self.volume.write(node.ours, offset, &data));
        assert_eq!(ours, outcome(self.model.write(node.theirs, offset, &data)), "{step}: write {offset}+{len}");
    }

    fn allocate(&mut self, node: &Node, offset: u64, len: usize, step: usize) {
        let plain = FallocMode::default();
        let modes = [
            plain,
            FallocMode { keep_size: true, ..plain },
            FallocMode { punch: true, keep_size: true, ..plain },
            FallocMode { zero: true, ..plain },
        ];
        let mode = modes[self.random.index(4)];
        let len = len as u64 + 1;
        self.trace.push(format!("{step}: allocate {} {offset}+{len} {mode:?}", node.theirs));
        let ours = outcome(self.volume.fallocate(node.ours, offset, len, mode));
        assert_eq!(ours, outcome(self.model.fallocate(node.theirs, offset, len, mode)), "{step}: {mode:?}");
    }

    fn copy(&mut self, node: &Node, offset: u64, len: usize, step: usize) {
        let Some(to) = self.of_kind(FileKind::File) else { return };
        let (to, into) = (self.nodes[to].clone(), self.offset());
        if to.theirs == node.theirs && offset.abs_diff(into) < len as u64 {
            return; // the kernel refuses overlaps
        }
        let len = len as u64;
        self.trace.push(format!("{step}: copy {} {offset}+{len} to {} {into}", node.theirs, to.theirs));
        let ours = outcome(self.volume.copy_range(node.ours, offset, to.ours, into, len));
        let theirs = outcome(self.model.copy_range(node.theirs, offset, to.theirs, into, len));
        assert_eq!(ours, theirs, "{step}: copy {offset}+{len} to {into}");
    }

    /// Opens the file, or closes it, which ends a file without a name.
    fn toggle(&mut self, file: usize) {
        let node = &mut self.nodes[file];
        self.trace.push(format!("open or close {}", node.theirs));
        if let Some((ours, theirs)) = node.handles.pop() {
            self.volume.release(ours).unwrap();
            self.model.release(theirs).unwrap();
            return self.forget_gone();
        }
        let ours = self.volume.open(node.ours, true, false).unwrap();
        node.handles.push((ours, self.model.open(node.theirs, true, false).unwrap()));
    }
}
