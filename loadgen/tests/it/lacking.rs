use crate::support::{Mock, loadgen};

#[test]
fn a_route_that_a_target_lacks_is_not_available_and_no_failure() {
    let whole = Mock::start("");
    let without = Mock::start("--lack classify");
    let run = loadgen(&format!(
        "--target ours={} --target other={} --rounds 1 --requests 2",
        whole.url, without.url
    ));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let classify = &run.json["workloads"][2];
    assert_eq!(classify["lanes"][1]["unavailable"], "no /classify");
    let served = &run.row(2)["served"];
    assert!(served[0].is_object() && served[1].is_null());
    assert_eq!(
        run.row(2)["comparisons"][0]["unavailable"],
        "not measured on both"
    );
    assert!(
        run.table.contains("other: n/a, no /classify"),
        "{}",
        run.table
    );
    let row = run
        .table
        .lines()
        .rev()
        .find(|line| line.starts_with("  failed"))
        .unwrap();
    assert_eq!(
        row.split_whitespace().collect::<Vec<_>>(),
        ["failed", "0", "n/a"]
    );
}

#[test]
fn a_missing_model_is_not_available_and_names_the_remedy() {
    let whole = Mock::start("");
    let without = Mock::start("--models tiny");
    let run = loadgen(&format!(
        "--target a={} --target b={} --workload generate,embed --rounds 1 --requests 2 --num-predict 2 --quiet",
        whole.url, without.url
    ));
    assert_eq!(run.code, 5);
    assert_eq!(
        run.stderr,
        "warning: b cannot embed with \"tiny-embed\" (model 'tiny-embed' not found): pass --model b:embed=NAME\n"
    );
    assert!(
        run.table.contains("b: n/a, model 'tiny-embed' not found"),
        "{}",
        run.table
    );
    assert!(run.served(1).is_object(), "the other workload is measured");
}

#[test]
fn nothing_to_measure_ends_at_once() {
    let mock = Mock::start("--lack embed");
    let run = loadgen(&format!("--target m={} --workload embed", mock.url));
    assert_eq!(run.code, 5);
    assert_eq!(
        run.stderr,
        "error: m has no /api/embed, which embed needs\n"
    );
    assert_eq!(run.table, "");
}

#[test]
fn a_target_may_have_models_of_its_own() {
    let one = Mock::start("");
    let other = Mock::start("--models all-minilm");
    let run = loadgen(&format!(
        "--target a={} --target b={} --workload embed --rounds 1 --requests 2 --model b:embed=all-minilm",
        one.url, other.url
    ));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let lanes = &run.json["workloads"][0]["lanes"];
    assert_eq!(
        [&lanes[0]["model"], &lanes[1]["model"]],
        ["tiny-embed", "all-minilm"]
    );
    let models = run.table.lines().find(|line| line.starts_with("model"));
    let words: Vec<&str> = models.unwrap().split_whitespace().collect();
    assert_eq!(words, ["model", "tiny-embed", "all-minilm"]);
}

#[test]
fn a_chat_may_stand_in_for_a_classifier_and_is_printed_as_such() {
    let classifier = Mock::start("--labels good,bad");
    let chat = Mock::start("--lack classify --ttft 2ms --itl 1ms");
    let run = loadgen(&format!(
        "--target ours={} --target other={} --workload classify --rounds 1 --requests 3 --classify-via-chat other --labels good,bad",
        classifier.url, chat.url
    ));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let lane = &run.json["workloads"][0]["lanes"][1];
    assert_eq!(
        (&lane["route"], &lane["emulated"]),
        (&"/api/chat".into(), &true.into())
    );
    assert_eq!(run.served(1)["failed"], 0);
    assert_eq!(run.comparison("e2e", "p95")["unavailable"], "emulated");
    assert!(run.table.contains("tiny, by chat"), "{}", run.table);
}
