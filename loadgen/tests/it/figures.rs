use serde_json::Value;

use crate::support::{Mock, assert_between, loadgen};

/// What a loaded machine may add to a time, milliseconds. A reply is never earlier than it was scripted.
const NOISE_MS: f64 = 15.0;

#[test]
fn known_times_and_counts_of_a_generated_text_are_recovered() {
    let mock = Mock::start("--ttft 40ms --itl 10ms");
    let run = loadgen(&format!(
        "--target m={} --workload generate --rounds 2 --requests 6 --concurrency 2 --num-predict 12",
        mock.url
    ));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let served = run.served(0);
    assert_eq!(
        (served["requests"].as_u64(), served["failed"].as_u64()),
        (Some(12), Some(0))
    );
    let p50 = |metric| &run.metric(0, metric)["p50"]["value"];
    assert_between(p50("ttft"), 40.0, 40.0 + NOISE_MS);
    let between = run.metric(0, "icl");
    assert_between(&between["mean"], 9.0, 11.0);
    assert_eq!(between["n"], 12 * 11);
    let counts = between["histogram"]["counts"].as_array().unwrap();
    assert_eq!(
        counts.iter().filter_map(Value::as_u64).sum::<u64>(),
        12 * 11
    );
    assert_between(p50("e2e"), 150.0, 150.0 + NOISE_MS);
    assert_between(p50("tpot"), 9.0, 11.7);
    assert_between(p50("decode_rate"), 85.0, 115.0);
    assert_between(p50("claimed_rate"), 99.9, 100.1);
    assert_eq!(served["mean_output_tokens"], 12.0);
    assert_eq!(served["pieces_per_token"], 1.0);
    // Two streams of 12 tokens per 150 ms each.
    assert_between(&served["output_tokens_per_s"], 120.0, 160.1);
    assert_eq!(served["mean_input_tokens"], 12.0);
}

#[test]
fn pieces_cut_inside_characters_and_empty_ones_change_no_figure() {
    let mock = Mock::start(
        "--ttft 40ms --itl 10ms --fault split --fault empty-first --tokens-per-chunk 2",
    );
    let run = loadgen(&format!(
        "--target m={} --workload generate --rounds 2 --requests 3 --num-predict 8",
        mock.url
    ));
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_between(
        &run.metric(0, "ttft")["p50"]["value"],
        40.0,
        40.0 + NOISE_MS,
    );
    assert_eq!(
        run.metric(0, "icl")["n"],
        6 * 3,
        "four pieces of two tokens"
    );
    assert_eq!(run.served(0)["pieces_per_token"], 0.5);
}

#[test]
fn a_text_that_the_model_ends_is_counted_at_its_true_length() {
    let mock = Mock::start("--ttft 10ms --itl 5ms --eos-at 5");
    let run = loadgen(&format!(
        "--target m={} --workload generate --rounds 1 --requests 4",
        mock.url
    ));
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.served(0)["mean_output_tokens"], 5.0);
}

#[test]
fn vectors_and_labels_are_timed_and_checked() {
    let mock = Mock::start("--embed-time 20ms --classify-time 10ms --dimensions 7 --labels yes,no");
    let run = loadgen(&format!(
        "--target m={} --workload embed,classify --rounds 2 --requests 5",
        mock.url
    ));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let [embed, classify] = [0, 1].map(|workload| &run.json["workloads"][workload]);
    assert_eq!(embed["lanes"][0]["dimensions"], 7);
    assert_between(&run.metric(0, "e2e")["p50"]["value"], 20.0, 20.0 + NOISE_MS);
    assert_eq!(
        classify["lanes"][0]["labels"],
        serde_json::json!(["no", "yes"])
    );
    assert_between(&run.metric(1, "e2e")["p50"]["value"], 10.0, 10.0 + NOISE_MS);
}

#[test]
fn every_concurrency_is_a_row_of_its_own_and_shares_the_work() {
    let mock = Mock::start("--embed-time 20ms");
    let run = loadgen(&format!(
        "--target m={} --workload embed --rounds 1 --requests 8 --concurrency 1,4",
        mock.url
    ));
    let rows = run.json["workloads"][0]["rows"].as_array().unwrap();
    let callers = [0, 1].map(|row: usize| &rows[row]["load"]["concurrency"]);
    assert_eq!(callers, [1, 4]);
    let rates = [0, 1].map(|row: usize| rows[row]["served"][0]["requests_per_s"].as_f64().unwrap());
    assert!(
        rates[0] <= 50.0 && rates[1] <= 200.0 && rates[1] > 1.5 * rates[0],
        "{rates:?}"
    );
}

#[test]
fn raw_samples_tell_where_each_request_belongs() {
    let mock = Mock::start("");
    let run = loadgen(&format!(
        "--target a={0} --target b={0} --workload embed --rounds 4 --requests 2 --seed 0",
        mock.url
    ));
    let samples = &run.raw;
    assert_eq!(
        samples.len(),
        2 * 4 * 2,
        "warm-up requests are not among the samples"
    );
    let turns: Vec<u64> = (0..4)
        .map(|round| {
            let first = samples
                .iter()
                .find(|sample| sample["target"] == "a" && sample["round"] == round);
            first.unwrap()["turn"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(turns, [0, 1, 0, 1], "AB, BA, AB, BA");
    assert!(
        samples
            .iter()
            .all(|sample| sample["end_ns"].as_u64() > sample["intended_ns"].as_u64())
    );
}

#[test]
fn the_same_seed_sends_the_same_texts() {
    let mock = Mock::start("");
    let hash = |seed: u32| {
        let run = loadgen(&format!(
            "--target m={} --workload embed --rounds 2 --requests 3 --seed {seed}",
            mock.url
        ));
        run.json["workloads"][0]["inputs_sha256"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let first = hash(1);
    assert_eq!(first.len(), 64);
    assert_eq!(first, hash(1));
    assert_ne!(first, hash(2));
}
