//! The house rules as data: ranks, crate fences, size caps, the files that may hold `unsafe`.
//!
//! Adding a layer, a dependency or an `unsafe` file is one line here, seen in review. Caps only go down.

/// Layers in rank order: a module imports only modules of a strictly lower rank.
pub const RANKS: &[(&str, u8)] = &[
    ("base", 0),
    ("seal", 1),
    ("kv", 1),
    ("causal", 1),
    ("wire", 2),
    ("cas", 2),
    ("tree", 3),
    ("volume", 4),
    ("sync", 5),
    ("net", 5),
    ("fuse", 5),
    ("web", 5),
    ("daemon", 6),
    ("cli", 7),
    ("main", 8),
];

/// A third-party crate, as it is written in code, and the path prefixes under `src/` that may name it.
pub struct Fence {
    /// Crate name with underscores.
    pub krate: &'static str,
    /// Prefixes of paths below `src/`; an empty list means nobody.
    pub homes: &'static [&'static str],
}

const fn fence(krate: &'static str, homes: &'static [&'static str]) -> Fence {
    Fence { krate, homes }
}

/// Every dependency of the package is listed; one that is not fails the test.
pub const FENCES: &[Fence] = &[
    fence("argon2", &["seal/"]),
    fence("axum", &["web/"]),
    fence("blake3", &["base/"]),
    fence("bytes", ANYWHERE),
    fence("chacha20", &["seal/"]),
    fence("chacha20poly1305", &["seal/"]),
    fence("clap", &["cli/"]),
    fence("clap_complete", &["cli/"]),
    fence("clap_mangen", &["cli/"]),
    fence("crc32c", &["kv/"]),
    fence("crossbeam_channel", ANYWHERE),
    fence("ed25519_dalek", &["seal/"]),
    fence("fuser", &["fuse/"]),
    fence("getrandom", &["base/"]),
    fence("indicatif", &["cli/"]),
    fence("jiff", &["daemon/", "cli/"]),
    fence("libc", &["base/", "seal/", "kv/", "cas/", "volume/", "fuse/", "net/", "daemon/", "cli/"]),
    fence("libp2p", &["net/"]),
    fence("memmap2", &["kv/"]),
    fence("futures_core", &["kv/"]),
    fence("opendal", &["kv/"]),
    fence("parking_lot", &["base/sync.rs"]),
    fence("postcard", &["wire/", "causal/", "volume/", "cas/", "tree/", "seal/"]),
    fence("ptr_hash", &["kv/"]),
    fence("qrcode", &["cli/"]),
    fence("quick_cache", &["cas/", "tree/"]),
    fence("ring", &["seal/"]),
    fence("rusqlite", &["kv/"]),
    fence("rustix", &["base/", "seal/", "kv/", "cas/", "volume/", "fuse/", "net/", "daemon/", "cli/"]),
    fence("serde", ANYWHERE),
    fence("serde_json", &["wire/", "web/", "daemon/", "cli/"]),
    fence("sled", &["kv/"]),
    fence("socket2", &["net/"]),
    fence("subtle", &["seal/"]),
    fence("tokio", &["kv/", "cas/", "fuse/", "net/", "web/", "daemon/", "cli/"]),
    fence("toml_edit", &["daemon/", "cli/"]),
    fence("tracing", ANYWHERE),
    fence("tracing_subscriber", &["daemon/", "cli/"]),
    fence("x25519_dalek", &["seal/"]),
    fence("zeroize", &["seal/"]),
    fence("zstd", &["cas/"]),
];

/// Homes of a crate that any layer may use.
pub const ANYWHERE: &[&str] = &[""];

/// Files below `src/` that may hold `unsafe`, each block under a `SAFETY:` comment.
pub const UNSAFE_FILES: &[&str] = &["kv/arena/real.rs", "daemon/memory.rs"];

/// File, macro and reason of each place that may end the process.
pub const MAY_PANIC: &[(&str, &str, &str)] =
    &[("base/port.rs", "panic", "without randomness no key may be made: there is nothing to continue with")];

/// Words no path component may contain: they name no thing.
pub const EMPTY_WORDS: &[&str] = &["util", "utils", "common", "helper", "helpers", "manager", "misc"];

/// Lines of one file outside its tests.
pub const FILE_CAP: usize = 600;
/// Median over files of lines outside tests.
pub const FILE_MEDIAN: usize = 150;
/// Lines of one function, signature to closing brace.
pub const FUNCTION_CAP: usize = 100;
/// Median over functions.
pub const FUNCTION_MEDIAN: usize = 8;
/// 95th percentile over functions.
pub const FUNCTION_P95: usize = 45;

/// Rank of a top-level module, if it is one.
pub fn rank(module: &str) -> Option<u8> {
    RANKS.iter().find(|(name, _)| *name == module).map(|(_, rank)| *rank)
}
