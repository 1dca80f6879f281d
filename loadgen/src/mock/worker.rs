//! The child process of a mock, as the runner of a real server would be: it holds memory and nothing else.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
};

/// How much memory to hold.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// In MiB
    #[arg(long, value_name = "MIB")]
    mib: usize,
}

/// Starts a child that holds `mib` MiB, and waits until it does. It leaves when the returned handle's pipe closes.
pub(super) fn start(mib: usize) -> io::Result<Child> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["mock-worker", "--mib", &mib.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child
        .stdout
        .take()
        .expect("its standard output was asked for as a pipe");
    let mut ready = String::new();
    BufReader::new(stdout).read_line(&mut ready)?;
    Ok(child)
}

/// Touches the memory, says so, and keeps it until standard input ends.
///
/// # Errors
/// When the parent cannot be told.
pub fn hold(args: &Args) -> io::Result<()> {
    let block = vec![1_u8; args.mib << 20];
    writeln!(io::stdout(), "ready")?;
    io::stdin().read_to_end(&mut Vec::new())?;
    drop(std::hint::black_box(block));
    Ok(())
}
