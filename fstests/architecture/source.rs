//! Reads the tree into sources and tells production code from tests. Never judges.

use std::collections::BTreeSet;
use std::path::Path;

use syn::{Attribute, File, Item};

/// One Rust file below `src/`.
pub struct Source {
    /// Path relative to `src/`, with `/`.
    pub path: String,
    /// The text.
    pub text: String,
}

impl Source {
    /// Module path from the crate root: `kv/arena/mod.rs` is `[kv, arena]`; `lib.rs` is empty.
    pub fn module(&self) -> Vec<String> {
        let trimmed = self.path.trim_end_matches(".rs");
        let mut parts: Vec<String> = trimmed.split('/').map(str::to_owned).collect();
        if parts.last().is_some_and(|last| last == "mod") || trimmed == "lib" {
            parts.pop();
        }
        parts
    }

    /// The top-level module, or `""` for `lib.rs`.
    pub fn layer(&self) -> String {
        self.module().first().cloned().unwrap_or_default()
    }
}

/// Every `.rs` file below `root`, sorted.
pub fn read_tree(root: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_path_buf()];
    while let Some(dir) = pending.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
                found.push(Source { path: name, text: std::fs::read_to_string(&path).unwrap() });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// True when the attributes say the item is compiled for tests only.
pub fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|a| {
        let meta = &a.meta;
        meta.path().is_ident("test")
            || (meta.path().is_ident("cfg")
                && meta.require_list().is_ok_and(|l| {
                    let tokens = l.tokens.to_string();
                    tokens.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "test")
                        && !tokens.contains("not")
                }))
    })
}

/// Attributes of an item, whatever it is.
pub fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(i) => &i.attrs,
        Item::Enum(i) => &i.attrs,
        Item::ExternCrate(i) => &i.attrs,
        Item::Fn(i) => &i.attrs,
        Item::ForeignMod(i) => &i.attrs,
        Item::Impl(i) => &i.attrs,
        Item::Macro(i) => &i.attrs,
        Item::Mod(i) => &i.attrs,
        Item::Static(i) => &i.attrs,
        Item::Struct(i) => &i.attrs,
        Item::Trait(i) => &i.attrs,
        Item::TraitAlias(i) => &i.attrs,
        Item::Type(i) => &i.attrs,
        Item::Union(i) => &i.attrs,
        Item::Use(i) => &i.attrs,
        _ => &[],
    }
}

/// Module paths that are declared `#[cfg(test)] mod x;` in `file`, as prefixes of module paths.
pub fn test_modules(source: &Source, file: &File) -> BTreeSet<String> {
    let base = source.module();
    file.items
        .iter()
        .filter_map(|item| match item {
            Item::Mod(m) if m.content.is_none() && is_test(&m.attrs) => {
                let mut path = base.clone();
                path.push(m.ident.to_string());
                Some(path.join("::"))
            }
            _ => None,
        })
        .collect()
}
