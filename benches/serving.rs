//! How fast the server serves, beside what its users would take instead.
//!
//! Each contender runs in a process of its own: this program, started again. They take turns: in
//! each round every one of them gets the same. What is compared is the ratio within a round, and
//! what is quoted is the median over the rounds; so whatever else the machine does in a round meets
//! them all.

mod chart;

/// The parts.
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

    /// What the clients send.
    pub const REQUEST: &[u8] = "  Olá, servidor!\n".as_bytes();

    /// So many of these, in words.
    pub fn counted(count: usize, what: &str) -> String {
        let plural = if count == 1 { "" } else { "s" };
        format!("{count} {what}{plural}")
    }

    /// A time in seconds, as it is printed.
    pub fn milliseconds(seconds: f64) -> String {
        format!("{:.2} ms", seconds * 1e3)
    }
}

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;

use chart::Panel;
use serving::burst::Burst;
use serving::child::{Server, raise_limit};
use serving::contenders::{self, CONTENDERS, THIS};
use serving::load::Load;
use serving::stalled::{self, Stalled};
use serving::{aims, calls};

const CLIENTS: [usize; 4] = [1, 16, 256, 1000];

/// Compare the server with others: under load, in a burst, with many who stall.
#[derive(Parser)]
struct Arguments {
    /// How many times the contenders take turns
    #[arg(long, default_value_t = 9, value_parser = positive)]
    rounds: usize,

    /// How long each is under load in a round, in milliseconds
    #[arg(long, default_value_t = 500)]
    millis: u64,

    /// How many peers connect in a burst; several numbers are several bursts
    #[arg(long, value_name = "N", num_args = 1.., default_values_t = [4000, 9000], value_parser = positive)]
    burst: Vec<usize>,

    /// How many peers stall
    #[arg(long, value_name = "N", default_value_t = 19_000, value_parser = positive)]
    stalled: usize,

    /// Draw the ratios under load to this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// Be this contender, for the process that compares
    #[arg(long, hide = true)]
    contender: Option<usize>,

    /// What Cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn positive(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "not a whole number of 1 or more".into())
}

fn main() {
    let arguments = Arguments::parse();
    let descriptors = raise_limit();
    match arguments.contender {
        Some(number) => contenders::live(number),
        None => compare(&arguments, descriptors),
    }
}

fn compare(arguments: &Arguments, descriptors: usize) {
    let loads = compare_under_load(arguments);
    let bursts = compare_in_bursts(arguments, descriptors);
    let peers = arguments.stalled.min(descriptors);
    if peers < arguments.stalled {
        println!(
            "\n{} stalled need more descriptors than there are",
            arguments.stalled
        );
    }
    let stalled = stalled::compare(peers);
    let calls = calls::compare();

    println!("\naims of this server, and what was measured");
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
            println!("\na burst of {peers} needs more descriptors than there are: not measured");
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
    let this = stalled[THIS].as_ref().expect("this server holds peers");
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
    chart::draw(path, &names, &panels).expect("to draw");
}
