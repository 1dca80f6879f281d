//! `chaski pull` and `chaski push`: models from and to a registry, which is the server's work.

use serde_json::json;

use super::client::Client;
use super::console::Console;
use super::error::Error;
use super::progress::Progress;

/// Options of both.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The model
    pub model: String,
    /// Speak plain HTTP with the registry
    #[arg(long)]
    pub insecure: bool,
}

/// Fetches a model.
///
/// # Errors
/// When the server cannot be asked or fails.
pub async fn pull(args: &Args, client: &Client, console: &mut Console<'_>) -> Result<(), Error> {
    transfer("/api/pull", args, client, console).await
}

/// Publishes a model.
///
/// # Errors
/// When the server cannot be asked or fails.
pub async fn push(args: &Args, client: &Client, console: &mut Console<'_>) -> Result<(), Error> {
    transfer("/api/push", args, client, console).await
}

async fn transfer(
    path: &str,
    args: &Args,
    client: &Client,
    console: &mut Console<'_>,
) -> Result<(), Error> {
    let body = json!({"model": args.model, "insecure": args.insecure, "stream": true});
    let lines = client.stream(path, &body).await?;
    Progress::new(console).follow(lines).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{Ran, Reply, ScriptedServer, ran};

    async fn check(reply: Reply, expected_err: &str) {
        let server = ScriptedServer::start([("POST /api/pull", reply)]).await;
        let args = Args {
            model: "x".into(),
            insecure: true,
        };
        let ran = ran(None, async |console| {
            pull(&args, &server.client, console).await
        })
        .await;
        let expected = Ran {
            out: String::new(),
            err: expected_err.into(),
        };
        assert_eq!(ran, expected);
        let body = json!({"model": "x", "insecure": true, "stream": true});
        assert_eq!(server.bodies("POST /api/pull"), [body]);
    }

    #[tokio::test]
    async fn a_pull_shows_each_step_once() {
        let lines = "\
{\"status\":\"pulling manifest\"}
{\"status\":\"pulling 0123456789ab\",\"digest\":\"sha256:0123456789abcdef\",\"total\":2000000}
{\"status\":\"pulling 0123456789ab\",\"digest\":\"sha256:0123456789abcdef\",\"total\":2000000,\"completed\":2000000}
{\"status\":\"verifying sha256 digest\"}
{\"status\":\"success\"}
";
        let expected =
            "pulling manifest\npulling 0123456789ab (2.0 MB)\nverifying sha256 digest\nsuccess\n";
        check(Reply::ok(lines), expected).await;
    }

    #[tokio::test]
    async fn what_the_server_refuses_is_told_as_it_says() {
        let refused = Reply::refused(501, "{\"error\":\"registries are not supported yet\"}");
        check(refused, "Error: registries are not supported yet\n").await;
        let failing =
            Reply::ok("{\"status\":\"pulling manifest\"}\n{\"error\":\"file does not exist\"}\n");
        check(failing, "pulling manifest\nError: file does not exist\n").await;
        let ending = Reply::ok("{\"status\":\"pulling manifest\"}\n");
        check(
            ending,
            "pulling manifest\nError: the server ended its reply too early\n",
        )
        .await;
    }
}
