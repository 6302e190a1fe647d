//! The key-derivation contexts, all in one place so that no two purposes can share one.
//!
//! Must never change: each is part of the format.

pub const BLOCK_PID: &str = "lovage 2026 v1 block pid";
pub const BLOCK_SIV: &str = "lovage 2026 v1 block siv";
pub const BLOCK_KEY: &str = "lovage 2026 v1 block key and nonce";
pub const PARTS: &str = "lovage 2026 v1 block parts";
pub const HEAD: &str = "lovage 2026 v1 head";
pub const CUT: &str = "lovage 2026 v1 chunker cut";
pub const PACK: &str = "lovage 2026 v1 pack order";
pub const LOGICAL: &str = "lovage 2026 v1 tree logical";
pub const IDENTITY: &str = "lovage 2026 v1 device identity";
pub const BOX: &str = "lovage 2026 v1 device box";
pub const LOCAL: &str = "lovage 2026 v1 device local";
pub const AUTHOR: &str = "lovage 2026 v1 device author";
pub const ADMIN: &str = "lovage 2026 v1 volume admin";
pub const KEYSTORE_OPEN: &str = "lovage 2026 v1 keystore without passphrase";
pub const KEYSTORE_KEY: &str = "lovage 2026 v1 keystore key";
pub const KEYSTORE_COMMIT: &str = "lovage 2026 v1 keystore commitment";

pub const BOX_KEY: &str = "lovage 2026 v1 box key";
pub const INVITE_VERIFIER: &str = "lovage 2026 v1 invite verifier";
pub const INVITE_REPLY: &str = "lovage 2026 v1 invite reply";

/// Every context; a test proves them distinct.
#[cfg(test)]
pub const ALL: &[&str] = &[
    BLOCK_PID,
    BLOCK_SIV,
    BLOCK_KEY,
    PARTS,
    HEAD,
    CUT,
    PACK,
    LOGICAL,
    IDENTITY,
    BOX,
    LOCAL,
    AUTHOR,
    ADMIN,
    KEYSTORE_OPEN,
    KEYSTORE_KEY,
    KEYSTORE_COMMIT,
    BOX_KEY,
    INVITE_VERIFIER,
    INVITE_REPLY,
];

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    #[test]
    fn no_two_purposes_share_a_context() {
        let distinct: std::collections::BTreeSet<_> = super::ALL.iter().collect();
        assert_eq!(distinct.len(), super::ALL.len());
        assert!(super::ALL.iter().all(|c| c.starts_with("lovage 2026 v1 ")));
    }
}
