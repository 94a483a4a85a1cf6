//! The targets that the installed Rust can build for.

use std::path::Path;
use std::process::Command;

/// Whether Rust's libraries for the target `triple` are installed.
pub fn is_installed(triple: &str) -> bool {
    let print = ["--print", "target-libdir", "--target", triple];
    let printed = Command::new("rustc").args(print).output();
    printed.is_ok_and(|printed| {
        let folder = String::from_utf8_lossy(&printed.stdout);
        printed.status.success() && Path::new(folder.trim_end()).is_dir()
    })
}
