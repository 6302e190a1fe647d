//! What a command asks the daemon, and what the daemon answers: the data of the black-box contract.
//!
//! Fields may be added, never renamed: `--json` prints these documents as they are.
//! Must never carry a secret, but for an invite's link, which is good once.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Failure, RawPath};
use crate::base::{Error, Kind, Result};

mod content;
mod status;

pub use content::*;
pub use status::*;

/// Version of this protocol. A daemon refuses another one with a sentence that says so.
pub const PROTOCOL: u32 = 1;

/// The first and only frame a client sends on a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// [`PROTOCOL`] of the client.
    pub protocol: u32,
    /// What is asked.
    pub request: Value,
}

/// What can be asked. One variant a file in `daemon/control/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
#[allow(missing_docs)] // the fields are the arguments of the commands of the same names
pub enum Request {
    Status {
        exact: bool,
    },
    Mount {
        volume: String,
        dir: RawPath,
        read_only: bool,
        allow_other: bool,
    },
    Unmount {
        dir: RawPath,
    },
    VolumeCreate {
        name: String,
        dedup: Dedup,
        chunking: Chunking,
    },
    VolumeList,
    VolumeShow {
        name: String,
    },
    VolumeSet {
        name: String,
        replicas: Option<u64>,
        lazy: Option<bool>,
    },
    VolumeForget {
        name: String,
        force: bool,
    },
    List {
        at: PathArg,
    },
    Stat {
        at: PathArg,
    },
    Cat {
        at: PathArg,
    },
    DiskUsage {
        at: PathArg,
    },
    Hash {
        volume: String,
        files: Vec<RawPath>,
    },
    Gc {
        volume: Option<String>,
        dry_run: bool,
    },
    Fsck {
        volume: Option<String>,
        repair: bool,
        read_data: bool,
    },
    Invite {
        volume: String,
        role: String,
        seconds: u64,
        via: Option<String>,
    },
    Join {
        link: String,
        mount: bool,
        quota: Option<u64>,
    },
    Members {
        volume: String,
    },
    MemberRemove {
        volume: String,
        device: String,
        #[serde(default)]
        force: bool,
    },
    MemberRole {
        volume: String,
        device: String,
        role: String,
    },
    MemberCopies {
        volume: String,
        copies: Option<u64>,
    },
    Pin {
        at: PathArg,
        depth: Option<u32>,
    },
    Unpin {
        at: PathArg,
    },
    Pins,
    Get {
        at: PathArg,
    },
    Evict {
        at: PathArg,
    },
    Explain {
        at: PathArg,
    },
    PeerPing {
        peer: String,
    },
    Conflicts {
        volume: Option<String>,
    },
    Resolve {
        at: PathArg,
        keep: String,
    },
    Conflict {
        at: PathArg,
    },
    Version {
        at: PathArg,
        id: String,
    },
    ResolveMerged {
        at: PathArg,
        merged: RawPath,
        versions: Vec<String>,
    },
    PeerAdd {
        address: String,
    },
    PeerRemove {
        address: String,
    },
    StoreAdd {
        volume: String,
        name: String,
        url: String,
    },
    StoreRemove {
        volume: String,
        name: String,
        force: bool,
    },
    KeepList,
    KeepSet {
        name: String,
        quota: Option<u64>,
    },
    KeepDrop {
        name: String,
    },
    KeepGc {
        name: String,
    },
    StoreSet {
        volume: String,
        name: String,
        limit: Option<u64>,
        before_fsync: Option<bool>,
    },
    StoreTest {
        volume: String,
        name: String,
    },
    StoreSync {
        volume: String,
    },
    StoreCopy {
        volume: String,
        from: String,
        to: String,
    },
    StoreCheck {
        volume: String,
        name: String,
        repair: bool,
    },
    StoreGc {
        volume: String,
        name: String,
        take_over: bool,
    },
    Push {
        at: PathArg,
        store: String,
    },
    LogLevel {
        directives: Option<String>,
    },
    Metrics,
}

/// A path argument: as typed, and as an absolute path of the asking process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathArg {
    /// `VOLUME:/path`, `/path`, or a path inside a mount.
    pub typed: RawPath,
    /// The same as an absolute path, symlinks above the last component resolved where possible.
    pub absolute: RawPath,
}

/// Whether equal content is stored once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dedup {
    /// Within the volume.
    #[default]
    Volume,
    /// Never: equal files look unrelated to whoever stores them.
    Off,
}

/// Where files are cut into blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Chunking {
    /// By content: an insertion moves few boundaries.
    #[default]
    Cdc,
    /// At fixed offsets: sizes say little.
    Fixed,
}

/// One frame of the daemon's answer: any number of progress and parts, then done or failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// How far long work is.
    Progress(Progress),
    /// One element of an answer that is a list.
    Part(Value),
    /// The answer; `null` when there is nothing to say or the parts were it.
    Done(Value),
    /// It failed.
    Failed(Failure),
}

/// How far a piece of work is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done: a short phrase.
    pub stage: String,
    /// How much is done.
    pub done: u64,
    /// Out of how much; `None` is unknown.
    pub total: Option<u64>,
    /// Whether the numbers are bytes (else things).
    pub bytes: bool,
}

/// Answer to [`Request::StoreCopy`] and [`Request::StoreCheck`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct StoreMoved {
    /// Blocks looked at.
    pub checked: u64,
    /// Blocks read.
    pub read: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Blocks that do not verify, or are gone.
    pub bad: u64,
    /// Of these, put right.
    pub repaired: u64,
}

/// Answer to [`Request::Mount`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounted {
    /// Name of the volume.
    pub volume: String,
    /// Where it is mounted.
    pub dir: RawPath,
    /// The process that serves it.
    pub pid: u32,
    /// Whether writing is refused.
    pub read_only: bool,
    /// Places in its log that were found damaged and `fsck --repair` has not told of yet.
    #[serde(default)]
    pub damage: u64,
}

/// `invite --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Invited {
    /// Whoever has it comes in, once.
    pub link: String,
    pub role: String,
    /// Seconds since 1970.
    pub expires: u64,
}

/// `join --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Joined {
    pub volume: String,
    pub id: String,
    pub role: String,
    /// The words that `members` shows on the inviter's side.
    pub words: String,
    /// The tree can be listed; else it comes when a member is reachable.
    pub tree: bool,
}

impl Joined {
    /// [`Kind::Unreachable`] unless the tree is known.
    pub fn expect_tree(&self) -> Result<()> {
        if self.tree {
            return Ok(());
        }
        let why = "this device has joined, but nobody who has the tree can be reached";
        let next = format!("Mount it later: lovage mount {} DIR", self.volume);
        Err(Error::new(Kind::Unreachable, "mount", &self.volume).with_source(super::Advice::new(why, next)))
    }
}

/// One line of `pins`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct PinStatus {
    pub path: String,
    /// Of the node: it keeps it when it is moved.
    pub id: String,
    pub depth: Option<u32>,
    pub complete: bool,
    pub bytes: u64,
    pub missing_bytes: u64,
}

/// One line of `evict`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct EvictReport {
    pub path: String,
    /// Content that is no longer here.
    pub dropped_bytes: u64,
    /// Given back to the disk: compressed and sealed, in whole pages.
    pub freed_bytes: u64,
    /// Content that is here still, for the reasons that follow.
    pub kept_bytes: u64,
    pub pinned_bytes: u64,
    /// Too few others said that they keep it.
    pub unconfirmed_bytes: u64,
    /// Another device was just promised that they stay here.
    #[serde(default)]
    pub promised_bytes: u64,
    /// Devices that could be asked.
    pub peers: u64,
}

/// `explain --json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Explained {
    pub path: String,
    pub blocks: Vec<ExplainedBlock>,
    /// Blocks left out of `blocks` because there are too many.
    pub more_blocks: u64,
}

/// One block in [`Explained`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ExplainedBlock {
    pub id: String,
    pub offset: u64,
    pub bytes: u64,
    pub local: bool,
    /// The device that would be asked first; empty when it is here or nowhere.
    pub from: String,
    pub why: String,
    /// Every device that says it has it, the nearest first.
    pub peers: Vec<String>,
    /// Members that keep without reading and should have it.
    #[serde(default)]
    pub boxes: Vec<String>,
    /// Of all such members that are connected, those that say they have it.
    #[serde(default)]
    pub kept_by: Vec<String>,
}

/// `peer ping --json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Pinged {
    pub peer: String,
    pub device: String,
    pub transport: String,
    /// From a question to its answer, both daemons included.
    pub rtt_ms: f64,
}

/// One line of `conflicts`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ConflictStatus {
    pub volume: String,
    pub path: String,
    /// Everything it shows as.
    pub paths: Vec<String>,
    pub versions: Vec<VersionStatus>,
    /// The version they were all written over, where it is known.
    pub base: Option<String>,
}

/// One version in [`ConflictStatus`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct VersionStatus {
    /// What `resolve --keep` takes.
    pub id: String,
    pub path: String,
    pub device: String,
    /// Nanoseconds since 1970.
    pub time_ns: i64,
    pub size: u64,
    /// It was written on this device.
    pub this: bool,
}

/// One line of `members`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct MemberStatus {
    /// What people call it.
    pub device: String,
    /// Its peer id.
    pub id: String,
    pub writer: u32,
    pub role: String,
    pub removed: bool,
    /// It is the one that answers.
    pub this: bool,
    pub connected: bool,
    /// What the device was shown when it joined here.
    pub words: String,
    /// Of a member that keeps without reading: how many of a hundred large blocks it should have.
    #[serde(default)]
    pub share_percent: Option<u64>,
    /// And the bytes it has room for, to a power of two, if known.
    #[serde(default)]
    pub room_bytes: Option<u64>,
}

/// `members copies --json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct CopiesStatus {
    /// To how many members that keep without reading each large block goes; 0: to all.
    pub copies: u64,
    /// How many of those there are.
    pub boxes: u64,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_request_is_named_by_what_it_does() {
        let text = serde_json::to_string(&Request::Gc { volume: None, dry_run: true }).unwrap();
        assert_eq!(text, r#"{"do":"gc","volume":null,"dry_run":true}"#);
        assert!(serde_json::from_str::<Request>(r#"{"do":"conquer"}"#).is_err());
    }

    #[test]
    fn status_has_the_fields_the_contract_names() {
        let status = Status { volumes: vec![VolumeStatus::default()], ..Status::default() };
        let value = serde_json::to_value(&status).unwrap();
        for field in ["pid", "home", "peer_id", "version", "uptime_s", "listen", "sent_bytes", "received_bytes"] {
            assert!(value["daemon"].get(field).is_some(), "daemon.{field}");
        }
        let volume = ["name", "id", "mounts", "role", "files", "bytes", "local_bytes", "dirty_bytes", "root", "vector"];
        for field in volume.into_iter().chain(["conflicts", "pins", "heads"]) {
            assert!(value["volumes"][0].get(field).is_some(), "volumes[].{field}");
        }
        assert!(value["peers"].is_array() && value["stores"].is_array());
    }

    #[test]
    fn an_answer_with_fields_from_the_future_is_still_read() {
        let text =
            r#"{"volume":"v","dry_run":false,"kept_blocks":1,"kept_bytes":2,"freed_blocks":3,"freed_bytes":4,"new":5}"#;
        assert_eq!(serde_json::from_str::<GcReport>(text).unwrap().freed_bytes, 4);
    }
}
