use crate::support::{Mock, assert_between, loadgen};

#[test]
fn two_targets_stand_side_by_side_and_the_faster_one_is_named() {
    let fast = Mock::start("--embed-time 10ms");
    let slow = Mock::start("--embed-time 120ms");
    let run = loadgen(&format!(
        "--target fast={} --target slow={} --workload embed --rounds 8 --requests 10 --concurrency 10",
        fast.url, slow.url
    ));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let comparison = run.comparison("e2e", "p95");
    assert_eq!(
        (&comparison["candidate"], &comparison["baseline"]),
        (&"fast".into(), &"slow".into())
    );
    // The true ratio is 1/12; what a busy machine adds weighs more on the faster side.
    assert_between(&comparison["ratio"], 0.08, 0.8);
    assert_between(&comparison["high"], 0.08, 0.97);
    assert_eq!(comparison["verdict"], "faster", "{comparison}");
    let row = run
        .table
        .lines()
        .find(|line| line.starts_with("    P95"))
        .unwrap();
    assert!(row.contains("faster"), "{}", run.table);
    assert!(run.csv.contains(",e2e,p95,1,fast,slow,"), "{}", run.csv);
}

#[test]
fn too_few_rounds_or_samples_give_no_ratio_and_no_interval() {
    let mock = Mock::start("");
    let run = |options: &str| {
        loadgen(&format!(
            "--target a={0} --target b={0} --workload embed --quiet {options}",
            mock.url
        ))
    };
    let few_rounds = run("--rounds 2 --requests 40");
    assert_eq!(
        few_rounds.comparison("e2e", "p95")["unavailable"],
        "needs 6 rounds"
    );
    let few_samples = run("--rounds 6 --requests 3");
    assert_eq!(
        few_samples.comparison("e2e", "p95")["unavailable"],
        "needs 72"
    );
    let p95 = &few_samples.metric(0, "e2e")["p95"];
    assert!(p95["low"].is_null() && p95["high"].is_null());
    let needs = p95["unavailable"].as_str().unwrap().strip_prefix("needs ");
    assert!(needs.unwrap().parse::<u32>().unwrap() >= 72);
    assert!(
        few_samples.table.contains("n/a, needs 72"),
        "{}",
        few_samples.table
    );
    assert!(
        p95["value"].is_number(),
        "the plain percentile stands, beside its n"
    );
}

#[test]
fn replies_of_unequal_length_are_not_compared_end_to_end() {
    let long = Mock::start("--ttft 2ms --itl 1ms");
    let short = Mock::start("--ttft 2ms --itl 1ms --eos-at 3");
    let run = loadgen(&format!(
        "--target long={} --target short={} --workload generate --rounds 6 --requests 12 --concurrency 4 --num-predict 6",
        long.url, short.url
    ));
    assert_eq!(run.code, 4, "{}", run.stderr);
    assert_eq!(
        run.comparison("e2e", "p95")["unavailable"],
        "unequal lengths"
    );
    assert!(
        run.comparison("ttft", "p95")["ratio"].is_number(),
        "the first token is the same work"
    );
    assert!(
        run.table.contains(
            "NOT COMPARABLE  generate: long and short gave equally long replies to only 0 % of the requests"
        ),
        "{}",
        run.table
    );
}

#[test]
fn different_dimensions_or_labels_are_not_the_same_model() {
    let one = Mock::start("--dimensions 8 --labels a,b");
    let other = Mock::start("--dimensions 9 --labels a,c");
    let run = loadgen(&format!(
        "--target x={} --target y={} --workload embed,classify --rounds 1 --requests 2",
        one.url, other.url
    ));
    assert_eq!(run.code, 4, "{}", run.stderr);
    assert_eq!(
        run.json["validity"]["not_comparable"],
        serde_json::json!([
            "embed: x and y give vectors of 8 and 9 numbers: not the same model",
            "classify: x and y know different labels (a, b; a, c): not the same model",
        ])
    );
}
