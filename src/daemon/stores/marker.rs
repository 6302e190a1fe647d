//! The object that says whose store this is: a hash of the volume's id, so that a stranger learns nothing.
//!
//! Must never be written over.

use bytes::Bytes;

use crate::base::{Error, Kind, Result, VolumeId, hash, hex};
use crate::kv::{Expect, Kv};

const NAME: &str = "volume";

fn mark(id: VolumeId) -> Bytes {
    let digest = hash(&[b"lovage store of volume", &id.0]);
    Bytes::from(format!("lovage store 1\n{}\n", hex(&digest)))
}

/// Mark an empty store as the volume's, or see that it is. [`Kind::Invalid`] if it is another's.
pub async fn claim(kv: &dyn Kv, id: VolumeId) -> Result<()> {
    match kv.put_head(NAME, mark(id), Expect::Nothing).await {
        Err(e) if e.kind() == Kind::Exists => check(kv, id).await,
        other => other,
    }
}

/// [`Kind::Invalid`] if it is another's, [`Kind::NotFound`] if it is no store (any more): unplugged, or emptied.
pub async fn check(kv: &dyn Kv, id: VolumeId) -> Result<()> {
    match kv.get_head(NAME).await? {
        Some(found) if found == mark(id) => Ok(()),
        Some(_) => {
            Err(Error::new(Kind::Invalid, "use the store", kv.name()).with_source("it belongs to another volume"))
        }
        None => Err(gone(kv)),
    }
}

/// The same by the names of all heads: cheap enough to look every time.
pub fn seen(kv: &dyn Kv, names: &[String]) -> Result<()> {
    if names.iter().any(|name| name == NAME) { Ok(()) } else { Err(gone(kv)) }
}

fn gone(kv: &dyn Kv) -> Error {
    Error::new(Kind::NotFound, "use the store", kv.name())
        .with_source("its mark is gone: it is unplugged, or was emptied")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::kv::MemoryKv;

    #[test]
    fn a_store_belongs_to_one_volume_for_good() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (kv, one, other) = (MemoryKv::default(), VolumeId([1; 16]), VolumeId([2; 16]));
            assert_eq!(check(&kv, one).await.unwrap_err().kind(), Kind::NotFound);
            claim(&kv, one).await.unwrap();
            claim(&kv, one).await.unwrap();
            check(&kv, one).await.unwrap();
            seen(&kv, &kv.list_heads().await.unwrap()).unwrap();
            assert_eq!(seen(&kv, &[]).unwrap_err().kind(), Kind::NotFound);
            assert_eq!(claim(&kv, other).await.unwrap_err().kind(), Kind::Invalid);
        });
    }
}
