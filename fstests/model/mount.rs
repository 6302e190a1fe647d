//! Mounts the reference model until Ctrl-C: `model-mount DIR [option...]`, to try the adapter by hand and
//! with the suites in `external/`. Options: `dev`, `suid`, `allow_other`, `ro`, `plain` (type `fuse`),
//! `clone_fd`, `pooled_reads`, `quiet_closes`, `log` (calls to stderr), `threads=N`, `workers=N`, `source=NAME`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use fstests::model::{ModelFs, Recorder};
use lovage::base::{Error, Kind, Result};
use lovage::fuse::{KernelClock, MountOptions, mount};
use lovage::volume::FileSystem;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{}", e.chain());
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().map(PathBuf::from).ok_or_else(|| Error::new(Kind::Invalid, "run", "no DIR given"))?;
    let mut options = MountOptions::default();
    let mut model: Arc<dyn FileSystem> = Arc::new(ModelFs::new(Arc::new(KernelClock)));
    for argument in arguments {
        match argument.as_str() {
            "log" => model = Arc::new(Recorder::new(model, true)),
            other => apply(&mut options, other)?,
        }
    }
    let mounted = mount(model, &dir, &options)?;
    println!("mounted at {}", mounted.point().display());
    mounted.wait();
    Ok(())
}

fn apply(options: &mut MountOptions, argument: &str) -> Result<()> {
    let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
    let number = || value.parse().map_err(|e| Error::new(Kind::Invalid, "read option", argument).with_source(e));
    match name {
        "dev" => options.dev = true,
        "suid" => options.suid = true,
        "allow_other" => options.allow_other = true,
        "ro" => options.read_only = true,
        "plain" => options.subtype = false,
        "clone_fd" => options.clone_fd = true,
        "pooled_reads" => options.pooled_reads = true,
        "quiet_closes" => options.tell_closes = false,
        "threads" => options.threads = number()?,
        "workers" => options.workers = number()?,
        "source" => value.clone_into(&mut options.source),
        _ => return Err(Error::new(Kind::Invalid, "read option", argument)),
    }
    Ok(())
}
