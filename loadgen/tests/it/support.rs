use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
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
}

/// Runs `loadgen` with these options; words are split at blanks.
pub fn loadgen(options: &str) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.json");
    let output = Command::new(LOADGEN)
        .args(options.split_whitespace())
        .arg("--json")
        .arg(&path)
        .output()
        .unwrap();
    Outcome {
        code: output.status.code().unwrap(),
        table: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        json: std::fs::read(path)
            .map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap()),
    }
}

/// Runs a command that writes no report.
pub fn loadgen_plain(options: &str) -> Outcome {
    let output = Command::new(LOADGEN)
        .args(options.split_whitespace())
        .output()
        .unwrap();
    Outcome {
        code: output.status.code().unwrap(),
        table: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        json: Value::Null,
    }
}

impl Outcome {
    /// The figures of a target in the first cell of the first workload.
    pub fn figures(&self, target: usize) -> &Value {
        &self.json["workloads"][0]["cells"][0]["figures"][target]
    }

    /// The comparisons in the first cell of the first workload.
    pub fn comparison(&self, metric: &str) -> &Value {
        let comparisons = self.json["workloads"][0]["cells"][0]["comparisons"]
            .as_array()
            .unwrap();
        comparisons
            .iter()
            .find(|comparison| comparison["metric"] == metric)
            .unwrap()
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
