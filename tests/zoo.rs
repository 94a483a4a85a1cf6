//! The judge itself is tested: it finds every fault that is planted in the zoo.
//!
//! The zoo is a collection of wrong implementations. Each is a right one with one fault.
//!
//! | Fault in | Judged by | With |
//! | --- | --- | --- |
//! | a function | every vector | its exchanges |
//! | a function | every law | the requests of the vectors |
//! | a function, one for each law | that law | 256 requests of the strategies, proptest's default |
//! | a server | the vectors that aim at the fault | a server of its own for each |
//! | a framing, a session, a client | the law of that part | `fuzz/seeds/{segments,session,client}` |
//! | a byte literal | the law of the literal | `fuzz/seeds/escape`, and again 256 texts of a strategy |
//!
//! In the other direction, every law and every vector catches a fault, and no right implementation
//! is found to be wrong. No test is repeated until it passes. A busy machine can make a right server
//! look wrong, so a server counts for a vector only if it names that vector. It cannot make a wrong
//! server look right: `faults/servers.rs` says why.

mod common {
    pub mod inputs;
    pub mod seeds;
}

mod faults {
    pub mod exchanges;
    pub mod functions;
    pub mod literals;
    pub mod servers;
}

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread;

use common::inputs::{self, Bytes};
use faults::{exchanges, functions, literals, servers};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use upcase::conformance::exchange_laws::{EXCHANGE_LAWS, ExchangeLaw};
use upcase::conformance::laws::{LAWS, LITERAL, Law};
use upcase::conformance::vectors::{End, Step, Vector, suite};
use upcase::conformance::{NotPassed, ServerJudge, Violation, fuzz, judge_all, judge_function};

#[test]
fn every_wrong_function_is_caught_by_a_vector() {
    let faults = functions::wrong();
    let missed = faults.iter().filter(|fault| {
        let process = |request: &[u8]| fault.process(request);
        let mut vectors = suite().vectors.iter();
        vectors.all(|vector| vector.judge_function(&process).is_ok())
    });
    let missed: Vec<_> = missed.map(|fault| fault.name).collect();
    assert!(missed.is_empty(), "a function that {missed:#?}");
}

#[test]
fn each_law_catches_its_fault_by_the_requests_of_the_vectors() {
    let requests = requests_of_vectors();
    for (name, fault) in functions::wrong_by_law() {
        let law = LAWS.iter().find(|law| law.name == name).expect("a law");
        let process = |request: &[u8]| fault.process(request);
        let is_broken = |request: &Vec<u8>| law.check(&process, request).is_err();
        assert!(requests.iter().any(is_broken), "{name}: {}", fault.name);
    }
}

/// The requests of the vectors, each once.
fn requests_of_vectors() -> BTreeSet<Vec<u8>> {
    let exchanges = suite().vectors.iter().flat_map(Vector::exchanges);
    exchanges.map(|(request, _)| request).collect()
}

#[test]
fn every_vector_catches_a_fault_or_is_an_illustration() {
    let functions = functions::wrong();
    for vector in &suite().vectors {
        let by_function = functions.iter().any(|fault| {
            let judged = vector.judge_function(&|request| fault.process(request));
            judged.is_err()
        });
        let by_server = servers::wrong().any(|fault| fault.caught_by.contains(&&*vector.id));
        let catches = by_function || by_server;
        assert_ne!(catches, vector.illustration, "{}", vector.id);
    }
}

#[test]
fn each_law_alone_catches_a_fault_within_256_cases() {
    let faults = functions::wrong_by_law();
    let laws_with_fault: BTreeSet<_> = faults.iter().map(|(law, _)| *law).collect();
    let laws: BTreeSet<_> = LAWS.iter().map(|law| law.name).collect();
    assert_eq!(laws_with_fault, laws);
    for seed in 0..2 {
        let requests = default_cases(inputs::requests(), seed);
        assert_eq!(requests.len(), 256, "proptest's default");
        for (law, fault) in &faults {
            let mut broken = broken_laws(fault, &requests);
            broken.insert(law_that_implies_all());
            let expected = BTreeSet::from([*law, law_that_implies_all()]);
            assert_eq!(broken, expected, "a function that {}, {seed}", fault.name);
        }
    }
}

/// The last law.
fn law_that_implies_all() -> &'static str {
    LAWS[LAWS.len() - 1].name
}

fn broken_laws(fault: &functions::Fault, requests: &[Bytes]) -> BTreeSet<&'static str> {
    let process = |request: &[u8]| fault.process(request);
    let is_broken = |law: &&Law| {
        let mut requests = requests.iter();
        requests.any(|request| law.check(&process, request).is_err())
    };
    LAWS.iter().filter(is_broken).map(|law| law.name).collect()
}

/// As many values as a property test has by default, from the random numbers of this seed.
fn default_cases<T>(strategy: impl Strategy<Value = T>, seed: u8) -> Vec<T> {
    let config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    let cases = config.cases;
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let case = |_| strategy.new_tree(&mut runner).expect("a value").current();
    (0..cases).map(case).collect()
}

#[test]
fn the_right_function_breaks_no_law_and_no_vector() {
    let violations = judge_function(&|request| functions::RIGHT.process(request));
    assert!(violations.is_empty(), "{}", violations[0]);
}

#[test]
fn every_wrong_server_is_caught_by_the_vectors_that_aim_at_it() {
    let pairs = servers::wrong().flat_map(|fault| {
        assert!(!fault.caught_by.is_empty(), "a server that {}", fault.name);
        fault.caught_by.iter().map(move |id| (fault, vector(id)))
    });
    let mut pairs: Vec<_> = pairs.collect();
    // Those that take longest begin first.
    pairs.sort_by_key(|(fault, vector)| (fault.deadline, vector.expect.end != End::Fin));
    let pairs = Mutex::new(pairs);
    let next = || pairs.lock().expect("no panic").pop();
    let judge_some = || {
        let mut missed = Vec::new();
        while let Some((fault, vector)) = next() {
            let judged = judge_of(fault).judge_alone(vector);
            if !matches!(judged, Err(NotPassed::Violation(_))) {
                missed.push((fault.name, &vector.id, judged));
            }
        }
        missed
    };
    let missed: Vec<_> = thread::scope(|scope| {
        // They wait most of the time.
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(judge_some)).collect();
        let results = threads.into_iter().map(thread::ScopedJoinHandle::join);
        results
            .flat_map(|missed| missed.expect("no panic"))
            .collect()
    });
    assert!(missed.is_empty(), "not caught: {missed:#?}");
}

/// The bytes and the end of these servers are right, but they come too early.
#[test]
fn acts_on_an_incomplete_request_are_caught() {
    for (name, id, problem) in [
        (
            "replies as it reads",
            "time.drip",
            "the server sends something before the request is complete",
        ),
        (
            "takes white space alone for an empty request",
            "reply.no-end-before-the-lf",
            "the server ends the connection before the request is complete",
        ),
    ] {
        let violation = violation_of(name, id);
        assert!(violation.problem.contains(problem), "{violation}");
    }
}

#[test]
fn a_violation_in_time_names_its_clause() {
    for (name, id, clause) in [
        (
            "gives a connection half a second",
            "time.incomplete-at-the-deadline",
            "TIME-6",
        ),
        (
            "gives a connection half a second",
            "frame.a-second-between",
            "TIME-6",
        ),
        ("takes a second for a reply", "proc.hello", "REPLY-4"),
        (
            "discards only 8 MiB",
            "surplus.sixteen-megabytes",
            "SURPLUS-3",
        ),
        (
            "serves 39 connections at a time",
            "time.forty-at-once",
            "TIME-7",
        ),
    ] {
        let violation = violation_of(name, id);
        assert_eq!(violation.clauses[0], clause, "{violation}");
    }
}

/// The reply and its end come at once. The client fails to send more than a second later.
#[test]
fn a_failed_write_is_reported_with_its_own_time() {
    let violation = violation_of("discards only for a moment", "surplus.a-second-later");
    let problem = "the connection fails while the client sends";
    assert!(violation.problem.contains(problem), "{violation}");
    let ended = violation.details.last().expect("how it ended");
    assert!(
        !ended.text.contains("ms after") && !ended.text.contains("µs after"),
        "{ended}"
    );
}

/// What the vector `id` finds at the server with the fault `name`.
#[track_caller]
fn violation_of(name: &str, id: &str) -> Violation {
    let fault = servers::wrong().find(|fault| fault.name == name);
    violation(&judge_of(fault.expect(name)), vector(id))
}

/// What `judge` finds by `vector`.
#[track_caller]
fn violation(judge: &ServerJudge, vector: &Vector) -> Violation {
    match judge.judge_alone(vector) {
        Err(NotPassed::Violation(violation)) => violation,
        other => panic!("no violation, but {other:?}"),
    }
}

/// A judge of a wrong server, which it starts. It waits no longer than a short deadline needs.
fn judge_of(fault: &servers::Fault) -> ServerJudge {
    let mut judge = ServerJudge::new(fault.start());
    if fault.deadline <= servers::DEADLINE {
        judge.timeout = servers::DEADLINE * 2;
        judge.max_delay = servers::DEADLINE / 4;
        judge.deadline = servers::DEADLINE * 3 / 2;
    }
    judge
}

fn vector(id: &str) -> &'static Vector {
    let mut vectors = suite().vectors.iter();
    let vector = vectors.find(|vector| vector.id == id);
    vector.unwrap_or_else(|| panic!("there is no vector {id}"))
}

#[test]
fn the_right_servers_break_no_vector_of_the_transport() {
    for server in [servers::start_right(), servers::start_right_with_resets()] {
        let judge = ServerJudge::new(server);
        for judged in judge_each(&judge, &vectors_of_transport().collect::<Vec<_>>()) {
            judged.unwrap_or_else(|violation| panic!("{violation}"));
        }
    }
}

/// What `judge` finds by each of the vectors, all at the same time.
fn judge_each(judge: &ServerJudge, vectors: &[&Vector]) -> Vec<Result<(), NotPassed>> {
    judge_all(
        vectors,
        vectors.len(),
        |vector| judge.judge_alone(vector),
        |_| {},
    )
}

/// A slow server makes the judge late too, so that it cannot be judged by some of these vectors.
#[test]
fn a_server_at_the_limits_of_time_is_not_blamed() {
    let judge = ServerJudge::new(servers::start_right_at_the_limits());
    let is_other = |step: &Step| matches!(step, Step::Other { .. } | Step::Pause(_));
    let vectors = vectors_of_transport().filter(|vector| vector.steps.iter().any(is_other));
    let judged = judge_each(&judge, &vectors.collect::<Vec<_>>());
    let blamed = judged.into_iter().filter_map(|judged| match judged {
        Err(NotPassed::Violation(violation)) => Some(violation),
        _ => None,
    });
    assert_eq!(blamed.collect::<Vec<_>>(), []);
}

#[test]
fn a_missing_route_is_not_the_servers_fault() {
    // Nothing can connect to the address of all machines.
    let judge = ServerJudge::new("255.255.255.255:9".parse().unwrap());
    let Err(NotPassed::NotJudged(reason)) = judge.probe() else {
        panic!("this machine can connect there");
    };
    assert!(!reason.contains("open files"), "{reason}");
}

/// The vectors that judge more than the content of a reply.
fn vectors_of_transport() -> impl Iterator<Item = &'static Vector> {
    let areas = ["FRAME", "REPLY", "SURPLUS", "TIME"];
    let vectors = suite().vectors.iter();
    vectors.filter(move |vector| (areas.iter()).any(|area| vector.clauses[0].starts_with(area)))
}

#[test]
fn a_judge_stops_reading_an_endless_reply() {
    let endless = servers::wrong().find(|fault| fault.name == "replies endlessly");
    let judge = ServerJudge::new(endless.expect("that fault").start());
    let violation = violation(&judge, &suite().vectors[0]);
    let ended = violation.details.last().expect("how it ended");
    assert!(ended.text.starts_with("not: it sends endlessly"), "{ended}");
}

#[test]
fn every_wrong_exchange_is_caught_by_its_law_and_no_other() {
    for fault in exchanges::wrong() {
        let catches = |law: &&ExchangeLaw| !seeds_that_show(fault, law).is_empty();
        let laws = EXCHANGE_LAWS.iter().filter(catches).map(|law| law.name);
        let laws: Vec<_> = laws.collect();
        assert_eq!(laws, [fault.law], "an exchange that {}", fault.name);
    }
}

/// The seeds of `law` by which it catches `fault`.
fn seeds_that_show(fault: &exchanges::Fault, law: &ExchangeLaw) -> Vec<Vec<u8>> {
    let is_caught = |seed: &Vec<u8>| {
        let judged = law.check(&fault.implementation, &fuzz::script(seed));
        judged.is_err()
    };
    let seeds = seeds_of(law).into_iter();
    seeds.filter(is_caught).collect()
}

#[test]
fn every_exchange_law_catches_a_wrong_exchange() {
    for law in EXCHANGE_LAWS {
        let has_fault = exchanges::wrong().any(|fault| fault.law == law.name);
        assert!(has_fault, "{}", law.name);
    }
}

#[test]
fn the_right_exchange_breaks_no_law() {
    let scripts = default_cases(inputs::scripts(), 0);
    for law in EXCHANGE_LAWS {
        let seeds: Vec<_> = seeds_of(law).into_iter().map(Bytes).collect();
        for script in seeds.iter().chain(&scripts) {
            let judged = law.check(&exchanges::RIGHT, &fuzz::script(script));
            judged.unwrap_or_else(|violation| panic!("{script:?}: {violation}"));
        }
    }
}

/// The committed seeds of the fuzz target that judges by `law`.
fn seeds_of(law: &ExchangeLaw) -> Vec<Vec<u8>> {
    seeds(match law.name {
        "framing" => "segments",
        name => name,
    })
}

/// The bytes of the committed seeds of a fuzz target.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let seeds = common::seeds::seeds(target).into_iter();
    seeds.map(|(_, bytes)| bytes).collect()
}

#[test]
fn the_law_of_the_literal_catches_every_wrong_literal() {
    let texts = default_cases(inputs::invisible(), 0).into_iter();
    for inputs in [seeds("escape"), texts.map(|text| text.0).collect()] {
        for (fault, literal) in literals::wrong() {
            let is_caught = |input: &Vec<u8>| LITERAL.check(&literal, input).is_err();
            assert!(inputs.iter().any(is_caught), "a literal that {fault}");
        }
        for input in inputs {
            let judged = LITERAL.check(&literals::right, &input);
            judged.unwrap_or_else(|violation| panic!("{violation}"));
        }
    }
}

#[test]
fn no_two_faults_have_the_same_name() {
    let functions = functions::wrong();
    let by_law = functions::wrong_by_law();
    assert!(functions.len() >= 300, "{} functions", functions.len());
    assert!(servers::wrong().count() >= 80, "too few servers");
    for names in [
        functions.iter().map(|fault| fault.name).collect::<Vec<_>>(),
        by_law.iter().map(|(_, fault)| fault.name).collect(),
        servers::wrong().map(|fault| fault.name).collect(),
        exchanges::wrong().map(|fault| fault.name).collect(),
        literals::wrong().map(|(name, _)| name).collect(),
    ] {
        let different: BTreeSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{names:#?}");
    }
}

/// `cargo test --test zoo -- --ignored --nocapture` prints it.
#[test]
#[ignore = "prints what catches what, and tests nothing"]
fn what_catches_each_fault_is_printed() {
    let requests = requests_of_vectors();
    for fault in functions::wrong() {
        print_catchers(
            "function",
            fault.name,
            &catchers_of_function(&fault, &requests),
        );
    }
    for (fault, catchers) in catchers_of_servers() {
        print_catchers("server", fault.name, &catchers);
    }
    for law in EXCHANGE_LAWS {
        let all = seeds_of(law).len();
        for fault in exchanges::wrong().filter(|fault| fault.law == law.name) {
            let seeds = seeds_that_show(fault, law).len();
            println!("a {} that {}: {seeds} of {all} seeds", law.name, fault.name);
        }
    }
    let seeds = seeds("escape");
    for (fault, literal) in literals::wrong() {
        let is_caught = |seed: &&Vec<u8>| LITERAL.check(&literal, seed).is_err();
        let caught = seeds.iter().filter(is_caught).count();
        println!("a literal that {fault}: {caught} of {} seeds", seeds.len());
    }
}

fn print_catchers(kind: &str, fault: &str, catchers: &[String]) {
    println!("a {kind} that {fault}: {} rules", catchers.len());
    for rule in catchers {
        println!("    {rule}");
    }
}

/// The vectors and the laws that catch a wrong function.
fn catchers_of_function(fault: &functions::Fault, requests: &BTreeSet<Vec<u8>>) -> Vec<String> {
    let process = |request: &[u8]| fault.process(request);
    let vectors = suite().vectors.iter();
    let by_vectors = vectors.filter_map(|vector| vector.judge_function(&process).err());
    let by_laws = LAWS.iter().filter_map(|law| {
        let mut requests = requests.iter();
        requests.find_map(|request| law.check(&process, request).err())
    });
    let violations = by_vectors.chain(by_laws);
    violations.map(|violation| violation.rule).collect()
}

/// The vectors of the transport that each wrong server fails. A busy machine may add some.
fn catchers_of_servers() -> Vec<(&'static servers::Fault, Vec<String>)> {
    let catchers = |fault: &servers::Fault| {
        let vectors: Vec<_> = vectors_of_transport().collect();
        let judged = judge_each(&judge_of(fault), &vectors).into_iter();
        let caught = vectors
            .iter()
            .zip(judged)
            .filter(|(_, judged)| judged.is_err());
        caught.map(|(vector, _)| vector.id.clone()).collect()
    };
    let faults: Vec<_> = servers::wrong().collect();
    let mut caught = Vec::new();
    for some in faults.chunks(8) {
        let catchers = thread::scope(|scope| {
            let judge = |fault| scope.spawn(move || catchers(fault));
            let threads: Vec<_> = some.iter().copied().map(judge).collect();
            let results = threads.into_iter().map(thread::ScopedJoinHandle::join);
            let catchers = results.map(|catchers| catchers.expect("no panic"));
            catchers.collect::<Vec<_>>()
        });
        caught.extend(some.iter().copied().zip(catchers));
    }
    caught
}

/// One fault fails many vectors. They name the fault, and not what each of them is about.
#[test]
fn most_failures_of_one_fault_name_its_clause() {
    let few = ["proc.", "upper.", "trim."];
    let more = ["proc.", "cap.", "reply.", "frame.", "surplus."];
    for (name, clauses, areas) in [
        ("closes with surplus unread", &["SURPLUS-2"][..], &more[..]),
        // Other areas have surplus bytes.
        ("resets after its reply", &["REPLY-2"], &few),
        // A request of 1024 bytes with an LF is complete by its LF.
        (
            "waits for a byte after the limit",
            &["FRAME-2", "REPLY-1"],
            &more,
        ),
    ] {
        let fault = servers::wrong().find(|fault| fault.name == name);
        let judge = judge_of(fault.expect(name));
        let vectors = suite().vectors.iter();
        let vectors = vectors.filter(|vector| areas.iter().any(|area| vector.id.starts_with(area)));
        let vectors: Vec<_> = vectors.collect();
        let judged = judge_all(&vectors, 16, |vector| judge.judge_alone(vector), |_| {});
        let failed = judged.iter().filter_map(|judged| match judged {
            Err(NotPassed::Violation(violation)) => Some(&violation.clauses[0][..]),
            _ => None,
        });
        let (named, others): (Vec<_>, Vec<_>) = failed.partition(|clause| clauses.contains(clause));
        assert!(named.len() > 30, "{name}: {named:?}");
        assert!(named.len() > 9 * others.len(), "{name}: {others:?}");
    }
}
