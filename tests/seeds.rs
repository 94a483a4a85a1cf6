//! No committed seed of the fuzzer breaks a law. The tests call the same functions as the fuzzer.

mod common {
    pub mod seeds;
}

use std::collections::BTreeSet;
use std::fs;

use common::seeds::{in_fuzz, seeds};
use upcase::conformance::fuzz::{self, TARGETS};

fn names_in(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(in_fuzz(folder)).expect(folder);
    let names = entries.map(|entry| entry.unwrap().file_name().into_string());
    names.map(|name| name.expect("a name in UTF-8")).collect()
}

#[test]
fn no_seed_of_any_target_breaks_a_law() {
    for (target, judge) in TARGETS {
        let seeds = seeds(target);
        assert!(seeds.len() >= 15, "{target} has only {} seeds", seeds.len());
        // Miri is slow, so it takes a sample.
        let step = if cfg!(miri) { 32 } else { 1 };
        for (path, bytes) in seeds.iter().step_by(step) {
            if let Err(violation) = judge(bytes) {
                panic!("{}: {violation}", path.display());
            }
        }
    }
}

#[test]
#[should_panic(expected = "there is no target nothing")]
fn an_unknown_target_panics() {
    fuzz::run("nothing", b"");
}

#[test]
fn every_target_has_a_program_and_seeds() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).into()).collect();
    let programs: BTreeSet<String> = targets.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names_in("seeds"), targets);
    assert_eq!(names_in("fuzz_targets"), programs);
}
