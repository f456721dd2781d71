//! Modules import downward only, and the two lowest layers are pure. The layers are those of the table in `src/lib.rs`.
//!
//! A path counts wherever it stands (`use`, expression, type), outside comments and literals.

#![allow(clippy::unwrap_used, clippy::panic, reason = "how a test fails")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Who may import whom within a layer; always what stands further down in the table.
const NEIGHBOURS: [(&str, &str); 5] = [
    ("cli", "app"),
    ("context", "backend"),
    ("routing", "session"),
    // For `Dialect`, which a greeting tells.
    ("protocol", "sql"),
    // For `Secret`, which a login carries.
    ("protocol", "config"),
];

/// What makes a function depend on more than its arguments: as paths, and why a pure layer must not name them.
const IMPURE: [(&[&str], &str); 5] = [
    (&["tokio"], "waiting is for the layers above"),
    (&["rand"], "a seed is an argument"),
    (&["Instant", "now"], "`now` is an argument"),
    (&["SystemTime", "now"], "`now` is an argument"),
    (&["std", "net", "TcpStream"], "sockets are for the layers above"),
];

/// The highest layer that must be pure.
const PURE: u8 = 1;

#[test]
fn modules_import_downward() {
    let layers = layers();
    let faults: Vec<String> = sources()
        .iter()
        .flat_map(|(module, path, text)| {
            upward(&layers, module, text).into_iter().map(move |fault| format!("{}: {fault}", path.display()))
        })
        .collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_lowest_layers_are_pure() {
    let layers = layers();
    let faults: Vec<String> = sources()
        .iter()
        .filter(|(module, path, _)| layers[module] <= PURE && !path.ends_with("tests.rs"))
        .flat_map(|(_, path, text)| impure(text).into_iter().map(move |fault| format!("{}: {fault}", path.display())))
        .collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_module_is_in_the_table() {
    let layers = layers();
    for (module, path, _) in sources() {
        assert!(layers.contains_key(&module), "{} is in no layer of src/lib.rs", path.display());
    }
    assert_eq!(layers.values().max(), Some(&5), "{layers:?}");
}

#[test]
fn neighbours_go_down_the_table() {
    let table: Vec<String> = table().into_iter().map(|(module, _)| module).collect();
    let row = |name: &str| table.iter().position(|module| module == name).unwrap();
    for (above, below) in NEIGHBOURS {
        assert!(row(above) < row(below), "{above} imports {below}");
    }
}

#[test]
fn a_planted_upward_import_is_found() {
    let layers = layers();
    let cases = [
        ("sql", "use crate::proxy::Session;", 1),
        ("sql", "use crate::{\n    protocol::{Command, proxy},\n    routing,\n};", 2),
        ("sql", "use crate::{self, sql::facts};", 0),
        ("session", "fn f() -> crate :: backend :: Pool { todo!() }", 1),
        ("session", "use crate::routing::Decision;", 1),
        ("routing", "use crate::session::Pins; use crate::sql;", 0),
        ("proxy", "use crate::admin::Doors;", 1),
        ("admin", "use crate::proxy;", 1),
        ("backend", "use super::super::app::run;", 1),
        ("backend", "use super::pool::app::run;", 0),
        ("cli", "use crate::{app, proxy, sandbox};", 0),
        ("app", "use crate::cli;", 1),
        ("sql", "// use crate::proxy;\n/* crate::app /* crate::app */ */ \"crate::cli\" r#\"crate::cli\"# '\"' 'a", 0),
        ("sql", "let quote = '\\''; use crate::proxy;", 1),
        ("sql", "fn f<'a>(x: &'a str) -> &'a crate::net::Stream {}", 1),
    ];
    for (module, text, faults) in cases {
        let found = upward(&layers, module, text);
        assert_eq!(found.len(), faults, "{module}: {text}: {found:?}");
    }
}

#[test]
fn a_planted_impurity_is_found() {
    let cases = [
        ("use tokio::sync::watch;", 1),
        ("let now = std::time::Instant::now();", 1),
        ("let at = SystemTime :: now ();", 1),
        ("use std::time::{Duration, Instant};", 0),
        ("let seed = rand::random::<u64>();", 1),
        ("let rand = 1; // tokio::spawn", 0),
        ("#[cfg(test)]\nmod tests { fn f() { Instant::now(); { } } }", 0),
        ("#[cfg(test)]\nmod tests { }\nfn f() { Instant::now(); }", 1),
        ("#[cfg(test)]\nmod tests;\nfn f() { Instant::now(); }", 1),
    ];
    for (text, faults) in cases {
        let found = impure(text);
        assert_eq!(found.len(), faults, "{text}: {found:?}");
    }
}

/// Modules with their layers, out of the lines `//! | L3 | [`backend`] | …` of `src/lib.rs`.
fn table() -> Vec<(String, u8)> {
    let text = fs::read_to_string(root().join("lib.rs")).unwrap();
    let row = |line: &str| {
        let (layer, rest) = line.strip_prefix("//! | L")?.split_once(" | [`")?;
        Some((rest.split_once('`')?.0.to_owned(), layer.parse().unwrap()))
    };
    text.lines().filter_map(row).collect()
}

fn layers() -> BTreeMap<String, u8> {
    table().into_iter().collect()
}

/// The top module, path and text of every source file inside a module.
fn sources() -> Vec<(String, PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inside = path.strip_prefix(root()).unwrap();
                let module = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
                if !["lib", "main"].contains(&module) {
                    found.push((module.to_owned(), path.clone(), fs::read_to_string(&path).unwrap()));
                }
            }
        }
    }
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn upward(layers: &BTreeMap<String, u8>, module: &str, text: &str) -> Vec<String> {
    imports(layers, &tokens(text))
        .into_iter()
        .filter(|imported| {
            let down = layers[imported] < layers[module];
            imported != module && !down && !NEIGHBOURS.contains(&(module, imported))
        })
        .map(|imported| format!("{module} (L{}) imports {imported} (L{})", layers[module], layers[&imported]))
        .collect()
}

/// The top modules that paths begin with: `crate::x`, `crate::{x, y::z}`, `super::super::x`.
fn imports(layers: &BTreeMap<String, u8>, tokens: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let after = |n: usize| tokens.get(at + n).map(String::as_str).unwrap_or_default();
        // Two levels up is the root for a file right below its module, and no name of a top module is used deeper.
        let from_root = token == "crate" && after(1) == "::";
        let from_super = token == "super" && after(1) == "::" && at >= 2 && tokens[at - 2] == "super";
        if !from_root && !from_super {
            continue;
        }
        let mut depth = 0_u32;
        for (offset, next) in tokens[at + 2..].iter().enumerate() {
            let begins = offset == 0 || (depth == 1 && ["{", ","].contains(&after(offset + 1)));
            match next.as_str() {
                "{" => depth += 1,
                "}" => depth = depth.saturating_sub(1),
                name if begins && layers.contains_key(name) => found.push(name.to_owned()),
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    found
}

fn impure(text: &str) -> Vec<String> {
    let tokens = without_tests(&tokens(text));
    let mut found = Vec::new();
    for (path, reason) in IMPURE {
        let mut wanted: Vec<&str> = path.iter().flat_map(|part| [*part, "::"]).collect();
        if path.len() > 1 {
            wanted.pop();
        }
        if tokens.windows(wanted.len()).any(|window| window.iter().eq(wanted.iter())) {
            found.push(format!("{}: {reason}", path.join("::")));
        }
    }
    found
}

/// Leaves out what `#[cfg(test)]` introduces, when it has a body.
fn without_tests(tokens: &[String]) -> Vec<String> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at..].iter().take(MARK.len()).eq(MARK.iter()) {
            at = end_of_item(tokens, at + MARK.len());
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// Behind the `;` or the body of the item that starts at `at`.
fn end_of_item(tokens: &[String], mut at: usize) -> usize {
    let mut depth = 0_u32;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            ";" if depth == 0 => return at,
            _ => continue,
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

/// Words, `::` and single signs, without comments, literals and lifetimes.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(length) = opaque(rest) {
            rest = &rest[length..];
            continue;
        }
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        tokens.push(rest[..length].to_owned());
        rest = &rest[length..];
    }
    tokens
}

/// The length of the space, comment, literal or lifetime that `text` begins with.
fn opaque(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    if first.is_whitespace() {
        return Some(first.len_utf8());
    }
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(block_comment(text));
    }
    let raw = text.trim_start_matches(['b', 'c']);
    if let Some(hashes) = raw.strip_prefix('r').filter(|_| text.len() - raw.len() <= 1) {
        let quote = hashes.trim_start_matches('#');
        if let Some(body) = quote.strip_prefix('"') {
            let close = format!("\"{}", "#".repeat(hashes.len() - quote.len()));
            let start = text.len() - body.len();
            return Some(start + body.find(&close).map_or(body.len(), |at| at + close.len()));
        }
    }
    if first == '"' {
        return Some(quoted(text, '"'));
    }
    if first == '\'' {
        let is_char = text[1..].starts_with('\\') || text.chars().nth(2) == Some('\'');
        let word = |c: char| !(c.is_alphanumeric() || c == '_');
        return Some(if is_char { quoted(text, '\'') } else { text[1..].find(word).map_or(text.len(), |at| at + 1) });
    }
    None
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0_u32;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let step = if rest.starts_with("/*") {
            depth += 1;
            2
        } else if rest.starts_with("*/") {
            depth -= 1;
            2
        } else {
            rest.chars().next().map_or(1, char::len_utf8)
        };
        at += step;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}
