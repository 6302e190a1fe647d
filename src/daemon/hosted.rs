//! What the daemon needs of an open volume beyond its files: the port that requests are written against.

use std::fmt::Debug;
use std::sync::Arc;

use crate::base::Result;
use crate::volume::api::Ino;
use crate::volume::{FileSystem, Invalidate, Volume};
use crate::wire::RawPath;
use crate::wire::control::{BlockStat, ContentId, FsckReport, GcReport, Progress, VolumeStatus};

/// Takes reports of progress; an error means that nobody waits any more: stop.
pub type Report<'a> = &'a mut dyn FnMut(Progress) -> Result<()>;

/// An open volume.
pub trait Hosted: Send + Sync + Debug {
    /// Itself.
    fn volume(&self) -> &Arc<Volume>;
    /// Its files.
    fn files(&self) -> Arc<dyn FileSystem>;
    /// Tell `mount`, as long as somebody keeps it, of changes that did not come through it.
    fn attach(&self, mount: &Arc<dyn Invalidate>);
    /// Fill in what only the volume knows: counts, sizes, root, vector, heads. Counts lag by some seconds
    /// unless `exact`, which costs in proportion to what changed in that time.
    fn figures(&self, exact: bool, status: &mut VolumeStatus) -> Result<()>;
    /// The first `most` blocks of a file's content, and how many more there are.
    fn blocks(&self, ino: Ino, most: usize) -> Result<(Vec<BlockStat>, u64)>;
    /// The content id a local file would have here. Stores nothing.
    fn content_id(&self, path: &RawPath) -> Result<ContentId>;
    /// Free what nothing reaches, or say what would be freed.
    fn collect(&self, dry_run: bool, report: Report<'_>) -> Result<GcReport>;
    /// Verify structure, and content too when `read_data`.
    fn verify(&self, repair: bool, read_data: bool, report: Report<'_>) -> Result<FsckReport>;
    /// How many damaged places in the log `verify` has still to tell of.
    fn damage(&self) -> u64;
    /// Everything durable, workers stopped. Later operations fail.
    fn close(&self) -> Result<()>;
}
