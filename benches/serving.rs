//! Compares the server with what its users could run instead: under load, in bursts, and with many
//! stalled peers.
//!
//! Each contender runs in a process of its own: this program, started again. In each round, every
//! contender has one turn, with the same work. A printed ratio is the median, over the rounds, of
//! the ratios within a round. So other load on the machine affects all contenders of a round alike.
//! Ratios of processor time are over all rounds together.

mod serving {
    pub mod aims;
    pub mod burst;
    pub mod calls;
    pub mod child;
    pub mod contenders;
    pub mod exchange;
    pub mod load;
    pub mod peers;
    pub mod rounds;
    pub mod stalled;

    /// The request of every client.
    pub const REQUEST: &[u8] = "  Olá, servidor!\n".as_bytes();

    /// Returns a count with its noun, such as "1 peer" or "2 peers".
    pub fn counted(count: usize, what: &str) -> String {
        let plural = if count == 1 { "" } else { "s" };
        format!("{count} {what}{plural}")
    }

    /// Formats a time in seconds as milliseconds.
    pub fn milliseconds(seconds: f64) -> String {
        format!("{:.2} ms", seconds * 1e3)
    }
}

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;

use serving::burst::Burst;
use serving::child::{Server, raise_limit};
use serving::contenders::{self, CONTENDERS, THIS};
use serving::load::Load;
use serving::stalled::{self, Stalled};
use serving::{aims, calls};
use upcase_benches::chart::{self, Panel};

/// The number of clients of each load.
const CLIENTS: [usize; 4] = [1, 16, 256, 1000];

/// Compare the server with others: under load, in bursts, and with many stalled peers.
#[derive(Parser)]
struct Arguments {
    /// How many rounds there are; in each, every contender has one turn
    #[arg(long, default_value_t = 9, value_parser = positive)]
    rounds: usize,

    /// How long a contender is under load in each round, in milliseconds
    #[arg(long, default_value_t = 500)]
    millis: u64,

    /// How many peers connect in a burst; several numbers mean several bursts
    #[arg(long, value_name = "N", num_args = 1.., default_values_t = [4000, 9000], value_parser = positive)]
    burst: Vec<usize>,

    /// How many stalled peers a contender has
    #[arg(long, value_name = "N", default_value_t = 19_000, value_parser = positive)]
    stalled: usize,

    /// Draw a chart of the ratios under load into this SVG file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// Run the contender of this number; the benchmark starts itself with this
    #[arg(long, hide = true)]
    contender: Option<usize>,

    /// Cargo adds this argument
    #[arg(long, hide = true)]
    bench: bool,
}

fn positive(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "not a whole number above 0".into())
}

fn main() {
    let arguments = Arguments::parse();
    let descriptors = raise_limit();
    match arguments.contender {
        Some(number) => contenders::run_as(number),
        None => compare(&arguments, descriptors),
    }
}

fn compare(arguments: &Arguments, descriptors: usize) {
    let loads = compare_under_load(arguments);
    let bursts = compare_in_bursts(arguments, descriptors);
    let peers = arguments.stalled.min(descriptors);
    if peers < arguments.stalled {
        println!(
            "\n{} stalled peers need more file descriptors than this process may have",
            arguments.stalled
        );
    }
    let stalled = stalled::compare(peers);
    let calls = calls::compare();

    println!("\nthe aims of this server, and the measured values");
    loads.iter().for_each(aims::judge_load);
    bursts.iter().for_each(aims::judge_burst);
    judge_stalled(&stalled, arguments.stalled);
    if let Some(calls) = calls {
        aims::judge_calls(calls[THIS]);
    }
    if let Some(path) = &arguments.svg {
        draw(path, &loads);
    }
}

fn compare_under_load(arguments: &Arguments) -> Vec<Load> {
    let servers = start();
    let time = Duration::from_millis(arguments.millis);
    let measure = |clients| {
        let load = Load::measure(&servers, clients, arguments.rounds, time);
        load.print();
        load
    };
    CLIENTS.map(measure).into()
}

fn compare_in_bursts(arguments: &Arguments, descriptors: usize) -> Vec<Burst> {
    let servers = start();
    let mut bursts = Vec::new();
    for peers in &arguments.burst {
        if *peers > descriptors {
            println!(
                "\nnot measured: a burst of {peers} peers needs more file descriptors than this \
                 process may have"
            );
            continue;
        }
        let burst = Burst::measure(&servers, *peers, arguments.rounds);
        burst.print();
        bursts.push(burst);
    }
    bursts
}

/// Starts all contenders.
fn start() -> Vec<Server> {
    (0..CONTENDERS.len()).map(Server::start).collect()
}

fn judge_stalled(stalled: &[Option<Stalled>], peers: usize) {
    let this = stalled[THIS]
        .as_ref()
        .expect("this server is measured with stalled peers");
    aims::judge_stalled(this, peers);
}

fn draw(path: &Path, loads: &[Load]) {
    let rows = |ratio: fn(&Load, usize) -> f64| {
        let row = |load: &Load| (0..CONTENDERS.len()).map(|i| ratio(load, i)).collect();
        loads.iter().map(|load| (load.name(), row(load))).collect()
    };
    let names = CONTENDERS.each_ref().map(|contender| contender.name);
    let panels = [
        Panel {
            title: "Requests a second, as a ratio to this server (more is better)",
            rows: rows(|load, i| load.rate(i, THIS)),
        },
        Panel {
            title: "Processor time of the server for a request, as a ratio (less is better)",
            rows: rows(|load, i| load.cost(i, THIS)),
        },
    ];
    chart::draw(path, &names, &panels).expect("the chart is written");
}
