//! What happens to names: making, linking, removing, renaming.

use lovage::base::{Kind, Name, Result, limits};
use lovage::volume::api::{FileKind, Ino, NewNode, RenameMode};

use super::node::{Body, Node};
use super::{State, fail};

impl State {
    /// The node a name refers to. `.` and `..` are not names.
    pub(super) fn find(&self, parent: Ino, name: &[u8]) -> Result<Ino> {
        let entries = self.node(parent)?.entries()?;
        Name::new(name)?;
        entries.get(name).copied().map_or_else(|| fail(Kind::NotFound), Ok)
    }

    fn find_if_there(&self, parent: Ino, name: &[u8]) -> Result<Option<Ino>> {
        match self.find(parent, name) {
            Ok(ino) => Ok(Some(ino)),
            Err(e) if e.kind() == Kind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// A place for a new name: the directory still has its own name, this one is free.
    fn free_place(&self, parent: Ino, name: &[u8]) -> Result<()> {
        if self.find_if_there(parent, name)?.is_some() {
            return fail(Kind::Exists);
        }
        if self.node(parent)?.nlink == 0 {
            return fail(Kind::NotFound);
        }
        Ok(())
    }

    pub(super) fn make(&mut self, parent: Ino, name: &[u8], new: &NewNode) -> Result<Ino> {
        self.free_place(parent, name)?;
        let mut node = Node::new(new, self.now(), parent);
        let directory = self.node(parent)?;
        if directory.perm & 0o2000 != 0 {
            node.gid = directory.gid;
            node.perm |= if new.kind == FileKind::Directory { 0o2000 } else { 0 };
        }
        let ino = self.next_ino;
        self.next_ino += 1;
        self.nodes.insert(ino, node);
        self.attach(parent, name, ino)?;
        Ok(ino)
    }

    pub(super) fn link(&mut self, ino: Ino, parent: Ino, name: &[u8]) -> Result<()> {
        self.free_place(parent, name)?;
        let now = self.now();
        let node = self.node_mut(ino)?;
        match (node.kind, node.nlink) {
            (FileKind::Directory, _) => return fail(Kind::NotPermitted),
            (_, 0) => return fail(Kind::NotFound),
            (_, limits::MAX_LINKS..) => return fail(Kind::TooManyLinks),
            _ => {}
        }
        node.nlink += 1;
        node.ctime = now;
        self.attach(parent, name, ino)
    }

    pub(super) fn unlink(&mut self, parent: Ino, name: &[u8]) -> Result<()> {
        let ino = self.find(parent, name)?;
        if self.node(ino)?.kind == FileKind::Directory {
            return fail(Kind::IsDirectory);
        }
        self.detach(parent, name)?;
        self.lose_name(ino)
    }

    pub(super) fn rmdir(&mut self, parent: Ino, name: &[u8]) -> Result<()> {
        let ino = self.find(parent, name)?;
        if !self.node(ino)?.entries()?.is_empty() {
            return fail(Kind::NotEmpty);
        }
        self.detach(parent, name)?;
        self.lose_name(ino)
    }

    /// Put a name into a directory; its times and, for a subdirectory, its link count follow.
    fn attach(&mut self, parent: Ino, name: &[u8], ino: Ino) -> Result<()> {
        let now = self.now();
        let child_is_directory = self.node(ino)?.kind == FileKind::Directory;
        if let Body::Directory { parent: up, .. } = &mut self.node_mut(ino)?.body {
            *up = parent;
        }
        let directory = self.node_mut(parent)?;
        directory.entries_mut()?.insert(name.to_vec(), ino);
        directory.nlink += u32::from(child_is_directory);
        directory.modified(now);
        Ok(())
    }

    /// The reverse of `attach`; the node itself is untouched.
    fn detach(&mut self, parent: Ino, name: &[u8]) -> Result<Ino> {
        let now = self.now();
        let ino = self.find(parent, name)?;
        let child_is_directory = self.node(ino)?.kind == FileKind::Directory;
        let directory = self.node_mut(parent)?;
        directory.entries_mut()?.remove(name);
        directory.nlink -= u32::from(child_is_directory);
        directory.modified(now);
        Ok(ino)
    }

    /// A node has one name less; a directory has none left.
    fn lose_name(&mut self, ino: Ino) -> Result<()> {
        let now = self.now();
        let node = self.node_mut(ino)?;
        node.nlink = if node.kind == FileKind::Directory { 0 } else { node.nlink - 1 };
        node.ctime = now;
        self.reap(ino);
        Ok(())
    }

    pub(super) fn rename(
        &mut self,
        (parent, name): (Ino, &[u8]),
        (new_parent, new_name): (Ino, &[u8]),
        mode: RenameMode,
    ) -> Result<()> {
        let ino = self.find(parent, name)?;
        let target = self.find_if_there(new_parent, new_name)?;
        if self.node(new_parent)?.nlink == 0 {
            return fail(Kind::NotFound);
        }
        self.check_no_loop(ino, new_parent)?;
        match (mode, target) {
            (RenameMode::NoReplace, Some(_)) => fail(Kind::Exists),
            (RenameMode::Exchange, None) => fail(Kind::NotFound),
            (_, Some(other)) if other == ino => Ok(()),
            (RenameMode::Exchange, Some(other)) => {
                self.check_no_loop(other, parent)?;
                self.detach(parent, name)?;
                self.detach(new_parent, new_name)?;
                self.settle(parent, name, other)?;
                self.settle(new_parent, new_name, ino)
            }
            (_, Some(other)) => {
                self.check_replaceable(ino, other)?;
                self.detach(new_parent, new_name)?;
                self.lose_name(other)?;
                self.detach(parent, name)?;
                self.settle(new_parent, new_name, ino)
            }
            (_, None) => {
                self.detach(parent, name)?;
                self.settle(new_parent, new_name, ino)
            }
        }
    }

    /// A moved node arrives: it was changed now.
    fn settle(&mut self, parent: Ino, name: &[u8], ino: Ino) -> Result<()> {
        let now = self.now();
        self.node_mut(ino)?.ctime = now;
        self.attach(parent, name, ino)
    }

    /// A directory cannot move into itself or below.
    fn check_no_loop(&self, ino: Ino, into: Ino) -> Result<()> {
        let mut at = into;
        loop {
            if at == ino {
                return fail(Kind::Invalid);
            }
            match &self.node(at)?.body {
                Body::Directory { parent, .. } if *parent != at => at = *parent,
                Body::Directory { .. } => return Ok(()),
                _ => return fail(Kind::NotDirectory),
            }
        }
    }

    fn check_replaceable(&self, ino: Ino, target: Ino) -> Result<()> {
        let directory = |ino| self.node(ino).map(|node| node.kind == FileKind::Directory);
        match (directory(ino)?, directory(target)?) {
            (true, false) => fail(Kind::NotDirectory),
            (false, true) => fail(Kind::IsDirectory),
            (true, true) if !self.node(target)?.entries()?.is_empty() => fail(Kind::NotEmpty),
            _ => Ok(()),
        }
    }
}
