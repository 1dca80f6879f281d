//! Servers that are started and models that are not in memory yet.

use std::net::{TcpListener, TcpStream};

use crate::support::{LOADGEN, Mock, Outcome, assert_between, loadgen, run};

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Measures a mock that loadgen itself starts.
fn spawned(workload: &str, options: &str) -> (u16, Outcome) {
    let port = free_port();
    let target = format!(
        "m=http://127.0.0.1:{port},spawn={LOADGEN} mock --listen 127.0.0.1:{port} {options} --models tiny,tiny-embed"
    );
    let outcome = run(
        &[
            "run", workload, "--quiet", "--rounds", "1", "--target", &target,
        ],
        &["--requests", "4"],
    );
    (port, outcome)
}

#[test]
fn cold_starts_are_reported_alone() {
    let mock = Mock::start("--ttft 30ms --itl 1ms");
    let run = loadgen(&format!("run cold-start --target m={} --quiet", mock.url));
    assert_eq!(run.code, 0, "{}{}", run.table, run.stderr);
    let workload = &run.json["workloads"][0];
    assert!(workload["rows"].as_array().unwrap().is_empty());
    let cold = &workload["cold"][0];
    assert_eq!(
        (cold["repeats"].as_u64(), cold["failed"].as_u64()),
        (Some(5), Some(0))
    );
    assert_between(&cold["first_text_ms"]["min"], 30.0, 60.0);
    assert_eq!(cold["first_text_ms"]["values"].as_array().unwrap().len(), 5);
    assert!(cold["start_to_ready_ms"].is_null(), "it ran already");
    assert!(run.table.contains("cold start"), "{}", run.table);
}

#[test]
fn a_server_that_loadgen_starts_is_timed_described_and_ended() {
    let (port, run) = spawned("cold-start", "--ttft 5ms --itl 1ms");
    assert_eq!(run.code, 0, "{}{}", run.table, run.stderr);
    let cold = &run.json["workloads"][0]["cold"][0];
    assert_eq!(cold["repeats"], 5);
    assert_between(&cold["start_to_ready_ms"]["median"], 0.5, 5_000.0);
    let target = &run.json["targets"][0];
    assert_between(&target["start_to_ready_ms"], 0.5, 5_000.0);
    let lines = target["environment"]["command_lines"].as_array().unwrap();
    let line = lines[0].as_str().unwrap();
    assert!(
        line.contains("mock --listen") && !line.starts_with("sh"),
        "{line}"
    );
    assert!(
        TcpStream::connect(("127.0.0.1", port)).is_err(),
        "it still listens"
    );
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let port = free_port();
    let start = |command: &str| {
        let target = format!("m=http://127.0.0.1:{port},spawn={command}");
        run(&["run", "embed", "--quiet", "--target", &target], &[])
    };
    let run = start("echo no such option >&2; false");
    assert_eq!(run.code, 5, "{}", run.stderr);
    assert!(
        run.stderr.contains("does not start: it ended with"),
        "{}",
        run.stderr
    );
    let mock = Mock::start("");
    let target = format!("m={},spawn=true", mock.url);
    let run = crate::support::run(&["run", "embed", "--target", &target], &[]);
    assert_eq!(run.code, 5);
    assert!(run.stderr.contains("answers at"), "{}", run.stderr);
}

#[test]
fn a_server_that_cannot_unload_has_no_cold_starts() {
    let mock = Mock::start("--ttft 2ms --itl 1ms");
    let run = loadgen(&format!(
        "run cold-start --target m={},api=openai --quiet",
        mock.url
    ));
    let cold = &run.json["workloads"][0]["cold"][0];
    assert_eq!(
        cold["unavailable"],
        "its model cannot be unloaded from here"
    );
}
