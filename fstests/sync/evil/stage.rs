//! Where attacks take place: a daemon that is attacked, an honest member that must not notice, and any number of members that
//! are not honest.
//!
//! The first foe comes in with the real program, as an admin; it then lets the others in itself, so that each attack can be made
//! by a member of its own: who is found out is refused for a while.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use fstests::harness::device::{Device, until, until_reads};
use fstests::harness::lan::Lan;
use libp2p::Multiaddr;
use lovage::base::VolumeId;
use lovage::base::port::{Clock, System};
use lovage::seal::genesis::Genesis;
use lovage::seal::invite::Link;
use lovage::seal::membership::{Entry, Member, Membership, Role};
use lovage::seal::{AuthorKey, DeviceRoot, Keystore, Sealer};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::session::Session;

/// More than a daemon may ever hold because of what others do, in bytes (C8).
pub const MOST_MEMORY: u64 = 256 << 20;
/// What a word about members begins with, and one about a head.
pub const HEAD: u8 = 0;
pub const MEMBERS: u8 = 1;

/// A member that is not honest.
#[derive(Clone)]
pub struct Foe {
    /// What people call it.
    pub name: String,
    /// Its index.
    pub writer: u32,
    pub seed: [u8; 32],
    pub volume: VolumeId,
    pub sealer: Sealer,
    /// Signs its heads.
    pub key: Arc<AuthorKey>,
}

/// See the module.
pub struct Stage {
    pub lan: Lan,
    /// Attacked.
    pub victim: Device,
    /// Honest.
    pub friend: Device,
    /// What is to be seen in the mounts.
    pub names: BTreeSet<String>,
    /// The membership, foes and all.
    pub membership: Membership,
    foes: Vec<Foe>,
    rounds: usize,
}

impl Stage {
    /// With so many foes. `None`, with a line that says why, where there are no namespaces.
    pub fn new(foes: u8) -> Option<Self> {
        let lan = Lan::new(3)?;
        let mut victim = Device::new(&lan, 0, "alpha");
        let mut friend = Device::new(&lan, 1, "beta");
        victim.mount("default");
        friend.join(&victim.invite("default", &[]));
        let first = Device::new(&lan, 2, "mallory");
        first.run(&["join", &victim.invite("default", &["--role", "admin"])]).done();
        let (membership, foes, admin) = crew(&first.home(), foes);
        let stage = Stage { lan, victim, friend, names: BTreeSet::new(), membership, foes, rounds: 0 };
        let (to, records, volume) = (stage.address(), stage.membership.bytes(), admin.1);
        stage.attack(async move {
            let mut session = Session::begin(&admin.0, &to).await.unwrap();
            session.word(volume, MEMBERS, &records).await;
            session.heeded(volume).await;
        });
        let all = stage.foes.len() + 3;
        until("everybody knows the foes", || [&stage.victim, &stage.friend].iter().all(|d| members(d) == all));
        Some(stage)
    }

    /// One that has not been found out yet.
    pub fn foe(&mut self) -> Foe {
        self.foes.pop().expect("more foes")
    }

    /// One that came in with the real program in this role, and attacks with its identity and all keys there are.
    pub fn as_role(&self, role: &str) -> Foe {
        let device = Device::new(&self.lan, 2, role);
        let link = self.victim.invite("default", &["--role", role]);
        device.run(&["join", &link]).done();
        let keystore = Keystore::open(&device.home().join("keystore"), None).unwrap();
        let id = Link::parse(&link).unwrap().verifier().id();
        let incarnation = u32::from_le_bytes(id[..4].try_into().unwrap()).max(1);
        let any = self.foes.first().expect("a foe to learn the volume's keys from");
        let members = self.victim.run(&["members", "default", "--json"]).done().json();
        let member = members.as_array().unwrap().iter().find(|m| m["device"] == role).unwrap();
        Foe {
            name: role.to_owned(),
            seed: *keystore.device.identity_seed().expose(),
            key: Arc::new(keystore.device.author_key(any.volume, incarnation)),
            writer: member["writer"].as_u64().unwrap().try_into().unwrap(),
            ..any.clone()
        }
    }

    /// Where the daemon under attack listens.
    pub fn address(&self) -> Multiaddr {
        self.address_of(0)
    }

    /// Where it does (0), or the honest one (1).
    pub fn address_of(&self, n: usize) -> Multiaddr {
        let status = [&self.victim, &self.friend][n].status();
        let all = status["daemon"]["listen"].as_array().unwrap().iter().filter_map(|a| a.as_str());
        let near = format!("/ip4/{}/tcp/", self.lan.address(n));
        all.into_iter().find(|a| a.starts_with(&near)).expect("an address").parse().unwrap()
    }

    /// Run to its end on the foes' machine.
    pub fn attack(&self, what: impl Future<Output = ()> + Send + 'static) {
        self.begin(what).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }

    /// Begin on the foes' machine.
    pub fn begin<T: Send + 'static>(&self, what: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        let there = fs::File::open(self.lan.namespace(2)).unwrap();
        std::thread::spawn(move || {
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&there), Some(LinkNameSpaceType::Network)).unwrap();
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(what)
        })
    }

    /// The daemon lives and says nothing of a panic, honest changes go both ways, nothing else is to be seen, and its memory
    /// stays small.
    pub fn unharmed(&mut self, after: &str) {
        self.rounds += 1;
        let text = format!("{} {after}", self.rounds);
        println!("after: {text}");
        for (from, to, name) in [(&self.friend, &self.victim, "by-beta"), (&self.victim, &self.friend, "by-alpha")] {
            fs::write(from.at(name), &text).unwrap();
            until_reads(&to.at(name), text.as_bytes());
            self.names.insert(name.to_owned());
        }
        for device in [&self.victim, &self.friend] {
            assert_eq!(names(&device.dir()), self.names, "after {after}");
            assert!(!device.said().contains("panicked"), "after {after}: {}", device.said());
        }
        let memory = self.victim.memory();
        assert!(memory < MOST_MEMORY, "after {after}: {memory} bytes");
    }

    /// Wait until the daemon under attack has said all of these words in one line.
    pub fn until_said(&self, words: &[&str]) {
        let said = || self.victim.said().lines().any(|line| words.iter().all(|word| line.contains(word)));
        until(&format!("the daemon says {words:?}"), said);
    }
}

/// What is in a directory.
pub fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// How many members a device knows.
pub fn members(device: &Device) -> usize {
    device.run(&["members", "default", "--json"]).done().json().as_array().unwrap().len()
}

/// The membership with `count` more writers in it, let in by the admin whose home this is; they; who it is and its volume.
fn crew(home: &Path, count: u8) -> (Membership, Vec<Foe>, ([u8; 32], VolumeId)) {
    let keystore = Keystore::open(&home.join("keystore"), None).unwrap();
    let secrets = &keystore.volumes[0];
    let (volume, genesis) = Genesis::open(&secrets.genesis).unwrap();
    let mut membership = Membership::open(volume, genesis.admin, &secrets.membership).unwrap();
    let first = membership.table().next_writer(secrets.writer).unwrap();
    let sealer = secrets.sealer().unwrap();
    let foe = |n: u8| {
        let device = DeviceRoot::new([100 + n; 32]);
        let (name, seed) = (format!("foe-{n}"), *device.identity_seed().expose());
        let key = Arc::new(device.author_key(volume, 0));
        Foe { name, writer: first + u32::from(n), seed, volume, sealer: sealer.clone(), key }
    };
    let foes: Vec<Foe> = (0..count).map(foe).collect();
    let member = |foe: &Foe| Member {
        writer: foe.writer,
        peer: peer(&foe.seed),
        author: foe.key.public(),
        box_key: [7; 32],
        role: Role::Writer,
        name: foe.name.clone(),
    };
    let key = keystore.device.author_key(volume, secrets.incarnation);
    let entries = foes.iter().map(|foe| Entry::Add(member(foe))).collect();
    membership.append(&key, entries, System.now()).unwrap();
    (membership, foes, (*keystore.device.identity_seed().expose(), volume))
}

/// The public key of an identity.
pub fn peer(seed: &[u8; 32]) -> [u8; 32] {
    let keys = libp2p::identity::Keypair::ed25519_from_bytes(*seed).unwrap();
    keys.public().try_into_ed25519().unwrap().to_bytes()
}
