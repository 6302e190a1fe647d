//! The plain body of a keystore: the device's root and its volumes' secrets.
//!
//! Must never leave an unwiped copy: encoding reserves its exact size first, so that it never moves.

use zeroize::Zeroizing;

use super::VolumeSecrets;
use crate::base::{Error, Kind, Result, VolumeId};
use crate::seal::cursor::Cursor;
use crate::seal::device::DeviceRoot;
use crate::seal::secret::EpochSecret;

/// Written; version 1 (before there was sharing) is read.
const VERSION: u8 = 2;

/// Encode; [`Kind::TooBig`] if a count does not fit its field.
pub fn encode(device: &DeviceRoot, volumes: &[VolumeSecrets]) -> Result<Zeroizing<Vec<u8>>> {
    let size = volumes.iter().map(size_of).sum::<usize>() + 37;
    let mut out = Zeroizing::new(Vec::with_capacity(size));
    out.push(VERSION);
    out.extend_from_slice(device.secret().expose());
    out.extend_from_slice(&count(volumes.len())?);
    for volume in volumes {
        out.extend_from_slice(&volume.id.0);
        out.extend_from_slice(&volume.incarnation.to_le_bytes());
        out.extend_from_slice(&count(volume.epochs.len())?);
        for (epoch, secret) in &volume.epochs {
            out.extend_from_slice(&epoch.to_le_bytes());
            out.extend_from_slice(secret.secret().expose());
        }
        out.extend_from_slice(&count(volume.genesis.len())?);
        out.extend_from_slice(&volume.genesis);
        out.extend_from_slice(&volume.writer.to_le_bytes());
        out.extend_from_slice(&count(volume.membership.len())?);
        out.extend_from_slice(&volume.membership);
        out.extend_from_slice(&count(volume.addresses.len())?);
        for (peer, addresses) in &volume.addresses {
            out.extend_from_slice(peer);
            out.extend_from_slice(&count(addresses.len())?);
            for address in addresses {
                out.extend_from_slice(&count(address.len())?);
                out.extend_from_slice(address.as_bytes());
            }
        }
    }
    debug_assert_eq!(out.len(), size, "the reservation is exact");
    Ok(out)
}

fn size_of(v: &VolumeSecrets) -> usize {
    let texts = |list: &[String]| list.iter().map(|a| 4 + a.len()).sum::<usize>();
    let addresses = v.addresses.iter().map(|(_, list)| 36 + texts(list)).sum::<usize>();
    40 + v.epochs.len() * 36 + v.genesis.len() + v.membership.len() + addresses
}

/// Decode; `None` if malformed. Every count is paid for by bytes that are there.
pub fn decode(plain: &[u8]) -> Option<(DeviceRoot, Vec<VolumeSecrets>)> {
    let mut cursor = Cursor::new(plain);
    let version = cursor.byte().filter(|v| (1..=VERSION).contains(v))?;
    let device = DeviceRoot::new(cursor.array()?);
    let count = cursor.number()?;
    let volumes = (0..count).map(|_| volume(&mut cursor, version)).collect::<Option<_>>()?;
    cursor.end()?;
    Some((device, volumes))
}

fn volume(cursor: &mut Cursor<'_>, version: u8) -> Option<VolumeSecrets> {
    let (id, incarnation, count) = (VolumeId(cursor.array()?), cursor.number()?, cursor.number()?);
    let epochs = (0..count).map(|_| epoch(cursor)).collect::<Option<_>>()?;
    let genesis = bytes(cursor)?;
    let mut secrets =
        VolumeSecrets { id, epochs, incarnation, genesis, writer: 0, membership: Vec::new(), addresses: Vec::new() };
    if version >= 2 {
        secrets.writer = cursor.number()?;
        secrets.membership = bytes(cursor)?;
        let count = cursor.number()?;
        secrets.addresses = (0..count).map(|_| addresses(cursor)).collect::<Option<_>>()?;
    }
    Some(secrets)
}

fn addresses(cursor: &mut Cursor<'_>) -> Option<([u8; 32], Vec<String>)> {
    let (peer, count) = (cursor.array()?, cursor.number()?);
    let list = (0..count).map(|_| String::from_utf8(bytes(cursor)?).ok()).collect::<Option<_>>()?;
    Some((peer, list))
}

fn bytes(cursor: &mut Cursor<'_>) -> Option<Vec<u8>> {
    let len = usize::try_from(cursor.number()?).ok()?;
    Some(cursor.bytes(len)?.to_vec())
}

fn epoch(cursor: &mut Cursor<'_>) -> Option<(u32, EpochSecret)> {
    Some((cursor.number()?, EpochSecret::new(cursor.array()?)))
}

fn count(n: usize) -> Result<[u8; 4]> {
    let too_many = |_| Error::new(Kind::TooBig, "save keystore", format!("{n} entries"));
    u32::try_from(n).map(u32::to_le_bytes).map_err(too_many)
}
