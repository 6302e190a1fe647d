//! Keys and what they protect: sealed blocks, signed heads, genesis, the keystore, device identity.
//!
//! Rank 1: imports only `base`. Every cipher, signature and password hash of the project is used here
//! and nowhere else. Byte layouts are in `docs/format-seal.md` and frozen by `fstests/format/vectors.json`.
//!
//! Must never: compress or chunk, touch a file other than the keystore, print a secret, derive a key or
//! nonce from anything but the exact bytes encrypted under it (or draw the nonce at random), or panic on
//! input.

mod aead;
mod author;
mod boxed;
mod context;
mod cursor;
mod device;
mod frame;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod genesis;
pub mod head;
pub mod invite;
mod keystore;
mod lead;
mod local;
pub mod membership;
mod padding;
mod parts;
mod reference;
mod sealer;
mod secret;

pub use author::AuthorKey;
pub use boxed::{BOXED, open as open_box, public as box_key, seal as seal_box};
pub use device::DeviceRoot;
pub use keystore::{Cost, Keystore, Passphrase, VolumeSecrets};
pub use local::LocalSealer;
pub use padding::padded_len;
pub use parts::Part;
pub use reference::{BlockType, Codec, Pid, Ref};
pub use sealer::{Opened, Sealer};
pub use secret::{EpochSecret, Secret};

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod vectors;
