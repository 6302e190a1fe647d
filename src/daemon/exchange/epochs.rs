//! New epochs: a fresh secret for those who remain when somebody goes, sealed to each of them in the record.
//!
//! Must never seal a secret to a device that may not read, nor take one that was not sealed to this device.

use crate::base::port::Entropy;
use crate::base::{Error, Kind, Result, VolumeId, WriterIndex};
use crate::seal::membership::{Entry, Membership, Table};
use crate::seal::{DeviceRoot, EpochSecret, VolumeSecrets, open_box, seal_box};

/// What a box is bound to: volume, epoch, reader.
fn purpose(id: VolumeId, epoch: u32, writer: WriterIndex) -> Vec<u8> {
    [&id.0[..], &epoch.to_le_bytes(), &writer.to_le_bytes()].concat()
}

/// The entry that starts an epoch without `leaving`, by the admin `me`.
pub fn start(
    id: VolumeId,
    table: &Table,
    me: WriterIndex,
    leaving: &[WriterIndex],
    entropy: &dyn Entropy,
) -> Result<Entry> {
    let no_lane = || {
        Error::new(Kind::NotPermitted, "start an epoch", id.to_string())
            .with_source("only the founder and admins it let in itself can")
    };
    let epoch = table.next_epoch(me).ok_or_else(no_lane)?;
    let secret = EpochSecret::generate(entropy);
    let readers = table.readers().filter(|m| !leaving.contains(&m.writer));
    let boxes = readers.map(|m| {
        let sealed = seal_box(&m.box_key, &purpose(id, epoch, m.writer), &secret, entropy)?;
        Ok((m.writer, sealed))
    });
    Ok(Entry::Epoch { epoch, boxes: boxes.collect::<Result<_>>()? })
}

/// The secrets of epochs that were sealed to this device and that it does not have yet. A box that does not open is
/// left alone: its epoch's blocks cannot be read here.
pub fn opened(device: &DeviceRoot, secrets: &VolumeSecrets, membership: &Membership) -> Vec<(u32, EpochSecret)> {
    let known = |epoch: u32| secrets.epochs.iter().any(|(n, _)| *n == epoch);
    let new = membership.table().epochs().iter().filter(|(epoch, _)| !known(**epoch));
    // Also those sealed to what this device was before it was set back.
    let own: Vec<_> = membership.table().same(secrets.writer).map(|m| m.writer).chain([secrets.writer]).collect();
    let mine =
        new.filter_map(|(epoch, boxes)| own.iter().find_map(|writer| Some((*epoch, *writer, boxes.get(writer)?))));
    let opened = mine.filter_map(|(epoch, writer, sealed)| {
        let secret = open_box(device, &purpose(secrets.id, epoch, writer), sealed);
        if secret.is_err() {
            tracing::error!(volume = %secrets.id, epoch, "the secret of a new epoch does not open");
        }
        Some((epoch, secret.ok()?))
    });
    // Never while the volume's first secret is missing: a device that may not read has no use for others.
    if secrets.epochs.is_empty() { Vec::new() } else { opened.collect() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]
    use super::*;
    use crate::base::port::{Seeded, Time};
    use crate::seal::membership::{Member, Role};
    use crate::seal::{AuthorKey, box_key};

    const ID: VolumeId = VolumeId([3; 16]);

    fn member(device: &DeviceRoot, writer: u32, role: Role) -> Member {
        let author = device.author_key(ID, 0).public();
        let name = format!("d{writer}");
        Member { writer, peer: [writer as u8; 32], author, box_key: box_key(device), role, name }
    }

    fn knows(writer: u32) -> VolumeSecrets {
        VolumeSecrets { writer, ..VolumeSecrets::founded(ID, Vec::new(), EpochSecret::new([0; 32])) }
    }

    #[test]
    fn those_who_remain_learn_the_new_epoch_and_the_one_put_out_does_not() {
        let devices: Vec<_> = (1..=4).map(|n| DeviceRoot::new([n; 32])).collect();
        let (entropy, key) = (Seeded::new(5), devices[0].author_key(ID, 0));
        let roles = [Role::Admin, Role::Writer, Role::Writer, Role::Storage];
        let member = |n: usize| member(&devices[n], n as u32, roles[n]);
        let mut membership = Membership::found(ID, &key, member(0), Time(0)).unwrap();
        for n in 1..4 {
            membership.append(&key, vec![Entry::Add(member(n))], Time(1)).unwrap();
        }
        assert!(!membership.table().is_compromised());
        let epoch = start(ID, membership.table(), 0, &[2], &entropy).unwrap();
        membership.append(&key, vec![Entry::Remove(2), epoch], Time(2)).unwrap();
        assert!(!membership.table().is_compromised());
        let learnt: Vec<_> = (0..4).map(|n| opened(&devices[n], &knows(n as u32), &membership)).collect();
        assert_eq!(learnt.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 0, 0]);
        assert_eq!(learnt[0][0].0, 65_536);
        // Not even with another's box.
        assert!(opened(&devices[2], &knows(1), &membership).is_empty());
        let blind = VolumeSecrets { epochs: Vec::new(), ..knows(0) };
        assert!(opened(&devices[0], &blind, &membership).is_empty());
        let again: AuthorKey = devices[0].author_key(ID, 0);
        membership.append(&again, vec![Entry::Remove(1)], Time(3)).unwrap();
        assert!(membership.table().is_compromised(), "removed without a new epoch");
        let epoch = start(ID, membership.table(), 0, &[], &entropy).unwrap();
        membership.append(&again, vec![epoch], Time(4)).unwrap();
        assert!(!membership.table().is_compromised());
        assert_eq!(membership.table().epoch(), 2 * 65_536);
    }
}
