//! Bad snippets, one for each rule: a checker that cannot fail proves nothing.

use crate::check::{Report, check};
use crate::source::Source;

fn run(files: &[(&str, &str)]) -> Report {
    let sources: Vec<Source> =
        files.iter().map(|(p, t)| Source { path: (*p).to_owned(), text: format!("//! x\n{t}") }).collect();
    check(&sources)
}

/// Rules broken by one file.
fn rules(path: &str, text: &str) -> Vec<&'static str> {
    run(&[(path, text)]).findings.iter().map(|f| f.rule).collect()
}

#[test]
fn a_clean_file_has_no_findings() {
    let text =
        "use std::sync::Arc;\nuse crate::base::Error;\nuse super::mod_x;\nfn f(a: Arc<Error>) -> Arc<Error> { a }";
    assert!(rules("cas/blob.rs", text).is_empty());
}

#[test]
fn a_lower_layer_may_not_name_a_higher_one() {
    for text in [
        "use crate::volume::Volume;",
        "use crate::{base::Error, volume::Volume};",
        "use crate::volume as v;",
        "fn f() { crate::volume::open(); }",
        "fn f(v: &crate::volume::Volume) {}",
        "fn f() { let x = vec![crate::volume::open()]; }",
        "fn f() { tracing::debug!(\"{}\", crate::volume::open()); }",
        "#[derive(crate::volume::Derive)] struct S;",
        "mod inner { use crate::volume::Volume; }",
        "pub use crate::volume::Volume;",
        "fn f() { use crate::volume::Volume; }",
        "macro_rules! m { () => { crate::volume::open() } }",
    ] {
        assert_eq!(rules("cas/blob.rs", text), ["layer"], "{text}");
    }
}

#[test]
fn siblings_never_import_each_other() {
    assert_eq!(rules("seal/block.rs", "use crate::kv::Kv;"), ["layer"]);
    assert_eq!(rules("cas/mod.rs", "use crate::wire::Message;"), ["layer"]);
    assert_eq!(rules("fuse/mod.rs", "use crate::net::Peer;"), ["layer"]);
}

#[test]
fn strictly_lower_layers_and_the_own_layer_are_free() {
    assert!(rules("cas/blob.rs", "use crate::kv::Kv;\nuse crate::cas::manifest::Content;").is_empty());
    assert!(rules("main.rs", "fn main() { lovage::cli::run(); }").is_empty());
}

#[test]
fn the_crate_root_is_not_a_back_door() {
    for text in [
        "use crate::*;",
        "use crate::{self, base::Error};",
        "use crate as c;",
        "use crate::Volume;",
        "use lovage::base;",
    ] {
        assert_eq!(rules("cas/blob.rs", text), ["root"], "{text}");
    }
}

#[test]
fn super_does_not_climb_out_of_a_layer() {
    assert_eq!(rules("kv/mod.rs", "use super::volume::Volume;"), ["super"]);
    assert_eq!(rules("kv/arena/log.rs", "use super::super::super::volume::Volume;"), ["super"]);
    assert_eq!(rules("kv/arena/log.rs", "fn f() { m!(super::super::super::volume::open()) }"), ["super"]);
    assert_eq!(rules("kv/mod.rs", "mod a { fn f() { super::super::volume::open() } }"), ["super"]);
    assert!(rules("kv/arena/log.rs", "use super::super::Kv;").is_empty());
    assert!(rules("kv/mod.rs", "mod a { use super::Kv; }").is_empty());
}

#[test]
fn a_crate_stays_behind_its_fence() {
    for (path, text) in [
        ("cas/blob.rs", "use sled::Db;"),
        ("cas/blob.rs", "use ::sled as s;"),
        ("cas/blob.rs", "fn f(d: &sled::Db) {}"),
        ("volume/mod.rs", "use zstd;"),
        ("volume/mod.rs", "fn f() { tokio::spawn(x()); }"),
        ("volume/mod.rs", "fn f() { m!(zstd::encode()) }"),
        ("kv/mod.rs", "#[derive(zeroize::Zeroize)] struct S;"),
        ("daemon/mod.rs", "use fuser::Filesystem;"),
        ("base/error.rs", "use parking_lot::Mutex;"),
        ("tree/mod.rs", "extern crate alloc;"),
    ] {
        assert_eq!(rules(path, text), ["fence"], "{path}: {text}");
    }
    assert!(rules("kv/local.rs", "use sled::Db;").is_empty());
    assert!(rules("cas/blob.rs", "fn f() { let sled = 1; g(sled); }").is_empty());
}

#[test]
fn locks_have_one_door() {
    for text in [
        "use std::sync::Mutex;",
        "use std::sync::{Arc, RwLock};",
        "use std::sync::*;",
        "use std::sync;",
        "use std::{io, sync::{self, Arc}};",
        "static M: std::sync::Mutex<()> = std::sync::Mutex::new(());",
    ] {
        let found = rules("cas/blob.rs", text);
        assert!(!found.is_empty() && found.iter().all(|r| *r == "lock"), "{text}: {found:?}");
    }
    assert!(rules("base/sync.rs", "pub use std::sync::Mutex;").is_empty());
}

#[test]
fn code_outside_tests_does_not_panic() {
    for text in [
        "fn f(x: Option<u8>) -> u8 { x.unwrap() }",
        "fn f(x: Option<u8>) -> u8 { x.expect(\"y\") }",
        "fn f() { panic!() }",
        "fn f() { todo!() }",
        "fn f() { std::unimplemented!() }",
        "fn f(x: Option<u8>) { println!(\"{}\", x.unwrap()) }",
        "fn f(x: Option<u8>) { g(|| vec![x.expect(\"a\")]) }",
        "macro_rules! m { () => { panic!() } }",
        "struct S; impl S { fn f() { todo!() } }",
        "#[cfg(not(test))] fn f() { panic!() }",
    ] {
        assert_eq!(rules("cas/blob.rs", text), ["panic"], "{text}");
    }
    assert!(rules("cas/blob.rs", "fn f(x: Option<u8>) -> u8 { x.unwrap_or(1) }").is_empty());
}

#[test]
fn tests_may_panic_and_may_use_siblings_but_never_look_up() {
    let inline = "#[cfg(test)] mod tests { use crate::wire::M; use std::sync::Mutex; fn f() { None::<u8>.unwrap(); } }";
    assert!(rules("cas/blob.rs", inline).is_empty());
    assert_eq!(rules("cas/blob.rs", "#[cfg(test)] mod tests { use crate::volume::Volume; }"), ["layer"]);
    let files = [("cas/mod.rs", "#[cfg(test)]\nmod tests;"), ("cas/tests.rs", "fn f() { panic!() }")];
    assert!(run(&files).findings.is_empty());
    let undeclared = [("cas/mod.rs", "mod tests;"), ("cas/tests.rs", "fn f() { panic!() }")];
    assert_eq!(run(&undeclared).findings.len(), 1);
}

#[test]
fn unsafe_needs_a_named_file_and_a_reason() {
    let bare = "fn f() { let x = unsafe { g() }; }";
    let reasoned = "fn f() {\n    // SAFETY: g has no preconditions.\n    let x = unsafe { g() };\n}";
    assert_eq!(rules("cas/blob.rs", bare), ["unsafe", "unsafe"]);
    assert_eq!(rules("cas/blob.rs", reasoned), ["unsafe"]);
    assert_eq!(rules("kv/arena/real.rs", bare), ["unsafe"]);
    assert!(rules("kv/arena/real.rs", reasoned).is_empty());
    for text in [
        "unsafe fn f() {}",
        "unsafe impl Send for S {}",
        "unsafe extern \"C\" { fn f(); }",
        "fn f() { m!(unsafe { g() }) }",
    ] {
        assert_eq!(rules("kv/arena/real.rs", text), ["unsafe"], "{text}");
    }
}

#[test]
fn sizes_have_caps() {
    let long_function = format!("fn f() {{\n{}}}", "    g();\n".repeat(100));
    assert_eq!(rules("cas/blob.rs", &long_function), ["function-size"]);
    let long_file = "const A: u8 = 1;\n".repeat(600);
    assert_eq!(rules("cas/blob.rs", &long_file), ["file-size"]);
    let long_tests = format!("#[cfg(test)]\nmod tests {{\n{}}}", "    const A: u8 = 1;\n".repeat(900));
    assert!(rules("cas/blob.rs", &long_tests).is_empty());
}

#[test]
fn files_say_what_they_are_for_and_have_a_rank_and_a_name() {
    let bare = Source { path: "cas/blob.rs".to_owned(), text: "fn f() {}".to_owned() };
    assert_eq!(check(&[bare]).findings[0].rule, "opening");
    assert_eq!(rules("cloud/mod.rs", ""), ["layer"]);
    assert_eq!(rules("cas/blob_utils.rs", ""), ["name"]);
    assert_eq!(rules("cas/blob.rs", "#[path = \"x.rs\"] mod x;"), ["opening"]);
    assert_eq!(rules("cas/blob.rs", "include!(\"x.rs\");"), ["opening"]);
    assert_eq!(rules("cas/blob.rs", "fn f( {"), ["parse"]);
}

#[test]
fn a_finding_says_where() {
    let finding = &run(&[("cas/blob.rs", "\nuse crate::volume::V;")]).findings[0];
    assert_eq!(finding.to_string(), "src/cas/blob.rs:3: [layer] `cas` (rank 2) imports `volume` (rank 4)");
}
