//! Identifiers: fixed-size newtypes, printed as lowercase hex, valid by construction.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// The raw bytes.
            pub fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// From a slice of exactly the right length.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// Parse lowercase or uppercase hex of exactly the right length.
            pub fn from_hex(text: &str) -> Option<Self> {
                let text = text.as_bytes();
                if text.len() != $len * 2 {
                    return None;
                }
                let mut out = [0; $len];
                for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
                    let high = char::from(*pair.first()?).to_digit(16)?;
                    let low = char::from(*pair.last()?).to_digit(16)?;
                    *byte = u8::try_from(high * 16 + low).ok()?;
                }
                Some(Self(out))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

id!(
    /// A block: `BLAKE3("blk1" || ciphertext)`. Anyone can verify it; alone it reads nothing.
    Bid,
    32
);
id!(
    /// A volume: hash of its signed genesis, truncated to 128 bits.
    VolumeId,
    16
);
id!(
    /// A device: hash of its public identity key.
    DeviceId,
    32
);
id!(
    /// A file, directory or other node: 48-bit tag of the birth directory, then 80 random bits. Never changes.
    NodeId,
    16
);

/// Index of a writer (one incarnation of one device) in a volume's writer table.
pub type WriterIndex = u32;

impl NodeId {
    /// The fixed root directory of every volume.
    pub const ROOT: Self = Self(*b"\0\0\0\0\0\0lovageroot");
    /// The reserved parent of deleted nodes.
    pub const TRASH: Self = Self(*b"\0\0\0\0\0\0lovgetrash");
    /// The reserved parent of nodes whose place is unknown.
    pub const LOST: Self = Self(*b"\0\0\0\0\0\0lovagelost");

    /// A new id for a node born in `parent`. The tag (taken from the parent's random part) makes
    /// siblings neighbours in the tree; `random` makes the id unique.
    pub fn born_in(parent: Self, random: [u8; 10]) -> Self {
        let mut id = [0; 16];
        let (tag, rest) = id.split_at_mut(6);
        tag.copy_from_slice(parent.0.get(10..).unwrap_or(&[0; 6]));
        rest.copy_from_slice(&random);
        Self(id)
    }

    /// Whether this is one of the reserved ids.
    pub fn is_reserved(&self) -> bool {
        [Self::ROOT, Self::TRASH, Self::LOST].contains(self)
    }
}

/// Bytes as lowercase hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = fmt::Write::write_fmt(&mut text, format_args!("{byte:02x}"));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips_and_rejects_everything_else() {
        let id = NodeId::ROOT;
        assert_eq!(NodeId::from_hex(&id.to_string()), Some(id));
        assert_eq!(NodeId::from_hex("00"), None);
        assert_eq!(NodeId::from_hex(&"zz".repeat(16)), None);
    }

    #[test]
    fn siblings_share_the_tag_of_their_birth_directory() {
        let a = NodeId::born_in(NodeId::ROOT, [1; 10]);
        let b = NodeId::born_in(NodeId::ROOT, [2; 10]);
        assert_eq!(a.0[..6], b.0[..6]);
        assert_ne!(a, b);
    }
}
