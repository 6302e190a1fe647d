//! The volumes of a home: their names on this device, their keys, and which are open.
//!
//! A volume's name is local: it lives in a file beside its content, never inside anything stored elsewhere.
//! Must never open one volume twice, and never make keys it did not save first.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::config::Config;
use super::exchange::Exchange;
use super::home::{Home, replace_file};
use super::hosted::Hosted;
use super::opening;
use super::policy::Policy;
use crate::base::sync::Mutex;
use crate::base::{Context, Error, Kind, Result, VolumeId, hash};
use crate::seal::{Keystore, VolumeSecrets};
use crate::wire::Advice;
use crate::wire::control::{Chunking, Dedup};

/// The volume that is meant when none is named; made by the first mount.
pub const DEFAULT: &str = "default";

/// The file with what was asked of a volume.
const POLICY: &str = "policy";

/// Longest name of a volume, in bytes.
const LONGEST: usize = 64;

/// All volumes of one home.
#[derive(Debug)]
pub struct Volumes {
    pub(super) home: Home,
    config: Config,
    exchange: Arc<Exchange>,
    /// Taken before `open` where both are needed.
    pub(super) keystore: Mutex<Keystore>,
    open: Mutex<BTreeMap<VolumeId, Arc<dyn Hosted>>>,
}

/// A volume by name and id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its name on this device.
    pub name: String,
    /// Its id everywhere.
    pub id: VolumeId,
}

impl Volumes {
    /// The volumes of `home`. Opens none.
    pub fn new(home: Home, config: Config, keystore: Keystore, exchange: Arc<Exchange>) -> Arc<Self> {
        let open = Mutex::new(BTreeMap::new());
        let volumes = Arc::new(Self { home, config, exchange, keystore: Mutex::new(keystore), open });
        volumes.exchange.serve(&volumes);
        volumes
    }

    /// Every volume, by name.
    pub fn list(&self) -> Result<Vec<Known>> {
        let ids: Vec<_> = self.keystore.lock().volumes.iter().map(|v| v.id).collect();
        let mut known = ids.into_iter().map(|id| Ok(Known { name: self.name(id)?, id })).collect::<Result<Vec<_>>>()?;
        known.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(known)
    }

    /// The volume called `name`, or with that id. [`Kind::NotFound`] otherwise.
    pub fn find(&self, name: &str) -> Result<Known> {
        let known = self.list()?;
        let by_id = VolumeId::from_hex(name);
        if let Some(found) =
            known.iter().find(|k| k.name == name).or_else(|| known.iter().find(|k| Some(k.id) == by_id))
        {
            return Ok(found.clone());
        }
        let names: Vec<_> = known.iter().map(|k| k.name.as_str()).collect();
        let next = if names.is_empty() {
            format!("Make it: lovage volume create {name}")
        } else {
            format!("The volumes here are: {}. Make another with `lovage volume create {name}`.", names.join(", "))
        };
        Err(Error::new(Kind::NotFound, "find the volume", name)
            .with_source(Advice::new("there is no such volume here", next)))
    }

    /// The volume of that name, or every volume.
    pub fn named_or_all(&self, name: Option<&str>) -> Result<Vec<Known>> {
        name.map_or_else(|| self.list(), |name| Ok(vec![self.find(name)?]))
    }

    /// As [`Self::find`], making the default volume if it is asked for and not there.
    pub fn find_or_make_default(&self, name: &str) -> Result<Known> {
        match self.find(name) {
            Err(e) if e.kind() == Kind::NotFound && name == DEFAULT => {
                self.create(name, Dedup::default(), Chunking::default())
            }
            other => other,
        }
    }

    /// Make a new volume. [`Kind::Exists`] if the name is taken, [`Kind::Invalid`] if it is no name.
    pub fn create(&self, name: &str, dedup: Dedup, chunking: Chunking) -> Result<Known> {
        check_name(name)?;
        let mut keystore = self.keystore.lock();
        for volume in &keystore.volumes {
            if self.name(volume.id)? == name {
                let advice = Advice::new("a volume of that name is here already", "Choose another name.");
                return Err(Error::new(Kind::Exists, "create the volume", name).with_source(advice));
            }
        }
        let secrets = opening::new_volume(&keystore.device, dedup, chunking)?;
        let known = Known { name: name.to_owned(), id: secrets.id };
        let dir = self.home.volume(known.id);
        // The keys come last: once they are known, the volume is whole, and an empty log means a loss.
        let made = self.make_files(&dir, name, &keystore, &secrets).and_then(|()| {
            keystore.volumes.push(secrets);
            keystore.save().inspect_err(|_| drop(keystore.volumes.pop()))
        });
        if let Err(e) = made {
            // Nobody has the keys to what is left of the directory.
            let _ = fs::remove_dir_all(&dir);
            return Err(unusable(&known, e));
        }
        Ok(known)
    }

    pub(super) fn make_files(
        &self,
        dir: &Path,
        name: &str,
        keystore: &Keystore,
        secrets: &VolumeSecrets,
    ) -> Result<()> {
        fs::create_dir_all(dir).io("create the volume", || dir.display().to_string())?;
        replace_file(&dir.join("name"), name_record(name).as_bytes())?;
        opening::make(dir, &keystore.device, secrets, &self.config)
    }

    /// The volume `id`, opened if it is not open yet.
    pub fn open(&self, known: &Known) -> Result<Arc<dyn Hosted>> {
        let (device, secrets) = self.secrets(known)?;
        let mut open = self.open.lock();
        if let Some(volume) = open.get(&known.id) {
            return Ok(Arc::clone(volume));
        }
        let dir = self.home.volume(known.id);
        let others = opening::others(&self.exchange, &secrets);
        let volume = opening::open(&dir, &device, &secrets, &self.config, others).map_err(|e| unusable(known, e))?;
        open.insert(known.id, Arc::clone(&volume));
        drop(open);
        // Alone it is as good as it ever was: what keeps others away is said, and does not keep it closed.
        if let Err(error) = self.exchange.add(known, volume.volume()) {
            tracing::warn!(volume = known.name, error = %error.chain(), "the volume is open, but not shared");
        }
        Ok(volume)
    }

    /// Keep an open volume and its peers alike, now that it has a membership.
    pub(super) fn share(&self, known: &Known) {
        let Some(volume) = self.if_open(known.id).filter(|_| self.exchange.replica(known.id).is_none()) else { return };
        if let Err(error) = self.exchange.add(known, volume.volume()) {
            tracing::warn!(volume = known.name, error = %error.chain(), "the volume is not shared");
        }
    }

    /// The volume `id` if it is open.
    pub fn if_open(&self, id: VolumeId) -> Option<Arc<dyn Hosted>> {
        self.open.lock().get(&id).cloned()
    }

    /// What was asked of it here.
    pub fn policy(&self, known: &Known) -> Result<Policy> {
        Policy::read(&self.home.volume(known.id).join(POLICY))
    }

    /// Ask something else of it from now on.
    pub fn change_policy(&self, known: &Known, act: &dyn Fn(&mut Policy)) -> Result<()> {
        let _turn = self.keystore.lock();
        let mut policy = self.policy(known)?;
        act(&mut policy);
        policy.write(&self.home.volume(known.id).join(POLICY))?;
        if let Some(replica) = self.exchange.replica(known.id) {
            replica.set_policy(policy);
        }
        Ok(())
    }

    /// Drop keys and content of a volume that nothing uses. There is no way back.
    pub fn forget(&self, known: &Known) -> Result<()> {
        self.exchange.remove(known.id);
        let mut keystore = self.keystore.lock();
        let mut open = self.open.lock();
        if let Some(volume) = open.remove(&known.id) {
            volume.close()?;
        }
        let kept = |v: &VolumeSecrets| v.id != known.id;
        let removed: Vec<_> = keystore.volumes.extract_if(.., |v| !kept(v)).collect();
        if let Err(e) = keystore.save() {
            keystore.volumes.extend(removed);
            return Err(e);
        }
        let dir = self.home.volume(known.id);
        fs::remove_dir_all(&dir).io("remove the volume's content", || dir.display().to_string())
    }

    /// Close every open volume. Tries all; the first error is reported.
    pub fn close(&self) -> Result<()> {
        let open = std::mem::take(&mut *self.open.lock());
        open.into_values().map(|volume| volume.close()).fold(Ok(()), Result::and)
    }

    pub(super) fn secrets(&self, known: &Known) -> Result<(crate::seal::DeviceRoot, VolumeSecrets)> {
        let keystore = self.keystore.lock();
        let gone = || Error::new(Kind::NotFound, "open the volume", &known.name);
        let secrets = keystore.volume(known.id).ok_or_else(gone)?;
        Ok((keystore.device.clone(), secrets.clone()))
    }

    pub(super) fn name(&self, id: VolumeId) -> Result<String> {
        let path = self.home.volume(id).join("name");
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8(bytes).unwrap_or_default(),
            // The keys say that it exists: it keeps a name nobody else can have.
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(id.to_string()),
            Err(e) => return Err(Error::io("read the volume's name", path.display().to_string(), e)),
        };
        let name = text.lines().next().unwrap_or_default();
        if check_name(name).is_ok() && name_record(name) == text {
            return Ok(name.to_owned());
        }
        // Taking it for a volume of another name could make a new, empty one in its place.
        let next = format!("Remove {} to go on; the volume is then called {id}.", path.display());
        Err(Error::new(Kind::Corrupt, "read the volume's name", path.display().to_string())
            .with_source(Advice::new("it is damaged", next)))
    }
}

/// A name as it is kept: with a check value, for a flipped bit makes another good name.
fn name_record(name: &str) -> String {
    let check = hash(&[b"lovage volume name", name.as_bytes()]);
    let check: Vec<_> = check.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{name}\n{}\n", check.concat())
}

/// A store that cannot be opened, with what can be done.
fn unusable(known: &Known, error: Error) -> Error {
    let next = match error.kind() {
        Kind::Corrupt => "Run `lovage fsck` to see what is hit; restore this home from a backup if that fails too.",
        Kind::Full => "Free some space on that disk and try again.",
        Kind::Denied => "Check who owns the home and its files.",
        _ => return error,
    };
    let why = error.chain();
    Error::new(error.kind(), "open the volume", &known.name).with_source(Advice::new(why, next))
}

/// Whether `name` can be the name of a volume.
pub(super) fn is_name(name: &str) -> bool {
    check_name(name).is_ok()
}

/// Names are short, printable and cannot be mistaken for paths or options.
fn check_name(name: &str) -> Result<()> {
    let sound = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let fine = !name.is_empty() && name.len() <= LONGEST && name.chars().all(sound) && !name.starts_with(['-', '.']);
    if fine {
        return Ok(());
    }
    let next = "Use letters, digits, '-', '_' and '.', at most 64 bytes, not beginning with '-' or '.'.";
    let advice = Advice::new("that cannot be the name of a volume", next);
    Err(Error::new(Kind::Invalid, "name the volume", name).with_source(advice))
}

#[cfg(test)]
#[path = "volumes/tests.rs"]
mod tests;
