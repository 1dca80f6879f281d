//! A log that nobody can write or reads is no reason to stop.

use std::fs::File;
use std::net::TcpListener;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use reqwest::Client;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::support;

/// The program itself, with its log going where a test says.
struct Program {
    process: Child,
    base: String,
    client: Client,
    _folder: TempDir,
}

impl Program {
    async fn start(log: Stdio) -> Self {
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

    async fn ask(&self, path: &str) -> Option<u16> {
        let url = format!("{}{path}", self.base);
        let reply = self.client.get(url).send().await.ok()?;
        let status = reply.status().as_u16();
        reply.bytes().await.ok().map(|_| status)
    }

    async fn stop(mut self) -> ExitStatus {
        support::signal(self.process.id().unwrap(), "TERM");
        self.process.wait().await.unwrap()
    }
}

#[tokio::test]
async fn a_full_disk_under_the_log_costs_nothing_but_the_log() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let program = Program::start(full.into()).await;
    for _ in 0..20 {
        assert_eq!(program.ask("/api/tags").await, Some(200));
    }
    assert!(program.stop().await.success());
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_nobody_up() {
    /// Every request has a line of more than a hundred bytes, and a pipe has room for 64 KiB.
    const REQUESTS: usize = 2_000;
    let program = Program::start(Stdio::piped()).await;
    for _ in 0..REQUESTS {
        assert_eq!(program.ask("/api/version").await, Some(200));
    }
    assert!(program.stop().await.success());
}
