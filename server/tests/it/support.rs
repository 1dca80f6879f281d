//! What the tests share.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// Starts workers from the executable that cargo built for these tests, and lets HTTP clients be made.
pub fn use_built_executable() {
    chaski::tls::install();
    chaski::worker::set_executable(PathBuf::from(env!("CARGO_BIN_EXE_chaski")));
}

/// Kills a process the hard way.
pub fn kill(process: u32) {
    signal(process, "KILL");
}

/// Sends a signal by name.
pub fn signal(process: u32, name: &str) {
    let status = Command::new("kill")
        .args([format!("-{name}"), process.to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

/// Whether a process exists and is no zombie.
pub fn is_alive(process: u32) -> bool {
    let process = procfs::process::Process::new(process.try_into().unwrap());
    process
        .and_then(|process| process.stat())
        .is_ok_and(|stat| stat.state != 'Z')
}

/// Waits until a condition holds, and fails if it does not within five seconds.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "did not happen: {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a text names this number, and not only another one with the same digits in it.
pub fn names_number(text: &str, number: u64) -> bool {
    let mut numbers = text.split(|letter: char| !letter.is_ascii_digit());
    numbers.any(|digits| digits == number.to_string())
}
