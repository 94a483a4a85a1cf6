//! Three servers behind one address, by `HAProxy` or nginx: servers that die, freeze, are cut off and are restarted
//! under load, an address with too many connections, and what the logs say.
//!
//! Rules:
//!
//! - No client ever has a wrong reply. A client loses a request only if a lost server, or its kernel, had accepted the
//!   connection. If a server does not accept it, the balancer goes to another server.
//! - Tests wait for values in the balancer's statistics or log.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use libtest_mimic::Trial;
use nix::time::ClockId;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use upcase::client;
use upcase::conformance::ServerJudge;
use upcase::conformance::vectors::suite;
use upcase::server::MAX_TIMEOUT;

use crate::common::command::succeeds;
use crate::common::connection::Connection;
use crate::common::process::{PATIENCE, without_variables};
use crate::common::server::Server;
use crate::common::suite::suite_passes;
use crate::common::trials::{Need, trial};
use crate::common::wait::wait_until;

use super::load::{Failed, Load, Seen};
use super::needs::{HAPROXY, SOCAT};
use super::place::{Machine, PLACE, PUBLIC, connect_from, install, recipe, sh};
use super::service::{Service, end_of};

pub fn trials() -> Vec<Trial> {
    let haproxy = [&PLACE, &HAPROXY];
    let nginx = [&PLACE, &NGINX];
    vec![
        trial(recipes_wait_longer_than_a_server, []),
        trial(suite_passes_through_haproxy, haproxy),
        trial(haproxy_loses_only_what_killed_server_held, haproxy),
        trial(haproxy_loses_only_what_frozen_server_held, haproxy),
        trial(haproxy_loses_only_what_cut_off_server_held, haproxy),
        trial(
            haproxy_loses_nothing_in_rolling_restart,
            [&PLACE, &HAPROXY, &SOCAT],
        ),
        trial(haproxy_loses_little_if_servers_are_not_drained, haproxy),
        trial(haproxy_serves_what_is_open_when_it_is_stopped, haproxy),
        trial(haproxy_logs_clients_with_what_the_server_sees, haproxy),
        trial(haproxy_needs_more_processor_time_than_a_server, haproxy),
        trial(haproxy_limits_connections_of_one_address, haproxy),
        trial(haproxy_counts_a_network_as_one_address, haproxy),
        trial(
            haproxy_shows_a_reset_as_the_end_of_a_reply,
            [&PLACE, &HAPROXY, &PYTHON],
        ),
        trial(suite_passes_through_nginx, nginx),
        trial(vectors_fail_without_half_close_in_nginx, nginx),
        trial(nginx_loses_only_what_killed_server_held, nginx),
        trial(nginx_loses_only_what_frozen_server_held, nginx),
        trial(nginx_loses_only_what_cut_off_server_held, nginx),
        trial(nginx_loses_nothing_in_rolling_restart, nginx),
        trial(nginx_logs_clients, nginx),
        trial(nginx_limits_connections_of_one_address, nginx),
        trial(
            nginx_shows_a_reset_as_the_end_of_a_reply,
            [&PLACE, &NGINX, &PYTHON],
        ),
    ]
}

static PYTHON: Need = Need::new("python3", || succeeds(&["python3", "--version"]));
static NGINX: Need = Need::new("nginx with its stream module", || {
    let module = Path::new("/usr/share/nginx/modules/ngx_stream_module.so");
    succeeds(&["nginx", "-v"]) && module.is_file()
});

/// How many clients a load has. Each has one connection at a time.
const CLIENTS: usize = 8;

/// How long they wait. On a machine that is not busy, `HAProxy` notices a frozen server earlier.
const TIMEOUT: Duration = Duration::from_secs(4);

/// How many replies show that a load is on.
const MANY: usize = 100;

/// How many connections the recipes allow one address.
pub const LIMIT: usize = 200;

/// A server on a machine of its own.
pub struct Replica {
    server: Option<Server>,
    options: Vec<&'static str>,
    machine: Machine,
}

/// The names of the three, as in the recipe for `HAProxy`.
const NAMES: [&str; 3] = ["a", "b", "c"];

fn machines() -> [Machine; 3] {
    [
        Machine::new("a", "192.0.2.11"),
        Machine::new("b", "192.0.2.12"),
        Machine::new("c", "192.0.2.13"),
    ]
}

/// Three machines with a server each, with this time-out in seconds.
fn replicas(timeout: &'static str) -> [Replica; 3] {
    replicas_with(&["--timeout", timeout])
}

/// Three machines with a server each.
pub fn replicas_with(options: &[&'static str]) -> [Replica; 3] {
    machines().map(|machine| {
        let mut replica = Replica {
            server: None,
            options: options.to_vec(),
            machine,
        };
        replica.start();
        replica
    })
}

impl Replica {
    fn start(&mut self) {
        let mut command = self.machine.command(cargo_bin!("upcase-server"));
        let bind = format!("{}:8080", self.machine.address);
        command.args(["--bind", &bind, "--log", "json"]);
        command.args(&self.options);
        without_variables(&mut command);
        self.server = Some(Server::start_by(command));
    }

    #[track_caller]
    fn signal(&self, signal: Signal) {
        self.server.as_ref().expect("it runs").signal(signal);
    }

    /// Stops the server as an operator does.
    #[track_caller]
    fn stop(&mut self) {
        self.signal(Signal::TERM);
        self.ends();
    }

    /// Waits until the server that was stopped has ended, without an error.
    #[track_caller]
    fn ends(&mut self) {
        let (status, _, stderr) = self.server.take().expect("it runs").wait();
        assert_eq!(status.code(), Some(0), "{stderr:?}");
    }

    /// The line of its log about `request`.
    #[track_caller]
    fn logged(&self, request: &str) -> Value {
        let server = self.server.as_ref().expect("it runs");
        loop {
            let line = server.stdout.next_line();
            let line: Value = serde_json::from_str(&line).expect("JSON");
            if line["request"].as_str() == Some(request) {
                return line;
            }
        }
    }
}

trait Balancer {
    /// Starts it by its recipe, and waits until it serves.
    fn start() -> Self;

    /// How many connections this server has had.
    fn count(&self, server: usize) -> usize;

    /// The objects of its log.
    fn log(&self) -> Vec<Value>;

    /// Waits until this server has had many connections more.
    #[track_caller]
    fn serves_by(&self, server: usize) {
        let enough = self.count(server) + MANY;
        wait_until("the server is under load", || self.count(server) >= enough);
    }
}

pub struct Haproxy(Service);

/// Where the recipe has a socket for the administrator.
const ADMIN: &str = "/run/haproxy/admin.sock";

impl Haproxy {
    /// Starts it by the recipe, after the `script` has changed that.
    #[track_caller]
    pub fn start_after(script: &str) -> Self {
        install("haproxy.cfg", "/etc/haproxy/haproxy.cfg");
        sh("mkdir -p /run/haproxy");
        sh(script);
        let mut command = Command::new("haproxy");
        // -db: in the foreground, as one process.
        command.args(["-db", "-f", "/etc/haproxy/haproxy.cfg"]);
        Self(Service::start(&mut command).serves(PUBLIC))
    }

    /// A `field` of the statistics of `name`.
    #[track_caller]
    pub fn stat(name: &str, field: &str) -> String {
        let stat = ask(ADMIN, "show stat");
        let mut lines = stat.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let header = lines.next().expect("a header");
        let field = header.iter().position(|title| *title == field);
        let line = lines.find(|line| line.get(1) == Some(&name));
        line.expect("a line")[field.expect("a field")].to_owned()
    }

    #[track_caller]
    fn wait_status(name: &str, status: &str) {
        wait_until(status, || Self::stat(name, "status").starts_with(status));
    }
}

impl Balancer for Haproxy {
    fn start() -> Self {
        Self::start_after("")
    }

    fn count(&self, server: usize) -> usize {
        Self::stat(NAMES[server], "stot").parse().expect("a number")
    }

    fn log(&self) -> Vec<Value> {
        objects(&self.0.printed())
    }
}

/// It is stopped on drop: if it were killed, its workers would go on.
struct Nginx(Service);

/// Where the recipe has its log.
const NGINX_LOG: &str = "/var/log/nginx/upcase.log";

impl Nginx {
    /// Starts it by the recipe, after the `script` has changed that.
    #[track_caller]
    fn start_after(script: &str) -> Self {
        install("nginx.conf", "/etc/nginx/nginx.conf");
        sh("mkdir -p /var/log/nginx && rm -f /var/log/nginx/*");
        sh(script);
        let mut command = Command::new("nginx");
        command.args(["-g", "daemon off;"]);
        Self(Service::start(&mut command).serves(PUBLIC))
    }

    /// Reads its configuration again, and waits until the processes with the old one have ended.
    #[track_caller]
    fn reload(&self) {
        let before = children(&self.0);
        self.signal(Signal::HUP);
        new_children(&self.0, &before);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.0.process.0);
        // It fails only if nginx has ended.
        let _ = kill_process(pid, signal);
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
        end_of(&mut self.0.process);
    }
}

impl Balancer for Nginx {
    fn start() -> Self {
        Self::start_after("")
    }

    fn count(&self, server: usize) -> usize {
        let log = fs::read_to_string(NGINX_LOG).unwrap_or_default();
        let only = format!("\"192.0.2.1{}:8080\"", server + 1);
        log.matches(&only).count()
    }

    fn log(&self) -> Vec<Value> {
        objects(&fs::read_to_string(NGINX_LOG).unwrap_or_default())
    }
}

/// What is answered to `command` at the socket `path`.
#[track_caller]
fn ask(path: &str, command: &str) -> String {
    let mut stream = UnixStream::connect(path).expect("its socket");
    let bounded = stream.set_read_timeout(Some(PATIENCE));
    bounded.expect("a socket");
    writeln!(stream, "{command}").expect("a command is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// The process IDs of the children of `service`.
fn children(service: &Service) -> HashSet<String> {
    let pid = service.process.0.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    children.split_whitespace().map(str::to_owned).collect()
}

/// Waits until `service` has other children than `before`, and none of those.
#[track_caller]
fn new_children(service: &Service, before: &HashSet<String>) {
    wait_until("only new processes", || {
        let now = children(service);
        !now.is_empty() && now.is_disjoint(before)
    });
}

/// The objects of a log. `HAProxy` prints other lines too.
fn objects(log: &str) -> Vec<Value> {
    let objects = log.lines().map(serde_json::from_str);
    objects.flatten().collect()
}

fn suite_passes_through_haproxy() {
    let _replicas = replicas("3");
    let _haproxy = Haproxy::start();
    suite_passes(PUBLIC);
}

fn suite_passes_through_nginx() {
    let _replicas = replicas("3");
    let _nginx = Nginx::start();
    suite_passes(PUBLIC);
}

/// Vectors that end the request by a half-close, or send more after the end of the reply.
const NEED_HALF_CLOSE: [&str; 3] = ["frame.end-after-text", "surplus.late", "surplus.late-line"];

/// With it they pass, as the whole suite does.
fn vectors_fail_without_half_close_in_nginx() {
    let _replicas = replicas("3");
    let _nginx = Nginx::start_after("sed -i '/proxy_half_close on;/d' /etc/nginx/nginx.conf");
    let judge = ServerJudge::new(PUBLIC);
    for id in NEED_HALF_CLOSE {
        let vector = suite().vectors.iter().find(|vector| vector.id == id);
        let judged = judge.judge(vector.expect("a vector"));
        let violation = judged.expect_err(id);
        println!("{violation}");
    }
}

/// Stops the load, and prints and returns what the clients saw. Each has at most `most_errors`, and no wrong reply.
#[track_caller]
fn stop(load: Load, who: &str, most_errors: usize) -> Seen {
    let clients = load.stop_each();
    let most = clients.iter().map(|seen| seen.errors.len()).max();
    let seen = Seen::of_all(clients);
    println!("{who}: {seen}");
    let errors: BTreeSet<_> = seen.errors.iter().map(|failed| &failed.error).collect();
    for error in &errors {
        println!("    {error}");
    }
    assert!(seen.wrong.is_empty(), "{:?}", seen.wrong);
    assert!(most <= Some(most_errors), "{:?}", seen.errors);
    // The balancer always accepts. It may end a connection, or let the client wait.
    let refused = errors
        .iter()
        .any(|error| error.starts_with("cannot connect"));
    assert!(!refused, "{errors:?}");
    seen
}

/// A way to lose a server.
struct Loss {
    lose: fn(&mut Replica),
    mend: fn(&mut Replica),
    /// Whether its kernel still accepts connections.
    accepts: bool,
    /// How many requests a client may lose.
    most_errors: usize,
}

/// Under load the second server is lost. The balancer notices, if it can, and the others go on. Then the server comes
/// back, and from then on nobody loses anything.
#[track_caller]
fn loses_only_what_second_server_held<B: Balancer>(
    loss: &Loss,
    is_noticed: Option<fn(&B) -> bool>,
) {
    let mut replicas = replicas("3");
    let balancer = B::start();
    let load = Load::start(CLIENTS, PUBLIC, TIMEOUT);
    balancer.serves_by(1);
    (loss.lose)(&mut replicas[1]);
    let lost_at = Instant::now();
    let noticed_at = is_noticed.map(|is_noticed| {
        wait_until("the loss is noticed", || is_noticed(&balancer));
        Instant::now()
    });
    for other in [0, 2] {
        balancer.serves_by(other);
    }
    let seen = stop(load, "a server is lost", loss.most_errors);
    assert!(seen.errors.len() <= CLIENTS, "{:?}", seen.errors);
    // If the server's kernel still accepts connections, requests come there until the balancer notices.
    let last = if loss.accepts {
        noticed_at
    } else {
        Some(lost_at)
    };
    let is_late = |failed: &&Failed| last.is_some_and(|last| failed.began_at > last);
    assert_eq!(seen.errors.iter().find(is_late), None);

    let load = Load::start(CLIENTS, PUBLIC, TIMEOUT);
    (loss.mend)(&mut replicas[1]);
    balancer.serves_by(1);
    stop(load, "it is back", 0);
}

const KILLED: Loss = Loss {
    lose: |replica| {
        replica.signal(Signal::KILL);
        wait_until("its port is closed", || {
            TcpStream::connect((replica.machine.address, 8080)).is_err()
        });
    },
    mend: Replica::start,
    accepts: false,
    // The kernel closes the connections first, and then the port. Between the two a client may connect once more.
    most_errors: 2,
};
const FROZEN: Loss = Loss {
    lose: |replica| replica.signal(Signal::STOP),
    mend: |replica| replica.signal(Signal::CONT),
    accepts: true,
    // The second one if the balancer has not noticed when the client gives the first one up.
    most_errors: 2,
};
const CUT_OFF: Loss = Loss {
    lose: |replica| replica.machine.cut_off(),
    mend: |replica| replica.machine.connect(),
    accepts: false,
    most_errors: 1,
};

fn haproxy_loses_only_what_killed_server_held() {
    loses_only_what_second_server_held(&KILLED, Some(says_down));
}

fn haproxy_loses_only_what_frozen_server_held() {
    loses_only_what_second_server_held(&FROZEN, Some(says_down));
}

fn haproxy_loses_only_what_cut_off_server_held() {
    loses_only_what_second_server_held(&CUT_OFF, Some(says_down));
}

fn says_down(_: &Haproxy) -> bool {
    Haproxy::stat("b", "status").starts_with("DOWN")
}

fn nginx_loses_only_what_killed_server_held() {
    loses_only_what_second_server_held(&KILLED, Some(tried_another));
}

/// nginx does not notice. But the frozen server keeps its connections, and soon is not the one with the fewest.
fn nginx_loses_only_what_frozen_server_held() {
    loses_only_what_second_server_held::<Nginx>(&FROZEN, None);
}

fn nginx_loses_only_what_cut_off_server_held() {
    loses_only_what_second_server_held(&CUT_OFF, Some(tried_another));
}

/// Whether the second server did not accept a connection, and another did.
fn tried_another(_: &Nginx) -> bool {
    let log = fs::read_to_string(NGINX_LOG).unwrap_or_default();
    log.contains("\"192.0.2.12:8080, ")
}

/// Connections whose requests are not complete yet, some at each server.
struct Slow(Vec<Connection>);

impl Slow {
    fn start() -> Self {
        let mut connections: Vec<_> = (0..9).map(|_| Connection::connect(PUBLIC)).collect();
        for connection in &mut connections {
            connection.send(b"hel");
        }
        Self(connections)
    }

    /// Completes the requests, and expects the replies.
    #[track_caller]
    fn finish(self) {
        for mut connection in self.0 {
            connection.send(b"lo\n");
            assert_eq!(connection.reply(), b"HELLO");
        }
    }
}

/// Runs the line in tests/deploy/README.md that has `part`, for the server `name`. Returns what it prints.
#[track_caller]
fn on_page(part: &str, name: &str) -> String {
    let page = fs::read_to_string(recipe("README.md")).expect("text");
    let line = |part: &str| {
        let mut lines = page.lines().filter(|line| line.starts_with("admin"));
        let line = lines.find(|line| line.contains(part));
        line.expect("a line").to_owned()
    };
    let line_for_name = line(part)
        .replace("servers/a", &format!("servers/{name}"))
        .replace("servers,a", &format!("servers,{name}"));
    sh(&format!("{}\n{line_for_name}", line("()")))
}

/// Under load each server is restarted, after `take_out`. `put_back` ends what that did.
#[track_caller]
fn loses_nothing_in_rolling_restart<B: Balancer>(
    take_out: fn(&B, usize, &Replica),
    put_back: fn(&B, usize),
) {
    let mut replicas = replicas("10");
    let balancer = B::start();
    let load = Load::start(CLIENTS, PUBLIC, TIMEOUT);
    for (number, replica) in replicas.iter_mut().enumerate() {
        take_out(&balancer, number, replica);
        replica.stop();
        replica.start();
        put_back(&balancer, number);
        balancer.serves_by(number);
    }
    stop(load, "all clients", 0);
}

/// Each server is drained first: it gets no new connection, and is stopped when it has none.
fn haproxy_loses_nothing_in_rolling_restart() {
    loses_nothing_in_rolling_restart::<Haproxy>(
        |_, number, _| {
            let name = NAMES[number];
            let slow = Slow::start();
            on_page("state drain", name);
            slow.finish();
            wait_until("no connection is open", || {
                let stat = on_page("show stat", name);
                stat.split(',').nth(4) == Some("0")
            });
        },
        |_, number| {
            on_page("state ready", NAMES[number]);
        },
    );
}

/// nginx is told in its configuration that a server is down, before it is.
fn nginx_loses_nothing_in_rolling_restart() {
    loses_nothing_in_rolling_restart::<Nginx>(
        |nginx, _, replica| {
            let address = replica.machine.address;
            sh(&format!(
                "sed -i 's/server {address}:8080 /&down /' /etc/nginx/nginx.conf"
            ));
            nginx.reload();
        },
        |nginx, _| {
            sh("sed -i 's/ down / /' /etc/nginx/nginx.conf");
            nginx.reload();
        },
    );
}

/// The port closes while clients connect. Only connections that the kernel has accepted at that moment are lost: if a
/// server refuses a connection, `HAProxy` goes to another server.
fn haproxy_loses_little_if_servers_are_not_drained() {
    let mut replicas = replicas("10");
    let _haproxy = Haproxy::start();
    let load = Load::start(CLIENTS, PUBLIC, TIMEOUT);
    for (number, replica) in replicas.iter_mut().enumerate() {
        let slow = Slow::start();
        replica.signal(Signal::TERM);
        // It has closed its port, and still serves what is open.
        Haproxy::wait_status(NAMES[number], "DOWN");
        slow.finish();
        replica.ends();
        replica.start();
        Haproxy::wait_status(NAMES[number], "UP");
    }
    stop(load, "all clients", replicas.len());
}

fn haproxy_serves_what_is_open_when_it_is_stopped() {
    let _replicas = replicas("10");
    let mut haproxy = Haproxy::start();
    let slow = Slow::start();
    let open = slow.0.len().to_string();
    wait_until("all are accepted", || {
        Haproxy::stat("FRONTEND", "scur") == open
    });
    let pid = Pid::from_child(&haproxy.0.process.0);
    kill_process(pid, Signal::USR1).expect("it runs");
    wait_until("the port is closed", || TcpStream::connect(PUBLIC).is_err());
    slow.finish();
    let status = end_of(&mut haproxy.0.process).expect("it ends");
    assert_eq!(status.code(), Some(0));
}

/// So with many servers behind it, `HAProxy` is the first to have no processor time left.
fn haproxy_needs_more_processor_time_than_a_server() {
    let [replica, ..] = &replicas("3");
    let server = replica.server.as_ref().expect("it runs");
    let address = SocketAddr::new(replica.machine.address.parse().unwrap(), 8080);
    let of_server = processor_time_of_a_request(server.pid(), address);
    let haproxy = Haproxy::start();
    let pid = Pid::from_child(&haproxy.0.process.0);
    let of_haproxy = processor_time_of_a_request(pid, PUBLIC);
    println!("HAProxy {of_haproxy:.0?}, a server {of_server:.0?}");
    assert!(of_haproxy > of_server);
}

/// The processor time that the process takes for one request, on average under load at `address`.
#[track_caller]
fn processor_time_of_a_request(pid: Pid, address: SocketAddr) -> Duration {
    let pid = nix::unistd::Pid::from_raw(pid.as_raw_pid());
    let clock = ClockId::pid_cpu_clock_id(pid).expect("it runs");
    let time = || Duration::from(clock.now().expect("it runs"));
    let before = time();
    let load = Load::start(CLIENTS, address, TIMEOUT);
    wait_until("it has worked for half a second", || {
        time() >= before + Duration::from_millis(500)
    });
    let seen = stop(load, "all clients", 0);
    let worked = time().saturating_sub(before);
    worked / u32::try_from(seen.times.len()).expect("a small number")
}

/// The address of a client that is neither the balancer nor a server.
const ELSEWHERE: &str = "192.0.2.21";

/// A client on another machine makes an exchange. Returns the line about it in the balancer's log.
#[track_caller]
fn logged_for_client_elsewhere<B: Balancer>(balancer: &B) -> Value {
    let machine = Machine::new("client", ELSEWHERE);
    let mut command = machine.command(cargo_bin!("upcase-client"));
    let status = command
        .args(["--connect", "192.0.2.1:8080", "logged"])
        .status();
    assert!(status.expect("a client starts").success());
    let mut found = None;
    wait_until("it is logged", || {
        let log = balancer.log();
        found = log.into_iter().find(|line| line["client"] == ELSEWHERE);
        found.is_some()
    });
    found.expect("it was found a moment ago")
}

fn haproxy_logs_clients_with_what_the_server_sees() {
    let replicas = replicas("3");
    let haproxy = Haproxy::start();
    let line = logged_for_client_elsewhere(&haproxy);
    println!("{line}");
    assert_eq!(line["request_bytes"], 7);
    assert_eq!(line["reply_bytes"], 6);
    assert_eq!(line["end"], "--");
    let server = NAMES.iter().position(|name| line["server"] == *name);
    let replica = &replicas[server.expect("a server")];
    assert_eq!(line["via"], replica.logged(r"b'logged\x0a'")["peer"]);
    replica.logged(r"b'  haproxy straße\x0a'"); // a health check
}

fn nginx_logs_clients() {
    let replicas = replicas("3");
    let nginx = Nginx::start();
    let line = logged_for_client_elsewhere(&nginx);
    println!("{line}");
    assert_eq!(line["request_bytes"], 7);
    assert_eq!(line["reply_bytes"], 6);
    assert_eq!(line["status"], 200);
    let server = |replica: &&Replica| line["server"] == format!("{}:8080", replica.machine.address);
    let server = replicas.iter().find(server).expect("a server");
    let logged = server.logged("b'logged\\x0a'");
    let peer = logged["peer"].as_str().expect("an address");
    assert!(peer.starts_with("192.0.2.1:"), "{peer}");
}

/// An address has as many connections as it may, and another address does not suffer.
#[track_caller]
fn limits_connections_of_one_address<B: Balancer>() {
    let _replicas = replicas("10");
    let _balancer = B::start();
    let load = Load::start(CLIENTS, PUBLIC, TIMEOUT);
    // A client of an address of its own machine connects from that address.
    for local in ["127.0.0.1:8080", "[::1]:8080"] {
        let local: SocketAddr = local.parse().expect("an address");
        let one_more = || {
            let mut connection = Connection::connect(local);
            connection.send(b"hello\n");
            // So the balancer has counted it. It stays open until this end closes it too.
            assert_eq!(connection.reply(), b"HELLO");
            connection
        };
        let mut held: Vec<_> = (0..LIMIT).map(|_| one_more()).collect();
        let refused = client::exchange(local, b"hello", TIMEOUT);
        let refused = refused.expect_err("one more than the limit");
        println!("from {}: {refused}", local.ip());
        held.pop();
        wait_until("there is room for one", || {
            client::exchange(local, b"hello", TIMEOUT).is_ok()
        });
    }
    stop(load, "another address", 0);
}

fn haproxy_limits_connections_of_one_address() {
    limits_connections_of_one_address::<Haproxy>();
}

fn haproxy_counts_a_network_as_one_address() {
    const ONE_NETWORK: [&str; 2] = ["2001:db8::66", "2001:db8::67"];
    const ANOTHER: &str = "2001:db8:0:1::1";
    for address in [&ONE_NETWORK[..], &[ANOTHER]].concat() {
        sh(&format!("ip address replace {address}/128 dev br0 nodad"));
    }
    let _replicas = replicas("10");
    let _haproxy = Haproxy::start();
    let to = "[2001:db8::1]:8080".parse().expect("an address");
    let connect = |from: &str| {
        let stream = connect_from(from.parse().expect("an address"), to)?;
        Ok::<_, io::Error>(Connection::over(stream))
    };
    let of_both = ONE_NETWORK.iter().cycle().take(LIMIT);
    let _held: Vec<_> = of_both
        .map(|from| connect(from).expect("a connection"))
        .collect();
    wait_until("all are counted", || {
        Haproxy::stat("FRONTEND", "scur") == LIMIT.to_string()
    });
    for from in ONE_NETWORK {
        let mut reply = Vec::new();
        // The end of the stream, or a reset, which can come before the connection is used.
        let read = connect(from).and_then(|mut refused| refused.0.read_to_end(&mut reply));
        println!("refused: {read:?}");
        assert_eq!(reply, b"");
    }
    assert_eq!(Haproxy::stat("FRONTEND", "dcon"), "2");
    let mut another = connect(ANOTHER).expect("a connection");
    another.send(b"hello\n");
    assert_eq!(another.reply(), b"HELLO");
}

/// Each wait in the recipes, in seconds, is as long as a server can need: a second to accept, and the longest time-out.
fn recipes_wait_longer_than_a_server() {
    let waits = [
        ("haproxy.cfg", "timeout client "),
        ("haproxy.cfg", "timeout server "),
        ("haproxy.cfg", "hard-stop-after "),
        ("haproxy-tls.cfg", "hard-stop-after "),
        ("haproxy-tls.cfg", "timeout client "),
        ("haproxy-tls.cfg", "timeout server "),
        ("nginx.conf", "proxy_timeout "),
        ("nginx.conf", "worker_shutdown_timeout "),
        ("stunnel-server.conf", "TIMEOUTbusy = "),
        ("stunnel-server.conf", "TIMEOUTidle = "),
        ("stunnel-server.conf", "TIMEOUTclose = "),
        ("stunnel-client.conf", "TIMEOUTbusy = "),
        ("stunnel-client.conf", "TIMEOUTidle = "),
        ("stunnel-client.conf", "TIMEOUTclose = "),
        ("upcase.service", "TimeoutStopSec="),
    ];
    let written = |(name, word): (&str, &str)| {
        let recipe = fs::read_to_string(recipe(name)).expect("text");
        let mut lines = recipe.lines().map(str::trim_start);
        let wait = lines.find_map(|line| line.strip_prefix(word));
        let wait = wait.expect(word).trim_end_matches([';', 's']);
        Duration::from_secs(wait.parse().expect(word))
    };
    for (name, word) in waits {
        let (wait, least) = (written((name, word)), MAX_TIMEOUT + Duration::from_secs(1));
        assert!(wait >= least, "{name}: {word}{wait:?}");
    }
    // systemd does not kill HAProxy before that ends by itself.
    let stop = written(("haproxy-systemd.conf", "TimeoutStopSec="));
    for name in ["haproxy.cfg", "haproxy-tls.cfg"] {
        assert!(stop > written((name, "hard-stop-after ")), "{name}");
    }
}

fn nginx_limits_connections_of_one_address() {
    limits_connections_of_one_address::<Nginx>();
}

fn haproxy_shows_a_reset_as_the_end_of_a_reply() {
    shows_a_reset_as_the_end_of_a_reply::<Haproxy>();
}

fn nginx_shows_a_reset_as_the_end_of_a_reply() {
    shows_a_reset_as_the_end_of_a_reply::<Nginx>();
}

/// A reply that a reset has cut looks whole behind a balancer: a client cannot report it (SPEC CLIENT-5). This
/// project's server sends a reply by one call, and a network usually carries it in one packet.
#[track_caller]
fn shows_a_reset_as_the_end_of_a_reply<B: Balancer>() {
    let _servers = machines().map(|machine| {
        let mut command = machine.command("python3");
        command.args(["-c", CUTS_A_REPLY, machine.address]);
        (Service::start(&mut command), machine)
    });
    let _balancer = B::start();
    let mut connection = Connection::connect(PUBLIC);
    connection.send(b"cut\n");
    let mut start = [0; 2];
    connection.0.read_exact(&mut start).expect("two bytes");
    assert_eq!(&start, b"CU");
    connection.send(b"go on");
    assert_eq!(connection.reply(), b"");
}

/// A server that resets a connection after the start of a reply, if the request is `cut` and one more byte comes.
const CUTS_A_REPLY: &str = r#"
import socket, struct, sys
listener = socket.create_server((sys.argv[1], 8080))
while True:
    connection, _ = listener.accept()
    line = connection.makefile("rb", buffering=0).readline()
    if line == b"cut\n":
        connection.sendall(b"CU")
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    else:
        connection.sendall(line.decode().strip().upper().encode())
    connection.close()
"#;
