use std::process::Command;

use serde_json::{Value, json};

use crate::support::{LOADGEN, Mock, loadgen};

/// The page of a saved report.
fn page(report: &Value) -> String {
    let folder = tempfile::tempdir().unwrap();
    let [saved, page] = ["run.json", "run.html"].map(|name| folder.path().join(name));
    std::fs::write(&saved, report.to_string()).unwrap();
    let output = Command::new(LOADGEN)
        .arg("report")
        .arg(&saved)
        .arg("--html")
        .arg(&page)
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    std::fs::read_to_string(page).unwrap()
}

fn measured() -> Value {
    let fast = Mock::start("--ttft 2ms --itl 1ms --worker-mib 10");
    let slow = Mock::start("--ttft 4ms --itl 1ms --worker-mib 20");
    let run = loadgen(&format!(
        "--target fast={} --target slow={} --workload generate --rounds 8 --requests 10 --num-predict 4 --concurrency 2,5 --quiet",
        fast.url, slow.url
    ));
    assert_eq!(run.code, 0, "{}", run.stderr);
    run.json
}

#[test]
fn a_page_shows_every_panel_and_loads_nothing() {
    let page = page(&measured());
    for panel in [
        "validity",
        "results",
        "forest",
        "w0-frontier",
        "w0r0-e2e-spectrum",
        "w0r0-e2e-ecdf",
        "w0r0-ttft-spectrum",
        "w0r0-rounds",
        "w0r1-icl",
        "w0-memory-0",
        "w0-memory-1",
        "environment",
        "command",
    ] {
        assert!(page.contains(&format!("id=\"{panel}\"")), "no {panel}");
    }
    assert!(page.contains("default-src 'none'"));
    for reference in ["src=\"", "href=\"http", "url(", "@import", "NaN"] {
        assert!(!page.contains(reference), "{reference}");
    }
}

#[test]
fn words_of_strangers_are_never_markup() {
    let mut report = measured();
    let hostile = "</script><img src=x onerror=alert(1)>\u{202e}\"'&";
    report["targets"][0]["version"] = json!(hostile);
    report["targets"][0]["name"] = json!(hostile);
    report["command"] = json!(["loadgen", hostile]);
    let workload = &mut report["workloads"][0];
    workload["name"] = json!(hostile);
    workload["lanes"][0]["target"] = json!(hostile);
    workload["rows"][0]["label"] = json!(hostile);
    workload["rows"][0]["served"][0]["first_failure"] = json!(hostile);
    workload["rows"][0]["comparisons"][0]["candidate"] = json!(hostile);
    report["validity"]["not_comparable"] = json!([hostile]);
    report["validity"]["gates"] = json!([{
        "id": "x", "title": hostile, "outcome": "fail", "measured": hostile, "limit": hostile, "scope": hostile,
    }]);
    let page = page(&report);
    assert!(!page.contains("<img") && !page.contains('\u{202e}'));
    assert_eq!(page.matches("</script").count(), 1, "only the page's own");
    assert!(page.contains("&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;"));
}

#[test]
fn a_hundred_thousand_requests_make_a_page_of_a_few_megabytes_with_exact_percentiles() {
    let mut report = measured();
    let row = &mut report["workloads"][0]["rows"][0];
    let slot = |turn: usize| {
        // Values from 1 ms to 50,000 ms, each once: the median is known.
        let times: Vec<f64> = (1..=50_000_u32).map(f64::from).collect();
        let tokens: Vec<u64> = (0..50_000).map(|index| 10 + index % 90).collect();
        json!({
            "turn": turn, "started_ms": 0.0, "wall_ms": 1.0, "noise": null,
            "samples": {
                "e2e_ms": times, "ttft_ms": times, "tpot_ms": [], "input_tokens": tokens, "output_tokens": [],
            },
        })
    };
    row["rounds"] = json!([{ "index": 0, "slots": [slot(0), slot(1)] }]);
    let page = page(&report);
    assert!(page.len() < 2 << 20, "{} bytes", page.len());
    assert!(
        page.contains("<th scope=\"row\">50 %</th><td>25.0 s</td>"),
        "exact"
    );
    assert!(page.contains("<th scope=\"row\">99.9 %</th><td>50.0 s</td>"));
    assert!(
        page.contains("1390 of 100000 requests are shown"),
        "and says so"
    );
}

#[test]
fn reports_of_two_times_are_compared_only_for_equal_work() {
    let folder = tempfile::tempdir().unwrap();
    let measure = |name: &str, options: &str, seed: u32| {
        let mock = Mock::start(options);
        let path = folder.path().join(name);
        let status = Command::new(LOADGEN)
            .args([
                "--target",
                &format!("ours={}", mock.url),
                "--workload",
                "embed",
            ])
            .args([
                "--rounds",
                "8",
                "--requests",
                "10",
                "--quiet",
                "--seed",
                &seed.to_string(),
            ])
            .arg("--json")
            .arg(&path)
            .output()
            .unwrap();
        assert!(
            path.exists(),
            "a gate may fail on a busy machine, but the report is there: {status:?}"
        );
        path
    };
    let fast = measure("fast.json", "--embed-time 5ms", 1);
    let slow = measure("slow.json", "--embed-time 30ms", 1);
    let other = measure("other.json", "--embed-time 5ms", 2);
    let compare = |one: &std::path::Path, two: &std::path::Path| {
        let output = Command::new(LOADGEN)
            .arg("compare")
            .args([one, two])
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, table, stderr) = compare(&fast, &slow);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        table.contains("unpaired in time: drift not controlled"),
        "{table}"
    );
    assert!(table.contains("faster"), "{table}");
    let (code, table, stderr) = compare(&fast, &other);
    assert_eq!((code, table.as_str()), (Some(4), ""));
    assert!(
        stderr.contains("embed: the inputs differ") && stderr.contains("--seed 1"),
        "{stderr}"
    );
}
