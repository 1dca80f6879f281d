//! `chaski create`: reads a Modelfile, uploads the files it names, and asks the server to make the model.
//!
//! The server never sees a Modelfile or a path of this machine: it is sent digests and relative names.

mod files;
mod request;
#[cfg(test)]
mod tests;
mod upload;

use std::path::{Path, PathBuf};

use self::request::Parts;
use super::client::Client;
use super::console::Console;
use super::error::Error;
use super::progress::Progress;
use crate::store::{Modelfile, Name};

/// What is read if nothing is given, as Ollama has it.
const DEFAULT_FILE: &str = "Modelfile";

/// Options of `create`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Name of the new model
    model: String,
    /// The Modelfile [default: Modelfile, or else the folder itself]
    #[arg(short, long)]
    file: Option<PathBuf>,
    /// Quantize to this level, like q4_K_M
    #[arg(short, long)]
    quantize: Option<String>,
}

/// Makes the model.
///
/// # Errors
/// When a file cannot be used, or the server cannot be asked or refuses.
pub async fn run(args: &Args, client: &Client, console: &mut Console<'_>) -> Result<(), Error> {
    if args.model.parse::<Name>().is_err() {
        return Err(Error::Usage(format!("invalid model name: {}", args.model)));
    }
    let (modelfile, folder) = modelfile(args.file.as_deref())?;
    let mut progress = Progress::new(console);
    progress.status("gathering model components")?;
    let parts = Parts::gather(&modelfile, &folder).await?;
    for file in parts.uploads() {
        upload::upload(file, client, &mut progress).await?;
    }
    let request = parts.request(args);
    let lines = client.stream("/api/create", &request).await?;
    progress.follow(lines).await
}

/// The Modelfile and the folder that its paths start from.
fn modelfile(given: Option<&Path>) -> Result<(Modelfile, PathBuf), Error> {
    let path = given.unwrap_or(Path::new(DEFAULT_FILE));
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => match given {
            Some(_) => return Err(Error::Usage("specified Modelfile wasn't found".into())),
            None => b"FROM .".to_vec(),
        },
        Err(error) => return Err(Error::file(path)(error)),
    };
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    Ok((Modelfile::parse(&text)?, folder))
}
