//! The recipes of tests/deploy, run by the real programs. tests/deploy/README.md is their page.
//!
//! Rules:
//!
//! - A recipe is run as it is. For that, this program runs itself again in namespaces of its own, where it may
//!   use any address, port and path.
//! - Every wait is bounded. All that was started ends with the namespaces.
//! - A test that needs what this machine lacks is ignored, and says what that is.

// Without the attributes, rustfmt looks for these modules in tests/deploy.
#[path = "common"]
mod common {
    pub mod command;
    pub mod command_line;
    pub mod connection;
    pub mod missing;
    #[expect(dead_code, reason = "the servers here have addresses of their own")]
    pub mod native;
    pub mod process;
    #[expect(dead_code, reason = "the clients here do not ask a server directly")]
    pub mod server;
    pub mod suite;
    pub mod trials;
    pub mod wait;
}
#[path = "deployed"]
mod deployed {
    pub mod attacks;
    pub mod balancer;
    pub mod booted;
    pub mod fronts;
    pub mod load;
    pub mod logs;
    pub mod needs;
    pub mod network;
    pub mod place;
    pub mod service;
    pub mod systemd;
    pub mod tls;
}

use std::process::ExitCode;

use common::trials;
use deployed::{attacks, balancer, fronts, logs, network, place, systemd, tls};

fn main() -> ExitCode {
    if let Some(code) = place::enter() {
        return code;
    }
    let trials = [
        balancer::trials(),
        tls::trials(),
        systemd::trials(),
        fronts::trials(),
        logs::trials(),
        attacks::trials(),
        network::trials(),
    ];
    // One after another: the recipes share addresses and ports.
    let code = trials::run(1, trials.into_iter().flatten().collect());
    attacks::print_table();
    code
}
