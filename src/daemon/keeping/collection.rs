//! A collection of what is kept: which blocks were here when it began, what each writer says it needs of them, and what
//! others came to rely on since. When everybody has said its word, what nobody needs goes.
//!
//! On disk, since a laptop may sleep for weeks before it answers. Must never remove a block that a writer named, asked
//! to keep or offered since the collection began; must never take one device's word for another's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::home::replace_file;
use super::files::{
    decode_ended, decode_list, decode_marks, decode_word, encode_ended, encode_list, encode_marks, encode_word,
};
use crate::base::port::{Clock, Entropy, System, Time};
use crate::base::sync::Mutex;
use crate::base::{Bid, Context, DeviceId, Error, Kind, Result, hex};
use crate::kv::collect::List;
use crate::kv::collect::record::Bits;

/// Of a collection: random, so that no two share it. Zeros: none.
pub type CollectionId = [u8; 16];
/// Of a writer.
pub type Author = [u8; 32];

/// Most ids of one collection: what is beyond is left to the next.
pub const MOST: usize = 1 << 24;
/// Most ids in one page of the list.
pub const PAGE: usize = 7_000;
/// Most bytes of bits in one piece of a word.
pub const PIECE: usize = 56 << 10;
/// Names of files with words begin so; the author follows.
const WORD: &str = "word-";

/// See the module.
pub struct Collection {
    dir: PathBuf,
    /// Held while blocks are removed: above the locks of the log, below all others of a kept volume.
    state: Mutex<State>,
}

struct State {
    open: Option<Open>,
    ended: CollectionId,
    ended_at: Time,
}

struct Open {
    list: Arc<List>,
    /// Who could write when it began: one of a device's keys of then speaks for it, each later one for itself.
    known: BTreeSet<Author>,
    told: BTreeSet<Author>,
    needed: Bits,
    marks: File,
    /// Words that come in pieces.
    coming: BTreeMap<Author, Vec<u8>>,
}

/// Where collections stand: what members are told of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Era {
    /// The one that is asking; zeros: none.
    pub open: CollectionId,
    /// Ids of its list.
    pub blocks: u32,
    /// The newest that has ended; zeros: none.
    pub ended: CollectionId,
}

impl Collection {
    /// As it was left in `dir`. What cannot be read of one that was under way ends it: nothing more is removed by it.
    pub fn open(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).io("make a directory", || dir.display().to_string())?;
        let newest = read(&dir.join("ended"))?.as_deref().and_then(decode_ended);
        let (ended, ended_at) = newest.unwrap_or((CollectionId::default(), System.now()));
        if newest.is_none() {
            replace_file(&dir.join("ended"), &encode_ended(ended, ended_at))?; // the first is due some time after that
        }
        let this = Self { dir: dir.to_owned(), state: Mutex::new(State { open: None, ended, ended_at }) };
        let Some(bytes) = read(&dir.join("list"))? else { return Ok(this) };
        match decode_list(&bytes) {
            Some((list, _)) if list.id == ended => this.clear()?,
            Some((list, known)) => match this.resume(Arc::new(list), known) {
                Ok(open) => this.state.lock().open = Some(open),
                Err(error) => this.give_up(&mut this.state.lock(), &error)?,
            },
            None => this.give_up(&mut this.state.lock(), &damaged(&dir.join("list")))?,
        }
        Ok(this)
    }

    /// Nothing is removed by it any more. Members that answered it ask anew for everything. Takes no room.
    fn give_up(&self, state: &mut State, why: &Error) -> Result<()> {
        tracing::error!(dir = %self.dir.display(), error = %why.chain(), "a collection is given up");
        self.clear()?;
        (state.open, state.ended, state.ended_at) = (None, fresh(), System.now());
        if let Err(error) = replace_file(&self.dir.join("ended"), &encode_ended(state.ended, state.ended_at)) {
            tracing::warn!(error = %error.chain(), "it is not remembered that a collection was given up");
        }
        Ok(())
    }

    fn resume(&self, list: Arc<List>, known: BTreeSet<Author>) -> Result<Open> {
        let (mut told, mut needed) = (BTreeSet::new(), Bits::default());
        for entry in fs::read_dir(&self.dir).io("look for words", || self.dir.display().to_string())? {
            let name = entry.io("look for words", || self.dir.display().to_string())?.file_name();
            let author = name.to_str().and_then(|name| name.strip_prefix(WORD)).and_then(DeviceId::from_hex);
            if let Some(DeviceId(author)) = author {
                let path = self.word(&author);
                let (keys, bits) = read(&path)?.as_deref().and_then(decode_word).ok_or_else(|| damaged(&path))?;
                needed.join(&bits);
                told.extend(keys);
            }
        }
        let path = self.dir.join("marks");
        let marks = read(&path)?.unwrap_or_default();
        let (places, whole) = decode_marks(&marks).ok_or_else(|| damaged(&path))?;
        for at in places.into_iter().filter(|at| *at < list.ids().len()) {
            needed.set(at);
        }
        let file =
            OpenOptions::new().append(true).create(true).open(&path).io("open", || path.display().to_string())?;
        // What is torn was promised to nobody.
        file.set_len(whole as u64).io("mend", || path.display().to_string())?;
        File::open(&self.dir).and_then(|dir| dir.sync_all()).io("sync", || self.dir.display().to_string())?;
        Ok(Open { list, known, told, needed, marks: file, coming: BTreeMap::new() })
    }

    /// Begin one over these ids, which ascend, when `known` may write. False if one is under way.
    pub fn begin(&self, mut ids: Vec<u64>, known: BTreeSet<Author>) -> Result<bool> {
        let mut state = self.state.lock();
        if state.open.is_some() {
            return Ok(false);
        }
        if let [a, b, c, d, ..] = fresh()
            && ids.len() > MOST
        {
            let somewhere = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(0) % ids.len();
            ids.rotate_left(somewhere);
            ids.truncate(MOST);
            ids.sort_unstable();
        }
        self.clear()?;
        let list = List::new(fresh(), ids);
        replace_file(&self.dir.join("list"), &encode_list(&list, &known))?;
        state.open = Some(self.resume(Arc::new(list), known)?);
        Ok(true)
    }

    /// Where it stands.
    pub fn era(&self) -> Era {
        self.state.lock().era()
    }

    /// When the newest ended, or else when this was made.
    pub fn ended_at(&self) -> Time {
        self.state.lock().ended_at
    }

    /// A page of the list of the collection `id`; `None` if that is not asking.
    pub fn page(&self, id: &CollectionId, from: usize) -> Option<Vec<u64>> {
        let state = self.state.lock();
        let list = state.open.as_ref().map(|open| &open.list).filter(|list| list.id == *id)?;
        Some(list.ids().iter().skip(from).take(PAGE).copied().collect())
    }

    /// A piece of what `author` needs of the list of the collection `id`, from the byte `from` on, for a device that has
    /// these keys now. Whether it is taken; the last one when the whole is durable. What was said stays said.
    pub fn hear(
        &self,
        (author, keys): (&Author, &BTreeSet<Author>),
        id: &CollectionId,
        (from, piece, last): (usize, &[u8], bool),
    ) -> Result<bool> {
        let mut state = self.state.lock();
        let Some(open) = state.open.as_mut().filter(|open| open.list.id == *id) else { return Ok(false) };
        let word = open.coming.entry(*author).or_default();
        if from == 0 {
            word.clear();
        }
        let longest = open.list.ids().len().div_ceil(8);
        if from != word.len() || from.saturating_add(piece.len()) > longest {
            open.coming.remove(author);
            return Ok(false);
        }
        word.extend_from_slice(piece);
        if last {
            let mut word = Bits::from_bytes(open.coming.remove(author).unwrap_or_default());
            // Others may rely on what was said before: what was needed anyway was not marked.
            match read(&self.word(author))?.as_deref().map(decode_word) {
                None => {}
                Some(Some((_, before))) => word.join(&before),
                Some(None) => {
                    let error = damaged(&self.word(author));
                    return self.give_up(&mut state, &error).map(|()| false);
                }
            }
            let mut keys = keys.clone();
            keys.insert(*author);
            replace_file(&self.word(author), &encode_word(&keys, &word))?;
            open.needed.join(&word);
            open.told.extend(keys);
        }
        Ok(true)
    }

    /// Somebody relies on these from now on, or gives them again. Durable when it returns.
    pub fn mark(&self, ids: &[Bid]) -> Result<()> {
        let mut state = self.state.lock();
        let Some(open) = &mut state.open else { return Ok(()) };
        let places = ids.iter().flat_map(|id| open.list.places(id)).filter(|at| !open.needed.has(*at));
        let places: BTreeSet<usize> = places.collect();
        if places.is_empty() {
            return Ok(());
        }
        let written = open.marks.write_all(&encode_marks(&places)).and_then(|()| open.marks.sync_data());
        if let Err(error) = written.io("remember what is relied upon", || self.dir.display().to_string()) {
            return self.give_up(&mut state, &error); // nothing is removed now, so nothing need be marked
        }
        for at in places {
            open.needed.set(at);
        }
        Ok(())
    }

    /// Where it stands, and which of these devices, each with all keys it ever had, have not said their word; `None` if
    /// nothing is asked.
    pub fn owing<D>(&self, devices: impl IntoIterator<Item = (D, BTreeSet<Author>)>) -> (Era, Option<Vec<D>>) {
        let state = self.state.lock();
        let era = state.era();
        let Some(open) = &state.open else { return (era, None) };
        // A key of later is that of a device that was set back: what it said before is not what it needs now.
        let settled = |keys: &BTreeSet<Author>| {
            let mut later = keys.difference(&open.known).peekable();
            if later.peek().is_some() {
                later.all(|key| open.told.contains(key))
            } else {
                !keys.is_disjoint(&open.told)
            }
        };
        let owing = devices.into_iter().filter(|(_, keys)| !settled(keys)).map(|(device, _)| device).collect();
        (era, Some(owing))
    }

    /// Whether the collection condemns `id`, as far as is known now.
    pub fn condemns(&self, id: &Bid) -> bool {
        self.state.lock().open.as_ref().is_some_and(|open| open.condemns(id))
    }

    /// Remove those of `ids` that are condemned, by `delete`. Nobody comes to rely on any of them meanwhile.
    pub fn remove(&self, ids: &[Bid], delete: impl FnOnce(&[Bid]) -> Result<u64>) -> Result<u64> {
        let state = self.state.lock();
        let Some(open) = &state.open else { return Ok(0) };
        let doomed: Vec<Bid> = ids.iter().filter(|id| open.condemns(id)).copied().collect();
        if doomed.is_empty() { Ok(0) } else { delete(&doomed) }
    }

    /// What was to be removed is gone.
    pub fn finish(&self) -> Result<()> {
        let mut state = self.state.lock();
        let (id, now) = (state.era().open, System.now());
        replace_file(&self.dir.join("ended"), &encode_ended(id, now))?;
        (state.open, state.ended, state.ended_at) = (None, id, now);
        self.clear()
    }

    /// Remove what is left of one. The list goes first: without it the rest means nothing.
    fn clear(&self) -> Result<()> {
        let shown = || self.dir.display().to_string();
        remove(&self.dir.join("list"))?;
        for entry in fs::read_dir(&self.dir).io("look for words", shown)? {
            let entry = entry.io("look for words", shown)?;
            if entry.file_name() != "ended" {
                remove(&entry.path())?;
            }
        }
        File::open(&self.dir).and_then(|dir| dir.sync_all()).io("remove a collection", shown)
    }

    fn word(&self, author: &Author) -> PathBuf {
        self.dir.join(format!("{WORD}{}", hex(author)))
    }
}

impl State {
    fn era(&self) -> Era {
        let open = self.open.as_ref();
        let blocks = open.map_or(0, |open| u32::try_from(open.list.ids().len()).unwrap_or(u32::MAX));
        Era { open: open.map_or(CollectionId::default(), |open| open.list.id), blocks, ended: self.ended }
    }
}

impl Open {
    /// An id may share its start with another: then it stays if either is needed.
    fn condemns(&self, id: &Bid) -> bool {
        let mut places = self.list.places(id).peekable();
        places.peek().is_some() && places.all(|at| !self.needed.has(at))
    }
}

fn fresh() -> CollectionId {
    let mut id = CollectionId::default();
    System.fill(&mut id);
    id
}

fn damaged(path: &Path) -> Error {
    Error::new(Kind::Corrupt, "read", path.display().to_string())
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        read => read.map(Some).io("read", || path.display().to_string()),
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io("remove", path.display().to_string(), e)),
        _ => Ok(()),
    }
}
