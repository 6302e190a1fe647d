//! A stretch of a file in one answer: the lists of blocks on the way to it and its data, in the order in which a reader
//! meets them.
//!
//! Both sides go through the file in the same order, so each block that comes is the one that was to come. Must never
//! answer from anything but the log here, nor keep a block that the list before it does not name.

use std::ops::Range;

use super::Volume;
use crate::base::{Bid, Error, Kind, Result};
use crate::cas::manifest;
use crate::seal::{Ref, Sealer};

impl Volume {
    /// What a list of blocks is called in a question.
    pub fn name_list((root, level): (&Ref, u8)) -> Result<Vec<u8>> {
        postcard::to_stdvec(&(root, level)).map_err(|e| Error::new(Kind::Other, "name a list", "").with_source(e))
    }

    /// The sealed blocks of `range` of the file whose list is called `list`, until `visit` says false.
    /// [`Kind::Invalid`] for a name that is none, [`Kind::NotFound`] if a block of it is not here.
    pub fn answer_range(&self, list: &[u8], range: &Range<u64>, visit: &mut dyn FnMut(Vec<u8>) -> bool) -> Result<()> {
        let (root, level): (Ref, u8) = postcard::from_bytes(list)
            .map_err(|e| Error::new(Kind::Invalid, "understand a question", "").with_source(e))?;
        let enough = || Error::new(Kind::Interrupted, "answer a question", "");
        let sent = manifest::blocks_in(&self.blocks, (&root, level), range, |_, _, r| {
            let absent = || Error::new(Kind::NotFound, "answer a question", r.bid.to_string());
            // What is damaged here would pass for a lie there, and would be fetched to go on.
            let sealed = self.blocks.log().get(&r.bid)?.filter(|sealed| Sealer::verify_bid(&r.bid, sealed));
            let sealed = sealed.ok_or_else(absent)?;
            if visit(sealed) { Ok(true) } else { Err(enough()) }
        });
        match sent {
            Err(e) if e.kind() == Kind::Interrupted => Ok(()),
            other => other,
        }
    }

    /// Keep what the answer to such a question brings, one block after the other from `next`. [`Kind::Corrupt`] for a
    /// block that was not to come: nothing from there on is kept.
    pub fn take_range(
        &self,
        root: (&Ref, u8),
        range: &Range<u64>,
        next: &mut dyn FnMut() -> Option<Result<(Bid, bytes::Bytes)>>,
    ) -> Result<()> {
        manifest::blocks_in(&self.blocks, root, range, |_, _, r| {
            let early = || Error::new(Kind::NotFound, "take a stretch of a file", r.bid.to_string());
            let (bid, sealed) = next().ok_or_else(early)??;
            if bid != r.bid {
                return Err(Error::new(Kind::Corrupt, "take a stretch of a file", bid.to_string()));
            }
            self.blocks.keep(&bid, &sealed)?;
            Ok(true)
        })
    }
}
