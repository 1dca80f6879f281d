use serde_json::Value;

use crate::support::{Mock, assert_between, loadgen};

const MIB: f64 = 1024.0 * 1024.0;

#[test]
fn the_memory_of_a_servers_child_is_found_behind_the_port() {
    let mock = Mock::start("--worker-mib 80 --model-bytes 50000000");
    let run = loadgen(&format!(
        "--target m={} --workload embed --rounds 2 --requests 10",
        mock.url
    ));
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(
        run.json["targets"][0]["pids"],
        serde_json::json!([mock.pid()])
    );
    let memory = &run.json["workloads"][0]["memory"][0];
    assert_eq!(memory["peak"]["processes"], 2);
    assert_between(&memory["peak"]["rss_bytes"], 80.0 * MIB, 120.0 * MIB);
    assert_between(&memory["peak"]["anon_bytes"], 80.0 * MIB, 120.0 * MIB);
    assert_between(&memory["pss_after_bytes"], 80.0 * MIB, 120.0 * MIB);
    assert_eq!(memory["loaded"][0]["bytes"], 50_000_000);
    let ratio = memory["peak"]["rss_bytes"].as_f64().unwrap() / 50e6;
    assert_between(&memory["ratio"], ratio - 1e-9, ratio + 1e-9);
    assert!(run.table.contains(&format!("{ratio:.2}")), "{}", run.table);
    assert!(memory["readings"].as_array().unwrap().len() >= 2);
}

#[test]
fn targets_are_watched_apart() {
    let small = Mock::start("");
    let large = Mock::start("--worker-mib 80");
    let run = loadgen(&format!(
        "--target small={} --target large={} --workload embed --rounds 1 --requests 2",
        small.url, large.url
    ));
    let memory = &run.json["workloads"][0]["memory"];
    assert_between(&memory[0]["peak"]["rss_bytes"], MIB, 40.0 * MIB);
    assert_between(&memory[1]["peak"]["rss_bytes"], 80.0 * MIB, 120.0 * MIB);
}

/// Resident memory at the end of a phase of the first target, in MiB.
fn end_of(memory: &Value, phase: &str) -> f64 {
    let phases = memory["phases"].as_array().unwrap();
    let found = phases.iter().find(|one| one["name"] == phase);
    found.unwrap_or_else(|| panic!("no {phase} in {phases:?}"))["end_rss_bytes"]
        .as_f64()
        .unwrap()
        / MIB
}

#[test]
fn memory_is_told_phase_by_phase_from_no_model_to_no_model() {
    let mock = Mock::start("--worker-mib 80");
    let run = loadgen(&format!(
        "--target m={} --workload embed --rounds 2 --requests 10",
        mock.url
    ));
    let memory = &run.json["workloads"][0]["memory"][0];
    let names: Vec<&str> = memory["phases"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|phase| phase["name"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            "idle",
            "loading",
            "loaded",
            "warm",
            "load",
            "after",
            "audit",
            "unloading",
            "unloaded"
        ]
    );
    for without in ["idle", "unloaded"] {
        assert!(end_of(memory, without) < 60.0, "{without}: {memory}");
    }
    for with in ["loaded", "warm", "load", "after"] {
        assert!(end_of(memory, with) >= 80.0, "{with}: {memory}");
    }
    assert_between(&memory["pss_after_bytes"], 80.0 * MIB, 120.0 * MIB);
    assert_between(&memory["before"]["rss_bytes"], MIB, 60.0 * MIB);
    assert!(run.table.contains("RSS, no model loaded"), "{}", run.table);
}

#[test]
fn models_that_shall_stay_are_not_unloaded() {
    let mock = Mock::start("--worker-mib 80");
    let run = loadgen(&format!(
        "--target m={} --workload embed --rounds 1 --requests 2 --keep-loaded --no-checks",
        mock.url
    ));
    let memory = &run.json["workloads"][0]["memory"][0];
    let phases = memory["phases"].as_array().unwrap();
    let names: Vec<&Value> = phases.iter().map(|phase| &phase["name"]).collect();
    assert_eq!(names, ["load", "after"]);
    assert_between(&memory["before"]["rss_bytes"], 80.0 * MIB, 120.0 * MIB);
}
