//! What `docs/RELIABILITY.md` says is tried is there to try it.

use std::fs;
use std::path::Path;

#[test]
fn every_test_that_the_catalogue_names_exists() {
    let server = Path::new(env!("CARGO_MANIFEST_DIR"));
    let catalogue = fs::read_to_string(server.join("../docs/RELIABILITY.md")).unwrap();
    let (_, cases) = catalogue.split_once("## The catalogue").unwrap();
    let mut named = 0;
    for name in cases.split('`').skip(1).step_by(2) {
        let (file, function) = match name.split_once("::") {
            Some((file, function)) => (file, format!("fn {function}(")),
            None if name.ends_with(".py") => (name, String::new()),
            None => continue,
        };
        let folder = match file.split('/').next() {
            Some("it" | "torture") => "tests",
            Some("registry") if name.ends_with(".py") => "tests",
            _ => "src",
        };
        let text = fs::read_to_string(server.join(folder).join(file));
        assert!(
            text.is_ok_and(|text| text.contains(&function)),
            "{name} is not there"
        );
        named += 1;
    }
    assert!(named > 100, "only {named} tests are found in the catalogue");
    let cases = cases.lines().filter(|line| is_case(line)).count();
    assert_eq!(cases, 119);
}

/// `| A1 | …`: a letter and a number.
fn is_case(line: &str) -> bool {
    line.strip_prefix("| ")
        .and_then(|rest| rest.split_once(" |"))
        .is_some_and(|(name, _)| {
            name.len() >= 2
                && name.starts_with(|c: char| c.is_ascii_uppercase())
                && name[1..].chars().all(|c| c.is_ascii_digit())
        })
}
