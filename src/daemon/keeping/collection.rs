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
use crate::base::port::{Clock, Entropy, System, Time};
use crate::base::sync::Mutex;
use crate::base::{Bid, Context, DeviceId, Error, Result, hex};
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
const LIST: &[u8] = b"kcl1";
const ENDED: &[u8] = b"kce1";

/// See the module.
pub struct Collection {
    dir: PathBuf,
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
            Some((list, known)) => {
                let open = this.resume(Arc::new(list), known)?;
                this.state.lock().open = Some(open);
            }
            None => {
                tracing::error!(dir = %dir.display(), "a collection cannot be read: it is given up");
                // Members that answered it ask anew for everything, whatever its name was.
                let mut id = CollectionId::default();
                System.fill(&mut id);
                this.end(id)?;
            }
        }
        Ok(this)
    }

    fn resume(&self, list: Arc<List>, known: BTreeSet<Author>) -> Result<Open> {
        let (mut told, mut needed) = (BTreeSet::new(), Bits::default());
        for entry in fs::read_dir(&self.dir).io("look for words", || self.dir.display().to_string())? {
            let name = entry.io("look for words", || self.dir.display().to_string())?.file_name();
            let author = name.to_str().and_then(|name| name.strip_prefix(WORD)).and_then(DeviceId::from_hex);
            if let Some(DeviceId(author)) = author {
                needed.join(&Bits::from_bytes(read(&self.word(&author))?.unwrap_or_default()));
                told.insert(author);
            }
        }
        let path = self.dir.join("marks");
        let marks = read(&path)?.unwrap_or_default();
        let (places, torn) = marks.as_chunks::<4>();
        let places = places.iter().filter_map(|place| usize::try_from(u32::from_le_bytes(*place)).ok());
        places.filter(|at| *at < list.ids().len()).for_each(|at| needed.set(at));
        let file =
            OpenOptions::new().append(true).create(true).open(&path).io("open", || path.display().to_string())?;
        // What is torn was promised to nobody.
        file.set_len((marks.len() - torn.len()) as u64).io("mend", || path.display().to_string())?;
        File::open(&self.dir).and_then(|dir| dir.sync_all()).io("sync", || self.dir.display().to_string())?;
        Ok(Open { list, known, told, needed, marks: file, coming: BTreeMap::new() })
    }

    /// Begin one over these ids, which ascend, when `known` may write. False if one is under way.
    pub fn begin(&self, mut ids: Vec<u64>, known: BTreeSet<Author>) -> Result<bool> {
        let mut state = self.state.lock();
        if state.open.is_some() {
            return Ok(false);
        }
        ids.truncate(MOST);
        let mut id = CollectionId::default();
        System.fill(&mut id);
        self.clear()?;
        let list = List::new(id, ids);
        replace_file(&self.dir.join("list"), &encode_list(&list, &known))?;
        state.open = Some(self.resume(Arc::new(list), known)?);
        Ok(true)
    }

    /// Where it stands.
    pub fn era(&self) -> Era {
        let state = self.state.lock();
        let open = state.open.as_ref();
        let blocks = open.map_or(0, |open| u32::try_from(open.list.ids().len()).unwrap_or(u32::MAX));
        Era { open: open.map_or(CollectionId::default(), |open| open.list.id), blocks, ended: state.ended }
    }

    /// When the newest ended; the beginning of time if there was none.
    pub fn ended_at(&self) -> Time {
        self.state.lock().ended_at
    }

    /// A page of the list of the collection `id`; `None` if that is not asking.
    pub fn page(&self, id: &CollectionId, from: usize) -> Option<Vec<u64>> {
        let state = self.state.lock();
        let list = state.open.as_ref().map(|open| &open.list).filter(|list| list.id == *id)?;
        Some(list.ids().iter().skip(from).take(PAGE).copied().collect())
    }

    /// A piece of what `author` needs of the list of the collection `id`, from the byte `from` on. Whether it is taken;
    /// the last one when the whole is durable.
    pub fn hear(&self, author: &Author, id: &CollectionId, (from, piece, last): (usize, &[u8], bool)) -> Result<bool> {
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
            let word = open.coming.remove(author).unwrap_or_default();
            replace_file(&self.word(author), &word)?;
            open.needed.join(&Bits::from_bytes(word));
            open.told.insert(*author);
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
        let bytes: Vec<u8> =
            places.iter().flat_map(|at| u32::try_from(*at).unwrap_or(u32::MAX).to_le_bytes()).collect();
        let written = open.marks.write_all(&bytes).and_then(|()| open.marks.sync_data());
        written.io("remember what is relied upon", || self.dir.display().to_string())?;
        places.into_iter().for_each(|at| open.needed.set(at));
        Ok(())
    }

    /// Which of these devices, each with all keys it ever had, have not said their word; `None` if nothing is asked.
    pub fn owing<D>(&self, devices: impl IntoIterator<Item = (D, BTreeSet<Author>)>) -> Option<Vec<D>> {
        let state = self.state.lock();
        let open = state.open.as_ref()?;
        // A key of later is that of a device that was set back: what it said before is not what it needs now.
        let settled = |keys: &BTreeSet<Author>| {
            let mut later = keys.difference(&open.known).peekable();
            if later.peek().is_some() {
                later.all(|key| open.told.contains(key))
            } else {
                !keys.is_disjoint(&open.told)
            }
        };
        Some(devices.into_iter().filter(|(_, keys)| !settled(keys)).map(|(device, _)| device).collect())
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
        let id = self.era().open;
        self.end(id)
    }

    fn end(&self, id: CollectionId) -> Result<()> {
        let mut state = self.state.lock();
        let now = System.now();
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

impl Open {
    /// An id may share its start with another: then it stays if either is needed.
    fn condemns(&self, id: &Bid) -> bool {
        let mut places = self.list.places(id).peekable();
        places.peek().is_some() && places.all(|at| !self.needed.has(at))
    }
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

fn encode_list(list: &List, known: &BTreeSet<Author>) -> Vec<u8> {
    let count = u32::try_from(known.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = [LIST, &list.id, &count].concat();
    known.iter().for_each(|key| bytes.extend_from_slice(key));
    list.ids().iter().for_each(|id| bytes.extend_from_slice(&id.to_be_bytes()));
    bytes
}

fn decode_list(bytes: &[u8]) -> Option<(List, BTreeSet<Author>)> {
    let (id, rest) = bytes.strip_prefix(LIST)?.split_first_chunk::<16>()?;
    let (count, rest) = rest.split_first_chunk::<4>()?;
    let keys = usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(32)?;
    let (keys, ids) = rest.split_at_checked(keys)?;
    let (ids, rest) = ids.as_chunks::<8>();
    let ids: Vec<u64> = ids.iter().map(|id| u64::from_be_bytes(*id)).collect();
    let known = keys.as_chunks::<32>().0.iter().copied().collect();
    (rest.is_empty() && ids.is_sorted()).then(|| (List::new(*id, ids), known))
}

fn encode_ended(id: CollectionId, at: Time) -> Vec<u8> {
    [ENDED, &id, &at.0.to_le_bytes()].concat()
}

fn decode_ended(bytes: &[u8]) -> Option<(CollectionId, Time)> {
    let (id, time) = bytes.strip_prefix(ENDED)?.split_first_chunk::<16>()?;
    Some((*id, Time(i64::from_le_bytes(time.try_into().ok()?))))
}
