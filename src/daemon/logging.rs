//! Logging: to stderr in the foreground, to a file in the home in the background, adjustable while running.

use std::fs::{self, File, OpenOptions};
use std::io::IsTerminal;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::base::sync::Mutex;
use crate::base::{Context, Error, Kind, Result};
use crate::wire::Advice;

/// A log file beyond this size is moved aside when the daemon starts.
const ROTATE_AT: u64 = 8 << 20;

/// The running log's level.
#[derive(Debug)]
pub struct Logging {
    handle: Option<reload::Handle<EnvFilter, Registry>>,
    directives: Mutex<String>,
}

impl Logging {
    /// Log to `file`, or to stderr. Where a log runs already (tests), the level becomes fixed.
    pub fn start(directives: &str, file: Option<&Path>) -> Result<Self> {
        let (filter, handle) = reload::Layer::new(parse(directives)?);
        let registry = tracing_subscriber::registry().with(filter);
        let started = match file {
            Some(path) => {
                let layer = fmt::layer().with_ansi(false).with_writer(Arc::new(open(path)?));
                registry.with(layer).try_init()
            }
            None => registry
                .with(
                    fmt::layer()
                        .with_target(false)
                        .with_ansi(std::io::stderr().is_terminal())
                        .with_writer(std::io::stderr),
                )
                .try_init(),
        };
        Ok(Self { handle: started.is_ok().then_some(handle), directives: Mutex::new(directives.to_owned()) })
    }

    /// The directives in force.
    pub fn directives(&self) -> String {
        self.directives.lock().clone()
    }

    /// Put other directives in force, in addition to the current ones: `TARGET=LEVEL` or `LEVEL`.
    pub fn change(&self, more: &str) -> Result<String> {
        parse(more)?;
        let mut directives = self.directives.lock();
        let joined = if more.contains('=') { format!("{directives},{more}") } else { more.to_owned() };
        let filter = parse(&joined)?;
        if let Some(handle) = &self.handle {
            let reloaded = handle.reload(filter);
            reloaded.map_err(|e| Error::new(Kind::Other, "change the log level", more).with_source(e))?;
        }
        directives.clone_from(&joined);
        Ok(joined)
    }
}

fn parse(directives: &str) -> Result<EnvFilter> {
    let wrong = |why: String| {
        let advice = Advice::new(why, "Use a level (off, error, warn, info, debug, trace) or TARGET=LEVEL.");
        Error::new(Kind::Invalid, "read the log level", directives).with_source(advice)
    };
    if let Some(part) = directives.split(',').find(|part| !is_directive(part)) {
        return Err(wrong(format!("`{part}` is neither")));
    }
    EnvFilter::builder().parse(directives).map_err(|e| wrong(e.to_string()))
}

/// Whether `text` is a list of logging directives.
pub fn are_directives(text: &str) -> bool {
    parse(text).is_ok()
}

/// The filter's own reader takes any word for a target, so that a mistyped level would log everything.
fn is_directive(part: &str) -> bool {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    match part.trim().rsplit_once('=') {
        Some((target, level)) => !target.trim().is_empty() && is_level(level.trim()),
        None => is_level(part.trim()),
    }
}

fn open(path: &Path) -> Result<File> {
    if fs::metadata(path).is_ok_and(|m| m.len() > ROTATE_AT) {
        // A log that cannot be moved aside is still a log.
        let _ = fs::rename(path, path.with_extension("log.1"));
    }
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).open(path).io("open the log", || path.display().to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn quiet() -> Logging {
        Logging { handle: None, directives: Mutex::new("info".into()) }
    }

    #[test]
    fn a_target_is_added_and_a_level_replaces() {
        let logging = quiet();
        assert_eq!(logging.change("lovage::kv=debug").unwrap(), "info,lovage::kv=debug");
        assert_eq!(logging.change("warn").unwrap(), "warn");
        assert_eq!(logging.directives(), "warn");
    }

    #[test]
    fn nonsense_is_refused_and_changes_nothing() {
        let logging = quiet();
        for nonsense in ["a=b=c", "bogus", "", "info,", "lovage::kv=loud", "=debug"] {
            assert_eq!(logging.change(nonsense).map_err(|e| e.kind()), Err(Kind::Invalid), "{nonsense}");
        }
        assert_eq!(logging.directives(), "info");
    }
}
