//! Decoders of the volume's records, for the fuzz targets. Compiled only with the feature `fuzzing`; must
//! never be called by the program. Each decodes, and what decodes must survive being encoded again.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::content;
use super::journal::Batch;
use super::ops;
use super::row::{Row, decode_state, encode_state};
use super::sealing::{Checkpoint, HeadBody};
use super::stat::Stat;
use crate::causal::{NodeState, Vector, join_node};

/// A node state: shown, joined with itself (which adds nothing to a state made by an honest device), and
/// the content of its versions.
pub fn state(bytes: &[u8]) -> Option<NodeState> {
    let state = decode_state(bytes).ok()?;
    let again = decode_state(&encode_state(&state).ok()?).ok();
    assert_eq!(again.as_ref(), Some(&state), "a state survives its encoding");
    let _ = (Stat::of(&state), state.places().count());
    for (_, version) in &state.content.0 {
        let _ = (content::decode(&version.data), content::allocated(&version.data));
    }
    let nothing = Vector::default();
    if let Some(joined) = join_node((Some(&state), &nothing), (Some(&state), &nothing)) {
        let twice = join_node((Some(&joined), &nothing), (Some(&joined), &nothing));
        assert_eq!(twice, Some(joined), "joining again adds nothing");
    }
    Some(state)
}

/// A directory row.
pub fn row(bytes: &[u8]) -> bool {
    let Ok(row) = Row::decode(bytes) else { return false };
    let again = row.encode().and_then(|b| Row::decode(&b)).ok();
    assert_eq!(again.as_ref(), Some(&row), "a row survives its encoding");
    let _ = (row.attr(1), row.is_shared());
    let mut sum = row.contribution();
    sum.add(row.contribution());
    sum.subtract(row.contribution());
    let _ = (sum.totals(), sum.is_nothing());
    true
}

/// A journal entry.
pub fn journal(bytes: &[u8]) -> bool {
    survives::<Batch>(bytes)
}

/// A checkpoint.
pub fn checkpoint(bytes: &[u8]) -> bool {
    survives::<Checkpoint>(bytes)
}

/// The body of a head.
pub fn head(bytes: &[u8]) -> bool {
    survives::<HeadBody>(bytes)
}

/// An access list, as programs set it.
pub fn access_list(bytes: &[u8]) {
    ops::try_access_list(bytes);
}

fn survives<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> bool {
    let Ok(value) = postcard::from_bytes::<T>(bytes) else { return false };
    let once = postcard::to_stdvec(&value).ok();
    let again = once.as_deref().and_then(|b| postcard::from_bytes::<T>(b).ok());
    let twice = again.and_then(|v| postcard::to_stdvec(&v).ok());
    assert!(once.is_some() && once == twice, "a record survives its encoding");
    true
}
