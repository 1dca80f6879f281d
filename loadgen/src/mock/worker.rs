//! The child process of a mock, as the runner of a real server would be: it holds memory and nothing else.

use std::{
    io::{self, BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    str::FromStr,
    sync::{Mutex, PoisonError},
};

/// How much memory to hold.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// In MiB
    #[arg(long, value_name = "MIB")]
    mib: usize,
}

/// How much more memory the child takes, and after how many requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Growth {
    mib: usize,
    after: u64,
}

impl FromStr for Growth {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        let parsed = typed
            .split_once('@')
            .and_then(|(mib, after)| Some((mib.parse().ok()?, after.parse().ok()?)));
        let (mib, after) =
            parsed.ok_or("write how many MiB and after how many requests: 300@50")?;
        Ok(Self { mib, after })
    }
}

/// The child process while a model is loaded, on a mock that was given memory to hold.
#[derive(Debug)]
pub(super) struct Worker {
    mib: Option<usize>,
    growth: Option<Growth>,
    running: Mutex<Option<Running>>,
}

/// A child. It leaves when the pipe to it closes.
#[derive(Debug)]
struct Running {
    child: Child,
    orders: Option<ChildStdin>,
    requests: u64,
}

impl Worker {
    /// One that holds `mib` MiB once a model is asked for, and more as `growth` says.
    pub(super) fn new(mib: Option<usize>, growth: Option<Growth>) -> Self {
        Self {
            mib,
            growth,
            running: Mutex::default(),
        }
    }

    /// Counts a request: starts the child with the first one, waiting until it holds its memory, and lets it grow in time.
    pub(super) fn load(&self) -> io::Result<()> {
        let Some(mib) = self.mib else { return Ok(()) };
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_none() {
            *running = Some(Running::start(mib)?);
        }
        if let Some(running) = running.as_mut() {
            running.requests += 1;
            let due = self
                .growth
                .filter(|growth| growth.after == running.requests);
            if let (Some(growth), Some(orders)) = (due, running.orders.as_mut()) {
                // A child that is gone holds no memory either.
                let _ = writeln!(orders, "{}", growth.mib);
            }
        }
        Ok(())
    }

    /// Ends the child, if there is one.
    pub(super) fn unload(&self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        *running = None;
    }
}

impl Running {
    fn start(mib: usize) -> io::Result<Self> {
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
        Ok(Self {
            orders: child.stdin.take(),
            child,
            requests: 0,
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.orders = None;
        // It reads the end of the pipe and leaves; waited for, so that no zombie is counted as a process.
        let _ = self.child.wait();
    }
}

/// Touches the memory, says so, takes as many MiB more as each line of standard input says, and keeps all until it ends.
///
/// # Errors
/// When the parent cannot be told.
pub fn hold(args: &Args) -> io::Result<()> {
    let mut blocks = vec![vec![1_u8; args.mib << 20]];
    writeln!(io::stdout(), "ready")?;
    for line in io::stdin().lines() {
        if let Ok(mib) = line?.parse::<usize>() {
            blocks.push(vec![1_u8; mib << 20]);
        }
    }
    drop(std::hint::black_box(blocks));
    Ok(())
}
