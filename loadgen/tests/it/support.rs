use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use serde_json::Value;

pub const LOADGEN: &str = env!("CARGO_BIN_EXE_loadgen");

/// A running mock; ended when dropped.
pub struct Mock {
    pub url: String,
    child: Child,
}

impl Mock {
    /// Starts a mock with these options on a free port.
    pub fn start(options: &str) -> Self {
        let mut child = Command::new(LOADGEN)
            .args(["mock", "--listen", "127.0.0.1:0"])
            .args(options.split_whitespace())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line
            .trim()
            .strip_prefix("listening on ")
            .unwrap()
            .to_owned();
        Self { url, child }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a measurement left behind.
pub struct Outcome {
    pub code: i32,
    pub table: String,
    pub stderr: String,
    pub json: Value,
    /// Every measured request.
    pub raw: Vec<Value>,
    /// As a spreadsheet reads it.
    pub csv: String,
}

/// Runs `loadgen` with these options; words are split at blanks.
pub fn loadgen(options: &str) -> Outcome {
    let words: Vec<&str> = options.split_whitespace().collect();
    run(&words, &[])
}

/// Measurements have the machine to themselves, as far as other tests go: `loadgen` tells when it was disturbed.
static MACHINE: Mutex<()> = Mutex::new(());

/// Runs `loadgen` with these words, then those.
pub fn run(words: &[&str], more: &[&str]) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let _alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let [json, raw, csv] = ["json", "raw", "csv"].map(|form| folder.path().join(form));
    let output = Command::new(LOADGEN)
        .args(words)
        .args(more)
        .arg("--json")
        .arg(&json)
        .arg("--raw")
        .arg(&raw)
        .arg("--csv")
        .arg(&csv)
        .output()
        .unwrap();
    Outcome {
        code: output.status.code().unwrap(),
        table: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        json: std::fs::read(json).map_or(Value::Null, |bytes| {
            let report = serde_json::from_slice(&bytes).unwrap();
            assert_valid("report", &report);
            report
        }),
        raw: std::fs::read_to_string(raw)
            .unwrap_or_default()
            .lines()
            .map(|line| {
                let sample = serde_json::from_str(line).unwrap();
                assert_valid("raw", &sample);
                sample
            })
            .collect(),
        csv: std::fs::read_to_string(csv).unwrap_or_default(),
    }
}

/// Runs a command that writes no report.
pub fn loadgen_plain(options: &str) -> Outcome {
    let _alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let output = Command::new(LOADGEN)
        .args(options.split_whitespace())
        .output()
        .unwrap();
    Outcome {
        code: output.status.code().unwrap(),
        table: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        json: Value::Null,
        raw: Vec::new(),
        csv: String::new(),
    }
}

impl Outcome {
    /// The first row of a workload.
    pub fn row(&self, workload: usize) -> &Value {
        &self.json["workloads"][workload]["rows"][0]
    }

    /// What a target did in the first row of the first workload.
    pub fn served(&self, target: usize) -> &Value {
        &self.row(0)["served"][target]
    }

    /// The values of a metric of the first target in the first row of a workload.
    pub fn metric(&self, workload: usize, metric: &str) -> &Value {
        let metrics = self.row(workload)["metrics"].as_array().unwrap();
        let found = metrics.iter().find(|one| one["metric"] == metric);
        &found.unwrap()["targets"][0]
    }

    /// A comparison in the first row of the first workload.
    pub fn comparison(&self, metric: &str, statistic: &str) -> &Value {
        let comparisons = self.row(0)["comparisons"].as_array().unwrap();
        comparisons
            .iter()
            .find(|one| one["metric"] == metric && one["statistic"] == statistic)
            .unwrap()
    }
}

/// Asserts that `value` is what the published schema of `form` promises.
#[track_caller]
pub fn assert_valid(form: &str, value: &Value) {
    let path = format!("{}/schema/{form}-1.json", env!("CARGO_MANIFEST_DIR"));
    let mut schemas = boon::Schemas::new();
    let schema = boon::Compiler::new().compile(&path, &mut schemas).unwrap();
    if let Err(error) = schemas.validate(value, schema) {
        panic!("{error:#}");
    }
}

/// Asserts that `value` lies from `low` to `high`.
#[track_caller]
pub fn assert_between(value: &Value, low: f64, high: f64) {
    let number = value.as_f64().unwrap_or(f64::NAN);
    assert!(
        low <= number && number <= high,
        "{value} is not between {low} and {high}"
    );
}
