//! Changing and learning who belongs: the keystore first, then the replica, the network, the other members.
//!
//! Must never act on a membership that is not stored.

use std::sync::Arc;

use super::super::volumes::Known;
use super::invites::words_of;
use super::{Exchange, Replica, epochs};
use crate::base::port::{Clock, System};
use crate::base::{Error, Kind, Result, VolumeId, WriterIndex};
use crate::net::Peer;
use crate::seal::membership::{Entry, Member, Membership, Role, Share, Table};
use crate::wire::Advice;
use crate::wire::control::MemberStatus;

impl Exchange {
    /// Change the membership of `known` by what `entries` says, given it and this device's index; store it, tell
    /// everyone. [`Kind::NotPermitted`] unless this device is an admin.
    pub(super) fn change_members(
        self: &Arc<Self>,
        known: &Known,
        entries: impl FnOnce(&Membership, WriterIndex) -> Result<Vec<Entry>>,
    ) -> Result<()> {
        let volumes = self.volumes()?;
        volumes.membership(known)?; // founds it
        let changed = volumes.change_membership(known, |device, secrets, membership| {
            let entries = entries(membership, secrets.writer)?;
            if entries.is_empty() {
                return Ok(false);
            }
            let key = device.author_key(secrets.id, secrets.incarnation);
            membership.append(&key, entries, System.now())?;
            Ok(true)
        })?;
        if let Some(membership) = changed {
            self.learnt(known.id, membership);
        }
        Ok(())
    }

    /// Records arrived from a member. Gives how many were new.
    pub(super) fn take_records(self: &Arc<Self>, replica: &Arc<Replica>, records: &[u8]) -> Result<usize> {
        let mut new = 0;
        let changed = self.volumes()?.change_membership(&replica.known, |_, _, membership| {
            let before = membership.digest();
            let merged = membership.merge(records);
            new = merged.as_ref().copied().unwrap_or(0);
            if membership.digest() != before {
                return Ok(true);
            }
            merged.map(|_| false)
        })?;
        if let Some(membership) = changed {
            let compromised = membership.table().is_compromised();
            self.learnt(replica.known.id, membership);
            if compromised && replica.role() == Role::Admin {
                self.renew(&replica.known)?;
            }
        }
        Ok(new)
    }

    /// Start a new epoch if somebody who was put out has the newest one.
    fn renew(self: &Arc<Self>, known: &Known) -> Result<()> {
        self.change_members(known, |membership, me| {
            let table = membership.table();
            let due = table.is_compromised();
            Ok(if due { vec![epochs::start(known.id, table, me, &[], &System)?] } else { Vec::new() })
        })
    }

    /// Take a new membership into use and tell those who are connected.
    fn learnt(self: &Arc<Self>, id: VolumeId, membership: Membership) {
        let Some(replica) = self.replica(id) else { return };
        replica.set_membership(membership);
        if let Ok(secrets) = self.volumes().and_then(|volumes| volumes.secrets_of(&replica.known)) {
            replica.volume.learn_epochs(&secrets.epochs);
        }
        self.review();
        if let Some(net) = self.net() {
            for word in replica.membership_words() {
                net.push_head(id, &word.encode());
            }
        }
        replica.changed();
    }

    /// Remember where a peer of a volume was reached.
    pub(super) fn remember_addresses(&self, id: VolumeId, peer: &Peer, addresses: Vec<String>) -> Result<()> {
        self.volumes()?.remember_addresses(id, peer.0, addresses)
    }

    /// Everyone who belongs or did.
    pub fn members(&self, known: &Known) -> Result<Vec<MemberStatus>> {
        let membership = self.volumes()?.membership(known)?;
        let me = self.me();
        let net = self.net();
        let mine = membership.table().members().find(|m| m.peer == me.0 && is_newest(membership.table(), m)).cloned();
        let all = membership.table().everyone();
        let placement = self.replica(known.id).map(|replica| self.placement(&replica));
        let share = |member: &Member| placement.as_ref()?.share(&member.peer).map(Share::percent);
        let shown = all.filter(|(member, belongs)| !belongs || is_newest(membership.table(), member)).map(
            |(member, belongs)| {
                let peer = Peer(member.peer);
                MemberStatus {
                    device: member.name.clone(),
                    id: peer.to_string(),
                    writer: member.writer,
                    role: member.role.name().to_owned(),
                    removed: !belongs,
                    this: peer == me,
                    connected: net.as_ref().is_some_and(|net| net.is_connected(&peer)),
                    words: mine
                        .as_ref()
                        .filter(|_| peer != me)
                        .map_or_else(String::new, |m| words_of(known.id, m, member)),
                    share_percent: share(member).filter(|_| belongs && member.role == Role::Storage),
                    room_bytes: membership
                        .table()
                        .room(member.writer)
                        .and_then(|class| 1_u64.checked_shl(class.into())),
                }
            },
        );
        Ok(shown.collect())
    }

    /// Put a device out: it is let in no more, its heads do not count, and what is written from now on it cannot read.
    /// What it had, it may have kept.
    /// [`Kind::NotPermitted`] for one that keeps what nobody else says to have, unless that is to be given up.
    pub fn remove_member(self: &Arc<Self>, known: &Known, device: &str, force: bool) -> Result<MemberStatus> {
        let target = self.find_member(known, device)?;
        if target.this {
            let advice = Advice::new("it is this device", "Ask another admin, or forget the volume here.");
            return Err(Error::new(Kind::NotPermitted, "remove the device", device).with_source(advice));
        }
        if target.role == Role::Storage.name() && !force {
            self.spare(known, target.writer)?;
        }
        self.change_members(known, |membership, me| {
            let table = membership.table();
            let all: Vec<_> = table.same(target.writer).collect();
            let mut entries = vec![Entry::Remove(target.writer)];
            if all.iter().any(|m| m.role.reads()) {
                let leaving: Vec<_> = all.iter().map(|m| m.writer).collect();
                entries.push(epochs::start(known.id, table, me, &leaving, &System)?);
            }
            Ok(entries)
        })?;
        Ok(MemberStatus { removed: true, connected: false, ..target })
    }

    /// Let a device do more or less.
    pub fn set_role(self: &Arc<Self>, known: &Known, device: &str, role: Role) -> Result<MemberStatus> {
        let target = self.find_member(known, device)?;
        if target.role == Role::Storage.name() {
            let why = "a device that keeps without reading has no key";
            let advice = Advice::new(why, "Remove it, and invite it again with another role.");
            return Err(Error::new(Kind::Invalid, "change the role", device).with_source(advice));
        }
        self.change_members(known, |membership, _| {
            let table = membership.table();
            let its = table.first(target.writer);
            let another = table.members().any(|m| m.role == Role::Admin && table.first(m.writer) != its);
            if role != Role::Admin && !another {
                let why = "it is the only admin: nobody could invite or remove anybody any more";
                let advice = Advice::new(why, format!("First: lovage members {} role DEVICE admin", known.name));
                return Err(Error::new(Kind::Invalid, "change the role", device).with_source(advice));
            }
            Ok(vec![Entry::Role(target.writer, role)])
        })?;
        Ok(MemberStatus { role: role.name().to_owned(), ..target })
    }

    /// Have each large block kept by so many storage members; 0: by all.
    pub fn set_copies(self: &Arc<Self>, known: &Known, copies: u8) -> Result<()> {
        self.change_members(known, |membership, me| {
            let table = membership.table();
            if table.member(me).is_none_or(|m| m.role != Role::Admin) {
                let advice = Advice::new("only an admin's device can", "Do it there: see `lovage members`.");
                return Err(Error::new(Kind::NotPermitted, "change the copies", &known.name).with_source(advice));
            }
            Ok((table.copies() != copies).then_some(Entry::Copies(copies)).into_iter().collect())
        })
    }

    /// Write down how much room a storage member says that it has.
    pub(super) fn note_room(self: &Arc<Self>, replica: &Replica, peer: &Peer, bytes: u64) -> Result<()> {
        self.change_members(&replica.known, |membership, _| {
            let is_box = |m: &&Member| m.peer == peer.0 && m.role == Role::Storage;
            let found = membership.table().members().find(is_box).map(|m| m.writer);
            Ok(found.and_then(|writer| membership.room_entry(writer, bytes)).into_iter().collect())
        })
    }

    fn find_member(&self, known: &Known, device: &str) -> Result<MemberStatus> {
        let all = self.members(known)?;
        let matches =
            |m: &&MemberStatus| !m.removed && (m.device == device || m.id == device || m.writer.to_string() == device);
        let found: Vec<_> = all.iter().filter(matches).collect();
        let refuse = |kind, why: &str, next: String| {
            Err(Error::new(kind, "find the device", device).with_source(Advice::new(why, next)))
        };
        match found.as_slice() {
            [one] => Ok((*one).clone()),
            [] => refuse(Kind::NotFound, "no member is called so", format!("See `lovage members {}`.", known.name)),
            several => {
                let numbers: Vec<_> = several.iter().map(|m| m.writer.to_string()).collect();
                let next = format!("Name it by its peer id or its number, one of {}.", numbers.join(", "));
                refuse(Kind::Invalid, "several members are called so", next)
            }
        }
    }
}

/// Whether a device goes under this index today, and not under one that it was given later.
fn is_newest(table: &Table, member: &Member) -> bool {
    // Whichever it is: those of one device differ in nothing that is shown but the number.
    table.same(member.writer).map(|m| m.writer).max() == Some(member.writer)
}
