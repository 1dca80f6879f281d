//! The inputs that fuzzing begins with, and those that it once found something with, are read in every build.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[path = "../../fuzz/src/lib.rs"]
mod targets;

#[test]
fn every_target_reads_its_corpus() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let names = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(fuzz.join(folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names
            .map(|name| name.trim_end_matches(".rs").to_owned())
            .collect()
    };
    let known = targets::TARGETS.map(|(name, _)| name.to_owned());
    assert_eq!(names("corpus"), BTreeSet::from(known.clone()));
    assert_eq!(names("fuzz_targets"), BTreeSet::from(known));
    for (name, read) in targets::TARGETS {
        let inputs: Vec<_> = fs::read_dir(fuzz.join("corpus").join(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!(inputs.len() > 1, "{name}");
        for input in inputs {
            println!("{}", input.display());
            read(&fs::read(input).unwrap());
        }
        read(b"");
    }
}
