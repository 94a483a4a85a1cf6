//! Every committed seed of the fuzzer holds, by the very functions that the fuzzer runs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use upcase::conformance::fuzz::{self, ALL};

fn in_fuzz(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz")
        .join(path)
}

fn names_in(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(in_fuzz(folder)).expect(folder);
    entries
        .map(|entry| {
            entry
                .unwrap()
                .file_name()
                .into_string()
                .expect("a name in UTF-8")
        })
        .collect()
}

#[test]
fn every_seed_of_every_target_holds() {
    for (target, judge) in ALL {
        let folder = format!("seeds/{target}");
        let names = names_in(&folder);
        assert!(names.len() >= 15, "{target} has only {} seeds", names.len());
        for name in names {
            let bytes = fs::read(in_fuzz(&folder).join(&name)).unwrap();
            if let Err(violation) = judge(&bytes) {
                panic!("{folder}/{name}: {violation}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "no target is called nothing")]
fn a_target_that_there_is_not_is_not_run_in_silence() {
    fuzz::run("nothing", b"");
}

#[test]
fn every_target_has_a_program_and_seeds_and_nothing_else_does() {
    let targets: BTreeSet<String> = ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names_in("seeds"), targets);
    let programs: BTreeSet<String> = targets
        .iter()
        .map(|target| format!("{target}.rs"))
        .collect();
    assert_eq!(names_in("fuzz_targets"), programs);
}
