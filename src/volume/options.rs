//! What a volume is opened with.

use std::path::PathBuf;
use std::sync::Arc;

use crate::base::WriterIndex;
use crate::base::port::{Clock, Entropy, System};
use crate::cas::Fetch;
use crate::seal::{DeviceRoot, VolumeSecrets};

/// Memory and behaviour. All sizes in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Unwritten file content; writers wait beyond it.
    pub dirty_max: u64,
    /// Plaintext of blocks.
    pub cache: u64,
    /// Decoded tree nodes.
    pub tree_cache: usize,
    /// Nodes kept resident though nothing about them changed.
    pub residents: usize,
    /// Seal when this many nodes have changed.
    pub seal_at: usize,
    /// Changes wait for the seal when this many nodes have changed.
    pub unsealed_max: usize,
    /// Write a checkpoint when this much was stored since the last one: after a crash that much is read again.
    pub tail_max: u64,
    /// Worker threads.
    pub workers: usize,
    /// Try to compress every block.
    pub compress: bool,
    /// Refuse every change.
    pub read_only: bool,
    /// Called when the volume comes to rest and has dropped its caches: hand freed memory to the system.
    pub trim: Option<fn()>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            dirty_max: 64 << 20,
            cache: 64 << 20,
            tree_cache: 24 << 20,
            residents: 32 << 10,
            seal_at: 16 << 10,
            unsealed_max: 96 << 10,
            tail_max: 512 << 20,
            workers: 2,
            compress: true,
            read_only: false,
            trim: None,
        }
    }
}

impl Options {
    /// For machines with little memory.
    pub fn low_mem() -> Self {
        Self {
            dirty_max: 12 << 20,
            cache: 8 << 20,
            tree_cache: 4 << 20,
            residents: 4 << 10,
            seal_at: 4 << 10,
            unsealed_max: 12 << 10,
            ..Self::default()
        }
    }
}

/// Names a writer's device in the names of conflict copies. Must be the same function on every device.
pub type Label = Arc<dyn Fn(WriterIndex) -> String + Send + Sync>;

/// Everything a volume is made of.
pub struct Setup<'a> {
    /// Where its log and local indexes live; made if it is not there.
    pub dir: PathBuf,
    /// This device.
    pub device: &'a DeviceRoot,
    /// The volume's keys and genesis.
    pub secrets: &'a VolumeSecrets,
    /// Make the volume if there is none. Off: an empty log is [`Kind::Corrupt`](crate::base::Kind::Corrupt),
    /// since what was there is gone.
    pub make: bool,
    /// Owner of the root directory of a new volume: user and group.
    pub owner: (u32, u32),
    /// This device's place in the volume's writer table; the incarnation, unless membership says otherwise.
    pub writer: Option<WriterIndex>,
    /// Somebody else made the volume: begin with nothing, not even a root directory, until the first
    /// [`merge`](super::Volume::merge). Operations on the root fail with [`Kind::Stale`](crate::base::Kind::Stale)
    /// until then.
    pub joined: bool,
    /// Others can write to the volume: what is removed goes to the trash.
    pub shared: bool,
    /// Where blocks come from that are not here.
    pub fetch: Option<Arc<dyn Fetch>>,
    /// Names devices in the names of conflict copies.
    pub label: Label,
    /// Memory and behaviour.
    pub options: Options,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl<'a> Setup<'a> {
    /// With the system's clock and randomness and default options.
    pub fn new(dir: PathBuf, device: &'a DeviceRoot, secrets: &'a VolumeSecrets, owner: (u32, u32)) -> Self {
        Self {
            dir,
            device,
            secrets,
            make: true,
            owner,
            writer: None,
            joined: false,
            shared: false,
            fetch: None,
            label: Arc::new(|writer| format!("device {writer}")),
            options: Options::default(),
            clock: Arc::new(System),
            entropy: Arc::new(System),
        }
    }
}

impl std::fmt::Debug for Setup<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Setup({}, {:?})", self.secrets.id, self.dir)
    }
}
