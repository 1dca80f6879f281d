//! Preflight, audits, gates, assertions and their exit codes.

use std::process::Command;

use crate::support::{LOADGEN, Mock, loadgen, loadgen_plain};

const SMALL: &str = "--rounds 2 --requests 4 --num-predict 6";

#[track_caller]
fn check_pair(one: &str, other: &str, options: &str, code: i32, said: &[&str]) {
    let (one, other) = (Mock::start(one), Mock::start(other));
    let run = loadgen(&format!(
        "--target x={} --target y={} {options}",
        one.url, other.url
    ));
    assert_eq!(run.code, code, "{}{}", run.table, run.stderr);
    let table = on_one_line(&run.table);
    for words in said {
        assert!(table.contains(words), "no {words:?} in {table}");
    }
}

/// Without the line breaks of a narrow page.
fn on_one_line(table: &str) -> String {
    table.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn equal_servers_pass_every_check() {
    let fast = "--ttft 3ms --itl 1ms";
    check_pair(fast, fast, SMALL, 0, &["VALID"]);
}

#[test]
fn other_weights_or_another_context_are_not_comparable() {
    let fast = "--ttft 3ms --itl 1ms";
    check_pair(
        &format!("{fast} --weights a"),
        &format!("{fast} --weights b"),
        &format!("--workload generate {SMALL}"),
        4,
        &["NOT VALID", "not the same model file"],
    );
    check_pair(
        &format!("{fast} --context 4096"),
        &format!("{fast} --context 8192"),
        &format!("--workload generate {SMALL}"),
        4,
        &["4096 and 8192 tokens"],
    );
}

#[test]
fn a_server_that_remembers_replies_is_found_out() {
    /// Replies that take their time to decode: others tell nothing.
    const LONG: &str = "--rounds 2 --requests 4 --num-predict 20";
    let mock = Mock::start("--ttft 20ms --itl 10ms --reply-cache");
    let run = loadgen(&format!(
        "--target m={} --workload generate {LONG}",
        mock.url
    ));
    assert_eq!(run.code, 4, "{}", run.table);
    let table = on_one_line(&run.table);
    assert!(table.contains("replies are remembered"), "{table}");
    let trusting = loadgen(&format!(
        "--target m={} --workload generate {LONG} --no-checks",
        mock.url
    ));
    assert_eq!(trusting.code, 0, "{}", trusting.table);
}

#[test]
fn assertions_decide_the_exit_code() {
    let mock = Mock::start("--embed-time 10ms");
    let check = |rounds: &str, expression: &str, code: i32, word: &str| {
        let output = Command::new(LOADGEN)
            .args([
                "--target",
                &format!("m={}", mock.url),
                "--workload",
                "embed",
            ])
            .args(rounds.split_whitespace())
            .args(["--quiet", "--no-checks", "--assert", expression])
            .output()
            .unwrap();
        let table = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{expression}: {table}");
        let line = table
            .lines()
            .find(|line| line.starts_with("ASSERT"))
            .unwrap();
        assert!(line.contains(expression) && line.contains(word), "{line}");
    };
    check("--rounds 2 --requests 4", "m.errors == 0", 0, "PASS");
    check("--rounds 2 --requests 4", "m.errors > 0", 1, "FAIL");
    check(
        "--rounds 2 --requests 4",
        "m.e2e.p95 < 10s",
        3,
        "INCONCLUSIVE",
    );
    check("--rounds 2 --requests 60", "m.e2e.p50 < 10s", 0, "PASS");
    check("--rounds 2 --requests 60", "m.e2e.p50 < 9ms", 1, "FAIL");
    check(
        "--rounds 2 --requests 4 --on-inconclusive pass",
        "m.e2e.p95 < 10s",
        0,
        "INCONCLUSIVE",
    );
}

#[test]
fn a_demand_that_makes_no_sense_is_answered_in_one_line() {
    let check = |options: &[&str], part: &str| {
        let output = Command::new(LOADGEN)
            .args(["--target", "m=127.0.0.1:1"])
            .args(options)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(part), "{error}");
    };
    check(&["--assert", "m.e2e <= 1s"], "write e2e.p95");
    check(&["--assert", "x.errors == 0"], "no target is named \"x\"");
    check(
        &["--assert", "ratio(e2e.p95) <= 1"],
        "a ratio needs two targets",
    );
}

#[test]
fn memory_that_a_child_takes_during_the_load_is_found() {
    let mock = Mock::start("--embed-time 20ms --worker-mib 20 --worker-grows 300@20");
    let run = loadgen(&format!(
        "--target m={} --workload embed --rounds 3 --requests 20 --no-checks",
        mock.url
    ));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let memory = &run.json["workloads"][0]["memory"][0];
    let bytes = |reading: &str| memory[reading]["rss_bytes"].as_f64().unwrap();
    let grown = (bytes("peak") - bytes("before")) / f64::from(1 << 20);
    assert!((295.0..330.0).contains(&grown), "{grown} MiB: {memory}");
}

#[test]
fn a_target_is_compared_with_itself() {
    let mock = Mock::start("--embed-time 5ms");
    let run = loadgen_plain(&format!(
        "aa --target m={} --workload embed --rounds 6 --requests 12 --quiet",
        mock.url
    ));
    // By chance, and on a busy machine, a difference may show; the words and the code must then say so.
    match run.code {
        0 => assert!(run.table.contains("A/A: no difference"), "{}", run.table),
        4 => assert!(
            run.table.contains("A/A: a target differs from itself"),
            "{}",
            run.table
        ),
        code => panic!("{code}: {}{}", run.table, run.stderr),
    }
    assert!(
        run.table.contains("m-a") && run.table.contains("m-b"),
        "{}",
        run.table
    );
    let two = loadgen_plain("aa --target a=127.0.0.1:1 --target b=127.0.0.1:2");
    assert_eq!(
        (two.code, two.stderr.as_str()),
        (
            2,
            "error: a target is compared with itself: name one --target\n"
        )
    );
}

#[test]
fn calibration_tells_what_the_client_adds() {
    let run = loadgen_plain("calibrate --streams 16 --dry-run");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let levels: Vec<Vec<f64>> = run
        .table
        .lines()
        .filter_map(|line| {
            line.split_whitespace()
                .map(|word| word.parse().ok())
                .collect()
        })
        .collect();
    assert_eq!(levels.len(), 3, "{}", run.table);
    for level in levels {
        let [streams, first_p50, first_p99, later_p50, later_p99, pieces] = level[..] else {
            panic!("{}", run.table)
        };
        assert!(first_p50 > 0.0 && first_p50 <= first_p99 && later_p50 <= later_p99);
        assert!(pieces >= streams * 32.0, "{}", run.table);
    }
}

#[test]
fn a_server_that_computes_otherwise_under_load_is_found_out() {
    // Every second reply is another vector. Requests 0 and 8 of a round are kept and asked again one after the other, so that
    // exactly one of the two is answered otherwise.
    let mock = Mock::start("--embed-time 2ms --fault other-vector:2");
    let run = loadgen(&format!(
        "--target m={} --workload embed --rounds 2 --requests 9",
        mock.url
    ));
    assert_eq!(run.code, 4, "{}", run.table);
    assert!(
        on_one_line(&run.table).contains("replies under load are those given alone"),
        "{}",
        run.table
    );
}

#[test]
fn goodput_counts_good_replies_in_time_and_confidence_is_the_files() {
    let mock = Mock::start("--ttft 20ms --itl 1ms");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slo.toml");
    let measured = |ttft: &str, confidence: &str| {
        let text = format!(
            "schema = 1\nkind = \"generate\"\n[output]\ntokens = 4\n[rounds]\ncount = 6\nrequests = 10\n[slo]\nttft = \"{ttft}\"\n\
             [[assert]]\nexpr = \"m.ttft.p95 < 1s\"\n{confidence}"
        );
        std::fs::write(&path, text).unwrap();
        loadgen(&format!(
            "run {} --target m={} --quiet --no-checks",
            path.display(),
            mock.url
        ))
    };
    let kept = measured("1s", "");
    assert_eq!(kept.served(0)["good_in_time"], 60);
    assert_eq!(
        kept.served(0)["goodput_per_s"],
        kept.served(0)["requests_per_s"]
    );
    assert_eq!(
        kept.code, 3,
        "60 requests do not carry 99 %: {}",
        kept.table
    );
    let broken = measured("10ms", "confidence = 0.6");
    assert_eq!(broken.served(0)["good_in_time"], 0);
    assert_eq!(broken.json["workloads"][0]["slo"]["ttft_ms"], 10.0);
    assert!(broken.table.contains("goodput/s"), "{}", broken.table);
    assert_eq!(
        broken.code, 0,
        "they do carry 60 %, also where a busy machine makes them resemble each other: {}",
        broken.table
    );
}
