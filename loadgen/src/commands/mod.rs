//! The commands of the command line, one per file: each turns what was typed into calls of the folders below and prints what
//! came of it.
//!
//! A command returns the process's exit code, or [`Stopped`] with one line that says what to do. No other folder may
//! print to standard output or decide about exit codes.

pub mod aa;
pub mod calibrate;
pub mod compare;
pub mod doctor;
pub mod init;
pub mod quick;
pub mod report;
pub mod run;

use clap::Subcommand;

use crate::{exit::Exit, mock};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure targets under workloads: presets or files
    Run(Box<run::Args>),
    /// Find the servers of this machine and measure them for a minute and a half
    Quick(Box<quick::Args>),
    /// Compare two reports that were written at different times
    Compare(compare::Args),
    /// Show a report that was written before, or turn it into another form
    Report(report::Args),
    /// Measure the noise floor of this client on this machine
    Calibrate(calibrate::Args),
    /// Say what on this machine would spoil a measurement
    Doctor(doctor::Args),
    /// Compare a target with itself: it must say "no difference"
    Aa(Box<aa::Args>),
    /// Serve scripted replies at known times, to prove this tool and its figures
    Mock(Box<mock::Args>),
    /// Write a workload file with comments, to start from
    Init(init::Args),
    /// Hold memory until standard input ends
    #[command(hide = true)]
    MockWorker(mock::worker::Args),
}

/// Why there is no result: one line for the user, and the exit code.
#[derive(Debug)]
pub struct Stopped {
    /// What the process returns.
    pub exit: Exit,
    /// What to do about it.
    pub message: String,
}

impl Command {
    /// Carries the command out and returns the process's exit code.
    ///
    /// # Errors
    /// [`Stopped`] when there is no result.
    pub async fn execute(self) -> Result<u8, Stopped> {
        match self {
            Self::Run(args) => run::execute(*args).await,
            Self::Quick(args) => quick::execute(*args).await,
            Self::Compare(args) => compare::execute(args).await,
            Self::Report(args) => report::execute(args).await,
            Self::Calibrate(args) => calibrate::execute(args).await,
            Self::Doctor(args) => doctor::execute(args).await,
            Self::Aa(args) => aa::execute(*args).await,
            Self::Mock(args) => done(mock::serve(*args).await),
            Self::Init(args) => init::execute(args).await,
            Self::MockWorker(args) => done(mock::worker::hold(&args)),
        }
    }
}

impl Stopped {
    /// The command line or a file makes no sense.
    pub fn usage(error: impl std::fmt::Display) -> Self {
        Self {
            exit: Exit::Usage,
            message: error.to_string(),
        }
    }
}

fn done(result: std::io::Result<()>) -> Result<u8, Stopped> {
    result.map(|()| Exit::Ok.code()).map_err(Into::into)
}

impl From<std::io::Error> for Stopped {
    fn from(error: std::io::Error) -> Self {
        Self {
            exit: Exit::Failed,
            message: error.to_string(),
        }
    }
}
