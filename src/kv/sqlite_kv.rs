//! `sqlite:FILE`: blocks and heads in one SQLite database, a file that every tool can read.
//!
//! Each put is a transaction with `synchronous = FULL`: what was acknowledged survives a power cut. Must never
//! be shared by two writers without SQLite's own locks.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::{Expect, Kv, KvStat, Task, blocking, check_head_name};
use crate::base::sync::Mutex;
use crate::base::{Bid, Error, Kind, Result};

/// A store in an SQLite database.
#[derive(Debug)]
pub struct SqliteKv {
    name: String,
    db: Arc<Mutex<Connection>>,
}

const SCHEMA: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS block (id BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS head (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;";
/// How long to wait for another process's transaction.
const PATIENCE: Duration = Duration::from_secs(10);

impl SqliteKv {
    /// Use the database `file`, creating it if absent. [`Kind::Corrupt`] if it is no database.
    pub fn open(file: &Path) -> Result<Self> {
        let name = format!("sqlite:{}", file.display());
        let open = || {
            let db = Connection::open(file)?;
            db.busy_timeout(PATIENCE)?;
            db.execute_batch(SCHEMA)?;
            Ok(db)
        };
        let db = open().map_err(|e: rusqlite::Error| failed("open the store", &name, e))?;
        Ok(Self { name, db: Arc::new(Mutex::new(db)) })
    }

    fn run<'a, T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Task<'a, T> {
        let (db, name) = (Arc::clone(&self.db), self.name.clone());
        Box::pin(blocking(move || work(&mut db.lock()).map_err(|e| failed(what, &name, e))))
    }
}

fn failed(what: &'static str, name: &str, error: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode as Code;
    let kind = match error.sqlite_error_code() {
        Some(Code::NotADatabase | Code::DatabaseCorrupt) => Kind::Corrupt,
        Some(Code::DiskFull) => Kind::Full,
        Some(Code::PermissionDenied | Code::ReadOnly | Code::CannotOpen) => Kind::Denied,
        Some(Code::DatabaseBusy | Code::DatabaseLocked) => Kind::Busy,
        Some(Code::TooBig) => Kind::TooBig,
        Some(Code::SystemIoFailure) => Kind::Io,
        _ => Kind::Other,
    };
    Error::new(kind, what, name).with_source(error)
}

fn stat(db: &Connection) -> rusqlite::Result<KvStat> {
    let counts = "SELECT count(*), coalesce(sum(length(value)), 0) FROM block";
    let (blocks, bytes): (i64, i64) = db.query_row(counts, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(KvStat { blocks: blocks.unsigned_abs(), bytes: bytes.unsigned_abs() })
}

fn list(db: &Connection, after: Option<Bid>, limit: i64) -> rusqlite::Result<Vec<Bid>> {
    let mut ids = db.prepare("SELECT id FROM block WHERE id > ?1 ORDER BY id LIMIT ?2")?;
    let after = after.map_or(Vec::new(), |id| id.0.to_vec());
    let rows = ids.query_map(params![after, limit], |row| row.get::<_, Vec<u8>>(0))?;
    rows.filter_map(|id| id.map(|id| Bid::from_slice(&id)).transpose()).collect()
}

fn head(db: &Connection, name: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    db.prepare("SELECT value FROM head WHERE name = ?1")?.query_row([name], |row| row.get(0)).optional()
}

fn put_head(db: &mut Connection, name: &str, value: &[u8], expect: Expect) -> rusqlite::Result<Result<()>> {
    let change = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Err(unmet) = expect.check(name, head(&change, name)?.as_deref()) {
        return Ok(Err(unmet));
    }
    change.execute("INSERT OR REPLACE INTO head VALUES (?1, ?2)", params![name, value])?;
    change.commit().map(Ok)
}

impl Kv for SqliteKv {
    fn name(&self) -> &str {
        &self.name
    }

    fn get<'a>(&'a self, id: &'a Bid) -> Task<'a, Option<Bytes>> {
        let id = *id;
        self.run("read block", move |db| {
            let mut found = db.prepare("SELECT value FROM block WHERE id = ?1 AND length(value) <= 4194304")?;
            found.query_row(params![&id.0[..]], |row| row.get::<_, Vec<u8>>(0).map(Bytes::from)).optional()
        })
    }

    fn put<'a>(&'a self, id: &'a Bid, value: Bytes) -> Task<'a, ()> {
        self.put_many(vec![(*id, value)])
    }

    /// One transaction.
    fn put_many(&self, blocks: Vec<(Bid, Bytes)>) -> Task<'_, ()> {
        self.run("store blocks", move |db| {
            let change = db.transaction()?;
            let mut put = change.prepare("INSERT OR REPLACE INTO block VALUES (?1, ?2)")?;
            blocks.iter().try_for_each(|(id, value)| put.execute(params![&id.0[..], &value[..]]).map(drop))?;
            drop(put);
            change.commit()
        })
    }

    fn has<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, Vec<bool>> {
        let ids = ids.to_vec();
        self.run("look for blocks", move |db| {
            let mut one = db.prepare("SELECT 1 FROM block WHERE id = ?1")?;
            ids.iter().map(|id| one.exists(params![&id.0[..]])).collect()
        })
    }

    fn delete<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, ()> {
        let ids = ids.to_vec();
        self.run("delete blocks", move |db| {
            let change = db.transaction()?;
            for id in &ids {
                change.prepare("DELETE FROM block WHERE id = ?1")?.execute(params![&id.0[..]])?;
            }
            change.commit()
        })
    }

    fn list(&self, after: Option<Bid>, limit: usize) -> Task<'_, Vec<Bid>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.run("list blocks", move |db| list(db, after, limit))
    }

    fn stat(&self) -> Task<'_, KvStat> {
        self.run("count blocks", |db| stat(db))
    }

    fn get_head<'a>(&'a self, name: &'a str) -> Task<'a, Option<Bytes>> {
        let owned = name.to_owned();
        let read = self.run("read head", move |db| head(db, &owned));
        Box::pin(async move {
            check_head_name(name)?;
            Ok(read.await?.map(Bytes::from))
        })
    }

    fn put_head<'a>(&'a self, name: &'a str, value: Bytes, expect: Expect) -> Task<'a, ()> {
        let owned = name.to_owned();
        let put = self.run("replace head", move |db| put_head(db, &owned, &value, expect));
        Box::pin(async move {
            check_head_name(name)?;
            put.await?
        })
    }

    fn list_heads(&self) -> Task<'_, Vec<String>> {
        self.run("list heads", |db| {
            db.prepare("SELECT name FROM head ORDER BY name")?.query_map([], |row| row.get(0))?.collect()
        })
    }

    fn delete_head<'a>(&'a self, name: &'a str) -> Task<'a, ()> {
        let owned = name.to_owned();
        let gone =
            self.run("delete head", move |db| db.execute("DELETE FROM head WHERE name = ?1", [&owned]).map(drop));
        Box::pin(async move {
            check_head_name(name)?;
            gone.await
        })
    }
}
