//! The judge judged: every wrong implementation in the zoo is caught, and every vector catches
//! one.

#[path = "zoo/functions.rs"]
mod functions;
mod judging;
#[path = "zoo/servers.rs"]
mod servers;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{LazyLock, Mutex};
use std::thread;

use judging::side_by_side;
use upcase::conformance::laws;
use upcase::conformance::server_judge::{Failure, Judge, Step, Vector, suite};

/// Who catches what: from a fault to the vectors and laws that catch it.
type Matrix = BTreeMap<&'static str, BTreeSet<String>>;

/// Wrong functions against every vector and every law, without a socket.
static FUNCTIONS: LazyLock<Matrix> = LazyLock::new(|| {
    let mut matrix = Matrix::new();
    for (fault, process) in functions::wrong() {
        let mut catchers = BTreeSet::new();
        for vector in &suite().vectors {
            if vector.judge_process(&process).is_err() {
                catchers.insert(vector.id.clone());
            }
            let request = vector.request().unwrap_or_default();
            for law in laws::LAWS {
                if law.check(&process, &request).is_err() {
                    catchers.insert(format!("the law {}", law.name));
                }
            }
        }
        assert!(
            matrix.insert(fault, catchers).is_none(),
            "two faults are called {fault:?}"
        );
    }
    matrix
});

/// Wrong servers against every vector that looks at more than the content.
///
/// What a vector sends in pieces a busy machine may run together, and then a server that goes by
/// pieces looks right. So who has not been caught, or has caught nothing, gets another chance.
static SERVERS: LazyLock<Matrix> = LazyLock::new(|| {
    // The slowest first, for the others to be judged beside it.
    let (serial, one) = servers::POOLS[0];
    let mut started = vec![(serial, servers::start_pool(one))];
    let fast = servers::WRONG.iter();
    started.extend(fast.map(|(fault, serve)| (*fault, servers::start(*serve))));
    let vectors: Vec<_> = suite()
        .vectors
        .iter()
        .filter(|vector| is_of_transport(vector))
        .collect();
    let mut matrix: Matrix = started
        .iter()
        .map(|(fault, _)| (*fault, BTreeSet::new()))
        .collect();
    assert_eq!(matrix.len(), started.len(), "two faults have one name");
    add_catchers(&mut matrix, &started, &vectors);
    for _ in 0..4 {
        let idle: Vec<_> = vectors
            .iter()
            .copied()
            .filter(|v| !catches(v, &matrix))
            .collect();
        let survivors: Vec<_> = started
            .iter()
            .copied()
            .filter(|(fault, _)| matrix[fault].is_empty())
            .collect();
        add_catchers(&mut matrix, &started, &idle);
        add_catchers(&mut matrix, &survivors, &vectors);
    }
    matrix
});

fn catches(vector: &Vector, servers: &Matrix) -> bool {
    FUNCTIONS
        .values()
        .chain(servers.values())
        .any(|catchers| catchers.contains(&vector.id))
}

/// Adds to `matrix` which of the vectors each of the servers fails.
fn add_catchers(matrix: &mut Matrix, servers: &[(&'static str, SocketAddr)], vectors: &[&Vector]) {
    // Most of the time is spent waiting for servers that stall, so some stall side by side.
    let waiting = Mutex::new(servers.iter());
    let matrix = Mutex::new(matrix);
    let judge_one_after_another = || {
        let next = || waiting.lock().unwrap().next();
        while let Some((fault, server)) = next() {
            let catchers = caught_by(*server, vectors);
            matrix
                .lock()
                .unwrap()
                .entry(fault)
                .or_default()
                .extend(catchers);
        }
    };
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(judge_one_after_another);
        }
    });
}

/// A judge that waits no longer than the zoo's servers, whose deadline is short, give it reason to.
fn judge(server: SocketAddr) -> Judge {
    Judge {
        server,
        patience: servers::DEADLINE * 2,
        promptness: servers::DEADLINE / 2,
    }
}

/// The vectors that the server fails.
///
/// A busy machine may fail a vector too. So what counts is only what a right server passes in the
/// same moment.
fn caught_by(server: SocketAddr, vectors: &[&Vector]) -> BTreeSet<String> {
    static RIGHT: LazyLock<SocketAddr> = LazyLock::new(|| servers::start(servers::right));
    let judged = side_by_side(vectors.iter().copied(), |vector| {
        let judged = judge(server).judge_alone(vector);
        judged.or_else(|failure| match judge(*RIGHT).judge_alone(vector) {
            Ok(()) => Err(failure),
            Err(_) => Ok(()),
        })
    });
    failed(judged)
}

fn failed(judged: Vec<(&Vector, Result<(), Failure>)>) -> BTreeSet<String> {
    let failed = judged.into_iter().filter(|(_, judged)| judged.is_err());
    failed.map(|(vector, _)| vector.id.clone()).collect()
}

/// Whether `vector` does more than send a line: how it sends, or what follows, or that it reaches
/// the limit, is what it tests.
fn is_of_transport(vector: &Vector) -> bool {
    !matches!(vector.steps[..], [Step::Send { .. }])
        || ["FRAME", "REPLY", "SURPLUS", "TIME"]
            .iter()
            .any(|prefix| vector.clauses[0].starts_with(prefix))
}

#[test]
fn every_wrong_implementation_is_caught_by_a_vector_or_a_law() {
    let survivors: Vec<_> = (FUNCTIONS.iter().chain(SERVERS.iter()))
        .filter(|(_, catchers)| catchers.is_empty())
        .map(|(fault, _)| fault)
        .collect();
    assert!(survivors.is_empty(), "nothing catches {survivors:#?}");
    let count = FUNCTIONS.len() + SERVERS.len();
    assert!(count >= 40, "the zoo has only {count} faults");
}

#[test]
fn every_vector_catches_a_wrong_implementation_or_is_marked_as_an_illustration() {
    for vector in &suite().vectors {
        let catches = catches(vector, &SERVERS);
        assert!(
            catches != vector.illustration,
            "{} {}",
            vector.id,
            if catches {
                "is no illustration: it catches a fault"
            } else {
                "catches nothing"
            }
        );
    }
}

#[test]
fn every_law_catches_a_wrong_implementation() {
    for law in laws::LAWS {
        let name = format!("the law {}", law.name);
        assert!(
            FUNCTIONS.values().any(|catchers| catchers.contains(&name)),
            "{name}"
        );
    }
}

/// The faults are in the faults: without them the same code passes.
#[test]
fn the_right_parts_make_a_right_implementation() {
    let failures = upcase::conformance::server_judge::judge_process(&|request| {
        functions::RIGHT.process(request)
    });
    assert!(failures.is_empty(), "{}", failures[0]);
    let vectors: Vec<_> = suite()
        .vectors
        .iter()
        .filter(|vector| is_of_transport(vector))
        .collect();
    for right in [servers::right, servers::right_by_reset] {
        let server = servers::start(right);
        let judged = side_by_side(vectors.iter().copied(), |v| judge(server).judge_alone(v));
        assert_eq!(failed(judged), BTreeSet::new());
    }
}

/// On a busy machine a fault may be caught by a vector that does not aim at it. These are seen in
/// one way alone, so each is judged by that one, by itself.
#[test]
fn what_is_seen_in_one_way_alone_is_seen() {
    let seen_by = [
        ("replies as it reads", "reply.not-before-the-lf"),
        (
            "ends its side a second after its reply",
            "reply.not-before-the-lf",
        ),
        (
            "takes white space alone for an empty request",
            "reply.no-end-before-the-lf",
        ),
        ("dies of a reset", "time.reset-one-costs-no-other"),
        ("answers others wrongly", "time.reset-one-costs-no-other"),
        ("keeps others waiting", "time.reset-one-costs-no-other"),
        ("is late, and then wrong, now and then", "connection.many"),
        (
            "serves sixteen connections at a time",
            "time.others-while-many-stall",
        ),
        (
            "keeps a connection for ever behind its reply",
            "time.gone-behind-its-reply",
        ),
        (
            "ends its side alone at its deadline",
            "time.incomplete-at-the-deadline",
        ),
        ("gives each read a little more time", "time.drip"),
    ];
    let is_seen = |fault: &str, id: &str| {
        let vector = suite().vectors.iter().find(|vector| vector.id == id);
        // A busy server may see a reset only when it has answered all others.
        (0..3).any(|_| !caught_by(servers::start_by_name(fault), &[vector.unwrap()]).is_empty())
    };
    thread::scope(|scope| {
        for (fault, id) in seen_by {
            scope.spawn(move || assert!(is_seen(fault, id), "{fault}"));
        }
    });
}

#[test]
fn a_flood_is_read_no_further_than_it_takes_to_know_it() {
    let flood = servers::WRONG
        .iter()
        .find(|(fault, _)| *fault == "sends on and on");
    let judge = Judge::new(servers::start(flood.unwrap().1));
    let failure = judge.judge_alone(&suite().vectors[0]).unwrap_err();
    let last = failure.details.last().unwrap();
    assert!(
        last.starts_with("ended   by none, it sends on and on"),
        "{last}"
    );
}

/// `cargo test --test zoo -- --ignored --nocapture` prints it.
#[test]
#[ignore = "prints the kill matrix, and claims nothing"]
fn kill_matrix() {
    for (kind, matrix) in [("function", &*FUNCTIONS), ("server", &*SERVERS)] {
        for (fault, catchers) in matrix {
            let (laws, vectors): (Vec<_>, Vec<_>) = catchers
                .iter()
                .map(String::as_str)
                .partition(|name| name.starts_with("the law "));
            println!(
                "a {kind} that {fault}: {} vectors, {} laws",
                vectors.len(),
                laws.len()
            );
            for name in vectors.into_iter().chain(laws) {
                println!("    {name}");
            }
        }
    }
}
