//! What the daemon is and does: the documents of `status`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::RawPath;

/// `status --json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the black-box contract
pub struct Status {
    pub daemon: DaemonStatus,
    pub volumes: Vec<VolumeStatus>,
    pub peers: Vec<PeerStatus>,
    pub stores: Vec<StoreStatus>,
    /// Kept here for others.
    #[serde(default)]
    pub keeps: Vec<KeepStatus>,
}

/// The daemon in [`Status`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct DaemonStatus {
    pub pid: u32,
    pub home: RawPath,
    pub peer_id: String,
    pub version: String,
    pub uptime_s: u64,
    pub listen: Vec<String>,
    pub sent_bytes: u64,
    pub received_bytes: u64,
}

/// A volume in [`Status`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct VolumeStatus {
    pub name: String,
    pub id: String,
    pub mounts: Vec<RawPath>,
    pub role: String,
    pub files: u64,
    pub bytes: u64,
    pub local_bytes: u64,
    pub dirty_bytes: u64,
    /// What a collection would free, about.
    pub garbage_bytes: u64,
    /// The disk of the home has no room for more content: writes are refused.
    #[serde(default)]
    pub full: bool,
    /// Damaged places of the log that `fsck` has still to tell of.
    #[serde(default)]
    pub damage: u64,
    pub root: String,
    pub vector: BTreeMap<String, u64>,
    pub conflicts: u64,
    pub pins: u64,
    pub heads: Vec<HeadStatus>,
    /// Members that keep the volume and cannot read it.
    #[serde(default)]
    pub keepers: Vec<KeeperStatus>,
    /// Others that must hold what `evict` drops, if that was set for this volume.
    #[serde(default)]
    pub replicas: Option<u64>,
    /// Whether names come when they are looked at, if that was set for this volume.
    #[serde(default)]
    pub lazy: Option<bool>,
    /// To how many of them each large block goes; 0: to all.
    #[serde(default)]
    pub copies: u64,
    /// Whether the daemon has it open (else the counts are zero).
    pub open: bool,
}

/// The newest head known of one writer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct HeadStatus {
    pub writer: u32,
    pub device: String,
    pub seq: u64,
    pub heard_s_ago: u64,
}

/// A peer in [`Status`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct PeerStatus {
    pub id: String,
    pub device: String,
    pub addresses: Vec<String>,
    pub connected: bool,
    pub transport: String,
    pub rtt_ms: f64,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    pub volumes: Vec<String>,
}

/// A member that keeps a volume without reading it, in [`VolumeStatus`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct KeeperStatus {
    pub device: String,
    pub connected: bool,
    /// Bytes of this device's log that are still to be looked at.
    pub queue_bytes: u64,
    /// `ok`, or why it has not everything that it should have.
    pub state: String,
    /// How many of a hundred large blocks it should have.
    #[serde(default)]
    pub share_percent: u64,
    /// Bytes that it may take, as it said last.
    #[serde(default)]
    pub room_bytes: Option<u64>,
    /// Bytes that it takes.
    #[serde(default)]
    pub used_bytes: Option<u64>,
    /// Blocks that it has.
    #[serde(default)]
    pub blocks: Option<u64>,
}

/// A volume that is kept here for others, in [`Status`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct KeepStatus {
    pub name: String,
    pub id: String,
    /// Members, this device included.
    pub devices: u64,
    pub blocks: u64,
    pub used_bytes: u64,
    pub quota_bytes: Option<u64>,
    /// Writers whose newest head is here.
    pub heads: u64,
    /// `ok`, or why the last offer was not taken.
    pub state: String,
    /// What is asked about it, if anything.
    #[serde(default)]
    pub collection: Option<KeepCollection>,
}

/// A collection of what is kept, in [`KeepStatus`]: what nobody needs goes when all have answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct KeepCollection {
    /// Asked about.
    pub blocks: u64,
    /// Devices that have not said yet what they need.
    pub waiting_for: Vec<String>,
}

/// A store in [`Status`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct StoreStatus {
    pub name: String,
    pub url: String,
    pub state: String,
    pub latency_ms: f64,
    pub queue_bytes: u64,
    pub stored_bytes: u64,
    /// Whose it is.
    #[serde(default)]
    pub volume: String,
    /// Most bytes a second that it is given.
    #[serde(default)]
    pub limit_bytes_s: Option<u64>,
    /// `fsync` waits for it.
    #[serde(default)]
    pub before_fsync: bool,
    /// What there is to tell of a collection of its garbage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<CollectionStatus>,
}

/// How far the collection of a store is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionStatus {
    /// `waiting` for devices, `sweeping`, `done`: this device collects. `asking`, `sweeping`, `busy`: another does.
    /// `orphaned`: that one was put out while it removed.
    pub state: String,
    /// The device that collects, if it is not this one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Devices that have not said yet what they need.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<String>,
    /// This device is one of them.
    #[serde(default)]
    pub owed: bool,
    /// Why it cannot say it, if it cannot.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trouble: String,
    /// Blocks gone through, out of so many; a service may keep some that lie among live ones.
    pub blocks: u64,
    /// See [`Self::blocks`].
    pub of: u64,
    /// Bytes by which the store became smaller.
    pub bytes: u64,
}
