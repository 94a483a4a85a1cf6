//! A terminal of one's own.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};

/// A new terminal: the user's end, and the program's.
pub fn terminal() -> (OwnedFd, File) {
    let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    unlockpt(&user).unwrap();
    let name = ptsname(&user, Vec::new()).unwrap();
    let name = OsStr::from_bytes(name.as_bytes());
    let program = OpenOptions::new().read(true).write(true).open(name);
    (user, program.unwrap())
}
