//! Several servers behind one address.

use std::process::Command;
use std::time::Duration;

use assert_cmd::cargo::cargo_bin;
use libtest_mimic::Trial;

use crate::common::command::succeeds;
use crate::common::process::without_variables;
use crate::common::server::Server;
use crate::common::suite::suite_passes;
use crate::common::trials::{Need, trial};

use super::load::Load;
use super::place::{Machine, PLACE, recipe};
use super::service::Service;

pub fn trials() -> Vec<Trial> {
    vec![trial(suite_passes_through_haproxy, [&PLACE, &HAPROXY])]
}

static HAPROXY: Need = Need::new("haproxy", || succeeds(&["haproxy", "-v"]));

/// Three machines with a server each.
fn replicas() -> [(Machine, Server); 3] {
    [
        ("a", "192.0.2.11"),
        ("b", "192.0.2.12"),
        ("c", "192.0.2.13"),
    ]
    .map(|(name, address)| {
        let machine = Machine::new(name, address);
        let mut command = machine.command(cargo_bin!("upcase-server"));
        let bind = format!("{address}:8080");
        command.args(["--bind", &bind, "--timeout", "3", "--quiet"]);
        without_variables(&mut command);
        let server = Server::start_by(command);
        (machine, server)
    })
}

fn suite_passes_through_haproxy() {
    let _replicas = replicas();
    let mut command = Command::new("haproxy");
    // -db: in the foreground, as one process.
    command.arg("-db").arg("-f").arg(recipe("haproxy.cfg"));
    let address = "192.0.2.1:8080".parse().unwrap();
    let _proxy = Service::start(&mut command).serves(address);
    suite_passes(address);
    let load = Load::start(4, address, Duration::from_secs(3));
    println!("{}", load.stop());
}
