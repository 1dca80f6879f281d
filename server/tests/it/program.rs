//! The program itself, as a process of its own whose log goes where a test says.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::support;

/// A running server. Dropped, it is killed.
pub struct Program {
    process: Child,
    base: String,
    client: Client,
    _folder: TempDir,
}

impl Program {
    /// Starts it and waits until it is ready.
    pub async fn start(log: Stdio) -> Self {
        Self::start_with(log, &[]).await
    }

    /// Starts it with these variables in its environment.
    pub async fn start_with(log: Stdio, variables: &[(&str, &OsStr)]) -> Self {
        support::use_built_executable();
        let folder = TempDir::new().unwrap();
        // Free a moment ago, and nobody else binds ports by their number here.
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_chaski"))
            .args(["serve", "--host", &free.to_string()])
            .arg("--models")
            .arg(folder.path().join("models"))
            .env("HOME", folder.path())
            .envs(variables.iter().copied())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let program = Self {
            process,
            base: format!("http://{free}"),
            client: Client::builder().no_proxy().build().unwrap(),
            _folder: folder,
        };
        let began = Instant::now();
        while program.ask("/readyz").await != Some(200) {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "it does not start"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        program
    }

    /// Its address, as clients are told it.
    pub fn host(&self) -> String {
        self.base.clone()
    }

    /// GETs a path; none if it does not answer.
    pub async fn ask(&self, path: &str) -> Option<u16> {
        let url = format!("{}{path}", self.base);
        let reply = self.client.get(url).send().await.ok()?;
        let status = reply.status().as_u16();
        reply.bytes().await.ok().map(|_| status)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id().expect("it has not been waited for")
    }

    /// Tells it to stop and waits until it has.
    pub async fn stop(mut self) -> ExitStatus {
        support::signal(self.process.id().unwrap(), "TERM");
        self.process.wait().await.unwrap()
    }

    /// POSTs a JSON body.
    pub fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        let url = format!("{}{path}", self.base);
        self.client.post(url).body(body.to_string())
    }

    /// Its workers.
    pub fn workers(&self) -> Vec<u32> {
        let process = self.process.id().unwrap().try_into().unwrap();
        let threads = procfs::process::Process::new(process)
            .unwrap()
            .tasks()
            .unwrap();
        threads
            .filter_map(|thread| thread.ok()?.children().ok())
            .flatten()
            .collect()
    }
}
