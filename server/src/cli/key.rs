//! `chaski key`: makes an API key. It asks no server.

use std::path::PathBuf;

use super::console::Console;
use super::error::Error;
use crate::keys::{self, Key, Scope};

/// Options of `key`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Whose key it is
    name: String,
    /// What it allows: read (see the models), inference (use them, too) or admin (change them, too)
    #[arg(long, default_value = "inference", value_parser = scope)]
    scope: Scope,
    /// The server's file of keys, which gets a line with the key's hash
    #[arg(long, env = "CHASKI_KEYS")]
    file: Option<PathBuf>,
}

fn scope(typed: &str) -> Result<Scope, &'static str> {
    Scope::parse(typed).ok_or("there is read, inference and admin")
}

/// Makes it, and shows it once.
///
/// # Errors
/// When the name will not do, or the file cannot be written.
pub fn run(args: &Args, console: &mut Console<'_>) -> Result<(), Error> {
    let made = Key::make(&args.name, args.scope);
    let (secret, key) = made.map_err(|reason| Error::Usage(reason.into()))?;
    match &args.file {
        Some(file) => {
            keys::add(file, &key).map_err(|error| Error::Usage(error.to_string()))?;
            let file = file.display();
            writeln!(
                console.err,
                "added to {file}; a running server reads it again on SIGHUP. The key, which is not kept anywhere:"
            )?;
        }
        None => writeln!(
            console.err,
            "the line for the server's file of keys, and the key:\n{key}"
        )?,
    }
    writeln!(console.out, "{}", secret.reveal())?;
    Ok(())
}
