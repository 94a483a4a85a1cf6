//! The committed seeds of the fuzz targets.

use std::fs;
use std::path::{Path, PathBuf};

/// A path in the folder of the fuzzer.
pub fn in_fuzz(path: &str) -> PathBuf {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    fuzz.join(path)
}

/// Every seed of `target`: its path and its bytes, in the order of the names.
pub fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(in_fuzz("seeds").join(target)).expect(target);
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| fs::read(&path).map(|bytes| (path, bytes));
    paths.into_iter().map(|path| read(path).unwrap()).collect()
}
