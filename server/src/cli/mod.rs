//! The command line: one file per command. `serve` and `worker` are the product itself, `doctor` and `verify` look at this
//! machine; the others are clients that speak to a server over HTTP, as any other client does, at `OLLAMA_HOST`.

mod account;
mod certificate;
mod client;
mod completions;
mod console;
mod copy;
mod create;
mod doctor;
mod error;
mod format;
mod health;
mod key;
mod list;
mod manual;
mod place;
mod progress;
mod ps;
mod remove;
mod run;
mod serve;
mod show;
mod stop;
#[cfg(test)]
mod testing;
mod top;
mod transfer;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use self::client::Client;
use self::console::Console;
use self::error::Error;
use crate::config::{Config, Environment};
use crate::sandbox::{Enforced, Mode};
use crate::{telemetry, tls, worker};

/// Serve and use language models on this machine.
#[derive(Debug, Parser)]
#[command(name = "chaski", version, about, max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server
    #[command(alias = "start")]
    Serve(serve::Args),
    /// Tell what on this machine keeps the server from working well, and how to mend it
    Doctor(doctor::Args),
    /// Compare the files of the models on this machine with their digests
    Verify(verify::Args),
    /// One loaded model, started by the server
    #[command(hide = true)]
    Worker,
    /// Make an API key
    Key(key::Args),
    /// Write the script by which a shell completes commands and options
    Completions(completions::Args),
    /// Write the manual pages
    #[command(name = "man")]
    Manual(manual::Args),
    #[command(flatten)]
    Client(ClientCommand),
}

/// What is asked of a server that runs already.
#[derive(Debug, Subcommand)]
enum ClientCommand {
    /// Run a model
    Run(run::Args),
    /// List models
    #[command(alias = "ls")]
    List(list::Args),
    /// List running models
    Ps(ps::Args),
    /// Watch what the server does: models, queues, memory, tokens per second
    Top(top::Args),
    /// Tell whether the server takes requests
    Health,
    /// Show information for a model
    Show(show::Args),
    /// Create a model from a Modelfile
    Create(create::Args),
    /// Stop a running model
    Stop(stop::Args),
    /// Copy a model
    #[command(name = "cp")]
    Copy(copy::Args),
    /// Remove models
    #[command(name = "rm")]
    Remove(remove::Args),
    /// Pull a model from a registry
    Pull(transfer::Args),
    /// Push a model to a registry
    Push(transfer::Args),
    /// Tell how this machine is known to ollama.com
    #[command(name = "signin", alias = "login")]
    SignIn,
    /// Sign out from ollama.com
    #[command(name = "signout", alias = "logout")]
    SignOut,
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    let environment = Environment::of_process();
    // A server's log is one of its settings, and a file may say how it is.
    if !matches!(args.command, Command::Serve(_)) {
        let config = Config::from_environment(&environment);
        telemetry::init(&config.log, config.log_is_json);
    }
    tls::install();
    match args.command {
        Command::Serve(args) => serve::run(&args),
        Command::Doctor(args) => {
            offline(|console| doctor::run(&args, &environment, try_sandbox, console))
        }
        Command::Verify(args) => offline(|console| verify::run(&args, &environment, console)),
        Command::Worker => worker::child::main(),
        Command::Key(args) => on_console(|console| key::run(&args, console)),
        Command::Completions(args) => {
            on_console(|console| completions::run(&args, Args::command(), console))
        }
        Command::Manual(args) => on_console(|console| manual::run(&args, Args::command(), console)),
        Command::Client(command) => ask_server(&command),
    }
}

/// Has a worker lock itself in.
fn try_sandbox(mode: Mode) -> Result<Enforced, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the system has room for a few descriptors");
    runtime.block_on(worker::try_sandbox(mode))
}

/// Runs a command that looks at this machine and asks no server. It says whether all is well.
fn offline(command: impl FnOnce(&mut Console<'_>) -> Result<bool, Error>) -> ExitCode {
    Console::of_process(|console| {
        let found = command(console).and_then(|is_well| {
            console.out.flush()?;
            Ok(is_well)
        });
        match found {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                if !error.is_closed_pipe() {
                    console.fail(&error);
                }
                ExitCode::FAILURE
            }
        }
    })
}

fn ask_server(command: &ClientCommand) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the system has room for a few descriptors");
    on_console(|console| {
        let client = Client::from_environment(&Environment::of_process())?;
        runtime.block_on(command.run(&client, console))
    })
}

fn on_console(command: impl FnOnce(&mut Console<'_>) -> Result<(), Error>) -> ExitCode {
    Console::of_process(|console| {
        let done = command(console).and_then(|()| Ok(console.out.flush()?));
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                if !error.is_closed_pipe() {
                    console.fail(&error);
                }
                ExitCode::FAILURE
            }
        }
    })
}

impl ClientCommand {
    async fn run(&self, client: &Client, console: &mut Console<'_>) -> Result<(), Error> {
        match self {
            Self::Run(args) => run::run(args, client, console).await,
            Self::List(args) => list::run(args, client, console).await,
            Self::Ps(args) => ps::run(args, client, console).await,
            Self::Top(args) => top::run(args, client, console).await,
            Self::Health => health::run(client, console).await,
            Self::Show(args) => show::run(args, client, console).await,
            Self::Create(args) => create::run(args, client, console).await,
            Self::Stop(args) => stop::run(args, client).await,
            Self::Copy(args) => copy::run(args, client, console).await,
            Self::Remove(args) => remove::run(args, client, console).await,
            Self::Pull(args) => transfer::pull(args, client, console).await,
            Self::Push(args) => transfer::push(args, client, console).await,
            Self::SignIn => account::sign_in(client, console).await,
            Self::SignOut => account::sign_out(console),
        }
    }
}
