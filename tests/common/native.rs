//! The `upcase-server` that was built for this system.

use std::process::Command;

use assert_cmd::cargo::cargo_bin;
use rustix::process::Signal;

use super::process::without_variables;
use super::server::Server;

impl Server {
    /// Starts a server on a free port of this machine, and waits until it is ready.
    #[track_caller]
    pub fn start(options: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", options)
    }

    /// Starts a server that listens on `bind`, and waits until it is ready.
    #[track_caller]
    pub fn start_at(bind: &str, options: &[&str]) -> Self {
        let mut command = server_command(&[]);
        command.args(["--bind", bind]).args(options);
        Self::start_by(command)
    }

    /// Stops the server, and expects the exit code 0. Returns the unread lines of standard output
    /// and standard error.
    #[track_caller]
    pub fn stop(self) -> (Vec<String>, Vec<String>) {
        self.signal(Signal::TERM);
        let (status, stdout, stderr) = self.wait();
        let code = status.code();
        assert_eq!(code, Some(0), "stdout {stdout:?}, stderr {stderr:?}");
        (stdout, stderr)
    }
}

/// A command that starts `prefix`, which becomes the server.
pub fn server_command(prefix: &[&str]) -> Command {
    let server = cargo_bin!("upcase-server");
    let mut command = match prefix {
        [] => Command::new(server),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(server);
            command
        }
    };
    without_variables(&mut command);
    command
}
