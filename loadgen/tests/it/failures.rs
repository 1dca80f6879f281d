use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::support::{LOADGEN, Mock, loadgen};

/// Every second request fails in this way: the probe is the first, so two of the four measured ones do.
#[track_caller]
fn check(fault: &str, workload: &str, category: &str) {
    let mock = Mock::start(&format!("--ttft 1ms --itl 1ms --fault {fault}:2"));
    let run = loadgen(&format!(
        "--target m={} --workload {workload} --rounds 1 --requests 4 --warmup 0 --num-predict 6 --timeout 400ms",
        mock.url
    ));
    assert_eq!(run.code, 1, "{fault}: {}{}", run.table, run.stderr);
    let served = run.served(0);
    assert_eq!(
        served["failures"],
        serde_json::json!({ category: 2 }),
        "{fault}: {served}"
    );
    assert_eq!(served["failed"], 2);
    let e2e = run.metric(0, "e2e");
    assert_eq!(e2e["n"], 4, "a failed request counts in its percentiles");
    assert_eq!(
        e2e["p95"]["value"],
        Value::Null,
        "and is infinitely slow there"
    );
    assert!(e2e["p50"]["value"].is_number());
    assert!(
        run.table.contains(&format!("2 ({category} 2)")),
        "{}",
        run.table
    );
    assert!(run.table.contains("m: first failure: "), "{}", run.table);
}

#[test]
fn every_kind_of_failure_is_counted_under_its_name() {
    check("busy", "generate", "status");
    check("missing-done", "generate", "truncated");
    check("error-line", "generate", "error_record");
    check("cut", "generate", "connection_broken");
    check("stall", "generate", "timeout");
    check("wrong-count", "generate", "token_count");
    check("busy", "embed", "status");
    check("cut", "embed", "connection_broken");
    check("not-finite", "embed", "not_finite");
    check("wrong-dimensions", "embed", "dimensions");
    check("not-finite", "classify", "not_finite");
    check("unknown-label", "classify", "label");
}

#[test]
fn what_the_user_expects_is_checked_from_the_first_reply() {
    let mock = Mock::start("--dimensions 16 --labels a,b");
    let run = |options: &str| {
        let run = loadgen(&format!(
            "--target m={} --rounds 1 --requests 2 {options}",
            mock.url
        ));
        (run.code, run.served(0)["failures"].clone())
    };
    assert_eq!(
        run("--workload embed --dimensions 384"),
        (1, serde_json::json!({ "dimensions": 2 }))
    );
    assert_eq!(
        run("--workload embed --dimensions 16"),
        (0, serde_json::json!({}))
    );
    assert_eq!(
        run("--workload classify --labels a,c"),
        (1, serde_json::json!({ "label": 2 }))
    );
}

#[test]
fn an_interrupted_run_reports_its_whole_rounds() {
    let mock = Mock::start("--embed-time 20ms");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.json");
    let mut child = Command::new(LOADGEN)
        .args([
            "--target",
            &format!("m={}", mock.url),
            "--workload",
            "embed",
        ])
        .args(["--rounds", "100000", "--requests", "1", "--json"])
        .arg(&path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut progress = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(
        progress
            .next()
            .unwrap()
            .unwrap()
            .starts_with("round 1/100000")
    );
    assert!(
        Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    progress.for_each(drop);

    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let report: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(report["interrupted"], true);
    let rounds = report["workloads"][0]["rows"][0]["rounds"]
        .as_array()
        .unwrap();
    assert!((1..100_000).contains(&rounds.len()));
    assert!(String::from_utf8_lossy(&output.stdout).contains("INTERRUPTED"));
}
