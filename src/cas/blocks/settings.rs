//! What a block store can be told and what it tells.

/// How a block store behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Try zstd on every block.
    pub compress: bool,
    /// Recognise equal data, and let equal data be stored once. Off: every data block is salted.
    pub dedup: bool,
    /// Bytes of plaintext kept in memory; an eighth is added for decoded manifest nodes and up to a
    /// twentieth for recent private ids.
    pub cache_bytes: u64,
}

impl Options {
    /// For machines with little memory: 8 MiB of cache.
    pub fn low_mem() -> Self {
        Self { cache_bytes: 8 << 20, ..Self::default() }
    }

    /// Private ids remembered in memory: 16384 (2 GiB of data) with the default cache, about 2 MiB.
    pub(super) fn recent_pids(&self) -> usize {
        usize::try_from(self.cache_bytes / 4096).unwrap_or(usize::MAX).clamp(1024, 1 << 16)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { compress: true, dedup: true, cache_bytes: 64 << 20 }
    }
}

/// Counts since a block store was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stat {
    /// Blocks given to `put`.
    pub puts: u64,
    /// Of these, recognised before sealing.
    pub dedup_hits: u64,
    /// Bytes given to `put`.
    pub plain_bytes: u64,
    /// Sealed bytes given to the log, which may know some of them.
    pub sealed_bytes: u64,
    /// Bytes in the plaintext and manifest caches now.
    pub cached_bytes: u64,
}
