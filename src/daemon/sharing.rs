//! What the volumes of a home know about others: memberships, addresses, volumes that came by an invite.
//!
//! Everything here is stored in the keystore before it is acted on. Must never take a membership for one that does
//! not begin with the genesis.

use std::fs;

use super::exchange::opened_epochs;
use super::opening;
use super::volumes::{Known, Volumes};
use crate::base::{Error, Kind, Result, VolumeId, WriterIndex};
use crate::seal::genesis::Genesis;
use crate::seal::membership::{MAX_DEVICE_NAME, Member, Membership, Role};
use crate::seal::{DeviceRoot, VolumeSecrets, box_key};

/// Most addresses remembered of one device.
const MOST_ADDRESSES: usize = 8;

impl Volumes {
    /// This device's keys.
    pub fn device(&self) -> DeviceRoot {
        self.keystore.lock().device.clone()
    }

    /// A volume's keys.
    pub fn secrets_of(&self, known: &Known) -> Result<VolumeSecrets> {
        self.secrets(known).map(|(_, secrets)| secrets)
    }

    /// The membership of a volume, if it has one yet.
    pub fn membership_if_any(&self, id: VolumeId) -> Result<Option<Membership>> {
        let keystore = self.keystore.lock();
        match keystore.volume(id) {
            Some(secrets) if !secrets.membership.is_empty() => opened(secrets).map(Some),
            _ => Ok(None),
        }
    }

    /// The membership of a volume, founded with this device as its admin if there is none.
    pub fn membership(&self, known: &Known) -> Result<Membership> {
        let founded = self.change_membership(known, |_, _, _| Ok(false))?;
        match founded {
            Some(membership) => Ok(membership),
            None => self.membership_if_any(known.id)?.ok_or_else(|| gone(known)),
        }
        .inspect(|_| self.share(known))
    }

    /// Change a membership by `act`, which says whether it did; store it then. Gives the new one.
    pub fn change_membership(
        &self,
        known: &Known,
        act: impl FnOnce(&DeviceRoot, &VolumeSecrets, &mut Membership) -> Result<bool>,
    ) -> Result<Option<Membership>> {
        let mut keystore = self.keystore.lock();
        let device = keystore.device.clone();
        let at = keystore.volumes.iter().position(|v| v.id == known.id).ok_or_else(|| gone(known))?;
        let secrets = keystore.volumes.get_mut(at).ok_or_else(|| gone(known))?;
        let before = secrets.membership.clone();
        let new = before.is_empty();
        let mut membership = if new { found(&device, secrets)? } else { opened(secrets)? };
        let acted = act(&device, secrets, &mut membership)?;
        if !acted && !new {
            return Ok(None);
        }
        let epochs = opened_epochs(&device, secrets, &membership);
        let known = secrets.epochs.len();
        secrets.epochs.extend(epochs);
        secrets.membership = membership.bytes();
        if let Err(error) = keystore.save() {
            if let Some(secrets) = keystore.volumes.get_mut(at) {
                secrets.membership = before;
                secrets.epochs.truncate(known);
            }
            return Err(error);
        }
        Ok(Some(membership))
    }

    /// The volume's own record says as whom this device writes: after it was set back that is another.
    pub fn follow_writer(&self, known: &Known, (writer, incarnation): (WriterIndex, u32)) -> Result<()> {
        let mut keystore = self.keystore.lock();
        let secrets = keystore.volumes.iter_mut().find(|v| v.id == known.id).ok_or_else(|| gone(known))?;
        let before = (secrets.writer, secrets.incarnation);
        if before == (writer, incarnation) {
            return Ok(());
        }
        (secrets.writer, secrets.incarnation) = (writer, incarnation);
        keystore.save().inspect_err(|_| {
            if let Some(secrets) = keystore.volumes.iter_mut().find(|v| v.id == known.id) {
                (secrets.writer, secrets.incarnation) = before;
            }
        })
    }

    /// Where the other devices of a volume were reached.
    pub fn addresses(&self, id: VolumeId) -> Vec<([u8; 32], Vec<String>)> {
        self.keystore.lock().volume(id).map(|v| v.addresses.clone()).unwrap_or_default()
    }

    /// Remember where a device was reached.
    pub fn remember_addresses(&self, id: VolumeId, peer: [u8; 32], mut addresses: Vec<String>) -> Result<()> {
        addresses.truncate(MOST_ADDRESSES);
        let mut keystore = self.keystore.lock();
        let Some(secrets) = keystore.volumes.iter_mut().find(|v| v.id == id) else { return Ok(()) };
        let before = secrets.addresses.clone();
        secrets.addresses.retain(|(p, _)| *p != peer);
        if !addresses.is_empty() {
            secrets.addresses.push((peer, addresses));
        }
        if secrets.addresses == before {
            return Ok(());
        }
        keystore.save()
    }

    /// Take in a volume that came by an invite, under `name` or one like it.
    pub fn adopt(&self, secrets: VolumeSecrets, name: &str) -> Result<Known> {
        let mut keystore = self.keystore.lock();
        if keystore.volume(secrets.id).is_some() {
            return Err(Error::new(Kind::Exists, "join the volume", secrets.id.to_string()));
        }
        let taken = keystore.volumes.iter().map(|v| self.name(v.id)).collect::<Result<Vec<_>>>()?;
        let wanted = if super::volumes::is_name(name) { name } else { "shared" };
        let free = (1_u32..).map(|n| if n == 1 { wanted.to_owned() } else { format!("{wanted}-{n}") });
        let name = free.into_iter().find(|n| !taken.contains(n)).unwrap_or_else(|| secrets.id.to_string());
        let known = Known { name, id: secrets.id };
        let dir = self.home.volume(known.id);
        let made = self.make_files(&dir, &known.name, &keystore, &secrets).and_then(|()| {
            keystore.volumes.push(secrets);
            keystore.save().inspect_err(|_| drop(keystore.volumes.pop()))
        });
        if let Err(error) = made {
            // Nobody has the keys to what is left of the directory.
            let _ = fs::remove_dir_all(&dir);
            return Err(error);
        }
        Ok(known)
    }
}

/// This device alone, as the admin.
fn found(device: &DeviceRoot, secrets: &VolumeSecrets) -> Result<Membership> {
    let (_, genesis) = Genesis::open(&secrets.genesis)?;
    let key = device.admin_key(&genesis.nonce);
    if key.public() != genesis.admin || secrets.writer != 0 {
        let why = "this device did not found the volume and has no record of its members";
        return Err(Error::new(Kind::Corrupt, "found the membership", secrets.id.to_string()).with_source(why));
    }
    let me = Member {
        writer: 0,
        peer: super::exchange::identity(device).0,
        author: device.author_key(secrets.id, secrets.incarnation).public(),
        box_key: box_key(device),
        role: Role::Admin,
        name: device_name(),
    };
    // Always the same record: a founder that was set back to before it founded the membership founds no other.
    Membership::found(secrets.id, &key, me, genesis.created)
}

/// The stored membership, verified.
pub fn opened(secrets: &VolumeSecrets) -> Result<Membership> {
    let (id, genesis) = Genesis::open(&secrets.genesis)?;
    if id != secrets.id {
        return Err(Error::new(Kind::Corrupt, "open the membership", secrets.id.to_string()));
    }
    Membership::open(id, genesis.admin, &secrets.membership)
}

/// What people call this device: its host name, or what `LOVAGE_DEVICE_NAME` says.
pub fn device_name() -> String {
    let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut name = std::env::var("LOVAGE_DEVICE_NAME").ok().filter(|n| !n.is_empty()).unwrap_or_else(host);
    name.retain(|c| !c.is_control() && c != '/');
    while name.len() > MAX_DEVICE_NAME {
        name.pop();
    }
    if name.is_empty() { "device".to_owned() } else { name }
}

fn gone(known: &Known) -> Error {
    Error::new(Kind::NotFound, "find the volume", &known.name)
}

/// How conflict copies name a writer: by the name its member record carries, which is the same everywhere.
pub fn label(membership: Option<&Membership>) -> crate::volume::Label {
    let names: std::collections::BTreeMap<_, _> = membership
        .into_iter()
        .flat_map(|m| m.table().everyone())
        .map(|(member, _)| (member.writer, member.name.clone()))
        .collect();
    std::sync::Arc::new(move |writer| names.get(&writer).cloned().unwrap_or_else(|| opening::nameless(writer)))
}
