//! Finds the program under test, building it first when the tests run under cargo.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The `lovage` binary: `LOVAGE_BIN`, or the one beside this test, brought up to date once per process.
pub fn lovage() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| std::env::var_os("LOVAGE_BIN").map_or_else(build, PathBuf::from))
}

fn build() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).expect("tests live in target/PROFILE/deps");
    if let Some(cargo) = std::env::var_os("CARGO") {
        let mut command = Command::new(cargo);
        // Both packages, so that dependencies get the features that the tests' build has: they are compiled once.
        command.args(["build", "--quiet", "--package", "lovage", "--package", "fstests", "--bin", "lovage"]);
        if profile.ends_with("release") {
            command.arg("--release");
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        assert!(command.current_dir(root).status().unwrap().success(), "lovage does not build");
    }
    let binary = profile.join("lovage");
    assert!(binary.exists(), "no {}: run `cargo build` first or set LOVAGE_BIN", binary.display());
    binary
}
