//! What a worker must not be able to do, tried from inside: for the tests of the sandbox.

use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;

use rustix::process::{Resource, Rlimit, getppid, prlimit, test_kill_process};

/// Tries everything and says of each whether it was `refused` or `allowed`.
pub(super) fn report() -> String {
    let attempts: [(&str, io::Result<()>); 10] = [
        ("read", File::open("/etc/passwd").map(drop)),
        ("list", fs::read_dir("/").map(drop)),
        ("create", create()),
        (
            "connect",
            unless_nobody_listens(TcpStream::connect(("127.0.0.1", 9)).map(drop)),
        ),
        ("listen", TcpListener::bind(("127.0.0.1", 0)).map(drop)),
        ("pair", UnixStream::pair().map(drop)),
        ("execute", Command::new("/bin/true").status().map(drop)),
        ("spy", spy()),
        ("signal", signal()),
        ("limit", limit()),
    ];
    attempts
        .map(|(what, result)| {
            let outcome = match result {
                Ok(()) => "allowed".to_owned(),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => "refused".into(),
                Err(error) => format!("failed ({error})"),
            };
            format!("{what} {outcome}")
        })
        .join(", ")
}

/// Reached, though nobody was there.
fn unless_nobody_listens(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        other => other,
    }
}

fn create() -> io::Result<()> {
    let path = format!("/tmp/trespass-{}", std::process::id());
    File::create(&path)?;
    fs::remove_file(path)
}

/// What the server was started with, secrets among it.
fn spy() -> io::Result<()> {
    let parent = getppid().map_or(1, rustix::process::Pid::as_raw_pid);
    fs::read(format!("/proc/{parent}/environ")).map(drop)
}

/// Signal 0 disturbs nobody, and is refused like the others.
fn signal() -> io::Result<()> {
    match getppid() {
        Some(parent) => Ok(test_kill_process(parent)?),
        None => Err(io::Error::other("no parent")),
    }
}

/// Takes from the server what it does not need: its core dumps.
fn limit() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    prlimit(getppid(), Resource::Core, none)?;
    Ok(())
}
