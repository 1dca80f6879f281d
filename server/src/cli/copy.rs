//! `chaski cp`: another name for a model.

use reqwest::Method;
use serde_json::json;

use super::client::Client;
use super::console::Console;
use super::error::Error;

/// Options of `cp`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The model
    source: String,
    /// Its other name
    destination: String,
}

/// Copies it.
///
/// # Errors
/// When the server cannot be asked or refuses.
pub async fn run(args: &Args, client: &Client, console: &mut Console<'_>) -> Result<(), Error> {
    let Args {
        source,
        destination,
    } = args;
    let body = json!({"source": source, "destination": destination});
    client.tell(Method::POST, "/api/copy", &body).await?;
    writeln!(console.out, "copied '{source}' to '{destination}'")?;
    Ok(())
}
