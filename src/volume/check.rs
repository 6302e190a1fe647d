//! fsck: is everything there, does everything verify, and what is hit if not.

use std::collections::HashSet;

use super::Volume;
use super::collect::Progress;
use super::content::decode;
use super::row::decode_state;
use crate::base::{Bid, Kind, NodeId, Result};
use crate::cas::manifest;
use crate::kv::arena::{Damage, Lsn};
use crate::seal::{BlockType, Ref, Sealer};

/// Read this much between two reports of progress.
const SLICE: u64 = 16 << 20;

/// Damage, and whom it hits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// A path, or what part of the volume it is.
    pub path: String,
    /// The block.
    pub block: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// Blocks looked at.
    pub checked: u64,
    /// Of these, damaged or missing.
    pub bad: u64,
    /// Of these, made whole again.
    pub repaired: u64,
    /// What stays broken, by path.
    pub unrepairable: Vec<Hit>,
}

/// A check under way.
struct Check<'v> {
    volume: &'v Volume,
    damaged: HashSet<Bid>,
    /// Of the damaged, those that something refers to.
    met: HashSet<Bid>,
    repair: bool,
    read_data: bool,
    report: Checked,
}

impl Volume {
    /// Check the structure: trees, manifests, presence of every block. With `read_data` every stored block
    /// is read and verified first. With `repair`, what is damaged or lost is brought from whoever else has it; what
    /// nobody has is listed with the paths it hits.
    pub fn verify(&self, repair: bool, read_data: bool, progress: Progress<'_>) -> Result<Checked> {
        if !self.read_only {
            self.sync_all()?;
            self.seal()?;
        }
        let (damaged, met) = (HashSet::new(), HashSet::new());
        let mut check = Check { volume: self, damaged, met, repair, read_data, report: Checked::default() };
        if read_data {
            check.scrub(progress)?;
        }
        check.walk(progress)?;
        check.tell_unused();
        Ok(check.report)
    }
}

impl Check<'_> {
    /// Read every record of the log.
    fn scrub(&mut self, progress: Progress<'_>) -> Result<()> {
        let log = self.volume.blocks.log();
        let total = log.stat().live_bytes;
        let (mut at, mut read) = (Lsn::ZERO, 0);
        loop {
            let slice = log.scrub(at, SLICE, &|bid, payload| Sealer::verify_bid(bid, payload))?;
            read += slice.bytes;
            self.report.checked += slice.checked;
            for finding in slice.bad {
                self.report.bad += 1;
                match finding.damage {
                    Damage::Block(bid) => {
                        self.damaged.insert(bid);
                    }
                    other => {
                        self.hit(format!("arena {} at {}", finding.arena, finding.offset), "", &format!("{other:?}"));
                    }
                }
            }
            progress("reading blocks", read, Some(total))?;
            match slice.next {
                Some(next) => at = next,
                None => return Ok(()),
            }
        }
    }

    /// Damage that hits nobody still counts as bad, so it has a line too.
    fn tell_unused(&mut self) {
        let unused: Vec<_> = self.damaged.difference(&self.met).map(Bid::to_string).collect();
        for block in unused {
            self.hit("(no file uses it)".to_owned(), &block, "damaged; `lovage gc` removes it");
        }
    }

    fn hit(&mut self, path: String, block: &str, reason: &str) {
        self.report.unrepairable.push(Hit { path, block: block.to_owned(), reason: reason.to_owned() });
    }

    /// Note a block that something refers to; true if it is fine.
    fn look(&mut self, path: &dyn Fn() -> String, block: &Ref) -> bool {
        if !self.read_data {
            self.report.checked += 1;
        }
        let reason = if self.damaged.contains(&block.bid) {
            self.met.insert(block.bid);
            "damaged"
        } else if self.volume.blocks.contains(block) || self.volume.is_lazy() {
            return true;
        } else {
            self.report.bad += u64::from(!self.damaged.contains(&block.bid));
            "missing"
        };
        if self.repair {
            match self.volume.blocks.heal(BlockType::Data, 0, block) {
                Ok(()) => {
                    tracing::info!(block = %block.bid, path = path(), "repaired");
                    self.report.repaired += 1;
                    self.damaged.remove(&block.bid);
                    return true;
                }
                Err(error) => {
                    tracing::warn!(block = %block.bid, error = %error.chain(), "could not be repaired");
                }
            }
        }
        self.hit(path(), &block.bid.to_string(), reason);
        false
    }

    /// Everything the roots lead to.
    fn walk(&mut self, progress: Progress<'_>) -> Result<()> {
        let volume = self.volume;
        let roots = volume.ns.lock().roots.clone();
        let trees = [
            (&roots.raw, "node"),
            (&roots.local, "local node"),
            (&roots.index, "directory"),
            (&roots.displaced, "names"),
        ];
        for (root, name) in trees {
            volume.tree.forget_cache();
            let mut bad = Vec::new();
            let walked = volume.tree.blocks(root, |block, level| {
                let fine = self.look(&|| format!("({name} tree, level {level})"), block);
                if !fine {
                    bad.push(block.bid);
                }
                Ok(fine && volume.is_here(block))
            });
            // Where nodes may be elsewhere, those that are here were checked as they were read.
            let verified = if volume.is_lazy() { walked } else { walked.and_then(|()| volume.tree.verify(root)) };
            if let Err(error) = verified {
                if !matches!(error.kind(), Kind::Corrupt | Kind::Unreachable) {
                    return Err(error);
                }
                if bad.is_empty() {
                    self.report.bad += 1;
                    self.hit(format!("({name} tree)"), "", &error.chain());
                }
            }
        }
        let mut done = 0;
        for root in [&roots.raw, &roots.local] {
            let total = Some(roots.raw.count + roots.local.count);
            let here = |block: &Ref, _| Ok(volume.is_here(block));
            let walked = volume.tree.walk(root, here, |key, value| {
                let (Some(id), Ok(state)) = (NodeId::from_slice(key), decode_state(value)) else { return Ok(()) };
                if state.kind == crate::causal::NodeKind::File {
                    for (_, version) in &state.content.0 {
                        self.content(id, &version.data)?;
                    }
                }
                done += 1;
                if done % 1024 == 0 { progress("checking files", done, total) } else { Ok(()) }
            });
            match walked {
                // Damage to the tree was found and told above.
                Err(error) if !matches!(error.kind(), Kind::Corrupt | Kind::Unreachable) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn content(&mut self, id: NodeId, data: &[u8]) -> Result<()> {
        let volume = self.volume;
        let path = move || volume.path_of(id);
        let content = match decode(data) {
            Ok(content) => content,
            Err(error) => {
                self.report.bad += 1;
                self.hit(path(), "", &error.chain());
                return Ok(());
            }
        };
        let walked = manifest::blocks(&volume.blocks, &content, |kind, _, block| {
            let fine = self.look(&path, block);
            Ok(fine && kind != BlockType::Data && volume.is_here(block))
        });
        match walked {
            Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::Unreachable) => {
                self.report.bad += 1;
                self.hit(path(), "", &error.chain());
                Ok(())
            }
            other => other,
        }
    }
}
