//! The key-derivation contexts, all in one place so that no two purposes can share one.
//!
//! Must never change: each is part of the format.

pub const BLOCK_PID: &str = "lovage 2026 v1 block pid";
pub const BLOCK_SIV: &str = "lovage 2026 v1 block siv";
pub const BLOCK_KEY: &str = "lovage 2026 v1 block key and nonce";
pub const HEAD: &str = "lovage 2026 v1 head";
pub const CUT: &str = "lovage 2026 v1 chunker cut";
pub const PACK: &str = "lovage 2026 v1 pack order";
pub const LOGICAL: &str = "lovage 2026 v1 tree logical";

/// Every context; a test proves them distinct.
#[cfg(test)]
pub const ALL: &[&str] = &[BLOCK_PID, BLOCK_SIV, BLOCK_KEY, HEAD, CUT, PACK, LOGICAL];

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
