use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{LOADGEN, Mock, assert_valid};

fn run(words: &[&str]) -> Output {
    Command::new(LOADGEN).args(words).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_published_schemas_are_those_of_the_types() {
    for form in ["report", "raw"] {
        let output = run(&["report", "--schema", form]);
        let path = format!("{}/schema/{form}-1.json", env!("CARGO_MANIFEST_DIR"));
        let published = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text(&output.stdout),
            published,
            "renew it: loadgen report --schema {form} > {path}"
        );
    }
}

#[test]
fn the_schemas_allow_nothing_that_they_do_not_name() {
    fn closed(value: &Value) -> bool {
        match value {
            Value::Object(fields) => {
                let object = fields.contains_key("properties");
                let allows = fields.get("additionalProperties") != Some(&Value::Bool(false));
                (!object || !allows) && fields.values().all(closed)
            }
            Value::Array(values) => values.iter().all(closed),
            _ => true,
        }
    }
    for form in ["report", "raw"] {
        let schema = serde_json::from_slice(&run(&["report", "--schema", form]).stdout).unwrap();
        assert!(closed(&schema), "{schema:#}");
    }
}

#[test]
fn a_saved_report_shows_what_the_run_showed() {
    let mock = Mock::start("--ttft 2ms --itl 1ms");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.json");
    let target = format!("m={}", mock.url);
    let measured = run(&[
        "--target",
        &target,
        "--workload",
        "generate",
        "--rounds",
        "2",
        "--requests",
        "3",
        "--quiet",
        "--json",
        path.to_str().unwrap(),
    ]);
    let shown = run(&["report", path.to_str().unwrap()]);
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
    assert_eq!(text(&shown.stdout), text(&measured.stdout));
}

#[test]
fn what_is_no_report_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |content: &str| {
        let path = folder.path().join("x.json");
        std::fs::write(&path, content).unwrap();
        let output = run(&["report", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2));
        let line = text(&output.stderr).to_owned();
        assert_eq!(line.lines().count(), 1, "{line}");
        line
    };
    assert!(refused("not json").contains("not a report of `loadgen --json`"));
    assert!(refused("{}").contains("missing field"));
    let newer = refused(r#"{"schema":"chaski.loadgen/2","more":1}"#);
    assert!(newer.contains("use the loadgen that wrote it"), "{newer}");
    let missing = run(&["report", "/nonexistent/run.json"]);
    assert_eq!(missing.status.code(), Some(2));
}

#[test]
fn raw_samples_are_compressed_when_their_file_says_so_and_rounds_are_lines_for_benchstat() {
    let mock = Mock::start("--ttft 2ms --itl 1ms");
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (packed, rounds, json) = (file("raw.jsonl.zst"), file("rounds.txt"), file("run.json"));
    let target = format!("m={}", mock.url);
    let output = run(&[
        "run",
        "generate",
        "--target",
        &target,
        "--quiet",
        "--no-checks",
        "--rounds",
        "3",
        "--requests",
        "4",
        "--num-predict",
        "4",
        "--raw",
        &packed,
        "--benchstat",
        &rounds,
        "--json",
        &json,
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let mut compressed = std::fs::File::open(packed).unwrap();
    let mut unpacked = String::new();
    let mut reader = ruzstd::decoding::StreamingDecoder::new(&mut compressed).unwrap();
    std::io::Read::read_to_string(&mut reader, &mut unpacked).unwrap();
    let samples: Vec<Value> = unpacked
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(samples.len(), 12);
    samples
        .iter()
        .for_each(|sample| assert_valid("raw", sample));

    let lines = std::fs::read_to_string(&rounds).unwrap();
    let measured: Vec<&str> = lines
        .lines()
        .filter(|line| {
            line.starts_with("BenchmarkServe/workload=generate/load=closed_c=1/target=m 4 ")
        })
        .collect();
    assert_eq!(measured.len(), 3, "{lines}");
    assert!(
        measured[0].contains(" ns/op ") && measured[0].ends_with(" tok/s"),
        "{lines}"
    );
    let again = file("again.txt");
    assert!(
        run(&["report", &json, "--benchstat", &again])
            .status
            .success()
    );
    assert_eq!(std::fs::read_to_string(again).unwrap(), lines);
}
