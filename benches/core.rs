//! Compares the speed of the transformation with that of other implementations, and with `memcpy`,
//! which is the limit of the machine.
//!
//! In each round, every contender has one turn. A printed ratio is the median, over the rounds, of
//! the ratios within a round. So other load on the machine affects all contenders of a round
//! alike.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use icu_casemap::{CaseMapper, CaseMapperBorrowed};
use icu_locale_core::LanguageIdentifier;
use stringzilla::stringzilla::utf8_uncased_fold;
use upcase::{Buffer, LIMIT, process, process_into};
use upcase_benches::chart::{self, Panel};
use upcase_benches::median;

/// How many calls are timed together. The time of one call is their average.
const CALLS: u32 = 500;

/// The lengths of the requests, in bytes.
const LENGTHS: [usize; 3] = [16, 128, 1024];

/// The name and the text of each kind of request. A request repeats its text up to its length.
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

/// Compare the transformation with other implementations, on nine kinds of text.
#[derive(Parser)]
struct Arguments {
    /// How many rounds there are; in each, every contender has one turn
    #[arg(long, default_value_t = 41)]
    rounds: usize,

    /// Draw a chart of the ratios at 1024 bytes into this SVG file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// Cargo adds this argument
    #[arg(long, hide = true)]
    bench: bool,
}

/// Memory for the output of a contender.
struct Room {
    reply: Buffer,
    bytes: [u8; 4 * LIMIT],
}

/// A name, and the work that is timed: on a request, with room for its output.
type Contender = (&'static str, fn(&[u8], &mut Room));

/// The contenders. The others are compared with the first.
const CONTENDERS: [Contender; 7] = [
    ("process_into", |request, room| {
        black_box(process_into(request, &mut room.reply));
    }),
    ("process", |request, _| {
        black_box(process(request));
    }),
    ("memcpy", |request, room| {
        room.bytes[..request.len()].copy_from_slice(request);
        black_box(&room.bytes);
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
        black_box(utf8_uncased_fold(request, &mut room.bytes));
    }),
];

/// Maps a request by `upper`, which accepts only text. Ill-formed bytes are copied.
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

/// Returns `text`, repeated and cut to `length` bytes. If `text` is well-formed, an incomplete
/// character at the end is dropped.
fn request(text: &[u8], length: usize) -> Vec<u8> {
    let bytes: Vec<u8> = text.iter().copied().cycle().take(length).collect();
    match str::from_utf8(&bytes) {
        Err(error) if str::from_utf8(text).is_ok() => bytes[..error.valid_up_to()].to_vec(),
        _ => bytes,
    }
}

/// Returns the time of one call, in nanoseconds.
fn time((_, work): Contender, request: &[u8], room: &mut Room) -> f64 {
    let start = Instant::now();
    for _ in 0..CALLS {
        work(black_box(request), room);
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
}

fn main() {
    let arguments = Arguments::parse();
    let names = CONTENDERS.map(|(name, _)| name);
    let mut room = Room {
        reply: Buffer::new(),
        bytes: [0; 4 * LIMIT],
    };
    let mut drawn = Vec::new();
    for length in LENGTHS {
        println!(
            "\n{length} bytes: time per request in ns, and its ratio to that of {}",
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
            let ratio = |i: usize| median(rounds.iter().map(|times| times[i] / times[0]));
            let ratios: Vec<f64> = (0..CONTENDERS.len()).map(ratio).collect();
            let cell = |(i, ratio): (usize, &f64)| {
                let time = median(rounds.iter().map(|times| times[i]));
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
        chart::draw(&path, &names, &[panel]).expect("the chart is written");
    }
}
