//! The property tests are strong enough: for each law there is a wrong implementation that no
//! other law catches but the model's, and that it catches within the default number of cases.

mod inputs;

use std::collections::BTreeSet;
use std::thread;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use upcase::laws::{LAWS, WHITE_SPACE};
use upcase::{LIMIT, model, process};

/// A law's name, a fault, and an implementation that has it.
type Subtle = (&'static str, &'static str, fn(&[u8]) -> Vec<u8>);

const SUBTLE: &[Subtle] = &[
    (
        "bounded",
        "adds a byte to a full reply, unless that is ASCII",
        |request| {
            let mut reply = process(request);
            if reply.len() == LIMIT && !reply.is_ascii() {
                reply.push(b'X');
            }
            reply
        },
    ),
    (
        "trimmed",
        "fills a reply with spaces where the cap uncovers some, unless it is ASCII",
        |request| {
            let mut reply = process(request);
            let uncovers = request
                .get(..LIMIT)
                .is_some_and(|head| white(head[LIMIT - 1]));
            if uncovers && !reply.is_ascii() {
                reply.resize(LIMIT, b' ');
            }
            reply
        },
    ),
    ("upper-cased", "keeps U+0345", |request| {
        let kept = String::from_utf8_lossy(request);
        if kept.contains('\u{345}') && std::str::from_utf8(request).is_ok() {
            map(request, |c| {
                if c == '\u{345}' {
                    c.into()
                } else {
                    c.to_uppercase().collect()
                }
            })
        } else {
            process(request)
        }
    }),
    ("ascii", "maps ~ to !", |request| {
        process(request)
            .iter()
            .map(|b| if *b == b'~' { b'!' } else { *b })
            .collect()
    }),
    (
        "well-formed",
        "marks by FF that it has cut a character of well-formed text",
        |request| {
            let mut reply = process(request);
            let head = &request[..request.len().min(LIMIT)];
            let cuts = std::str::from_utf8(request).is_ok() && std::str::from_utf8(head).is_err();
            if cuts && reply.len() < LIMIT {
                reply.push(0xFF);
            }
            reply
        },
    ),
    ("strays-kept", "drops ill-formed bytes", |request| {
        let valid = model::units(&process(request))
            .into_iter()
            .filter_map(|unit| match unit {
                model::Unit::Character(c) => Some(c),
                model::Unit::Stray(_) => None,
            });
        process(valid.collect::<String>().as_bytes())
    }),
    (
        "prefix",
        "refuses well-formed text that is too long, unless that is ASCII",
        |request| {
            let refused = request.len() > LIMIT + 16 && !request.is_ascii();
            if refused && std::str::from_utf8(request).is_ok() {
                b"TOO LONG".into()
            } else {
                process(request)
            }
        },
    ),
    (
        "padding",
        "drops the first letter after a vertical tab, unless that is ASCII",
        |request| {
            let text = std::str::from_utf8(request)
                .ok()
                .filter(|text| text.len() < LIMIT);
            let after = text.and_then(|text| text.strip_prefix('\x0B'));
            let after = after
                .map(|text| text.trim_start_matches(WHITE_SPACE))
                .unwrap_or_default();
            match after.chars().next() {
                Some(first) if !first.is_ascii() => process(&after.as_bytes()[first.len_utf8()..]),
                _ => process(request),
            }
        },
    ),
    (
        "concatenation",
        "makes one letter of a double ß",
        |request| match std::str::from_utf8(request) {
            Ok(text) if text.len() < LIMIT => process(text.replace("ßß", "ß").as_bytes()),
            _ => process(request),
        },
    ),
    ("idempotent", "maps ÿ to Ÿ, and Ÿ to Y", |request| {
        map(request, |c| {
            if c == 'Ÿ' {
                "Y".into()
            } else {
                c.to_uppercase().collect()
            }
        })
    }),
    ("model", "maps ÿ to Y", |request| {
        map(request, |c| {
            if "ÿŸ".contains(c) {
                "Y".into()
            } else {
                c.to_uppercase().collect()
            }
        })
    }),
];

fn white(byte: u8) -> bool {
    WHITE_SPACE.contains(&char::from(byte))
}

/// The right implementation, but for the mapping of a character.
fn map(request: &[u8], letter: fn(char) -> String) -> Vec<u8> {
    let mut mapped = Vec::new();
    for unit in model::units(&model::clip(request)) {
        match unit {
            model::Unit::Character(c) => mapped.extend(letter(c).into_bytes()),
            model::Unit::Stray(byte) => mapped.push(byte),
        }
    }
    model::clip(&mapped)
}

/// The laws that `process` breaks in as many cases as a property test has by default, drawn from
/// all the strategies, and from the seed of this number.
fn broken_within_default_cases(process: fn(&[u8]) -> Vec<u8>, seed: u8) -> BTreeSet<&'static str> {
    let config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    let cases = config.cases;
    assert_eq!(cases, 256, "proptest's default");
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let mut broken = BTreeSet::new();
    for _ in 0..cases {
        let input = inputs::requests()
            .new_tree(&mut runner)
            .expect("a request")
            .current();
        let laws = LAWS
            .iter()
            .filter(|law| law.check(&process, &input).is_err());
        broken.extend(laws.map(|law| law.name));
    }
    broken
}

#[test]
fn each_law_alone_catches_a_wrong_implementation_within_the_default_cases() {
    let laws: BTreeSet<_> = LAWS.iter().map(|law| law.name).collect();
    let shown: BTreeSet<_> = SUBTLE.iter().map(|(law, _, _)| *law).collect();
    assert_eq!(shown, laws);
    thread::scope(|scope| {
        for (law, fault, process) in SUBTLE {
            scope.spawn(move || {
                for seed in 0..2 {
                    let mut broken = broken_within_default_cases(*process, seed);
                    broken.retain(|broken| broken == law || *broken != "model");
                    let alone = BTreeSet::from([*law]);
                    assert_eq!(broken, alone, "a process that {fault}, seed {seed}");
                }
            });
        }
    });
}
