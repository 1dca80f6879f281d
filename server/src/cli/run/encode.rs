//! Models that do not talk: a text becomes a vector, or gets labels.

use serde::Deserialize;
use serde_json::json;

use super::Args;
use crate::cli::client::Client;
use crate::cli::console::Console;
use crate::cli::error::Error;
use crate::cli::format::table;

#[derive(Deserialize)]
struct Embedded {
    embeddings: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct Classified {
    results: Vec<Vec<Label>>,
}

#[derive(Deserialize)]
struct Label {
    label: String,
    score: f64,
}

/// Prints the text's vector as a JSON array.
///
/// # Errors
/// When there is no text, or the server cannot be asked or refuses.
pub async fn embed(
    args: &Args,
    text: &str,
    client: &Client,
    console: &mut Console<'_>,
) -> Result<(), Error> {
    let model = &args.model;
    if text.is_empty() {
        let usage = format!(
            "embedding models require input text. Usage: chaski run {model} \"your text here\""
        );
        return Err(Error::Usage(usage));
    }
    let mut request = json!({"model": model, "input": text});
    if let Some(truncate) = args.truncate {
        request["truncate"] = json!(truncate);
    }
    if let Some(dimensions) = args.dimensions {
        request["dimensions"] = json!(dimensions);
    }
    if let Some(keep_alive) = &args.keepalive {
        request["keep_alive"] = json!(keep_alive);
    }
    let embedded: Embedded = client.post("/api/embed", &request).await?;
    let vector = embedded.embeddings.first();
    let vector = vector.ok_or_else(|| Error::Reply("no embeddings returned".into()))?;
    // Straight from single precision, which a JSON value would widen to digits that nobody computed.
    let text = serde_json::to_string(vector).expect("a list of numbers is JSON");
    writeln!(console.out, "{text}")?;
    Ok(())
}

/// Prints the text's labels with their scores, best first.
///
/// # Errors
/// When there is no text, or the server cannot be asked or refuses.
pub async fn classify(
    args: &Args,
    text: &str,
    client: &Client,
    console: &mut Console<'_>,
) -> Result<(), Error> {
    let model = &args.model;
    if text.is_empty() {
        let usage =
            format!("classifiers require input text. Usage: chaski run {model} \"your text here\"");
        return Err(Error::Usage(usage));
    }
    let mut request = json!({"model": model, "input": text});
    if let Some(truncate) = args.truncate {
        request["truncate"] = json!(truncate);
    }
    if let Some(keep_alive) = &args.keepalive {
        request["keep_alive"] = json!(keep_alive);
    }
    let classified: Classified = client.post("/classify", &request).await?;
    let labels = classified.results.first();
    let labels = labels.ok_or_else(|| Error::Reply("no labels returned".into()))?;
    let row = |label: &Label| vec![label.label.clone(), format!("{:.4}", label.score)];
    Ok(table(
        console.out,
        &labels.iter().map(row).collect::<Vec<_>>(),
    )?)
}
