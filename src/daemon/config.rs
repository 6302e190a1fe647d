//! `config.toml`: the few settings, read strictly.
//!
//! Every unknown key and bad value is an error that names the line. Must never guess what was meant,
//! and must never write anything but what `config set` was asked to.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use toml_edit::{Document, DocumentMut, Item, Table, TomlError, Value};

use super::logging::are_directives;
use super::size::parse_size;
use crate::base::{Error, Kind, Result};
use crate::wire::Advice;

/// The effective settings of a home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Memory profile.
    pub profile: Profile,
    /// Logging directives, as `RUST_LOG` takes them.
    pub log_level: String,
    /// Most bytes of written data kept in memory before they are stored; `None` follows the profile.
    pub dirty_max: Option<u64>,
    /// Most bytes of decoded data kept in memory; `None` follows the profile.
    pub cache_max: Option<u64>,
    /// Multiaddresses to listen on for other devices; empty: all interfaces.
    pub listen: Vec<String>,
    /// Find other devices on the local network.
    pub mdns: bool,
    /// How long a read waits for a block that is elsewhere.
    pub fetch_timeout: Duration,
    /// How many other devices must hold what `evict` drops here.
    pub replicas_min: usize,
    /// Names in volumes of others come when they are looked at, not all at once.
    pub lazy: bool,
    /// A storage member that was not heard of for so long counts as gone: others get its share.
    pub gone_after: Duration,
}

/// How much memory the daemon may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// About 350 MiB at most.
    #[default]
    Default,
    /// The whole daemon in 96 MiB.
    LowMem,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            profile: Profile::Default,
            log_level: "info".into(),
            dirty_max: None,
            cache_max: None,
            listen: Vec::new(),
            mdns: true,
            fetch_timeout: Duration::from_secs(30),
            replicas_min: 1,
            lazy: false,
            gone_after: Duration::from_secs(7 * 86_400),
        }
    }
}

/// One setting: its dotted name, what it takes, what it does.
#[derive(Debug)]
pub struct Setting {
    /// Dotted name.
    pub name: &'static str,
    /// The values it takes, in words.
    pub takes: &'static str,
    /// What it does.
    pub does: &'static str,
}

/// Every setting there is.
pub const SETTINGS: [Setting; 10] = [
    Setting { name: "profile", takes: "\"default\" or \"low-mem\"", does: "how much memory the daemon may use" },
    Setting { name: "log.level", takes: "a level or target=level list", does: "what is logged" },
    Setting {
        name: "dirty.max",
        takes: "a size such as \"256MiB\", at least 4 MiB",
        does: "written data kept in memory",
    },
    Setting { name: "cache.max", takes: "a size such as \"64MiB\"", does: "read data kept in memory" },
    Setting {
        name: "net.listen",
        takes: "multiaddresses such as \"/ip4/0.0.0.0/tcp/4001\", with spaces between",
        does: "where other devices reach this one",
    },
    Setting { name: "net.mdns", takes: "true or false", does: "find other devices on the local network" },
    Setting { name: "fetch.timeout", takes: "seconds, 1 to 3600", does: "how long a read waits for another device" },
    Setting { name: "replicas.min", takes: "a number, 1 to 16", does: "other devices that hold what `evict` drops" },
    Setting {
        name: "metadata",
        takes: "\"full\" or \"lazy\"",
        does: "whether all names of a volume come to a device that joins, or each when it is looked at",
    },
    Setting {
        name: "replicas.gone_after",
        takes: "seconds, 1 to 31536000",
        does: "how long a storage member may be away before others get its share",
    },
];

const SMALLEST_DIRTY: u64 = 4 << 20;

impl Config {
    /// Read `path`; a missing file is all defaults. [`Kind::Invalid`] names file, line and key.
    pub fn load(path: &Path) -> Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) if e.kind() == std::io::ErrorKind::InvalidData => Err(invalid(path, "it is not UTF-8 text".into())),
            Err(e) => Err(Error::io("read the configuration", path.display().to_string(), e)),
        }
    }

    /// Parse `text`; `path` is only for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let document = Document::parse(text).map_err(|e| syntax(text, path, &e))?;
        let mut config = Self::default();
        config.take_table(document.as_table(), "").map_err(|wrong| wrong.at(text, path))?;
        Ok(config)
    }

    /// The effective value of a setting as TOML would write it; `None` for an unknown name.
    pub fn get(&self, name: &str) -> Option<String> {
        let size = |bytes: Option<u64>| bytes.map_or_else(|| "\"by profile\"".to_owned(), |b| b.to_string());
        match name {
            "profile" => Some(match self.profile {
                Profile::Default => "\"default\"".into(),
                Profile::LowMem => "\"low-mem\"".into(),
            }),
            "log.level" => Some(Value::from(self.log_level.as_str()).to_string()),
            "dirty.max" => Some(size(self.dirty_max)),
            "cache.max" => Some(size(self.cache_max)),
            "net.listen" => Some(Value::from(self.listen.join(" ")).to_string()),
            "net.mdns" => Some(self.mdns.to_string()),
            "fetch.timeout" => Some(self.fetch_timeout.as_secs().to_string()),
            "metadata" => Some(if self.lazy { "\"lazy\"" } else { "\"full\"" }.to_owned()),
            "replicas.min" => Some(self.replicas_min.to_string()),
            "replicas.gone_after" => Some(self.gone_after.as_secs().to_string()),
            _ => None,
        }
    }

    fn take_table(&mut self, table: &Table, prefix: &str) -> std::result::Result<(), Wrong> {
        for (key, item) in table {
            let span = table.key(key).and_then(toml_edit::Key::span).or_else(|| item.span());
            self.take_item(&format!("{prefix}{key}"), item, span)?;
        }
        Ok(())
    }

    fn take_item(&mut self, name: &str, item: &Item, span: Option<Range<usize>>) -> std::result::Result<(), Wrong> {
        let is_section = SETTINGS.iter().any(|s| s.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')));
        match item {
            Item::Table(table) if is_section => self.take_table(table, &format!("{name}.")),
            Item::Value(Value::InlineTable(inline)) if is_section => {
                self.take_table(&inline.clone().into_table(), &format!("{name}.")).map_err(|w| w.or_at(span))
            }
            Item::Value(value) => self.take(name, value).map_err(|what| Wrong { what, span: value.span().or(span) }),
            _ if is_section => Err(Wrong { what: format!("`{name}` is a section, not a value"), span }),
            _ => Err(Wrong { what: unknown(name), span }),
        }
    }

    /// Take one value; the error says what is wrong with it.
    fn take(&mut self, name: &str, value: &Value) -> std::result::Result<(), String> {
        let Some(setting) = SETTINGS.iter().find(|s| s.name == name) else { return Err(unknown(name)) };
        let done = match name {
            "profile" => profile(value).map(|p| self.profile = p),
            "log.level" => value.as_str().filter(|d| are_directives(d)).map(|d| d.clone_into(&mut self.log_level)),
            "dirty.max" => size(value).filter(|b| *b >= SMALLEST_DIRTY).map(|b| self.dirty_max = Some(b)),
            "cache.max" => size(value).map(|b| self.cache_max = Some(b)),
            "net.listen" => addresses(value).map(|list| self.listen = list),
            "net.mdns" => value.as_bool().map(|on| self.mdns = on),
            "metadata" => metadata(value).map(|lazy| self.lazy = lazy),
            "fetch.timeout" => seconds(value, 3600).map(|limit| self.fetch_timeout = limit),
            "replicas.min" => replicas(value).map(|count| self.replicas_min = count),
            "replicas.gone_after" => seconds(value, 31_536_000).map(|limit| self.gone_after = limit),
            _ => None,
        };
        done.ok_or_else(|| format!("`{name}` takes {}, not {}", setting.takes, value.to_string().trim()))
    }
}

/// Set one value in the file, keeping comments and order; the file is replaced atomically. The text is
/// taken as TOML where it is TOML, else as a string.
pub fn set(path: &Path, name: &str, text: &str) -> Result<()> {
    let old = fs::read_to_string(path).or_else(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Ok(String::new()),
        _ => Err(Error::io("read the configuration", path.display().to_string(), e)),
    })?;
    Config::parse(&old, path)?;
    let value = text.parse::<Value>().unwrap_or_else(|_| Value::from(text));
    Config::default().take(name, &value).map_err(|what| {
        let advice = Advice::new(what, "Run `lovage config check` to see every setting and what it takes.");
        Error::new(Kind::Invalid, "set", name).with_source(advice)
    })?;
    let mut document: DocumentMut = old.parse().map_err(|e| syntax(&old, path, &e))?;
    let mut table: &mut Item = document.as_item_mut();
    let (section, key) = name.split_once('.').unwrap_or(("", name));
    if !section.is_empty() {
        let sections = table.as_table_mut().map(|t| t.entry(section).or_insert(toml_edit::table()));
        table = sections.ok_or_else(|| invalid(path, format!("`{section}` is not a section")))?;
    }
    let table = table.as_table_like_mut().ok_or_else(|| invalid(path, format!("`{section}` is not a section")))?;
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            let decor = old.decor().clone();
            *old = value;
            *old.decor_mut() = decor;
        }
        None => drop(table.insert(key, Item::Value(value))),
    }
    let new = document.to_string();
    Config::parse(&new, path)?;
    super::home::replace_file(path, new.as_bytes())
}

struct Wrong {
    what: String,
    span: Option<Range<usize>>,
}

impl Wrong {
    fn or_at(self, span: Option<Range<usize>>) -> Self {
        Self { span: self.span.or(span), ..self }
    }

    fn at(self, text: &str, path: &Path) -> Error {
        match self.span {
            Some(span) => invalid(path, format!("line {}: {}", line_of(text, span.start), self.what)),
            None => invalid(path, self.what),
        }
    }
}

fn invalid(path: &Path, what: String) -> Error {
    let next = "Correct it there, or run `lovage config check` to see every setting.";
    Error::new(Kind::Invalid, "read the configuration", path.display().to_string()).with_source(Advice::new(what, next))
}

fn syntax(text: &str, path: &Path, error: &TomlError) -> Error {
    let message = error.message().lines().next().unwrap_or("not TOML").to_owned();
    Wrong { what: message, span: error.span() }.at(text, path)
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|b| *b == b'\n').count()
}

fn unknown(name: &str) -> String {
    let names: Vec<_> = SETTINGS.iter().map(|s| s.name).collect();
    format!("unknown key `{name}`; the keys are {}", names.join(", "))
}

fn profile(value: &Value) -> Option<Profile> {
    match value.as_str()? {
        "default" => Some(Profile::Default),
        "low-mem" => Some(Profile::LowMem),
        _ => None,
    }
}

fn addresses(value: &Value) -> Option<Vec<String>> {
    let list: Vec<_> = value.as_str()?.split_whitespace().map(str::to_owned).collect();
    list.iter().all(|address| address.starts_with('/')).then_some(list)
}

fn seconds(value: &Value, most: u64) -> Option<Duration> {
    let seconds = u64::try_from(value.as_integer()?).ok()?;
    (1..=most).contains(&seconds).then(|| Duration::from_secs(seconds))
}

fn replicas(value: &Value) -> Option<usize> {
    usize::try_from(value.as_integer()?).ok().filter(|count| (1..=16).contains(count))
}

fn metadata(value: &Value) -> Option<bool> {
    match value.as_str()? {
        "full" => Some(false),
        "lazy" => Some(true),
        _ => None,
    }
}

fn size(value: &Value) -> Option<u64> {
    match value {
        Value::Integer(number) => u64::try_from(*number.value()).ok(),
        Value::String(text) => parse_size(text.value()),
        _ => None,
    }
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;
