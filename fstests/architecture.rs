//! The house rules, held by a machine: layers, crate fences, sizes, panics, locks, `unsafe`.
//!
//! The rules as data are in `architecture/table.rs`; `architecture/cases.rs` shows that each can fail.
//! Must never look at anything but the source tree.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "architecture/cases.rs"]
mod cases;
#[path = "architecture/check.rs"]
mod check;
#[path = "architecture/source.rs"]
mod source;
#[path = "architecture/table.rs"]
mod table;

use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The value at the given share of a sorted copy.
fn quantile(values: &[usize], share: f64) -> usize {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let at = (share * (sorted.len().saturating_sub(1)) as f64).round() as usize;
    sorted.get(at).copied().unwrap_or(0)
}

#[test]
fn the_source_tree_keeps_every_house_rule() {
    let report = check::check(&source::read_tree(&repository().join("src")));
    let lines: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{} broken rules:\n{}", lines.len(), lines.join("\n"));
}

#[test]
fn files_and_functions_stay_small_in_the_middle_too() {
    let report = check::check(&source::read_tree(&repository().join("src")));
    let (files, functions) = (&report.files, &report.functions);
    println!(
        "{} files, median {} lines, largest {}; {} functions, median {}, 95th percentile {}, largest {}",
        files.len(),
        quantile(files, 0.5),
        quantile(files, 1.0),
        functions.len(),
        quantile(functions, 0.5),
        quantile(functions, 0.95),
        quantile(functions, 1.0)
    );
    assert!(quantile(files, 0.5) <= table::FILE_MEDIAN, "median file: {}", quantile(files, 0.5));
    assert!(quantile(functions, 0.5) <= table::FUNCTION_MEDIAN, "median function: {}", quantile(functions, 0.5));
    assert!(quantile(functions, 0.95) <= table::FUNCTION_P95, "95th percentile: {}", quantile(functions, 0.95));
}

#[test]
fn every_dependency_has_a_home() {
    let manifest = std::fs::read_to_string(repository().join("Cargo.toml")).unwrap();
    let missing: Vec<&str> = dependencies(&manifest)
        .into_iter()
        .filter(|name| !table::FENCES.iter().any(|f| f.krate == name.replace('-', "_")))
        .collect();
    assert!(missing.is_empty(), "give these a line in fstests/architecture/table.rs: {missing:?}");
}

/// Names below `[dependencies]` of a manifest.
fn dependencies(manifest: &str) -> Vec<&str> {
    manifest
        .lines()
        .skip_while(|l| l.trim() != "[dependencies]")
        .skip(1)
        .take_while(|l| !l.starts_with('['))
        .filter_map(|l| l.split_once('='))
        .map(|(name, _)| name.trim())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .collect()
}

#[test]
fn the_black_box_tests_open_by_saying_what_they_are_for() {
    let silent: Vec<String> = source::read_tree(&repository().join("fstests"))
        .into_iter()
        .filter(|s| !s.text.starts_with("//!"))
        .map(|s| s.path)
        .collect();
    assert!(silent.is_empty(), "no `//!`: {silent:?}");
}
