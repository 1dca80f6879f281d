//! The metrics page after real traffic: its numbers, and that each metric is documented.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::json;

use crate::server::{Reply, Server};

#[tokio::test]
async fn a_scrape_tells_what_the_traffic_was() {
    let server = Server::start().await;
    let before = Scrape::of(&server).await;
    let options = json!({ "temperature": 0, "num_predict": 8 });
    for number in 0..3 {
        let prompt = format!("Count from {number} to 9");
        let body = json!({ "model": "tiny", "prompt": prompt, "think": false, "options": options, "stream": false });
        server.post("/api/generate", body).await.json();
    }
    server
        .post(
            "/api/embed",
            json!({ "model": "tiny-embed", "input": ["one", "two"] }),
        )
        .await
        .json();
    server
        .post(
            "/classify",
            json!({ "model": "tiny-classify", "input": "good" }),
        )
        .await
        .json();
    let after = Scrape::of(&server).await;

    let generate = "model=\"tiny:latest\",operation=\"generate\"";
    let ok = "model=\"tiny:latest\",operation=\"generate\",status=\"ok\"";
    // Other tests share the recorder, so only growth can be told.
    let grown = |name: &str, labels: &str| after.value(name, labels) - before.value(name, labels);
    assert!(grown("llm_requests_total", ok) >= 3.0);
    assert!(grown("llm_time_to_first_token_seconds_count", generate) >= 3.0);
    assert!(grown("llm_inter_token_latency_seconds_count", generate) >= 3.0);
    assert!(grown("llm_generated_tokens_total", "model=\"tiny:latest\"") >= 6.0);
    assert!(grown("llm_prompt_tokens_total", "model=\"tiny-embed:latest\"") >= 2.0);
    assert!(grown("llm_batch_size_count", "model=\"tiny:latest\"") >= 6.0);
    assert!(after.value("llm_models_loaded", "") >= 1.0);
    assert!(after.value("process_resident_memory_bytes", "") > 1e6);
    let worker = "model=\"tiny:latest\"";
    let resident = after.value("llm_worker_resident_memory_bytes", worker);
    assert!(resident > 3e6, "more than its weights: {resident}");
    assert!(after.value("llm_worker_peak_resident_memory_bytes", worker) >= resident);
    assert!(after.value("llm_worker_proportional_memory_bytes", worker) > 0.0);
    assert!(after.value("llm_memory_ratio", "") > 1.0);
    assert!(after.value("llm_threads", worker) >= 1.0);
    assert_eq!(after.value("llm_cache_number_bytes", worker), 2.0);
    // As the trial of our own attention chose on this machine.
    let models = server.get("/api/ps").await.json()["models"].clone();
    let tiny = models
        .as_array()
        .unwrap()
        .iter()
        .find(|model| model["name"] == "tiny:latest");
    let computed_by = tiny.unwrap()["computed_by"].as_str().unwrap().to_owned();
    let is_on = f64::from(u8::from(computed_by.contains("flash attention on")));
    assert_eq!(
        after.value("llm_flash_attention", worker),
        is_on,
        "{computed_by}"
    );
}

#[tokio::test]
async fn every_metric_is_documented_and_every_documented_one_exists() {
    let server = Server::start().await;
    server
        .post("/api/embed", json!({ "model": "tiny-embed", "input": "x" }))
        .await
        .json();
    let scraped = Scrape::of(&server).await.families;
    let documented = documented();
    let undocumented: Vec<_> = scraped.difference(&documented).collect();
    assert!(
        undocumented.is_empty(),
        "not in docs/METRICS.md: {undocumented:?}"
    );
    // Some are emitted only when something goes wrong; they exist where they are described.
    let source = include_str!("../../src/metrics.rs");
    let missing: Vec<_> = documented
        .iter()
        .filter(|name| !source.contains(&format!("\"{name}\"")))
        .collect();
    assert!(
        missing.is_empty(),
        "documented but not recorded: {missing:?}"
    );
}

/// Names in the first column of the table in `docs/METRICS.md`.
fn documented() -> BTreeSet<String> {
    let page = include_str!("../../../docs/METRICS.md");
    let names = page
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()));
    let names: BTreeSet<_> = names.collect();
    assert!(names.len() > 20, "the table is found");
    names
}

/// A page in Prometheus' text format.
struct Scrape {
    families: BTreeSet<String>,
    /// By name and labels as written.
    samples: BTreeMap<String, f64>,
}

impl Scrape {
    async fn of(server: &Server) -> Self {
        let page = server.get("/metrics").await;
        assert_eq!(page.status, 200);
        let mut scrape = Self {
            families: BTreeSet::new(),
            samples: BTreeMap::new(),
        };
        for line in page.text.lines().filter(|line| !line.is_empty()) {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                scrape
                    .families
                    .insert(family.split(' ').next().unwrap().to_owned());
            } else if !line.starts_with('#') {
                let (sample, value) = line.rsplit_once(' ').unwrap();
                let value: f64 = value.parse().unwrap();
                assert!(value.is_finite(), "{line}");
                scrape.samples.insert(sample.to_owned(), value);
            }
        }
        scrape
    }

    /// A sample, or 0 if it has not been recorded yet.
    fn value(&self, name: &str, labels: &str) -> f64 {
        let sample = if labels.is_empty() {
            name.to_owned()
        } else {
            format!("{name}{{{labels}}}")
        };
        self.samples.get(&sample).copied().unwrap_or(0.0)
    }
}

#[tokio::test]
async fn callers_cannot_make_up_series() {
    let server = Server::start().await;
    for word in ["SHOUT", "WHISPER"] {
        let method = Method::from_bytes(word.as_bytes()).unwrap();
        let reply = Reply::of(server.request(method, &format!("/nothing/{word}"))).await;
        assert_eq!(reply.status, 404);
    }
    let page = server.get("/metrics").await.text;
    assert!(
        !page.contains("SHOUT") && !page.contains("WHISPER"),
        "{page}"
    );
    let counted = "method=\"_OTHER\",route=\"none\",status=\"404\"";
    assert!(page.contains(counted), "{page}");
}
