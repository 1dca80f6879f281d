//! `chaski list`: the models on the server's disk.

use jiff::Timestamp;
use serde::Deserialize;

use super::client::Client;
use super::console::Console;
use super::error::Error;
use super::format::{human_bytes, human_time, table, timestamp};

/// How much of a digest is shown.
pub const ID_DIGITS: usize = 12;

/// Options of `list`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Only models whose names begin so
    prefix: Option<String>,
}

#[derive(Deserialize)]
struct Tags {
    models: Vec<Tag>,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
    digest: String,
    size: u64,
    #[serde(deserialize_with = "timestamp")]
    modified_at: Timestamp,
    #[serde(default)]
    remote_model: String,
}

/// Lists them.
///
/// # Errors
/// When the server cannot be asked.
pub async fn run(args: &Args, client: &Client, console: &mut Console<'_>) -> Result<(), Error> {
    let prefix = args.prefix.as_deref().unwrap_or_default();
    list(prefix, client, console).await
}

/// Lists those whose names begin so, minding no case.
///
/// # Errors
/// When the server cannot be asked.
pub async fn list(prefix: &str, client: &Client, console: &mut Console<'_>) -> Result<(), Error> {
    let tags: Tags = client.get("/api/tags").await?;
    let now = Timestamp::now();
    let prefix = prefix.to_lowercase();
    let shown = tags
        .models
        .iter()
        .filter(|tag| tag.name.to_lowercase().starts_with(&prefix));
    let mut rows = vec![
        ["NAME", "ID", "SIZE", "MODIFIED"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(shown.map(|tag| tag.row(now)));
    Ok(table(console.out, &rows)?)
}

impl Tag {
    fn row(&self, now: Timestamp) -> Vec<String> {
        let is_remote = !self.remote_model.is_empty();
        let size = if is_remote {
            "-".into()
        } else {
            human_bytes(self.size)
        };
        let id = self.digest.chars().take(ID_DIGITS).collect();
        vec![
            self.name.clone(),
            id,
            size,
            human_time(self.modified_at, now),
        ]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::testing::{Reply, ScriptedServer, ran};

    async fn check(prefix: Option<&str>, expected: &str) {
        let hours_ago = |hours: i64| {
            let time = Timestamp::now().as_second() - hours * 3600;
            Timestamp::from_second(time).unwrap().to_string()
        };
        let models = json!({"models": [
            {"name": "tiny:latest", "digest": "0123456789abcdef", "size": 2_600_000, "modified_at": hours_ago(2)},
            {"name": "other:cloud", "digest": "f".repeat(64), "size": 3, "modified_at": hours_ago(49), "remote_model": "o"},
        ]});
        let reply = Reply::ok(&models.to_string());
        let server = ScriptedServer::start([("GET /api/tags", reply)]).await;
        let args = Args {
            prefix: prefix.map(str::to_owned),
        };
        let ran = ran(None, async |console| {
            run(&args, &server.client, console).await
        })
        .await;
        assert_eq!((ran.out.as_str(), ran.err.as_str()), (expected, ""));
    }

    #[tokio::test]
    async fn models_are_listed_in_columns() {
        let all = "\
NAME           ID              SIZE      MODIFIED
tiny:latest    0123456789ab    2.6 MB    2 hours ago
other:cloud    ffffffffffff    -         2 days ago
";
        check(None, all).await;
        let one = "\
NAME           ID              SIZE      MODIFIED
tiny:latest    0123456789ab    2.6 MB    2 hours ago
";
        check(Some("TI"), one).await;
        check(Some("x"), "NAME    ID    SIZE    MODIFIED\n").await;
    }
}
