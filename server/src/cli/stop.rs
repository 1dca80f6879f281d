//! `chaski stop`: takes a model out of the server's memory.

use serde::de::IgnoredAny;
use serde_json::json;

use super::client::Client;
use super::error::Error;

/// Options of `stop`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The model
    model: String,
}

/// Unloads it.
///
/// # Errors
/// When the server cannot be asked or knows no such model.
pub async fn run(args: &Args, client: &Client) -> Result<(), Error> {
    let model = &args.model;
    unload(client, model).await.map_err(|error| {
        if error.is_not_found() {
            Error::Usage(format!("couldn't find model \"{model}\" to stop"))
        } else {
            error
        }
    })
}

/// Asks for nothing, to be forgotten at once: how Ollama's clients unload a model.
///
/// # Errors
/// When the server cannot be asked or refuses.
pub async fn unload(client: &Client, model: &str) -> Result<(), Error> {
    let body = json!({"model": model, "keep_alive": 0, "stream": false});
    let _: IgnoredAny = client.post("/api/generate", &body).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{Reply, ScriptedServer};

    #[tokio::test]
    async fn a_model_that_is_not_there_cannot_be_stopped() {
        let reply = Reply::refused(404, "{\"error\":\"model 'x' not found\"}");
        let server = ScriptedServer::start([("POST /api/generate", reply)]).await;
        let args = Args { model: "x".into() };
        let error = run(&args, &server.client).await.unwrap_err();
        assert_eq!(error.to_string(), "couldn't find model \"x\" to stop");
    }
}
