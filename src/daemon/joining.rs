//! Coming in with an invite: ask the inviter, check the answer, keep the keys, wait for the tree.
//!
//! Must never keep anything of an answer that does not verify against the link, and never print the link.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::exchange::{incarnation, now};
use super::keeping::{About, Fresh};
use super::service::Service;
use super::sharing::device_name;
use super::volumes::{Known, is_name};
use crate::base::{Error, Kind, Result, hex};
use crate::causal::Vector;
use crate::kv::Location;
use crate::net::Peer;
use crate::seal::genesis::Genesis;
use crate::seal::invite::{Link, Refusal, Request, Welcome, check_words};
use crate::seal::membership::{Membership, Role};
use crate::seal::{DeviceRoot, EpochSecret, VolumeSecrets, box_key};
use crate::wire::Advice;
use crate::wire::control::Joined;

/// How long the first sight of the tree may take.
const FIRST_SIGHT: Duration = Duration::from_secs(20);

/// How long the answer may take in a store. It can be fetched later with the same link.
const IN_A_STORE: Duration = Duration::from_secs(20);

/// What an inviter says.
type Answered = std::result::Result<Welcome, Refusal>;

const JOIN: &str = "join";

impl Service {
    /// Join the volume that `link` invites to. When this returns the tree can be listed, unless the answer says not.
    /// `mount`: it is to be mounted then; `quota`: for a volume that is to be kept without reading it.
    pub fn join(self: &Arc<Self>, link: &str, mount: bool, quota: Option<u64>) -> Result<Joined> {
        let link = Link::parse(link).map_err(|e| advise(&e, "Ask for the link again and copy it whole."))?;
        if link.expires <= now() {
            return Err(refused("the invite has expired"));
        }
        if let Some(known) = self.volumes.list()?.into_iter().find(|k| k.id == link.volume) {
            let advice = Advice::new(
                format!("this device belongs to that volume already: it is called {}", known.name),
                format!("Mount it: lovage mount {} DIR", known.name),
            );
            return Err(Error::new(Kind::Exists, JOIN, "").with_source(advice));
        }
        if link.role == Role::Storage {
            return self.join_to_keep(&link, mount, quota);
        }
        self.exchange.keeps().open(&self.exchange)?;
        if let Some(kept) = self.exchange.keeps().find(&link.volume) {
            let why = format!("this device keeps that volume without reading it, as {}", kept.name());
            let advice = Advice::new(why, format!("First `lovage keep drop {}`.", kept.name()));
            return Err(Error::new(Kind::Exists, JOIN, "").with_source(advice));
        }
        if quota.is_some() {
            let advice = Advice::new("only what is kept for others has a quota", "Leave --quota out.");
            return Err(Error::new(Kind::Invalid, JOIN, "").with_source(advice));
        }
        let device = self.volumes.device();
        let (secrets, welcome) = self.ask(&link, &device)?;
        let words = check_words(link.volume, &link.inviter, &self.exchange.me().0, &author(&device, &secrets));
        let role = welcome.role.name().to_owned();
        let known = self.volumes.adopt(secrets, &welcome.name)?;
        tracing::info!(volume = known.name, role, words, "joined");
        let here = self.first_sight(&known, &link, welcome.heads)?;
        Ok(Joined { volume: known.name, id: known.id.to_string(), role, words, tree: here })
    }

    /// Become one who keeps the volume and cannot read it.
    fn join_to_keep(self: &Arc<Self>, link: &Link, mount: bool, quota: Option<u64>) -> Result<Joined> {
        if mount {
            let next = "Run `lovage join LINK` without a folder, and `lovage daemon --background` to go on keeping it.";
            let advice = Advice::new("this invite is for keeping the volume: there is nothing to read or mount", next);
            return Err(Error::new(Kind::Unsupported, JOIN, "").with_source(advice));
        }
        self.exchange.keep()?;
        if let Some(kept) = self.exchange.keeps().find(&link.volume) {
            let advice = Advice::new(format!("it is kept here already, as {}", kept.name()), "See `lovage keep list`.");
            return Err(Error::new(Kind::Exists, JOIN, "").with_source(advice));
        }
        let device = self.volumes.device();
        let (secrets, welcome) = self.ask(link, &device)?;
        let words = check_words(link.volume, &link.inviter, &self.exchange.me().0, &author(&device, &secrets));
        let mut about = About { name: founder(&secrets)?, quota, addresses: Vec::new() };
        about.reached(Peer(link.inviter), link.listens());
        let fresh = Fresh { about, genesis: secrets.genesis, membership: secrets.membership };
        let kept = self.exchange.keeps().add(&self.exchange, link.volume, fresh)?;
        self.exchange.keep()?;
        let (volume, role) = (kept.name(), welcome.role.name().to_owned());
        tracing::info!(volume, role, words, "joined");
        Ok(Joined { volume, id: link.volume.to_string(), role, words, tree: false })
    }

    /// One question to the inviter; its answer, verified.
    fn ask(&self, link: &Link, device: &DeviceRoot) -> Result<(VolumeSecrets, Welcome)> {
        let verifier = link.verifier();
        let incarnation = incarnation(&verifier);
        let me = self.exchange.me();
        let request = Request {
            invite: verifier.id(),
            volume: link.volume,
            author: device.author_key(link.volume, incarnation).public(),
            box_key: box_key(device),
            name: device_name(),
        };
        let asked = request.encode(&verifier, &me.0, &link.inviter)?;
        let net = self.exchange.start()?;
        let answered = match net.join_blocking(Peer(link.inviter), &link.listens(), asked.clone()) {
            Ok(answer) => Welcome::open(&answer, &verifier, &asked)?,
            Err(e) if matches!(e.kind(), Kind::Denied | Kind::NotFound) => {
                return Err(refused("the inviter does not take this invite (any more)"));
            }
            Err(e) => self.ask_in_stores(link, &asked).unwrap_or_else(|| Err(unreachable(&e)))?,
        };
        let welcome = answered.map_err(|refusal| refused(refusal.words()))?;
        let secrets = VolumeSecrets {
            incarnation,
            epochs: welcome.epochs.clone(),
            writer: welcome.writer,
            membership: welcome.membership.clone(),
            addresses: vec![(link.inviter, link.listens())],
            ..VolumeSecrets::founded(link.volume, welcome.genesis.clone(), EpochSecret::new([0; 32]))
        };
        check(link, &secrets, &me, &welcome, &request.author)?;
        Ok((secrets, welcome))
    }

    /// The inviter is not online: ask where it looks by. `None` if the link names no store.
    fn ask_in_stores(&self, link: &Link, asked: &[u8]) -> Option<Result<Answered>> {
        let (verifier, me) = (link.verifier(), self.exchange.me());
        let invite = hex(&verifier.id());
        // A refusal proves nothing of who wrote it: whoever can write to the store could.
        let opens = |answer: &[u8]| Welcome::open(answer, &verifier, asked).ok().filter(std::result::Result::is_ok);
        let mut last = None;
        for url in link.stores().filter(|url| is_for_others(url)) {
            tracing::info!(store = url, "the inviter is not online: asking in the store");
            match self.exchange.stores().ask(url, (&invite, &me), asked, IN_A_STORE, opens) {
                Ok(answer) => return Some(Ok(answer)),
                Err(e) => last = Some(Err(e)),
            }
        }
        last.map(|failed| failed.map_err(|e| waiting(&e)))
    }

    /// Open the volume and wait until its tree is known. False: it will come when a member can be reached.
    fn first_sight(self: &Arc<Self>, known: &Known, link: &Link, heads: Vec<Vec<u8>>) -> Result<bool> {
        let volume = Arc::clone(self.volumes.open(known)?.volume());
        let Some(replica) = self.exchange.replica(known.id) else { return Ok(false) };
        for (n, url) in link.stores().filter(|url| is_for_others(url)).enumerate() {
            let name = if n == 0 { "met".to_owned() } else { format!("met{n}") };
            if let Err(error) = self.exchange.stores().add_existing(&replica, &self.exchange, &name, url) {
                tracing::warn!(store = url, error = %error.chain(), "the store of the invite cannot be used");
            }
        }
        for head in heads {
            replica.heard(Peer(link.inviter), head);
        }
        let begin = Instant::now();
        while volume.vector() == Vector::default() {
            if begin.elapsed() > FIRST_SIGHT {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(true)
    }
}

fn author(device: &DeviceRoot, secrets: &VolumeSecrets) -> [u8; 32] {
    device.author_key(secrets.id, secrets.incarnation).public()
}

/// The genesis is the volume's, the membership begins with it, and has us as the answer says.
fn check(link: &Link, secrets: &VolumeSecrets, me: &Peer, welcome: &Welcome, author: &[u8; 32]) -> Result<()> {
    let lied = || Error::new(Kind::Corrupt, JOIN, "").with_source("the inviter's answer does not verify");
    let (id, genesis) = Genesis::open(&secrets.genesis)?;
    if id != link.volume {
        return Err(lied());
    }
    let membership = Membership::open(id, genesis.admin, &secrets.membership)?;
    let member = membership.table().member(welcome.writer).ok_or_else(lied)?;
    let ours = member.peer == me.0 && member.author == *author && member.role == welcome.role;
    let inviter = membership.table().members().any(|m| m.peer == link.inviter);
    match welcome.role {
        role if !ours || !inviter || role != link.role => Err(lied()),
        role if role.reads() => secrets.sealer().map(drop),
        _ => Ok(()),
    }
}

/// The device that founded the volume: its name is all that one who cannot read is told.
fn founder(secrets: &VolumeSecrets) -> Result<String> {
    let (id, genesis) = Genesis::open(&secrets.genesis)?;
    let membership = Membership::open(id, genesis.admin, &secrets.membership)?;
    let name = membership.table().ever(0).map(|member| member.name.clone()).unwrap_or_default();
    Ok(if is_name(&name) { name } else { "kept".to_owned() })
}

fn refused(why: &str) -> Error {
    let next = "Ask for a new one: lovage invite VOLUME";
    Error::new(Kind::Denied, JOIN, "").with_source(Advice::new(why, next))
}

fn unreachable(error: &Error) -> Error {
    let next = "See that its daemon runs and that this machine can reach it, then try the same link again.";
    let advice = Advice::new(format!("the inviter cannot be reached: {}", error.chain()), next);
    Error::new(Kind::Unreachable, JOIN, "").with_source(advice)
}

/// Whether a location from a link is contacted: not with this device's secrets, nor with options of another device.
fn is_for_others(url: &str) -> bool {
    Location::parse(url).ok().and_then(|location| location.for_others(url)).is_some_and(|same| same == url)
}

fn waiting(error: &Error) -> Error {
    let next = "The question waits in the store. When the inviter's daemon has run, use the same link again.";
    let advice = Advice::new(format!("the inviter has not answered yet: {}", error.chain()), next);
    Error::new(error.kind(), JOIN, "").with_source(advice)
}

fn advise(error: &Error, next: &str) -> Error {
    let why = std::error::Error::source(error).map_or_else(|| error.kind().words().to_owned(), ToString::to_string);
    Error::new(error.kind(), error.operation(), error.subject()).with_source(Advice::new(why, next))
}
