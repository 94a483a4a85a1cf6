//! The modules have only the dependencies that are listed here.
//!
//! The product does not use the judge. The judge uses only three parts of the product: `Duplex`,
//! which its scripted peer implements, `Timed`, and what `platform` says of this system. The last two
//! are independent of the protocol. Its file `fuzz` is the one exception: it connects the laws with the
//! implementation in this crate. Of the programs, only `upcase-judge` names the judge.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each module, and the modules that its code names. A module depends only on modules in earlier
/// lines.
const ARROWS: &[(&str, &[&str])] = &[
    ("platform", &[]),
    ("process", &[]),
    ("escape", &[]),
    ("deadline", &[]),
    ("framing", &["process"]),
    ("exchange", &["deadline", "framing", "process"]),
    ("client", &["deadline", "process"]),
    ("address", &["escape", "platform"]),
    ("server", &["exchange", "platform"]),
    ("log", &["address", "escape", "process", "server"]),
    ("conformance::clauses", &[]),
    ("conformance::reference", &[]),
    (
        "conformance::violation",
        &["conformance::clauses", "conformance::reference"],
    ),
    ("conformance::selection", &["conformance::violation"]),
    ("conformance::side_by_side", &[]),
    ("conformance::fields", &[]),
    (
        "conformance::script",
        &["conformance::reference", "exchange"],
    ),
    (
        "conformance::laws",
        &["conformance::reference", "conformance::violation"],
    ),
    (
        "conformance::exchange_laws",
        &[
            "conformance::reference",
            "conformance::violation",
            "conformance::script",
        ],
    ),
    (
        "conformance::vectors",
        &[
            "conformance::fields",
            "conformance::reference",
            "conformance::violation",
        ],
    ),
    (
        "conformance::client_vectors",
        &["conformance::fields", "conformance::violation"],
    ),
    (
        "conformance::report",
        &[
            "conformance::clauses",
            "conformance::client_vectors",
            "conformance::reference",
            "conformance::selection",
            "conformance::vectors",
            "conformance::violation",
        ],
    ),
    (
        "conformance::function_judge",
        &[
            "conformance::laws",
            "conformance::violation",
            "conformance::vectors",
        ],
    ),
    (
        "conformance::server_judge",
        &[
            "conformance::reference",
            "conformance::violation",
            "conformance::vectors",
            "deadline",
        ],
    ),
    ("conformance::find", &["conformance::server_judge"]),
    (
        "conformance::client_judge",
        &[
            "conformance::client_vectors",
            "conformance::reference",
            "conformance::violation",
            "deadline",
            "platform",
        ],
    ),
    (
        "conformance::fuzz",
        &[
            "client",
            "conformance::exchange_laws",
            "conformance::laws",
            "conformance::violation",
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
    ("platform", &["has_gone", "to_argument"]),
];

/// The names that the root of the crate re-exports, and their module.
const REEXPORTED: [(&str, &str); 6] = [
    ("Buffer", "process"),
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

/// The code of a file as tokens: names, `::`, and single characters. It has no comments, and nothing of
/// the texts in it.
fn tokens(path: &Path) -> Vec<String> {
    let source = fs::read_to_string(path).unwrap();
    let mut rest = source.as_str();
    let mut tokens = Vec::new();
    while let Some(c) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if c == '"' {
            let escaped = |at: usize| rest[..at].bytes().rev().take_while(|b| *b == b'\\').count();
            let mut quotes = rest.match_indices('"').skip(1);
            let end = quotes.find(|(at, _)| escaped(*at) % 2 == 0);
            end.map_or(rest.len(), |(at, _)| at + 1)
        } else if rest.starts_with("'\"'") {
            3
        } else if c.is_alphanumeric() || c == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            end.unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            c.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        if !token.starts_with("//") && !token.starts_with('"') && !token.trim().is_empty() {
            tokens.push(token.to_owned());
        }
    }
    tokens
}

/// What differs between systems is in one file.
#[test]
fn only_platform_asks_for_the_system() {
    for path in files_in(&source()) {
        let text = fs::read_to_string(&path).unwrap();
        let asks = ["unix", "windows", "target_os"].iter().any(|system| {
            let forms = [format!("({system}"), format!("::{system}::")];
            forms.iter().any(|form| text.contains(form))
        });
        assert_eq!(asks, path.ends_with("platform.rs"), "{}", path.display());
    }
}

/// The module of a file: its path in the crate. Empty for `lib.rs`; `None` for a program.
fn module_of(path: &Path) -> Option<Vec<String>> {
    let relative = path.strip_prefix(source()).unwrap().with_extension("");
    let parts = relative
        .iter()
        .map(|part| part.to_str().unwrap().to_owned());
    let parts: Vec<String> = parts.collect();
    match parts[0].as_str() {
        "bin" => None,
        "lib" => Some(Vec::new()),
        _ => Some(parts),
    }
}

/// The listed module that a module is a part of: `conformance::laws`, or `server` for all its parts.
fn listed(module: &[String]) -> String {
    match module {
        [wing, part, ..] if wing == "conformance" => format!("{wing}::{part}"),
        [part, ..] => part.clone(),
        [] => String::new(),
    }
}

/// Every path in `tokens` that starts at `crate`, `super` or `self`, from the root of the crate.
fn paths(module: &[String], tokens: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        let is_start = at == 0 || tokens[at - 1] != "::";
        if is_start && tokens.get(at + 1).is_some_and(|next| next == "::") {
            let mut start = module.to_vec();
            match tokens[at].as_str() {
                "crate" => start.clear(),
                "super" => drop(start.pop()),
                "self" => {}
                _ => continue,
            }
            read_path(&start, &tokens[at + 2..], &mut found);
        }
    }
    found
}

/// Reads a path after `::`, and every path of a list in braces. Returns how many tokens it has.
fn read_path(start: &[String], tokens: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = start.to_vec();
    let mut at = 0;
    loop {
        match tokens[at].as_str() {
            "{" => {
                at += 1;
                while tokens[at] != "}" {
                    at += match tokens[at].as_str() {
                        "," => 1,
                        _ => read_path(&path, &tokens[at..], found),
                    };
                }
                return at + 1;
            }
            "super" => drop(path.pop()),
            "self" => {}
            name => path.push(name.to_owned()),
        }
        at += 1;
        match tokens.get(at).map(String::as_str) {
            Some("::") => at += 1,
            Some("as") => {
                found.push(path);
                return at + 2;
            }
            _ => {
                found.push(path);
                return at;
            }
        }
    }
}

/// What a module names of other modules: the module, and the rest of the path.
fn named_by(module: &[String], tokens: &[String]) -> BTreeSet<(String, Vec<String>)> {
    let mut named = BTreeSet::new();
    for path in paths(module, tokens) {
        let reexported = REEXPORTED.iter().find(|(name, _)| path[0] == *name);
        let other = reexported.map_or_else(|| listed(&path), |(_, other)| (*other).to_owned());
        let parts = if reexported.is_some() {
            0
        } else {
            other.split("::").count()
        };
        let rest = path[parts.min(path.len())..].to_vec();
        if other != listed(module) {
            named.insert((other, rest));
        }
    }
    named
}

/// What each listed module names.
fn named() -> BTreeMap<String, BTreeSet<(String, Vec<String>)>> {
    let mut named = BTreeMap::<_, BTreeSet<_>>::new();
    for path in files_in(&source()) {
        if let Some(module) = module_of(&path).filter(|module| !module.is_empty()) {
            let others = named_by(&module, &tokens(&path));
            named.entry(listed(&module)).or_default().extend(others);
        }
    }
    // The front page of the judge re-exports its parts, which is no dependency of a part.
    let front_page = named.remove("conformance").unwrap_or_default();
    assert!(front_page.is_empty(), "{front_page:?}");
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
        let module = module_of(&path);
        let is_root_or_judge = match &module {
            Some(module) => module.first().is_none_or(|wing| wing == "conformance"),
            None => {
                path.ends_with("upcase-judge.rs") || path.starts_with(source().join("bin/judging"))
            }
        };
        let names_judge = tokens(&path).contains(&"conformance".to_owned());
        assert!(is_root_or_judge || !names_judge, "{}", path.display());
    }
}

/// What would hide a path from this test.
#[test]
fn no_file_renames_the_crate_or_includes_code() {
    for path in files_in(&source()) {
        let tokens = tokens(&path);
        let has = |sequence: &[&str]| tokens.windows(sequence.len()).any(|part| part == sequence);
        for hidden in [
            &["crate", "as"][..],
            &["self", "as"],
            &["extern", "crate", "self"],
            &["[", "path", "="],
            &[",", "path", "="],
            &["include", "!"],
        ] {
            assert!(!has(hidden), "{hidden:?} in {}", path.display());
        }
    }
}

#[test]
fn the_reader_of_paths_finds_every_form() {
    let module = ["conformance".to_owned(), "laws".to_owned()];
    let find = |code: &str| {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("paths.rs");
        fs::write(&file, code).unwrap();
        let paths = paths(&module, &tokens(&file)).into_iter();
        paths.map(|path| path.join("::")).collect::<Vec<_>>()
    };
    assert_eq!(
        find("use crate::{a::{self, b as c}, d};"),
        ["a", "a::b", "d"]
    );
    assert_eq!(find("super::super::client::f()"), ["client::f"]);
    assert_eq!(
        find("super::script::Action"),
        ["conformance::script::Action"]
    );
    assert_eq!(find("self::part::f(\"//\", crate :: process(b))").len(), 2);
    assert_eq!(find("// crate::a\n\"crate::b\" '\"' crate::c"), ["c"]);
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
