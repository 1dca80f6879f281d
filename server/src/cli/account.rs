//! `chaski signin` and `chaski signout`: accounts at ollama.com, which models that run here do not need.

use serde::Deserialize;

use super::client::Client;
use super::console::Console;
use super::error::Error;

#[derive(Deserialize)]
struct Account {
    #[serde(default)]
    signin_url: String,
}

/// Says what an account would be for and where this machine's key can be registered.
///
/// # Errors
/// When the server cannot be asked.
pub async fn sign_in(client: &Client, console: &mut Console<'_>) -> Result<(), Error> {
    let account: Account = client.post_any("/api/me").await?;
    let out = &mut console.out;
    writeln!(
        out,
        "Models run on the server itself, so there is nothing to sign in to."
    )?;
    if !account.signin_url.is_empty() {
        let url = account.signin_url;
        writeln!(
            out,
            "To push models to ollama.com, register the server's key there:\n\n    {url}\n"
        )?;
    }
    Ok(())
}

/// Says that nobody is signed in.
///
/// # Errors
/// When it cannot be written.
pub fn sign_out(console: &mut Console<'_>) -> Result<(), Error> {
    writeln!(console.out, "You are not signed in to ollama.com")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{Reply, ScriptedServer, ran};

    #[tokio::test]
    async fn the_place_for_the_key_is_told() {
        let refusal =
            r#"{"error":"unauthorized","signin_url":"https://ollama.com/connect?name=x&key=y"}"#;
        let server = ScriptedServer::start([("POST /api/me", Reply::refused(401, refusal))]).await;
        let ran = ran(None, async |console| sign_in(&server.client, console).await).await;
        assert_eq!(ran.err, "");
        assert!(
            ran.out
                .contains("    https://ollama.com/connect?name=x&key=y\n")
        );
    }
}
