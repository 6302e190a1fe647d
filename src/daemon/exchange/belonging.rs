//! Who belongs to a shared volume, and as what: questions about a replica's membership.

use std::collections::BTreeSet;

use super::Replica;
use crate::base::WriterIndex;
use crate::base::sync::RwLockReadGuard;
use crate::net::Peer;
use crate::seal::membership::{Member, Membership, Role};

impl Replica {
    /// The newest heads known of the device of `peer`.
    pub fn heads_of(&self, peer: &Peer) -> Vec<Vec<u8>> {
        let membership = self.membership.read();
        let authors = membership.table().members().filter(|m| m.peer == peer.0);
        authors.filter_map(|m| self.remembered.of(&m.author)).collect()
    }

    /// The devices that may change the members.
    pub fn admins(&self) -> BTreeSet<Peer> {
        let membership = self.membership.read();
        membership.table().members().filter(|m| m.role == Role::Admin).map(|m| Peer(m.peer)).collect()
    }

    /// Whether `peer` belongs.
    pub fn has(&self, peer: &Peer) -> bool {
        self.membership.read().table().members().any(|m| m.peer == peer.0)
    }

    /// The devices of all members but this one, each once: a device that came in again is still one place.
    pub fn peers(&self, me: &Peer) -> impl Iterator<Item = Peer> {
        let peers: BTreeSet<_> = self.membership.read().table().members().map(|m| Peer(m.peer)).collect();
        let me = *me;
        peers.into_iter().filter(move |peer| *peer != me)
    }

    /// The members that keep the volume and cannot read it.
    pub fn keepers(&self) -> Vec<Member> {
        self.membership.read().table().members().filter(|m| m.role == Role::Storage).cloned().collect()
    }

    pub(super) fn membership(&self) -> RwLockReadGuard<'_, Membership> {
        self.membership.read()
    }

    /// The member that signs as `author`, if its heads count.
    pub fn writer(&self, author: &[u8; 32]) -> Option<Member> {
        self.membership.read().table().members().find(|m| m.author == *author && m.role.writes()).cloned()
    }

    /// Whether `peer` is a member that can read.
    pub fn reads(&self, peer: &Peer) -> bool {
        self.membership.read().table().readers().any(|m| m.peer == peer.0)
    }

    /// Whether two indexes are of one device.
    pub fn is_same(&self, one: WriterIndex, other: WriterIndex) -> bool {
        let membership = self.membership.read();
        membership.table().first(one) == membership.table().first(other)
    }

    /// Whether the member that signed as `author` belongs no more.
    pub fn was_put_out(&self, author: &[u8; 32]) -> bool {
        self.membership.read().table().everyone().any(|(m, belongs)| m.author == *author && !belongs)
    }

    /// The member that signs as `author`, whatever it may do.
    pub fn author(&self, author: &[u8; 32]) -> Option<Member> {
        self.membership.read().table().members().find(|m| m.author == *author).cloned()
    }

    /// What people call the device of `peer`.
    pub fn name_of(&self, peer: &Peer) -> String {
        let membership = self.membership.read();
        let found = membership.table().members().find(|m| m.peer == peer.0).map(|m| m.name.clone());
        found.unwrap_or_else(|| peer.to_string())
    }

    /// What people call a writer's device.
    pub fn writer_name(&self, writer: WriterIndex) -> String {
        self.membership.read().table().ever(writer).map_or_else(|| format!("device {writer}"), |m| m.name.clone())
    }

    /// Everyone who belongs or did: key as an author, name, and whether it may write now.
    pub fn authors(&self) -> Vec<([u8; 32], String, bool)> {
        let membership = self.membership.read();
        let all = membership.table().everyone();
        all.map(|(m, belongs)| (m.author, m.name.clone(), belongs && m.role.writes())).collect()
    }

    /// This device's index.
    pub fn own_writer(&self) -> Option<WriterIndex> {
        let author = self.volume.author();
        self.membership.read().table().everyone().find(|(m, _)| m.author == author).map(|(m, _)| m.writer)
    }

    /// What this device may do.
    pub fn role(&self) -> Role {
        let author = self.volume.author();
        let membership = self.membership.read();
        membership.table().members().find(|m| m.author == author).map_or(Role::Storage, |m| m.role)
    }
}
