use std::{fs, path::PathBuf};

use serde_json::Value;

use crate::support::{Mock, Outcome, assert_between, loadgen};

/// Measures one target under a workload file with this text.
fn measure(url: &str, text: &str) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("w.toml");
    fs::write(&path, format!("schema = 1\nname = \"w\"\n{text}")).unwrap();
    loadgen(&format!(
        "run {} --target m={url} --quiet --no-checks --keep-loaded",
        path.display()
    ))
}

fn e2e<'a>(run: &'a Outcome, percentile: &str) -> &'a Value {
    &run.metric(0, "e2e")[percentile]["value"]
}

#[test]
fn a_standstill_is_paid_for_by_everyone_who_arrived_in_it() {
    // Fifty arrivals 20 ms apart; half of them meet a server that stands still for half a second.
    let mock = Mock::start("--embed-time 1ms --freeze 500ms@400ms");
    let run = measure(
        &mock.url,
        "kind = \"embed\"\n[[load]]\nmodel = \"open\"\narrival = \"constant\"\nrate = 50\n[rounds]\ncount = 1\nrequests = 50\nwarmup = 0\n",
    );
    assert_eq!(run.served(0)["failed"], 0, "{}", run.stderr);
    // They wait 500, 480, 460, ... ms: the 48th of 50 times is the third longest.
    assert_between(e2e(&run, "p95"), 430.0, 560.0);
    assert_between(e2e(&run, "p50"), 0.5, 60.0);
    assert_eq!(run.raw.len(), 50);
}

#[test]
fn what_waits_for_a_free_place_is_sent_late_and_pays_for_it() {
    let mock = Mock::start("--embed-time 30ms");
    let run = measure(
        &mock.url,
        "kind = \"embed\"\n[[load]]\nmodel = \"open\"\narrival = \"constant\"\nrate = 100\nmax_in_flight = 1\n[rounds]\ncount = 1\nrequests = 20\n",
    );
    assert_eq!(run.raw.len(), 20, "no arrival is dropped");
    // The last one arrives after 190 ms and is answered after twenty times 30 ms.
    assert_between(e2e(&run, "p99"), 400.0, 900.0);
}

#[test]
fn a_target_that_cannot_keep_up_is_unstable_and_not_compared() {
    let fast = Mock::start("--embed-time 1ms");
    let slow = Mock::start("--embed-time 20ms --slots 1");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.toml");
    fs::write(
        &path,
        "schema = 1\nkind = \"embed\"\n[[load]]\nmodel = \"open\"\narrival = \"constant\"\nrate = 100\n[rounds]\ncount = 6\nrequests = 30\n",
    )
    .unwrap();
    let run = loadgen(&format!(
        "run {} --target fast={} --target slow={} --quiet",
        path.display(),
        fast.url,
        slow.url
    ));
    let row = run.row(0);
    assert_eq!(row["label"], "open constant 100/s");
    let reason = row["served"][1]["unstable"].as_str().unwrap();
    assert!(reason.contains("cannot keep up"), "{reason}");
    let refused = row["comparisons"][0]["unavailable"].as_str().unwrap();
    assert!(refused.contains("unstable"), "{refused}");
    assert!(run.table.contains("UNSTABLE"), "{}", run.table);
}

#[test]
fn the_highest_rate_within_a_promise_is_found() {
    let mock = Mock::start("--embed-time 5ms --slots 1");
    let run = measure(
        &mock.url,
        "kind = \"embed\"\n[[load]]\nmodel = \"search\"\nmetric = \"e2e.p95\"\nmax = \"150ms\"\narrival = \"constant\"\nrate = 40\nprecision = 0.3\n[rounds]\ncount = 1\nrequests = 90\n",
    );
    let found = &run.json["workloads"][0]["searches"][0]["outcomes"][0];
    // 5 ms each is 200 per second; the mock's timers make it less.
    assert_between(&found["highest_per_s"], 40.0, 240.0);
    assert!(found["steps"].as_array().unwrap().len() >= 3, "{found}");
    assert!(run.table.contains("highest rate"), "{}", run.table);
}

#[test]
fn conversations_carry_what_was_said_and_every_turn_counts() {
    let mock = Mock::start("--ttft 2ms --itl 1ms");
    let run = measure(
        &mock.url,
        "kind = \"chat\"\n[output]\ntokens = 4\n[turns]\ncount = 3\nthink_time = \"5ms\"\n[[load]]\nmodel = \"closed\"\nconcurrency = 2\n[rounds]\ncount = 2\nrequests = 2\n",
    );
    assert_eq!(run.served(0)["requests"], 2 * 2 * 3);
    assert_eq!(run.served(0)["failed"], 0);
}

#[test]
fn a_mix_reports_each_part_by_itself() {
    let mock = Mock::start("--ttft 2ms --itl 1ms");
    let run = loadgen(&format!(
        "run mixed --target m={} --rounds 1 --requests 12 --num-predict 4 --quiet --no-checks --concurrency 3 --seed 1",
        mock.url
    ));
    let workloads = run.json["workloads"].as_array().unwrap();
    let names: Vec<&Value> = workloads.iter().map(|one| &one["name"]).collect();
    assert_eq!(
        names,
        [
            "mixed/chat-short",
            "mixed/embed-query",
            "mixed/classify-short"
        ]
    );
    let requests: u64 = workloads
        .iter()
        .filter_map(|one| one["rows"][0]["served"][0]["requests"].as_u64())
        .sum();
    assert_eq!(requests, 12);
}

#[test]
fn a_trace_is_replayed_when_and_as_it_was_recorded() {
    let mock = Mock::start("--embed-time 1ms");
    let folder = tempfile::tempdir().unwrap();
    let rows = folder.path().join("rows.jsonl");
    fs::write(
        &rows,
        "{\"prompt\":\"one\",\"at_ms\":0}\n{\"prompt\":\"two\",\"at_ms\":40}\n{\"prompt\":\"three\",\"at_ms\":120}\n",
    )
    .unwrap();
    let run = measure(
        &mock.url,
        &format!(
            "kind = \"embed\"\n[prompt]\nsource = \"jsonl:{0}\"\n[[load]]\nmodel = \"trace\"\npath = \"{0}\"\n[rounds]\ncount = 1\n",
            rows.display()
        ),
    );
    let started: Vec<u64> = run
        .raw
        .iter()
        .map(|sample| sample["intended_ns"].as_u64().unwrap())
        .collect();
    assert_eq!(started.len(), 3);
    assert_eq!(started[1] - started[0], 40_000_000);
    assert_eq!(started[2] - started[0], 120_000_000);
}

#[test]
fn other_dialects_are_measured_alike() {
    let mock = Mock::start("--ttft 5ms --itl 2ms --labels good,bad");
    let check = |options: &str, workload: usize| {
        let run = loadgen(&format!(
            "--target m={},{options} --rounds 1 --requests 3 --num-predict 4 --quiet --no-checks",
            mock.url
        ));
        let served = &run.row(workload)["served"][0];
        assert_eq!(served["failed"], 0, "{served}");
        run
    };
    let openai = check(
        "api=openai,model=tiny --labels good,bad --workload generate,chat-short,embed-bulk,classify --concurrency 1",
        3,
    );
    let lanes = |workload: usize| openai.json["workloads"][workload]["lanes"][0].clone();
    assert_eq!(lanes(0)["route"], "/v1/completions");
    assert_eq!(lanes(1)["route"], "/v1/chat/completions");
    assert_eq!(lanes(3)["emulated"], true);
    check("api=tei --workload embed,classify", 1);
}

#[test]
fn measured_requests_open_no_connections_of_their_own() {
    let mock = Mock::start("--embed-time 2ms");
    let run = loadgen(&format!(
        "--target m={} --workload embed --concurrency 4 --rounds 2 --requests 12 --no-checks --quiet",
        mock.url
    ));
    assert_eq!(run.served(0)["new_connections"], 0);
}
