//! No committed seed of the fuzzer breaks a law. The tests call the same functions as the fuzzer.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use upcase::conformance::fuzz::{self, TARGETS};

fn in_fuzz(path: &str) -> PathBuf {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    fuzz.join(path)
}

fn names_in(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(in_fuzz(folder)).expect(folder);
    let names = entries.map(|entry| entry.unwrap().file_name().into_string());
    names.map(|name| name.expect("a name in UTF-8")).collect()
}

#[test]
fn no_seed_of_any_target_breaks_a_law() {
    for (target, judge) in TARGETS {
        let folder = format!("seeds/{target}");
        let names = names_in(&folder);
        assert!(names.len() >= 15, "{target} has only {} seeds", names.len());
        // Miri is slow, so it takes a sample.
        let step = if cfg!(miri) { 32 } else { 1 };
        for name in names.iter().step_by(step) {
            let bytes = fs::read(in_fuzz(&folder).join(name)).unwrap();
            if let Err(violation) = judge(&bytes) {
                panic!("{folder}/{name}: {violation}");
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
