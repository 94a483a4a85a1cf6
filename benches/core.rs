//! How fast the transformation is, beside others, and beside the machine's limit.
//!
//! The contenders take turns in each round, and what is quoted is the median over the rounds of the
//! ratio within each; so whatever else the machine does in a round meets them all.

mod chart;

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use chart::Panel;
use clap::Parser;
use icu_casemap::{CaseMapper, CaseMapperBorrowed};
use icu_locale_core::LanguageIdentifier;
use stringzilla::stringzilla::utf8_uncased_fold;
use upcase::{BUFFER, process, process_into};

/// The time of one call is that of so many in a row.
const CALLS: u32 = 500;

const LENGTHS: [usize; 3] = [16, 128, 1024];

/// What a request is made of, again and again, to its length.
const TEXTS: [(&str, &[u8]); 9] = [
    ("ASCII", b"The quick brown fox jumps over the lazy dog. "),
    (
        "Portuguese",
        "Não há opção: a ação já está em execução. ".as_bytes(),
    ),
    ("Greek", "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. ".as_bytes()),
    (
        "Cyrillic",
        "Съешь же ещё этих мягких французских булок. ".as_bytes(),
    ),
    (
        "Georgian",
        "ქართული ანბანი შედგება ოცდაცამეტი ასოსგან. ".as_bytes(),
    ),
    ("Chinese", "天地玄黃宇宙洪荒日月盈昃辰宿列張".as_bytes()),
    ("emoji", "😀🚀🌍🎉🦀🔥💡🍀".as_bytes()),
    ("ill-formed", b"\xff\xc3a\xe1\x80b\xf0\x90\x80c\xed\xa0\x80"),
    (
        "mixture",
        "Olá, Κόσμε! Привет 世界 🌍 straße ok. ".as_bytes(),
    ),
];

/// Compare the transformation with others, on texts of many scripts.
#[derive(Parser)]
struct Arguments {
    /// How many times the contenders take turns
    #[arg(long, default_value_t = 41)]
    rounds: usize,

    /// Draw the ratios at 1024 bytes to this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// What Cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// A name, and what is done with a request and some room.
type Contender = (&'static str, fn(&[u8], &mut [u8; 4 * BUFFER]));

/// The first is what the others are compared with.
const CONTENDERS: [Contender; 7] = [
    ("process_into", |request, room| {
        let buffer = room.first_chunk_mut().expect("room");
        black_box(process_into(request, buffer));
    }),
    ("process", |request, _| {
        black_box(process(request));
    }),
    ("memcpy", |request, room| {
        room[..request.len()].copy_from_slice(request);
        black_box(&room);
    }),
    ("to_ascii_uppercase", |request, _| {
        black_box(request.to_ascii_uppercase());
    }),
    ("str::to_uppercase", |request, _| {
        by_text(request, str::to_uppercase);
    }),
    ("icu_casemap", |request, _| {
        const ICU: CaseMapperBorrowed<'static> = CaseMapper::new();
        by_text(request, |text| {
            ICU.uppercase_to_string(text, &LanguageIdentifier::UNKNOWN)
                .into_owned()
        });
    }),
    ("StringZilla's fold", |request, room| {
        black_box(utf8_uncased_fold(request, room));
    }),
];

/// What those who take text alone do with bytes.
fn by_text(request: &[u8], upper: impl Fn(&str) -> String) {
    if let Ok(text) = str::from_utf8(request) {
        black_box(upper(text));
        return;
    }
    let mut mapped = Vec::with_capacity(request.len());
    for chunk in request.utf8_chunks() {
        mapped.extend(upper(chunk.valid()).into_bytes());
        mapped.extend(chunk.invalid());
    }
    black_box(mapped);
}

/// So many bytes of `text`, and no cut character.
fn request(text: &[u8], length: usize) -> Vec<u8> {
    let bytes: Vec<u8> = text.iter().copied().cycle().take(length).collect();
    match str::from_utf8(&bytes) {
        Err(error) if str::from_utf8(text).is_ok() => bytes[..error.valid_up_to()].to_vec(),
        _ => bytes,
    }
}

/// Nanoseconds a call.
fn time((_, work): Contender, request: &[u8], room: &mut [u8; 4 * BUFFER]) -> f64 {
    let start = Instant::now();
    for _ in 0..CALLS {
        work(black_box(request), room);
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let arguments = Arguments::parse();
    let names = CONTENDERS.map(|(name, _)| name);
    let mut room = [0; 4 * BUFFER];
    let mut drawn = Vec::new();
    for length in LENGTHS {
        println!(
            "\n{length} bytes: ns a request, and as a ratio to {}",
            names[0]
        );
        println!(
            "{:12}{}",
            "",
            names.map(|name| format!("{name:>20}")).join("")
        );
        for (name, text) in TEXTS {
            let request = request(text, length);
            let mut rounds = Vec::new();
            for round in 0..arguments.rounds {
                let mut times = [0.0; CONTENDERS.len()];
                for turn in 0..CONTENDERS.len() {
                    let i = (turn + round) % CONTENDERS.len();
                    times[i] = time(CONTENDERS[i], &request, &mut room);
                }
                rounds.push(times);
            }
            let ratio = |i: usize| median(rounds.iter().map(|times| times[i] / times[0]).collect());
            let ratios: Vec<f64> = (0..CONTENDERS.len()).map(ratio).collect();
            let cell = |(i, ratio): (usize, &f64)| {
                let time = median(rounds.iter().map(|times| times[i]).collect());
                format!("{time:>13.1} {ratio:>5.2}x")
            };
            let cells: Vec<String> = ratios.iter().enumerate().map(cell).collect();
            println!("{name:12}{}", cells.join(""));
            if length == 1024 {
                drawn.push((name.to_owned(), ratios));
            }
        }
    }
    if let Some(path) = arguments.svg {
        let panel = Panel {
            title: "Time for 1024 bytes, as a ratio to process_into (less is better)",
            rows: drawn,
        };
        chart::draw(&path, &names, &[panel]).expect("to draw");
    }
}
