//! The invites given out, and letting in who comes with one.
//!
//! Books are stored, sealed, before an answer goes out. Must never hold a link, nor let one be used twice.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::super::home::{Home, replace_file};
use super::super::volumes::Known;
use super::Exchange;
use crate::base::port::System;
use crate::base::sync::Mutex;
use crate::base::{Error, Kind, Result, VolumeId};
use crate::net::Peer;
use crate::seal::DeviceRoot;
use crate::seal::invite::{Book, Link, Pending, Refusal, Request, Verifier, Welcome, check_words, refuse};
use crate::seal::membership::{Entry, Member, Role};
use crate::wire::Advice;

const PURPOSE: &[u8] = b"lovage invites 1";

/// The books of all volumes.
pub struct Invites {
    home: Home,
    books: Mutex<BTreeMap<VolumeId, Book>>,
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

impl Invites {
    /// None loaded yet.
    pub fn new(home: Home) -> Self {
        Self { home, books: Mutex::default() }
    }

    /// Whether anybody could come with one now.
    pub fn is_open(&self) -> bool {
        let now = now();
        self.books.lock().values().any(|book| book.is_open(now))
    }

    /// Read the book of a volume, once. A damaged one is as none: its links are refused as unknown.
    pub fn load(&self, id: VolumeId, device: &DeviceRoot) -> Result<()> {
        let path = self.home.volume(id).join("invites");
        let mut books = self.books.lock();
        if books.contains_key(&id) {
            return Ok(());
        }
        let book = match fs::read(&path) {
            Ok(sealed) => {
                let plain = device.local_sealer(id, Arc::new(System)).open(PURPOSE, &sealed);
                plain.ok().and_then(|plain| Book::from_bytes(&plain)).unwrap_or_else(|| {
                    tracing::warn!(path = %path.display(), "the invites given out are damaged: they are void");
                    Book::default()
                })
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Book::default(),
            Err(e) => return Err(Error::io("read the invites", path.display().to_string(), e)),
        };
        books.insert(id, book);
        Ok(())
    }

    fn change<T>(&self, id: VolumeId, device: &DeviceRoot, act: impl FnOnce(&mut Book) -> T) -> Result<T> {
        self.load(id, device)?;
        let mut books = self.books.lock();
        let book = books.entry(id).or_default();
        let done = act(book);
        let sealed = device.local_sealer(id, Arc::new(System)).seal(PURPOSE, &book.bytes())?;
        replace_file(&self.home.volume(id).join("invites"), &sealed)?;
        Ok(done)
    }
}

impl Exchange {
    /// A new link to `known`. The network runs and its addresses are in it, behind those of `stores` to meet in.
    pub fn invite(self: &Arc<Self>, known: &Known, role: Role, seconds: u64, mut stores: Vec<String>) -> Result<Link> {
        let volumes = self.volumes()?;
        let membership = volumes.membership(known)?;
        let me = volumes.secrets_of(known)?.writer;
        if membership.table().member(me).is_none_or(|m| m.role != Role::Admin) {
            let advice = Advice::new("only an admin's device can let others in", "Ask for the invite on one of those.");
            return Err(Error::new(Kind::NotPermitted, "invite a device", &known.name).with_source(advice));
        }
        let net = self.start()?;
        stores.extend(reachable(&net));
        let device = volumes.device();
        let now = now();
        let expires = now.saturating_add(seconds);
        let link = Link::new(known.id, self.me().0, stores, role, expires, &System);
        self.invites.change(known.id, &device, |book| book.add(link.verifier(), role, expires, now))?;
        Ok(link)
    }

    /// Whether a question is about an invite of this device.
    pub fn has_invited(&self, asked: &[u8]) -> bool {
        let Some(request) = Request::decode(asked) else { return false };
        self.invites.books.lock().get(&request.volume).is_some_and(|book| book.has(&request.invite))
    }

    /// Answer somebody who came with an invite. Every outcome but a failure of ours is an answer.
    pub fn let_in(self: &Arc<Self>, peer: &Peer, asked: &[u8]) -> Result<Vec<u8>> {
        let device = self.volumes()?.device();
        let Some(request) = Request::decode(asked) else { return Ok(refuse(Refusal::Unknown)) };
        let Some(replica) = self.replica(request.volume) else { return Ok(refuse(Refusal::Unknown)) };
        let known = replica.known.clone();
        let judged = self.invites.change(known.id, &device, |book| book.judge(asked, &peer.0, &self.me().0, now()))?;
        let (request, pending) = match judged {
            Ok(accepted) => accepted,
            Err(refusal) => {
                tracing::warn!(volume = known.name, %peer, "refused a newcomer: {}", refusal.words());
                return Ok(refuse(refusal));
            }
        };
        if replica.was_put_out(&request.author) {
            // The invite stays used: it is good for nobody else, nor for this one under another key.
            tracing::warn!(volume = known.name, %peer, "refused a device that was put out");
            return Ok(refuse(Refusal::Used));
        }
        match self.welcome(&known, peer, &request, &pending, asked) {
            Ok(answer) => Ok(answer),
            Err(error) => {
                tracing::error!(volume = known.name, %peer, error = %error.chain(), "could not let a newcomer in");
                self.invites.change(known.id, &device, |book| book.release(&pending.verifier))?;
                Ok(refuse(Refusal::Failed))
            }
        }
    }

    fn welcome(
        self: &Arc<Self>,
        known: &Known,
        peer: &Peer,
        request: &Request,
        pending: &Pending,
        asked: &[u8],
    ) -> Result<Vec<u8>> {
        let volumes = self.volumes()?;
        let member = self.add_member(known, peer, request, pending.role)?;
        let secrets = volumes.secrets_of(known)?;
        let replica = self.replica(known.id);
        let reads = member.role.reads();
        let heads = replica.filter(|_| reads).map(|r| r.volume.announce()).transpose()?.map(|a| a.head.to_vec());
        let welcome = Welcome {
            writer: member.writer,
            role: member.role,
            genesis: secrets.genesis.clone(),
            membership: secrets.membership.clone(),
            epochs: if reads { secrets.epochs.clone() } else { Vec::new() },
            heads: heads.into_iter().filter(|head| !head.is_empty()).collect(),
            // What people call it is nothing that one who keeps it has to know.
            name: if reads { known.name.clone() } else { String::new() },
        };
        let words = check_words(known.id, &self.me().0, &peer.0, &request.author);
        tracing::info!(volume = known.name, device = member.name, role = member.role.name(), words, "joined");
        welcome.encode(&pending.verifier, asked, &System)
    }

    /// The member for a newcomer; the same one if it asks again.
    fn add_member(self: &Arc<Self>, known: &Known, peer: &Peer, request: &Request, role: Role) -> Result<Member> {
        let mut added = None;
        self.change_members(known, |membership, me| {
            let table = membership.table();
            if let Some(again) = table.members().find(|m| m.author == request.author && m.peer == peer.0) {
                added = Some(again.clone());
                return Ok(Vec::new());
            }
            let no_lane = || {
                Error::new(Kind::NotPermitted, "let a device in", &known.name)
                    .with_source("only the founder and admins it let in itself can invite")
            };
            let writer = table.next_writer(me).ok_or_else(no_lane)?;
            let name = request.name.clone();
            let member = Member { writer, peer: peer.0, author: request.author, box_key: request.box_key, role, name };
            added = Some(member.clone());
            // A box that lost or dropped what it kept and begins anew is one box, not two.
            let before = table.members().filter(|m| m.peer == peer.0 && m.role == Role::Storage);
            let mut entries: Vec<_> = before.map(|m| Entry::Remove(m.writer)).collect();
            entries.push(Entry::Add(member));
            Ok(entries)
        })?;
        added.ok_or_else(|| Error::new(Kind::Other, "let a device in", &known.name))
    }
}

/// No further address for so long: these are all.
const SETTLING: Duration = Duration::from_millis(100);

/// Where others may reach us: those on a network first, this machine's own last.
fn reachable(net: &crate::net::Net) -> Vec<String> {
    // Right after the start interfaces are told one by one, this machine's own first.
    let (begin, own) = (Instant::now(), |a: &String| a.starts_with("/ip4/127.") || a.starts_with("/ip6/::1/"));
    let mut all = net.listen_addresses();
    let mut settled = Instant::now();
    loop {
        let patience = match all.iter().all(own) {
            _ if all.is_empty() => SETTLING * 30,
            true => SETTLING * 5,
            false => SETTLING,
        };
        if settled.elapsed() >= patience || begin.elapsed() > SETTLING * 30 {
            break;
        }
        std::thread::sleep(SETTLING / 5);
        let now = net.listen_addresses();
        if now.len() != all.len() {
            (all, settled) = (now, Instant::now());
        }
    }
    all.retain(|a| !a.starts_with("/ip6/fe80") && !a.contains("p2p-circuit/p2p-circuit"));
    all.sort_by_key(|a| (own(a), a.starts_with("/ip6/"), a.contains("/tcp/")));
    all
}

/// The words that both of two members show for the other: those of the join, if the earlier let the later one in.
pub fn words_of(id: VolumeId, one: &Member, other: &Member) -> String {
    let (earlier, later) = if one.writer < other.writer { (one, other) } else { (other, one) };
    check_words(id, &earlier.peer, &later.peer, &later.author)
}

/// The incarnation a device joins with: another for each link, the same when it asks again.
pub fn incarnation(verifier: &Verifier) -> u32 {
    let [a, b, c, d, ..] = verifier.id();
    u32::from_le_bytes([a, b, c, d]).max(1)
}
