//! Judges a server by every vector, each a test of its own.
//!
//! `cargo test --test conformance` judges this project's server. With `UPCASE_SERVER=HOST:PORT`
//! in the environment it judges the one that runs there instead, in whatever language.
//!
//! Vectors are judged one after another, so that a server that dies is blamed on the vector that
//! killed it; but those that wait for the server's deadline wait side by side, at the beginning.

mod judging;
mod programs;

use std::env::{self, VarError};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::process::{Command, ExitCode};
use std::sync::{Arc, OnceLock};
use std::thread;

use judging::side_by_side;
use libtest_mimic::{Arguments, Failed, Trial};
use programs::Server;
use upcase::conformance::server_judge::{ExpectedEnd, Failure, Judge, PATIENCE, Vector, suite};
use upcase::exchange::Exchange;

/// The variable that names another server.
const SERVER: &str = "UPCASE_SERVER";

/// What a test of a vector comes to.
type Judged = Result<(), Failure>;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.bench = false; // it would leave all of them out
    // One after another, unless the caller asks for more.
    arguments.test_threads.get_or_insert(1);
    let (slow, quick): (Vec<&Vector>, Vec<&Vector>) = suite()
        .vectors
        .iter()
        .partition(|vector| vector.expect.end != ExpectedEnd::Fin);
    let chosen = |vector: &&Vector| is_chosen(&arguments, vector);
    let count = slow
        .iter()
        .chain(&quick)
        .filter(|vector| chosen(vector))
        .count();
    let named = match env::var(SERVER) {
        Ok(named) => Some(named),
        Err(VarError::NotPresent) => None,
        Err(VarError::NotUnicode(_)) => return refuse(&format!("{SERVER} is not HOST:PORT")),
    };

    let mut own = None;
    let mut judge = None;
    if count > 0 && !arguments.list {
        let found = match &named {
            Some(named) => find(named),
            // Its deadline is short, for this project's own tests to be.
            None => Ok(own
                .insert(Server::start(&["--timeout", "2", "--quiet"]))
                .address()),
        };
        match found.map(Judge::new).and_then(|judge| {
            judge
                .plain_exchange()
                .map(|()| judge)
                .map_err(|failure| failure.to_string())
        }) {
            Ok(found) => judge = Some(found),
            Err(why) => return refuse(&why),
        }
    } else if let Some(named) = named.as_ref().filter(|_| !arguments.list) {
        return refuse(&format!(
            "no vector has such a name, so {named} was not judged at all"
        ));
    }

    let chosen_slow = slow.iter().copied().filter(chosen).collect();
    let side_by_side = Arc::new(SideBySide {
        vectors: chosen_slow,
        judged: OnceLock::new(),
    });
    let mut trials = Vec::new();
    for vector in slow {
        let side_by_side = Arc::clone(&side_by_side);
        trials.push(Trial::test(&vector.id, move || {
            told(vector, judge, |judge| side_by_side.judged(judge, vector))
        }));
    }
    for vector in quick {
        trials.push(Trial::test(&vector.id, move || {
            told(vector, judge, |judge| {
                // Who has ceased to answer is not waited for again and again.
                static CEASED: OnceLock<Failure> = OnceLock::new();
                if let Some(ceased) = CEASED.get() {
                    return Err(Failure {
                        subject: vector.id.clone(),
                        ..ceased.clone()
                    });
                }
                judge.plain_exchange().inspect_err(|failure| {
                    let fault = "not judged: the server answers no more, see the first failure";
                    let _ = CEASED.set(Failure {
                        fault: fault.into(),
                        ..failure.clone()
                    });
                })?;
                judge.judge(vector)
            })
        }));
    }
    if named.is_none() {
        trials.extend(of_the_runner());
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Some(failure) = judge.and_then(|judge| judge.plain_exchange().err()) {
        return refuse(&format!("after all the server fails {failure}"));
    }
    drop(own);
    conclusion.exit_code()
}

/// The vectors that wait for the server's deadline, judged all at once by the first that is asked
/// for.
struct SideBySide {
    vectors: Vec<&'static Vector>,
    judged: OnceLock<Vec<(&'static Vector, Judged)>>,
}

impl SideBySide {
    fn judged(&self, judge: Judge, vector: &Vector) -> Judged {
        let all = self.judged.get_or_init(|| {
            side_by_side(self.vectors.iter().copied(), |vector| judge.judge(vector))
        });
        let own = all.iter().find(|(judged, _)| judged.id == vector.id);
        own.expect("only chosen vectors are run").1.clone()
    }
}

/// Judges, and tells of a failure all that helps, with the command that judges `vector` alone.
fn told(
    vector: &Vector,
    judge: Option<Judge>,
    judged: impl FnOnce(Judge) -> Judged,
) -> Result<(), Failed> {
    let judge = judge.ok_or("no server was started, as no vector was chosen")?;
    judged(judge).map_err(|failure| {
        let named = env::var(SERVER).map_or(String::new(), |named| format!("{SERVER}={named} "));
        let again = format!(
            "{named}cargo test --test conformance -- --exact {}",
            vector.id
        );
        Failed::from(format!("{failure}\n    again   {again}"))
    })
}

/// The first of the addresses of `named` that something listens at.
fn find(named: &str) -> Result<SocketAddr, String> {
    let addresses = named
        .to_socket_addrs()
        .map_err(|error| format!("{SERVER}={named} is not HOST:PORT of a server: {error}"))?;
    let mut why = "the name has no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(_) => return Ok(address),
            Err(error) => why = error.to_string(),
        }
    }
    Err(format!(
        "no server answers at {SERVER}={named}: {why}; start it first"
    ))
}

/// Whether libtest-mimic will run the test of `vector`.
fn is_chosen(arguments: &Arguments, vector: &Vector) -> bool {
    let fits = |name: &String| {
        if arguments.exact {
            vector.id == *name
        } else {
            vector.id.contains(name)
        }
    };
    !arguments.ignored
        && arguments.filter.as_ref().is_none_or(fits)
        && !arguments.skip.iter().any(fits)
}

/// Tests of this runner, run when it judges this project's own server.
fn of_the_runner() -> Vec<Trial> {
    vec![
        Trial::test("runner.an-absent-server-fails", || {
            let nowhere = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
            fails_against(
                nowhere,
                "",
                "conformance: no server answers at UPCASE_SERVER=",
            )
        }),
        Trial::test("runner.a-server-that-was-not-judged-fails", || {
            let server = serve(usize::MAX, upcase::process)?;
            fails_against(server, "no-such-vector", "was not judged at all")
        }),
        Trial::test("runner.a-server-that-dies-fails", || {
            let server = serve(20, upcase::process)?;
            fails_against(
                server,
                "trim.",
                "the server answers no more, see the first failure",
            )
        }),
        Trial::test("runner.a-failure-tells-all-that-helps", || {
            let server = serve(usize::MAX, |request| {
                upcase::clip(request).to_ascii_uppercase()
            })?;
            for says in [
                "upper.latin-1-last: the bytes are wrong",
                "UPPER-1: Each well-formed character MUST become its full uppercase mapping",
                "sent    b'",
                "wanted  b'",
                "came    b'",
                "differs at offset 0: wanted c5, came c3",
                "ended   by an orderly end of the stream (FIN)",
                &format!("UPCASE_SERVER={server} cargo test --test conformance -- --exact upper."),
            ] {
                fails_against(server, "upper.latin-1-last", says)?;
            }
            Ok(())
        }),
    ]
}

/// Runs this very program against `server`: it must fail, and say so.
fn fails_against(server: SocketAddr, filter: &str, says: &str) -> Result<(), Failed> {
    let output = Command::new(env::current_exe()?)
        .arg(filter)
        .env(SERVER, server.to_string())
        .output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    if output.status.success() || !said.contains(says) {
        return Err(format!("{}, without {says:?}:\n{said}", output.status).into());
    }
    Ok(())
}

/// A server of the test's own that dies after so many connections.
fn serve(connections: usize, process: fn(&[u8]) -> Vec<u8>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr();
    thread::spawn(move || {
        for stream in listener.incoming().take(connections).map_while(Result::ok) {
            thread::spawn(move || {
                let _ = Exchange::new().advance(&mut { stream }, process);
            });
        }
    });
    address
}

fn refuse(why: &str) -> ExitCode {
    eprintln!("conformance: {why}");
    ExitCode::FAILURE
}
