//! What this device needs of the list of a collection: found out beside everything else, which goes on meanwhile.
//!
//! The collection waits for it, so nothing else has to. Must never say less than the head that lies in the store
//! refers to: whoever reads that relies on it.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::super::exchange::{Replica, forget_garbage};
use super::Attached;
use crate::base::{Error, Kind, Result};
use crate::kv::blocking;
use crate::kv::collect::List;
use crate::kv::collect::record::Bits;
use crate::seal::Ref;

/// What was found out: what is needed up to this head.
struct Found {
    needs: Bits,
    head: Arc<[u8]>,
}

/// See the module.
#[derive(Default)]
pub struct Answering(Option<(Arc<List>, JoinHandle<Result<Found>>)>);

impl Answering {
    /// A word on `list` is owed; the head `published` lies in the store. Begins to find out what to say, or says it.
    pub async fn owe(
        &mut self,
        attached: &Arc<Attached>,
        replica: &Arc<Replica>,
        list: &Arc<List>,
        published: &Arc<[u8]>,
    ) -> Result<()> {
        let Some((asked, walk)) = self.0.take_if(|(asked, walk)| asked.id != list.id || walk.is_finished()) else {
            if self.0.is_none() {
                self.0 = Some((Arc::clone(list), begin(attached, replica, list)));
            }
            return Ok(());
        };
        if asked.id != list.id {
            return Ok(()); // its end is not waited for: it notices
        }
        let lost = |e| Error::new(Kind::Other, "find out what is needed of the store", &attached.name).with_source(e);
        let Found { mut needs, head } = match walk.await.map_err(lost)? {
            Ok(found) => found,
            Err(error) => {
                // The store is not to blame, and the collection waits: the next look tries again.
                tracing::warn!(store = attached.name, error = %error.chain(), "cannot tell what is needed of a store that is collected");
                attached.progress.lock().trouble = error.chain();
                return Ok(());
            }
        };
        attached.progress.lock().trouble.clear();
        let (of, to, its) = (Arc::clone(replica), Arc::clone(published), Arc::clone(list));
        let since = move || {
            let mut more = Bits::default();
            let mut meet = |block: &Ref| {
                its.places(&block.bid).for_each(|at| more.set(at));
                Ok(true)
            };
            of.volume.news(&head, &to, &mut meet)?;
            Ok(more)
        };
        needs.join(&blocking(since).await?);
        let mut party = attached.party.lock().await;
        let needs = replica.reliance.tell(&attached.name, list, needs, Arc::clone(published))?;
        if party.tell(&**attached.store.kv(), list, needs).await? {
            tracing::info!(store = attached.name, "said what this device needs of the store: it is being collected");
        }
        Ok(())
    }
}

/// Doubt everything, then look at everything. What is garbage here goes first, or it would be given again.
fn begin(attached: &Arc<Attached>, replica: &Arc<Replica>, list: &Arc<List>) -> JoinHandle<Result<Found>> {
    let (attached, replica, list) = (Arc::clone(attached), Arc::clone(replica), Arc::clone(list));
    tokio::task::spawn_blocking(move || {
        let found = find_out(&attached.name, &replica, &list);
        attached.asked.notify_one();
        found
    })
}

fn find_out(store: &str, replica: &Replica, list: &List) -> Result<Found> {
    replica.reliance.begin(store, list)?;
    forget_garbage(replica);
    replica.volume.announce()?;
    let mut needs = Bits::default();
    let head = replica.volume.reach(&mut |block| {
        if replica.is_closed() {
            return Err(Error::new(Kind::Interrupted, "find out what is needed of the store", store));
        }
        list.places(&block.bid).for_each(|at| needs.set(at));
        Ok(true)
    })?;
    Ok(Found { needs, head })
}
