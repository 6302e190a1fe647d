//! A device that was set back, or copied, becomes another writer: another key, another index, the same device.
//!
//! Its index has to be given by an admin: itself, or one that is connected and adds it without asking anybody, since
//! it is a member already. Must never give an index to a device that is no member, nor write as the old one again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::word::Word;
use super::{Exchange, Replica};
use crate::base::port::{Entropy, System};
use crate::base::sync::Mutex;
use crate::base::{Error, Kind, Result, VolumeId, WriterIndex};
use crate::net::Peer;
use crate::seal::membership::{Entry, Member, Membership, Role, is_proven, prove};
use crate::volume::Reborn;

/// A device becomes another writer so often, at most: each takes room in the membership for good.
const MOST: usize = 16;

/// Between two questions to admins.
const AGAIN: Duration = Duration::from_secs(5);

/// What is known of having been set back.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// The last own change that others have in common.
    since: u64,
    /// Who this device will be.
    incarnation: u32,
    /// How often an admin was asked, and when last.
    asked: usize,
    last: Option<Instant>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Rebirth(Mutex<Option<Found>>);

impl Rebirth {
    /// Others know other changes behind `since`. Whether that is news.
    fn found(&self, since: u64) -> bool {
        let mut found = self.0.lock();
        let new = found.is_none();
        let before = found.get_or_insert_with(|| {
            let mut bytes = [0; 4];
            System.fill(&mut bytes);
            Found { since, incarnation: u32::from_le_bytes(bytes), asked: 0, last: None }
        });
        before.since = before.since.min(since);
        new
    }
}

impl Exchange {
    /// This device was set back, or copied: `since` is its last change that others have too.
    pub(super) fn set_back(self: &Arc<Self>, replica: &Arc<Replica>, since: u64) {
        if replica.rebirth.found(since) {
            let volume = &replica.known.name;
            tracing::warn!(
                volume,
                "this device was set back to an earlier state, or copied: it goes on as another writer"
            );
        }
        self.go_on(replica);
    }

    /// Become the other writer if its index was given; else ask for it.
    pub(super) fn go_on(self: &Arc<Self>, replica: &Arc<Replica>) {
        let Some(found) = *replica.rebirth.0.lock() else { return };
        if let Err(error) = self.try_go_on(replica, found) {
            let volume = &replica.known.name;
            tracing::info!(volume, error = %error.chain(), "this device cannot go on as another writer yet");
        }
    }

    fn try_go_on(self: &Arc<Self>, replica: &Arc<Replica>, found: Found) -> Result<()> {
        let volumes = self.volumes()?;
        let key = volumes.device().author_key(replica.known.id, found.incarnation);
        if replica.role() == Role::Admin && replica.author(&key.public()).is_none() {
            let proof = self.proof(replica, &key.public())?;
            self.give_index(replica, &self.me(), (key.public(), proof))?;
        }
        let Some(member) = replica.author(&key.public()) else {
            return self.ask_for_index(replica, key.public());
        };
        let reborn = Reborn { since: found.since, writer: member.writer, incarnation: found.incarnation, key };
        let count = replica.volume.be_reborn(reborn)?;
        *replica.rebirth.0.lock() = None;
        volumes.follow_writer(&replica.known, replica.volume.writes_as())?;
        tracing::info!(
            volume = replica.known.name,
            writer = member.writer,
            changed = count,
            "this device goes on as another writer"
        );
        replica.forget_said();
        replica.inbox().retry(Instant::now());
        replica.changed();
        Ok(())
    }

    /// Ask an admin that is connected, each time another; the answer is a record of the membership.
    fn ask_for_index(&self, replica: &Replica, author: [u8; 32]) -> Result<()> {
        let me = self.me();
        let Some(net) = self.net() else { return Ok(()) };
        let admins = replica.admins().into_iter().filter(|peer| *peer != me && net.is_connected(peer));
        let admins: Vec<_> = admins.collect();
        let next = {
            let mut found = replica.rebirth.0.lock();
            let Some(found) = found.as_mut() else { return Ok(()) };
            if found.last.is_some_and(|last| last.elapsed() < AGAIN) {
                return Ok(()); // it is on its way
            }
            let next = admins.get(found.asked % admins.len().max(1)).copied();
            (found.asked, found.last) = (found.asked + 1, next.map(|_| Instant::now()));
            next
        };
        if let Some(peer) = next {
            let proof = self.proof(replica, &author)?;
            return net.push_head_to(&peer, replica.known.id, &Word::Renew(author, proof).encode());
        }
        let error = Error::new(Kind::Unreachable, "become another writer", &replica.known.name);
        Err(error.with_source("no device that may change the members is connected"))
    }

    /// Who this device was says who it will be.
    fn proof(&self, replica: &Replica, author: &[u8; 32]) -> Result<[u8; 64]> {
        let (_, incarnation) = replica.volume.writes_as();
        let before = self.volumes()?.device().author_key(replica.known.id, incarnation);
        Ok(prove(replica.known.id, &before, author))
    }

    /// Give the member `peer`, which asks for it, another index under a key that it proves to be its own.
    pub(super) fn give_index(
        self: &Arc<Self>,
        replica: &Replica,
        peer: &Peer,
        key: ([u8; 32], [u8; 64]),
    ) -> Result<()> {
        if replica.role() != Role::Admin {
            return Ok(()); // another was asked as well
        }
        self.change_members(&replica.known, |membership, me| {
            Ok(another((replica.known.id, membership), me, peer, key)?.into_iter().collect())
        })
    }
}

/// The entry that gives the member `peer` another index; `None` if it has that already.
fn another(
    (id, membership): (VolumeId, &Membership),
    me: WriterIndex,
    peer: &Peer,
    (author, proof): ([u8; 32], [u8; 64]),
) -> Result<Option<Entry>> {
    let table = membership.table();
    let refuse = |why: &'static str| {
        Err(Error::new(Kind::NotPermitted, "go on as another writer", peer.to_string()).with_source(why))
    };
    if table.members().any(|m| m.peer == peer.0 && m.author == author) {
        return Ok(None);
    }
    if table.everyone().filter(|(m, _)| m.peer == peer.0).count() > MOST {
        return refuse("it did so too often: remove the device, and invite it again");
    }
    let was = |m: &&Member| m.peer == peer.0 && m.role.reads() && is_proven(id, &m.author, &author, &proof);
    let Some(before) = table.members().find(was) else {
        return refuse("it is no member that reads, or does not prove which");
    };
    // An admin that was set back itself may not know which indexes it gave.
    let mut somewhere = [0; 2];
    System.fill(&mut somewhere);
    let Some(writer) = table.next_writer_from(me, u16::from_le_bytes(somewhere)) else {
        return refuse("only the founder and admins it let in itself can let devices in");
    };
    Ok(Some(Entry::Again { of: before.writer, writer, author, proof }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::base::port::Time;
    use crate::seal::{DeviceRoot, box_key};

    const ID: VolumeId = VolumeId([3; 16]);

    fn member(writer: u32, role: Role) -> Member {
        let device = DeviceRoot::new([u8::try_from(writer).unwrap() + 1; 32]);
        let author = device.author_key(ID, 0).public();
        Member {
            writer,
            peer: [u8::try_from(writer).unwrap(); 32],
            author,
            box_key: box_key(&device),
            role,
            name: format!("d{writer}"),
        }
    }

    #[test]
    fn a_writing_member_gets_another_index_a_bounded_number_of_times_and_nobody_else_does() {
        let key = DeviceRoot::new([1; 32]).author_key(ID, 0);
        let mut membership = Membership::found(ID, &key, member(0, Role::Admin), Time(0)).unwrap();
        for (writer, role) in [(1, Role::Writer), (2, Role::Reader), (3, Role::Storage), (4, Role::Writer)] {
            membership.append(&key, vec![Entry::Add(member(writer, role))], Time(0)).unwrap();
        }
        membership.append(&key, vec![Entry::Remove(4)], Time(0)).unwrap();
        for stranger in [3, 4, 9] {
            let device = DeviceRoot::new([stranger + 1; 32]);
            let proof = prove(ID, &device.author_key(ID, 0), &[9; 32]);
            let asked = another((ID, &membership), 0, &Peer([stranger; 32]), ([9; 32], proof));
            assert_eq!(asked.unwrap_err().kind(), Kind::NotPermitted);
        }
        let was = DeviceRoot::new([2; 32]).author_key(ID, 0);
        let proof = |n: u8| prove(ID, &was, &[n; 32]);
        let mut given = 0;
        for n in 100..200_u8 {
            let Ok(Some(entry)) = another((ID, &membership), 0, &Peer([1; 32]), ([n; 32], proof(n))) else { break };
            membership.append(&key, vec![entry], Time(0)).unwrap();
            let new = membership.table().members().find(|m| m.author == [n; 32]).unwrap();
            assert_eq!((new.peer, new.role, new.name.as_str()), ([1; 32], Role::Writer, "d1"));
            assert_eq!(membership.table().first(new.writer), 1);
            assert!(
                another((ID, &membership), 0, &Peer([1; 32]), ([n; 32], proof(n))).unwrap().is_none(),
                "asked again"
            );
            given += 1;
        }
        assert_eq!(given, MOST);
    }

    #[test]
    fn what_is_common_only_shrinks_and_the_key_stays_while_it_is_waited_for() {
        let rebirth = Rebirth::default();
        assert!(rebirth.found(9));
        let first = rebirth.0.lock().unwrap();
        assert!(!rebirth.found(7) && !rebirth.found(8));
        let now = rebirth.0.lock().unwrap();
        assert_eq!((now.since, now.incarnation), (7, first.incarnation));
    }
}
