//! `chaski rm`: deletes models.

use reqwest::Method;
use serde_json::json;

use super::client::Client;
use super::console::Console;
use super::error::Error;
use super::stop::unload;

/// Options of `rm`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The models
    #[arg(value_name = "MODEL", required = true)]
    models: Vec<String>,
}

/// Deletes one after the other, each taken out of memory first, until one cannot be deleted.
///
/// # Errors
/// When the server cannot be asked or refuses.
pub async fn run(args: &Args, client: &Client, console: &mut Console<'_>) -> Result<(), Error> {
    for model in &args.models {
        match unload(client, model).await {
            Ok(()) => {}
            // Deleting tells it better.
            Err(error) if error.is_not_found() => {}
            Err(error @ Error::NoServer(_)) => return Err(error),
            Err(_) => writeln!(console.err, "Warning: unable to stop model '{model}'")?,
        }
        client
            .tell(Method::DELETE, "/api/delete", &json!({"model": model}))
            .await?;
        writeln!(console.out, "deleted '{model}'")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{Ran, Reply, ScriptedServer, ran};

    #[tokio::test]
    async fn models_are_unloaded_and_deleted_until_one_is_missing() {
        let server = ScriptedServer::start([
            ("POST /api/generate", Reply::ok("{\"done\":true}")),
            (
                "POST /api/generate",
                Reply::refused(404, "{\"error\":\"model 'b' not found\"}"),
            ),
            ("DELETE /api/delete", Reply::ok("")),
            (
                "DELETE /api/delete",
                Reply::refused(404, "{\"error\":\"model 'b' not found\"}"),
            ),
        ])
        .await;
        let args = Args {
            models: ["a", "b", "c"].map(str::to_owned).to_vec(),
        };
        let ran = ran(None, async |console| {
            run(&args, &server.client, console).await
        })
        .await;
        let expected = Ran {
            out: "deleted 'a'\n".into(),
            err: "Error: model 'b' not found\n".into(),
        };
        assert_eq!(ran, expected);
        let unloading = json!({"model": "a", "keep_alive": 0, "stream": false});
        assert_eq!(server.bodies("POST /api/generate")[0], unloading);
        let deleting = [json!({"model": "a"}), json!({"model": "b"})];
        assert_eq!(server.bodies("DELETE /api/delete"), deleting);
    }

    #[tokio::test]
    async fn a_model_that_cannot_be_stopped_is_deleted_with_a_warning() {
        let server = ScriptedServer::start([
            (
                "POST /api/generate",
                Reply::refused(500, "{\"error\":\"no\"}"),
            ),
            ("DELETE /api/delete", Reply::ok("")),
        ])
        .await;
        let args = Args {
            models: vec!["a".into()],
        };
        let ran = ran(None, async |console| {
            run(&args, &server.client, console).await
        })
        .await;
        let expected = Ran {
            out: "deleted 'a'\n".into(),
            err: "Warning: unable to stop model 'a'\n".into(),
        };
        assert_eq!(ran, expected);
    }
}
