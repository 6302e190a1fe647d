//! `lovage resolve PATH --keep ID` or `--merge TOOL`: make one version of several.

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use super::Outcome;
use super::arguments::path_arg;
use super::output;
use super::session::{Piece, Session};
use crate::base::Kind;
use crate::wire::control::{ConflictStatus, Request};
use crate::wire::{Failure, RawPath};

#[derive(Debug, Args)]
pub struct Resolve {
    /// The file, or one of its copies
    path: PathBuf,
    /// The version to keep, as `conflicts` names it
    #[arg(long, value_name = "ID", required_unless_present = "merge", conflicts_with = "merge")]
    keep: Option<String>,
    /// Run TOOL BASE OURS THEIRS MERGED; what it leaves in MERGED, a copy of OURS at first, is kept if it exits with 0
    #[arg(long, value_name = "TOOL")]
    merge: Option<String>,
}

impl Resolve {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        let kept = match (&self.keep, &self.merge) {
            (Some(id), _) => {
                session.ask_for::<()>(&Request::Resolve { at: path_arg(&self.path), keep: id.clone() })?;
                id.clone()
            }
            (None, tool) => {
                self.merge(session, tool.as_deref().unwrap_or_default())?;
                "what was merged".to_owned()
            }
        };
        if session.json() {
            return output::json(&serde_json::json!({ "kept": kept }));
        }
        output::line(&format!("{} is resolved: {kept} was kept", self.path.display()))
    }

    fn refuse(&self, kind: Kind, why: &str, next: &str) -> Failure {
        Failure::new(kind, "resolve", self.path.display().to_string(), why).next(next)
    }

    fn merge(&self, session: &Session<'_>, tool: &str) -> Outcome {
        let at = path_arg(&self.path);
        let conflict: ConflictStatus = session.ask_for(&Request::Conflict { at: at.clone() })?;
        let ours = conflict.versions.iter().find(|v| v.this).or_else(|| conflict.versions.first());
        let theirs = conflict.versions.iter().find(|v| ours.is_some_and(|o| o.id != v.id));
        let (Some(ours), Some(theirs), 2) = (ours, theirs, conflict.versions.len()) else {
            let why = format!("it has {} versions: a merge is of two", conflict.versions.len());
            return Err(self.refuse(Kind::Invalid, &why, "Keep one with --keep ID, or edit and remove its copies."));
        };
        let place = Place::make()?;
        let fetch = |id: Option<&str>, name: &str| {
            place.fetch(
                session,
                &Request::Version { at: at.clone(), id: id.unwrap_or_default().to_owned() },
                id.is_some(),
                name,
            )
        };
        let end = extension(&conflict.path);
        let base = fetch(conflict.base.as_deref(), &format!("base{end}"))?;
        let (ours, theirs) =
            (fetch(Some(&ours.id), &format!("ours{end}"))?, fetch(Some(&theirs.id), &format!("theirs{end}"))?);
        let merged = place.0.join(format!("merged{end}"));
        std::fs::copy(&ours, &merged).map_err(|e| place.failed(&e))?;
        let ran = Command::new("sh")
            .arg("-c")
            .arg(format!("{tool} \"$@\""))
            .arg(tool)
            .args([&base, &ours, &theirs, &merged])
            .status();
        if !ran.map_err(|e| place.failed(&e))?.success() {
            return Err(self.refuse(
                Kind::Interrupted,
                "the merge tool gave up",
                "Nothing was changed. Try again, or use --keep ID.",
            ));
        }
        let versions = conflict.versions.iter().map(|v| v.id.clone()).collect();
        session.ask_for::<()>(&Request::ResolveMerged { at, merged: RawPath::from(merged.as_path()), versions })
    }
}

fn extension(path: &str) -> String {
    let name = Path::new(path).extension().map(|end| end.to_string_lossy().into_owned());
    name.map_or_else(String::new, |end| format!(".{end}"))
}

/// A directory for the versions; gone with this.
struct Place(PathBuf);

impl Place {
    fn make() -> Result<Self, Failure> {
        let begin = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
        let place = Self(std::env::temp_dir().join(format!("lovage-merge-{}-{begin}", std::process::id())));
        DirBuilder::new().mode(0o700).create(&place.0).map_err(|e| place.failed(&e))?;
        Ok(place)
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::new(Kind::Io, "merge", self.0.display().to_string(), error.to_string())
    }

    /// Write a version to a file of its own; an empty one unless it is known.
    fn fetch(&self, session: &Session<'_>, request: &Request, known: bool, name: &str) -> Result<PathBuf, Failure> {
        let path = self.0.join(name);
        let mut file = File::create_new(&path).map_err(|e| self.failed(&e))?;
        if known {
            session.ask(request, &mut |piece| match piece {
                Piece::Data(bytes) => file.write_all(&bytes).map_err(|e| self.failed(&e)),
                Piece::Part(_) => Ok(()),
            })?;
        }
        Ok(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What stays behind is in the system's place for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
