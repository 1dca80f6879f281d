//! A log that nobody can write or reads is no reason to stop.

use std::fs::File;
use std::process::Stdio;

use crate::program::Program;

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
