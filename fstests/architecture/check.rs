//! The checker: sources in, findings out. Pure, so that it can be shown to fail on bad snippets.

use std::collections::BTreeSet;
use std::fmt;

use proc_macro2::{Spacing, Span, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Item, UseTree};

use crate::source::{Source, attributes, is_test, test_modules};
use crate::table::{self, EMPTY_WORDS, FENCES, FILE_CAP, FUNCTION_CAP, UNSAFE_FILES};

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// File below `src/`.
    pub path: String,
    /// Line, from 1.
    pub line: usize,
    /// Short name of the rule.
    pub rule: &'static str,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "src/{}:{}: [{}] {}", self.path, self.line, self.rule, self.what)
    }
}

/// What a run saw: findings and the sizes for the ratchets.
#[derive(Default)]
pub struct Report {
    /// Broken rules.
    pub findings: Vec<Finding>,
    /// Lines outside tests of each production file.
    pub files: Vec<usize>,
    /// Lines of each production function.
    pub functions: Vec<usize>,
}

/// Checks a whole tree.
pub fn check(sources: &[Source]) -> Report {
    let mut report = Report::default();
    let mut parsed = Vec::new();
    let mut tests = BTreeSet::new();
    for source in sources {
        match syn::parse_file(&source.text) {
            Ok(file) => {
                tests.extend(test_modules(source, &file));
                parsed.push((source, file));
            }
            Err(error) => report.findings.push(Finding {
                path: source.path.clone(),
                line: error.span().start().line,
                rule: "parse",
                what: error.to_string(),
            }),
        }
    }
    for (source, file) in &parsed {
        let module = source.module().join("::");
        let test = tests.iter().any(|t| module == *t || module.starts_with(&format!("{t}::")));
        let mut walk = Walk::new(source, test);
        walk.file_rules();
        walk.visit_file(file);
        walk.size_rules(&mut report);
        report.findings.append(&mut walk.findings);
        report.functions.append(&mut walk.functions);
    }
    report
}

struct Walk<'a> {
    source: &'a Source,
    lines: Vec<&'a str>,
    layer: String,
    module: Vec<String>,
    test: bool,
    whole_file_is_test: bool,
    test_lines: usize,
    findings: Vec<Finding>,
    functions: Vec<usize>,
}

impl<'a> Walk<'a> {
    fn new(source: &'a Source, test: bool) -> Self {
        Walk {
            source,
            lines: source.text.lines().collect(),
            layer: source.layer(),
            module: source.module(),
            test,
            whole_file_is_test: test,
            test_lines: 0,
            findings: Vec::new(),
            functions: Vec::new(),
        }
    }

    fn report(&mut self, line: usize, rule: &'static str, what: impl Into<String>) {
        self.findings.push(Finding { path: self.source.path.clone(), line, rule, what: what.into() });
    }

    fn file_rules(&mut self) {
        if !self.source.text.starts_with("//!") {
            self.report(1, "opening", "a file opens with `//!`: what it is for and what it must never do");
        }
        if !self.layer.is_empty() && table::rank(&self.layer).is_none() {
            self.report(1, "layer", format!("`{}` has no rank in fstests/architecture/table.rs", self.layer));
        }
        for part in self.source.path.trim_end_matches(".rs").split('/') {
            if part.split('_').any(|word| EMPTY_WORDS.contains(&word)) {
                self.report(1, "name", format!("`{part}` names no thing"));
            }
        }
    }

    fn size_rules(&mut self, report: &mut Report) {
        if self.whole_file_is_test {
            return;
        }
        let lines = self.lines.len().saturating_sub(self.test_lines);
        report.files.push(lines);
        if lines > FILE_CAP {
            self.report(1, "file-size", format!("{lines} lines outside tests, the cap is {FILE_CAP}"));
        }
    }

    /// A path as written, from its first segment; `is_use` when it stands in a `use`.
    fn path(&mut self, segments: &[String], line: usize, is_use: bool) {
        let Some(first) = segments.first() else { return };
        match first.as_str() {
            "crate" => self.root_path(segments.get(1), line),
            "self" | "super" => self.super_path(segments, line),
            "std" | "core" | "alloc" => self.std_path(segments, line, is_use),
            name => self.third_party(name, segments.len() > 1 || is_use, line),
        }
    }

    fn root_path(&mut self, target: Option<&String>, line: usize) {
        let Some(target) = target else {
            return self.report(line, "root", "names the crate root itself");
        };
        if target == "*" || target == "self" {
            return self.report(line, "root", "no `use crate::*`: name the layer");
        }
        let Some(theirs) = table::rank(target) else {
            return self.report(line, "root", format!("`crate::{target}` is no layer"));
        };
        let ours = table::rank(&self.layer).unwrap_or(u8::MAX);
        let allowed = self.layer.is_empty() || *target == self.layer || theirs < ours || (self.test && theirs == ours);
        if !allowed {
            let what = format!("`{}` (rank {ours}) imports `{target}` (rank {theirs})", self.layer);
            self.report(line, "layer", what);
        }
    }

    fn super_path(&mut self, segments: &[String], line: usize) {
        let ups = segments.iter().skip_while(|s| *s == "self").take_while(|s| *s == "super").count();
        if ups > 0 && ups >= self.module.len() {
            self.report(line, "super", "`super` climbs out of its layer: write `crate::layer`");
        }
    }

    fn std_path(&mut self, segments: &[String], line: usize, is_use: bool) {
        if self.test || self.source.path == "base/sync.rs" || segments.get(1).map(String::as_str) != Some("sync") {
            return;
        }
        let what = segments.get(2).map(String::as_str);
        let lock = matches!(what, Some("Mutex" | "RwLock" | "Condvar" | "*"));
        if lock || (is_use && matches!(what, None | Some("self"))) {
            self.report(line, "lock", "locks come from `crate::base::sync`; name what else you take from `std::sync`");
        }
    }

    fn third_party(&mut self, name: &str, is_path: bool, line: usize) {
        if !is_path {
            return;
        }
        if name == "lovage" && self.layer != "main" {
            return self.report(line, "root", "write `crate::`, not `lovage::`");
        }
        let Some(fence) = FENCES.iter().find(|f| f.krate == name) else {
            return;
        };
        if !fence.homes.iter().any(|home| self.source.path.starts_with(home)) && !self.test {
            self.report(line, "fence", format!("`{name}` lives only in {:?}", fence.homes));
        }
    }

    fn use_tree(&mut self, tree: &UseTree, prefix: &mut Vec<String>) {
        match tree {
            UseTree::Path(p) => {
                prefix.push(p.ident.to_string());
                self.use_tree(&p.tree, prefix);
                prefix.pop();
            }
            UseTree::Group(g) => g.items.iter().for_each(|item| self.use_tree(item, prefix)),
            UseTree::Name(n) => self.use_leaf(prefix, n.ident.to_string(), line(n.span())),
            UseTree::Rename(r) => self.use_leaf(prefix, r.ident.to_string(), line(r.span())),
            UseTree::Glob(g) => self.use_leaf(prefix, "*".to_owned(), line(g.span())),
        }
    }

    fn use_leaf(&mut self, prefix: &[String], leaf: String, line: usize) {
        let mut full = prefix.to_vec();
        full.push(leaf);
        self.path(&full, line, true);
    }

    /// Tokens nobody parsed (macro bodies, attributes): paths and panics are found by their shape.
    fn tokens(&mut self, stream: TokenStream) {
        let trees: Vec<TokenTree> = stream.into_iter().collect();
        let mut at = 0;
        while at < trees.len() {
            match &trees[at] {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(ident) => {
                    let after_dot = at > 0 && is_punct(&trees[at - 1], '.');
                    let name = ident.to_string();
                    if after_dot && calls(&trees, at) {
                        self.panicking_call(&name, line(ident.span()));
                    }
                    if at + 1 < trees.len() && is_punct(&trees[at + 1], '!') {
                        self.panicking_macro(&name, line(ident.span()));
                    }
                    let joined = at > 1 && is_punct(&trees[at - 1], ':') && is_punct(&trees[at - 2], ':');
                    let segments = path_at(&trees, at);
                    if !after_dot && !joined && segments.len() > 1 {
                        self.path(&segments, line(ident.span()), false);
                    }
                    if name == "unsafe" {
                        self.unsafety(line(ident.span()));
                    }
                }
                _ => {}
            }
            at += 1;
        }
    }

    fn panicking_call(&mut self, name: &str, line: usize) {
        if !self.test && matches!(name, "unwrap" | "expect" | "unwrap_err" | "expect_err" | "unwrap_unchecked") {
            self.report(line, "panic", format!("`.{name}()` outside tests"));
        }
    }

    fn panicking_macro(&mut self, name: &str, line: usize) {
        let excused = table::MAY_PANIC.iter().any(|(path, word, _)| *path == self.source.path && *word == name);
        if !self.test && !excused && matches!(name, "panic" | "todo" | "unimplemented" | "dbg") {
            self.report(line, "panic", format!("`{name}!` outside tests"));
        }
        if !self.test && name == "include" {
            self.report(line, "opening", "`include!` hides code from this check");
        }
    }

    fn unsafety(&mut self, line: usize) {
        if self.test {
            return;
        }
        if !UNSAFE_FILES.contains(&self.source.path.as_str()) {
            self.report(line, "unsafe", "`unsafe` only in the files named in fstests/architecture/table.rs");
        }
        if !self.has_safety_comment(line) {
            self.report(line, "unsafe", "no `SAFETY:` comment above");
        }
    }

    /// Looks at the line itself and upwards through the statement and its comment, at most 12 lines.
    fn has_safety_comment(&self, line: usize) -> bool {
        let from = line.saturating_sub(12);
        self.lines[from..line.min(self.lines.len())].iter().any(|l| l.contains("SAFETY:") || l.contains("# Safety"))
    }

    fn function(&mut self, name: &str, span: Span) {
        if self.test {
            return;
        }
        let lines = span.end().line - span.start().line + 1;
        self.functions.push(lines);
        if lines > FUNCTION_CAP {
            let what = format!("`{name}` has {lines} lines, the cap is {FUNCTION_CAP}");
            self.report(span.start().line, "function-size", what);
        }
    }

    fn within_test(&mut self, test: bool, visit: impl FnOnce(&mut Self)) {
        let before = self.test;
        self.test = before || test;
        visit(self);
        self.test = before;
    }
}

impl<'ast> Visit<'ast> for Walk<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let test = is_test(attributes(item));
        if test && !self.test {
            self.test_lines += item.span().end().line - item.span().start().line + 1;
        }
        self.within_test(test, |walk| visit::visit_item(walk, item));
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !self.test && module.attrs.iter().any(|a| a.path().is_ident("path")) {
            self.report(line(module.span()), "opening", "`#[path]` hides where a module lives");
        }
        self.module.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.use_tree(&item.tree, &mut Vec::new());
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        self.report(line(item.span()), "fence", "no `extern crate`");
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig.ident.to_string(), item.sig.span().join(item.block.span()).unwrap_or(item.span()));
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.within_test(is_test(&item.attrs), |walk| {
            walk.function(&item.sig.ident.to_string(), item.sig.span().join(item.block.span()).unwrap_or(item.span()));
            visit::visit_impl_item_fn(walk, item);
        });
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        if let Some(token) = &signature.unsafety {
            self.unsafety(line(token.span));
        }
        visit::visit_signature(self, signature);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let Some(token) = &item.unsafety {
            self.unsafety(line(token.span));
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.unsafety(line(block.unsafe_token.span));
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_item_foreign_mod(&mut self, item: &'ast syn::ItemForeignMod) {
        self.unsafety(line(item.span()));
        visit::visit_item_foreign_mod(self, item);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.panicking_call(&call.method.to_string(), line(call.method.span()));
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if let Some(last) = call.path.segments.last() {
            self.panicking_macro(&last.ident.to_string(), line(last.ident.span()));
        }
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if !attribute.path().is_ident("doc")
            && let syn::Meta::List(list) = &attribute.meta
        {
            self.tokens(list.tokens.clone());
        }
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        self.path(&segments, line(path.span()), false);
        visit::visit_path(self, path);
    }
}

fn line(span: Span) -> usize {
    span.start().line
}

fn is_punct(tree: &TokenTree, wanted: char) -> bool {
    matches!(tree, TokenTree::Punct(p) if p.as_char() == wanted)
}

/// True when the identifier at `at` is followed by an argument list.
fn calls(trees: &[TokenTree], at: usize) -> bool {
    matches!(trees.get(at + 1), Some(TokenTree::Group(g)) if g.delimiter() == proc_macro2::Delimiter::Parenthesis)
}

/// The `a::b::c` that starts at `at`.
fn path_at(trees: &[TokenTree], at: usize) -> Vec<String> {
    let mut segments = Vec::new();
    let mut cursor = at;
    while let Some(TokenTree::Ident(ident)) = trees.get(cursor) {
        segments.push(ident.to_string());
        let colons = matches!(trees.get(cursor + 1), Some(TokenTree::Punct(p)) if p.as_char() == ':' && p.spacing() == Spacing::Joint)
            && trees.get(cursor + 2).is_some_and(|t| is_punct(t, ':'));
        if !colons {
            break;
        }
        cursor += 3;
    }
    segments
}
