//! What the kernel says about a server's process.

use std::fs;
use std::path::PathBuf;

use super::server::Server;

/// The path of a file of the kernel about `server`.
pub fn path(server: &Server, name: &str) -> PathBuf {
    format!("/proc/{}/{name}", server.pid().as_raw_nonzero()).into()
}

/// The number of `field` in the process's status: of `VmRSS` in KiB, for example.
#[track_caller]
pub fn status(server: &Server, field: &str) -> u64 {
    let status = fs::read_to_string(path(server, "status")).unwrap();
    number(&status, field)
}

/// The number of `field` in the text of a status.
#[track_caller]
pub fn number(status: &str, field: &str) -> u64 {
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let value = value.expect("the field").trim();
    value.trim_end_matches(" kB").parse().expect("a number")
}

/// How many descriptors the process has open.
pub fn open_descriptors(server: &Server) -> usize {
    fs::read_dir(path(server, "fd")).unwrap().count()
}
