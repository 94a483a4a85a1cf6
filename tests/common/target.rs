//! Other targets than this system, and the programs that are built for them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Whether Rust's libraries for the target `triple` are installed.
pub fn is_installed(triple: &str) -> bool {
    let print = ["--print", "target-libdir", "--target", triple];
    let printed = Command::new("rustc").args(print).output();
    printed.is_ok_and(|printed| {
        let folder = String::from_utf8_lossy(&printed.stdout);
        printed.status.success() && Path::new(folder.trim_end()).is_dir()
    })
}

/// Builds the programs for the target `triple`, in a folder of this `name`. Returns the folder of the
/// profiles.
#[track_caller]
pub fn build(triple: &str, name: &str, options: &[&str]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut cargo = assert_cmd::Command::new(env!("CARGO"));
    cargo.args(["build", "--locked", "--target", triple]);
    cargo.args(options).arg("--target-dir").arg(&folder);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    // On a slow machine all dependencies take minutes the first time.
    let cargo = cargo.timeout(Duration::from_secs(1800));
    cargo.assert().success();
    folder.join(triple)
}
