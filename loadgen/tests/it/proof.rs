//! The tool against servers whose truth is known, often enough to count how often it is right. These take minutes and a quiet
//! machine: `make loadgen-proof`. Their simulated twins, in `stats::simulation`, run with every test.

use serde_json::Value;

use crate::support::{Mock, Outcome, loadgen, loadgen_plain};

/// The interval of the ratio of P95 end to end.
fn interval(run: &Outcome) -> (f64, f64) {
    let comparison = run.comparison("e2e", "p95");
    match (comparison["low"].as_f64(), comparison["high"].as_f64()) {
        (Some(low), Some(high)) => (low, high),
        _ => panic!("no ratio: {comparison}"),
    }
}

fn pair(one: &Mock, other: &Mock, seed: u32, size: &str) -> Outcome {
    let run = loadgen(&format!(
        "--target a={} --target b={} --workload embed --seed {seed} --quiet --no-checks {size}",
        one.url, other.url
    ));
    assert!([0, 4].contains(&run.code), "{}{}", run.table, run.stderr);
    run
}

#[test]
#[ignore = "minutes: make loadgen-proof"]
fn two_hundred_null_comparisons_find_a_difference_in_at_most_eight_percent() {
    let one = Mock::start("--embed-time 20ms --jitter 0.1 --jitter-seed 1");
    let other = Mock::start("--embed-time 20ms --jitter 0.1 --jitter-seed 2");
    let mut significant = 0;
    let mut claimed = 0;
    for seed in 0..200 {
        let run = pair(
            &one,
            &other,
            seed,
            "--rounds 10 --requests 10 --concurrency 5",
        );
        let (low, high) = interval(&run);
        significant += u32::from(low > 1.0 || high < 1.0);
        let verdict = &run.comparison("e2e", "p95")["verdict"];
        claimed += u32::from(verdict == "faster" || verdict == "slower");
    }
    println!("of 200 null comparisons {significant} exclude 1, {claimed} claim a difference");
    assert!(significant <= 16, "{significant} of 200");
}

#[test]
#[ignore = "minutes: make loadgen-proof"]
fn a_tenth_slower_is_found_and_lies_inside_the_interval() {
    let slow = Mock::start("--embed-time 44ms --jitter 0.05 --jitter-seed 1");
    let fast = Mock::start("--embed-time 40ms --jitter 0.05 --jitter-seed 2");
    let (mut found, mut covered) = (0, 0);
    for seed in 0..100 {
        let run = pair(
            &slow,
            &fast,
            seed,
            "--rounds 12 --requests 10 --concurrency 5",
        );
        let (low, high) = interval(&run);
        found += u32::from(run.comparison("e2e", "p95")["verdict"] == "slower");
        covered += u32::from(low <= 1.10 && 1.10 <= high);
    }
    println!(
        "of 100 comparisons {found} find the slower server, {covered} have 1.10 in the interval"
    );
    assert!(found >= 90 && covered >= 90, "{found}, {covered} of 100");
}

#[test]
#[ignore = "minutes: make loadgen-proof"]
fn a_machine_that_slows_down_favours_nobody() {
    // Half as slow again within the three seconds of a run.
    let drifting = "--embed-time 20ms --jitter 0.05 --drift-per-minute 10";
    let mut significant = 0;
    for seed in 0..40 {
        let one = Mock::start(&format!("{drifting} --jitter-seed {}", 2 * seed));
        let other = Mock::start(&format!("{drifting} --jitter-seed {}", 2 * seed + 1));
        let (low, high) = interval(&pair(
            &one,
            &other,
            seed,
            "--rounds 10 --requests 10 --concurrency 5",
        ));
        significant += u32::from(low > 1.0 || high < 1.0);
    }
    println!("of 40 null comparisons under drift {significant} exclude 1");
    assert!(significant <= 6, "{significant} of 40");
}

#[test]
#[ignore = "minutes: make loadgen-proof"]
fn times_and_counts_are_recovered_within_the_calibrated_noise() {
    let calibrated = loadgen_plain("calibrate --dry-run");
    let level: Vec<f64> = calibrated
        .table
        .lines()
        .filter_map(|line| {
            line.split_whitespace()
                .map(|word| word.parse().ok())
                .collect::<Option<Vec<f64>>>()
        })
        .next()
        .unwrap();
    // The mock's own timer is late by up to 1 ms; the rest is the client's noise at its 99th percentile.
    let allowed = level[2] + 1.5;
    let mock = Mock::start("--ttft 50ms --itl 10ms");
    let run = loadgen(&format!(
        "--target m={} --workload generate --rounds 4 --requests 10 --num-predict 16",
        mock.url
    ));
    let near = |value: &Value, truth: f64| {
        let value = value.as_f64().unwrap();
        println!("{value:.3} ms for {truth} ms, {allowed:.3} ms allowed");
        assert!(
            (truth - 0.1..truth + allowed).contains(&value),
            "{value} for {truth}"
        );
    };
    let p50 = |metric: &str| run.metric(0, metric)["p50"]["value"].clone();
    near(&p50("ttft"), 50.0);
    near(&run.metric(0, "icl")["mean"], 10.0);
    near(&p50("e2e"), 200.0);
    assert_eq!(run.served(0)["mean_output_tokens"], 16.0);
}
