//! What the tests of more than one module need of this machine.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::common::command::succeeds;
use crate::common::trials::Need;

pub static HAPROXY: Need = Need::new("haproxy, as Debian has it", || {
    succeeds(&["haproxy", "-v"]) && succeeds(&["id", "haproxy"])
});
pub static STUNNEL: Need = Need::new("stunnel, as Debian has it", || {
    succeeds(&["stunnel", "-version"]) && succeeds(&["id", "stunnel4"])
});
pub static JQ: Need = Need::new("jq", || succeeds(&["jq", "--version"]));
pub static SOCAT: Need = Need::new("socat", || succeeds(&["socat", "-V"]));
pub static LOGROTATE: Need = Need::new("logrotate", || succeeds(&["logrotate", "--version"]));
pub static DESCRIPTORS: Need = Need::new("5,500 descriptors", || {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).is_ok() && limit.current.is_none_or(|most| most >= 5_500)
});
