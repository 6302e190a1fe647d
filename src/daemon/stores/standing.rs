//! Where this device stands with a store that is collected, before it relies on more of it.
//!
//! Must never let what is relied upon be decided by what was known of the store in another era.

use std::sync::Arc;
use std::time::Duration;

use super::super::exchange::Replica;
use super::{Attached, Stores};
use crate::base::{Bid, Result};
use crate::kv::collect::record::Bits;
use crate::kv::collect::{Era, List, Needs, Standing};
use crate::kv::{Task, blocking};
use crate::seal::Ref;

/// A merge waits so long for a store before it helps itself otherwise.
const SOON: Duration = Duration::from_secs(10);

/// What is to be relied upon: these blocks, and what this head refers to.
struct Wants<'w> {
    store: &'w str,
    replica: &'w Arc<Replica>,
    also: &'w [Bid],
    head: Option<Arc<[u8]>>,
}

impl Needs for Wants<'_> {
    fn needs<'a>(&'a self, list: &'a Arc<List>, told: bool) -> Task<'a, Bits> {
        if !told {
            self.replica.reliance.claim_early(self.store, &list.id, self.also);
            return Box::pin(async { Ok(Bits::default()) });
        }
        Box::pin(async move {
            let mut bits = list.bits(self.also);
            if let Some(head) = self.head.clone() {
                let known = self.replica.reliance.told_of(self.store, &list.id);
                let (replica, list, store) = (Arc::clone(self.replica), Arc::clone(list), self.store.to_owned());
                let added = move || added((&store, &replica), &list, known.as_deref(), &head);
                bits.join(&blocking(added).await?);
            }
            Ok(bits)
        })
    }
}

/// Places of what `head` has and the head `known` had not. If that is not known any more, what was told is found out
/// anew.
fn added((store, replica): (&str, &Replica), list: &List, known: Option<&[u8]>, head: &Arc<[u8]>) -> Result<Bits> {
    let mut bits = Bits::default();
    let mut meet = |block: &Ref| {
        list.places(&block.bid).for_each(|at| bits.set(at));
        Ok(true)
    };
    if let Some(known) = known {
        replica.volume.news(known, head, &mut meet)?;
        return Ok(bits);
    }
    replica.reliance.begin(store, list)?;
    let walked = replica.volume.reach(&mut meet)?;
    replica.volume.news(&walked, head, &mut meet)?;
    replica.reliance.tell(store, list, bits, Arc::clone(head))
}

impl Attached {
    /// May this device rely on `also`, and on what its head `head` refers to? Of a device that may not write nobody
    /// learns what is not in a head of somebody else: it need not be asked.
    pub(super) async fn stand(
        &self,
        replica: &Arc<Replica>,
        also: &[Bid],
        head: Option<Arc<[u8]>>,
    ) -> Result<Standing> {
        if !replica.role().writes() {
            return Ok(Standing::Open(None));
        }
        let wants = Wants { store: &self.name, replica, also, head };
        self.party.lock().await.stand(&**self.store.kv(), &wants).await
    }

    /// In which era the store was listed; `None`: not yet.
    #[allow(clippy::option_option)] // as the field
    pub(super) fn listed_in(&self) -> Option<Option<Era>> {
        *self.listed_in.lock()
    }
}

impl Stores {
    /// Whether the word on the collection `id` of the store called `name` says now that these are needed, while that
    /// is still asking.
    pub fn rely(&self, replica: &Arc<Replica>, name: &str, id: &[u8; 16], ids: &[Bid]) -> Result<bool> {
        let attached = self.find(replica.known.id, name)?;
        if !attached.store.is_ok() {
            return Ok(false);
        }
        self.run(async {
            let Ok(standing) = tokio::time::timeout(SOON, attached.stand(replica, ids, None)).await else {
                return Ok(false);
            };
            let same = |era: Era| era.id == *id && !era.done;
            Ok(standing?.era().flatten().is_some_and(same))
        })
    }
}
