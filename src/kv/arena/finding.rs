//! What opening or scrubbing a log found damaged.

use crate::base::Bid;

/// One damaged place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Number of the arena.
    pub arena: u32,
    /// Byte offset in it.
    pub offset: u64,
    /// What is damaged.
    pub damage: Damage,
}

/// What a [`Finding`] hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// This block: its bytes do not verify.
    Block(Bid),
    /// A journal entry; `index` entries of [`Recovery::journal`](super::Recovery::journal) stand before the gap.
    Journal {
        /// Number of intact entries before the gap.
        index: usize,
    },
    /// A record whose header is unreadable: could have been anything.
    Unknown,
    /// A whole arena whose identity is unreadable.
    Arena,
    /// The log ends here, and once went on.
    End,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { arena, offset, damage } = self;
        match damage {
            Damage::Block(id) => write!(f, "the block {id} is damaged"),
            Damage::Journal { .. } => {
                write!(f, "an entry of the journal is damaged: changes synced before a crash are lost")
            }
            Damage::Unknown => write!(f, "a record cannot be read: blocks or changes may be lost"),
            Damage::End => write!(f, "the log was cut: what was stored behind is lost"),
            Damage::Arena => {
                return write!(f, "the whole of arena {arena} cannot be read: its blocks and changes are lost");
            }
        }?;
        write!(f, " (arena {arena} at {offset})")
    }
}
