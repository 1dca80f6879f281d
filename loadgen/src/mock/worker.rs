//! The child process of a mock, as the runner of a real server would be: it holds memory and nothing else.

use std::{
    io::{self, BufRead, BufReader, Write},
    process::{ChildStdin, Command, Stdio},
    str::FromStr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
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

/// The running child. It leaves when the pipe to it closes, which it does when this is dropped.
#[derive(Debug)]
pub(super) struct Worker {
    orders: Mutex<ChildStdin>,
    growth: Option<Growth>,
    requests: AtomicU64,
}

impl Worker {
    /// Starts a child that holds `mib` MiB, and waits until it does.
    pub(super) fn start(mib: usize, growth: Option<Growth>) -> io::Result<Self> {
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
        let orders = child
            .stdin
            .take()
            .expect("its standard input was asked for as a pipe");
        Ok(Self {
            orders: Mutex::new(orders),
            growth,
            requests: AtomicU64::new(0),
        })
    }

    /// Counts a request, and tells the child to grow when it is time.
    pub(super) fn count(&self) {
        let so_far = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(growth) = self.growth.filter(|growth| growth.after == so_far) {
            let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
            // A child that is gone holds no memory either.
            let _ = writeln!(orders, "{}", growth.mib);
        }
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
