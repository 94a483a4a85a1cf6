//! The modules have only the dependencies that are listed here.
//!
//! The product does not use the judge. The judge uses only two parts of the product: `Duplex`,
//! which its scripted peer implements, and `Timed`, which is independent of the protocol. Its file
//! `fuzz` is the one exception: it connects the laws with the implementation in this crate.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each module, and the modules that its code names. A module depends only on modules in earlier
/// lines.
const ARROWS: &[(&str, &[&str])] = &[
    ("process", &[]),
    ("escape", &[]),
    ("deadline", &[]),
    ("framing", &["process"]),
    ("exchange", &["deadline", "framing", "process"]),
    ("client", &["deadline", "process"]),
    ("transcript", &["escape", "process"]),
    ("server", &["exchange"]),
    ("conformance::clauses", &[]),
    ("conformance::reference", &[]),
    (
        "conformance::report",
        &["conformance::clauses", "conformance::reference"],
    ),
    (
        "conformance::script",
        &["conformance::reference", "exchange"],
    ),
    (
        "conformance::laws",
        &["conformance::reference", "conformance::report"],
    ),
    (
        "conformance::exchange_laws",
        &[
            "conformance::reference",
            "conformance::report",
            "conformance::script",
        ],
    ),
    (
        "conformance::vectors",
        &["conformance::reference", "conformance::report"],
    ),
    (
        "conformance::function_judge",
        &[
            "conformance::laws",
            "conformance::report",
            "conformance::vectors",
        ],
    ),
    (
        "conformance::server_judge",
        &[
            "conformance::reference",
            "conformance::report",
            "conformance::vectors",
            "deadline",
        ],
    ),
    (
        "conformance::fuzz",
        &[
            "client",
            "conformance::exchange_laws",
            "conformance::laws",
            "conformance::report",
            "conformance::script",
            "escape",
            "exchange",
            "framing",
            "process",
        ],
    ),
];

/// What the judge may name of a module of the product.
const DRIVEN: &[(&str, &[&str])] = &[
    ("exchange", &["Duplex"]),
    ("deadline", &["Timed", "is_time_out"]),
];

/// The names that the root of the crate re-exports, and their module.
const REEXPORTED: [(&str, &str); 5] = [
    ("LIMIT", "process"),
    ("clip", "process"),
    ("process", "process"),
    ("process_into", "process"),
    ("upper", "process"),
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_in(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// The code of a file, without comments, on one line.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| line.split("//").next().unwrap());
    lines.collect::<Vec<_>>().join(" ")
}

/// The module that a file is a part of; `None` for the roots, which name every module.
fn module_of(path: &Path) -> Option<String> {
    let relative = path.strip_prefix(source()).unwrap().with_extension("");
    let parts: Vec<_> = relative.iter().map(|part| part.to_str().unwrap()).collect();
    match parts[..] {
        ["lib" | "conformance"] | ["bin", ..] => None,
        ["conformance", part, ..] => Some(format!("conformance::{part}")),
        [part, ..] => Some(part.into()),
        [] => unreachable!("a file has a name"),
    }
}

/// Every path that follows `start` in `code`: its segments, one path for each name in braces.
fn paths(code: &str, start: &str) -> Vec<Vec<String>> {
    let names = |text: &str| -> Vec<String> {
        let parts = text.split("::").map(str::trim);
        parts.map(String::from).collect()
    };
    let is_path = |c: char| c.is_alphanumeric() || "_:".contains(c);
    let mut found = Vec::new();
    for (at, _) in code.match_indices(start) {
        let rest = &code[at + start.len()..];
        let end = rest.find(|c| !is_path(c)).unwrap_or(rest.len());
        let prefix = rest[..end].trim_end_matches(':');
        let prefix = if prefix.is_empty() {
            vec![]
        } else {
            names(prefix)
        };
        match rest[end..].strip_prefix('{') {
            Some(list) => {
                let list = list.split('}').next().unwrap();
                for item in list.split(',').map(str::trim).filter(|i| !i.is_empty()) {
                    let item = item.split(" as ").next().unwrap();
                    found.push([prefix.clone(), names(item)].concat());
                }
            }
            None => found.push(prefix),
        }
    }
    found
}

/// The paths into other modules in the `code` of a file of `module`: each module, and the rest of
/// the path.
fn named_by(module: &str, is_part_of_judge: bool, code: &str) -> BTreeSet<(String, Vec<String>)> {
    let resolve = |path: Vec<String>| {
        let reexported = REEXPORTED.iter().find(|(name, _)| path[0] == *name);
        match (reexported, &path[..]) {
            (Some((_, module)), _) => ((*module).to_owned(), path),
            (None, [wing, part, rest @ ..]) if wing == "conformance" => {
                (format!("conformance::{part}"), rest.to_vec())
            }
            (None, [part, rest @ ..]) => (part.clone(), rest.to_vec()),
            (None, []) => unreachable!("a path has a name"),
        }
    };
    let mut all = paths(code, "crate::");
    let siblings = paths(code, "super::").into_iter();
    if is_part_of_judge {
        all.extend(siblings.map(|path| [vec!["conformance".into()], path].concat()));
    }
    let mut named: BTreeSet<_> = all.into_iter().map(resolve).collect();
    named.retain(|(other, _)| other != module);
    named
}

/// What each module names.
fn named() -> BTreeMap<String, BTreeSet<(String, Vec<String>)>> {
    let mut named = BTreeMap::<_, BTreeSet<_>>::new();
    for path in files_in(&source()) {
        if let Some(module) = module_of(&path) {
            // There `super` is the judge itself.
            let is_part_of_judge = path.parent() == Some(&source().join("conformance"));
            let others = named_by(&module, is_part_of_judge, &code(&path));
            named.entry(module).or_default().extend(others);
        }
    }
    named
}

#[test]
fn modules_have_exactly_the_listed_dependencies() {
    let found: BTreeMap<String, BTreeSet<String>> = named()
        .into_iter()
        .map(|(module, names)| (module, names.into_iter().map(|(other, _)| other).collect()))
        .collect();
    let listed: BTreeMap<String, BTreeSet<String>> = ARROWS
        .iter()
        .map(|(module, others)| {
            let others = others.iter().map(|other| (*other).to_owned());
            ((*module).to_owned(), others.collect())
        })
        .collect();
    assert_eq!(found, listed);
}

#[test]
fn modules_depend_only_on_earlier_modules() {
    for (floor, (module, others)) in ARROWS.iter().enumerate() {
        for other in *others {
            let below = ARROWS.iter().position(|(module, _)| module == other);
            assert!(
                below.is_some_and(|below| below < floor),
                "{module} -> {other}"
            );
        }
    }
}

#[test]
fn the_product_does_not_name_the_judge() {
    for path in files_in(&source()) {
        let is_judge = path
            .strip_prefix(source())
            .unwrap()
            .starts_with("conformance");
        if is_judge || path.ends_with("src/lib.rs") || path.ends_with("src/conformance.rs") {
            continue;
        }
        assert!(!code(&path).contains("conformance"), "{}", path.display());
    }
}

#[test]
fn the_judge_names_only_what_it_drives() {
    for (module, names) in named() {
        if !module.starts_with("conformance::") || module == "conformance::fuzz" {
            continue;
        }
        for (other, path) in names {
            let Some((_, driven)) = DRIVEN.iter().find(|(driven, _)| *driven == other) else {
                assert!(other.starts_with("conformance::"), "{module} -> {other}");
                continue;
            };
            let name = path.first().map(String::as_str).unwrap_or_default();
            assert!(driven.contains(&name), "{module} -> {other}::{name}");
        }
    }
}
