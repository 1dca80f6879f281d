//! `chaski ps`: the models in the server's memory.

use jiff::Timestamp;
use serde::Deserialize;

use super::client::Client;
use super::console::Console;
use super::error::Error;
use super::format::{human_bytes, human_time, table, timestamp};
use super::list::ID_DIGITS;

/// Options of `ps`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Only models whose names begin so
    prefix: Option<String>,
    /// Also say what computes with each model
    #[arg(long)]
    verbose: bool,
}

#[derive(Deserialize)]
struct Processes {
    models: Vec<Process>,
}

#[derive(Deserialize)]
struct Process {
    name: String,
    digest: String,
    size: u64,
    #[serde(default)]
    size_vram: u64,
    #[serde(default)]
    context_length: u64,
    #[serde(deserialize_with = "timestamp")]
    expires_at: Timestamp,
    /// Ollama does not tell.
    #[serde(default)]
    computed_by: Option<String>,
}

/// Lists them.
///
/// # Errors
/// When the server cannot be asked.
pub async fn run(args: &Args, client: &Client, console: &mut Console<'_>) -> Result<(), Error> {
    let prefix = args.prefix.as_deref().unwrap_or_default();
    let processes: Processes = client.get("/api/ps").await?;
    let now = Timestamp::now();
    let header = ["NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let shown = || {
        processes
            .models
            .iter()
            .filter(|process| process.name.starts_with(prefix))
    };
    rows.extend(shown().map(|process| process.row(now)));
    table(console.out, &rows)?;
    if args.verbose {
        for process in shown() {
            let computed_by = process.computed_by.as_deref().unwrap_or("unknown");
            writeln!(console.out, "\n{}\n    {computed_by}", process.name)?;
        }
    }
    Ok(())
}

impl Process {
    fn row(&self, now: Timestamp) -> Vec<String> {
        // Go's zero time, of a model that has not been idle yet, lies in the past too: it leaves with its requests.
        let until = if self.expires_at < now {
            "Stopping...".into()
        } else {
            human_time(self.expires_at, now)
        };
        vec![
            self.name.clone(),
            self.digest.chars().take(ID_DIGITS).collect(),
            human_bytes(self.size),
            processor(self.size, self.size_vram),
            self.context_length.to_string(),
            until,
        ]
    }
}

/// Which share of the model is where.
fn processor(size: u64, on_gpu: u64) -> String {
    if on_gpu == 0 {
        return "100% CPU".into();
    }
    if on_gpu == size {
        return "100% GPU".into();
    }
    if on_gpu > size {
        return "Unknown".into();
    }
    let on_cpu = (size - on_gpu) as f64 / size as f64 * 100.0;
    format!(
        "{:.0}%/{:.0}% CPU/GPU",
        on_cpu.round(),
        100.0 - on_cpu.round()
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::testing::{Reply, ScriptedServer, ran};

    #[test]
    fn the_processor_is_told_in_shares() {
        assert_eq!(processor(10, 0), "100% CPU");
        assert_eq!(processor(10, 10), "100% GPU");
        assert_eq!(processor(0, 10), "Unknown");
        assert_eq!(processor(1000, 254), "75%/25% CPU/GPU");
    }

    #[tokio::test]
    async fn loaded_models_are_listed_with_their_time_left() {
        let after = |seconds: i64| {
            let time = Timestamp::now().as_second() + seconds;
            Timestamp::from_second(time).unwrap().to_string()
        };
        let model = |name: &str, expires_at: String| {
            json!({
                "name": name, "digest": "0123456789abcdef", "size": 3_100_000, "size_vram": 0,
                "context_length": 4096, "expires_at": expires_at,
            })
        };
        let models = json!({"models": [
            model("a:latest", "2318-03-04T11:30:45.123456789+01:00".into()),
            model("b:latest", after(295)),
            model("c:latest", after(-5)),
            model("d:latest", "0001-01-01T00:00:00Z".into()),
        ]});
        let reply = Reply::ok(&models.to_string());
        let server = ScriptedServer::start([("GET /api/ps", reply)]).await;
        let args = Args {
            prefix: None,
            verbose: false,
        };
        let ran = ran(None, async |console| {
            run(&args, &server.client, console).await
        })
        .await;
        let expected = "\
NAME        ID              SIZE      PROCESSOR    CONTEXT    UNTIL
a:latest    0123456789ab    3.1 MB    100% CPU     4096       Forever
b:latest    0123456789ab    3.1 MB    100% CPU     4096       4 minutes from now
c:latest    0123456789ab    3.1 MB    100% CPU     4096       Stopping...
d:latest    0123456789ab    3.1 MB    100% CPU     4096       Stopping...
";
        assert_eq!(ran.out, expected);
    }

    #[tokio::test]
    async fn what_computes_with_a_model_is_told_if_asked() {
        let model = |name: &str, more: Value| {
            let mut model = json!({
                "name": name, "digest": "0123456789abcdef", "size": 3_100_000,
                "expires_at": "2318-03-04T11:30:45+01:00",
            });
            (model.as_object_mut().unwrap()).extend(more.as_object().unwrap().clone());
            model
        };
        let models = json!({"models": [
            model("a:latest", json!({"computed_by": "llama.cpp; our products"})),
            model("b:latest", json!({})),
        ]});
        let server = ScriptedServer::start([("GET /api/ps", Reply::ok(&models.to_string()))]).await;
        let args = Args {
            prefix: None,
            verbose: true,
        };
        let ran = ran(None, async |console| {
            run(&args, &server.client, console).await
        })
        .await;
        let (_, told) = ran.out.split_once("\n\n").unwrap();
        let expected = "a:latest\n    llama.cpp; our products\n\nb:latest\n    unknown\n";
        assert_eq!(told, expected);
    }
}
