//! `chaski show`: everything about one model, or one part of it.

use std::io::{self, Write};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::client::Client;
use super::console::Console;
use super::error::Error;
use super::format::table;
use super::run::Message;

/// Lines of a long text that the overview shows.
const SHOWN_LINES: usize = 2;

/// Columns of such a line.
const TEXT_COLUMNS: usize = 100;

/// Columns that a list among the metadata may take.
const LIST_COLUMNS: usize = 10;

/// Options of `show`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The model
    model: String,
    /// Show the licence
    #[arg(long, group = "part")]
    license: bool,
    /// Show the Modelfile
    #[arg(long, group = "part")]
    modelfile: bool,
    /// Show the parameters
    #[arg(long, group = "part")]
    parameters: bool,
    /// Show the system message
    #[arg(long, group = "part")]
    system: bool,
    /// Show the prompt template
    #[arg(long, group = "part")]
    template: bool,
    /// Show metadata and tensors too
    #[arg(short, long)]
    verbose: bool,
}

/// The reply of `/api/show`, as far as people are told it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Shown {
    pub license: String,
    pub modelfile: String,
    pub parameters: String,
    pub template: String,
    pub system: String,
    pub messages: Vec<Message>,
    pub capabilities: Vec<String>,
    details: Details,
    model_info: Map<String, Value>,
    projector_info: Map<String, Value>,
    tensors: Option<Vec<Tensor>>,
    requires: String,
    remote_model: String,
    remote_host: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Details {
    family: String,
    parameter_size: String,
    quantization_level: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Tensor {
    name: String,
    r#type: String,
    shape: Vec<u64>,
}

/// Shows it.
///
/// # Errors
/// When the server cannot be asked or knows no such model.
pub async fn run(args: &Args, client: &Client, console: &mut Console<'_>) -> Result<(), Error> {
    let body = json!({"model": args.model, "verbose": args.verbose});
    let shown: Shown = client.post("/api/show", &body).await?;
    let out = &mut *console.out;
    if args.license {
        writeln!(out, "{}", shown.license)?;
    } else if args.modelfile {
        writeln!(out, "{}", shown.modelfile)?;
    } else if args.parameters {
        writeln!(out, "{}", shown.parameters)?;
    } else if args.system {
        write!(out, "{}", shown.system)?;
    } else if args.template {
        write!(out, "{}", shown.template)?;
    } else {
        shown.write(out, args.verbose)?;
    }
    Ok(())
}

/// Asks about a model.
///
/// # Errors
/// When the server cannot be asked or knows no such model.
pub async fn ask(client: &Client, model: &str) -> Result<Shown, Error> {
    client.post("/api/show", &json!({"model": model})).await
}

impl Shown {
    /// Whether the model has the capability of this name.
    #[must_use]
    pub fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|own| own == capability)
    }

    /// Writes the overview, in sections.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, out: &mut dyn Write, is_verbose: bool) -> io::Result<()> {
        section(out, "Model", self.model_rows())?;
        let capabilities = self.capabilities.iter().map(|capability| row([capability]));
        section(out, "Capabilities", capabilities.collect())?;
        section(out, "Projector", self.projector_rows())?;
        let parameters = self.parameters.lines().filter_map(|line| {
            let (name, value) = line.trim().split_once(char::is_whitespace)?;
            Some(row([name, value.trim_start()]))
        });
        section(out, "Parameters", parameters.collect())?;
        if is_verbose {
            section(out, "Metadata", self.metadata_rows())?;
            let tensors = self.tensors.iter().flatten().map(Tensor::row);
            section(out, "Tensors", tensors.collect())?;
        }
        section(out, "System", head(&self.system))?;
        section(out, "License", head(&self.license))
    }

    fn model_rows(&self) -> Vec<Vec<String>> {
        let architecture = self
            .text("general.architecture")
            .unwrap_or(&self.details.family);
        let of_architecture = |key: &str| self.number(&format!("{architecture}.{key}"));
        let parameters = Some(self.details.parameter_size.clone()).filter(|size| !size.is_empty());
        let rows = [
            ("Remote model", Some(self.remote_model.clone())),
            ("Remote URL", Some(self.remote_host.clone())),
            ("architecture", Some(architecture.to_owned())),
            (
                "parameters",
                parameters.or_else(|| self.number("general.parameter_count")),
            ),
            ("context length", of_architecture("context_length")),
            ("embedding length", of_architecture("embedding_length")),
            (
                "quantization",
                Some(self.details.quantization_level.clone()),
            ),
            ("requires", Some(self.requires.clone())),
        ];
        known(rows)
    }

    fn projector_rows(&self) -> Vec<Vec<String>> {
        let of = |key: &str| self.projector_info.get(key).map(text_of);
        let architecture = of("general.architecture").unwrap_or_default();
        let of_sense = |key: &str| {
            ["vision", "audio"]
                .iter()
                .find_map(|sense| of(&format!("{architecture}.{sense}.{key}")))
        };
        let rows = [
            ("architecture", Some(architecture.clone())),
            ("parameters", of("general.parameter_count")),
            ("embedding length", of_sense("embedding_length")),
            ("dimensions", of_sense("projection_dim")),
        ];
        known(rows)
    }

    fn metadata_rows(&self) -> Vec<Vec<String>> {
        let mut rows: Vec<_> = self
            .model_info
            .iter()
            .map(|(key, value)| row([key.clone(), text_of(value)]))
            .collect();
        rows.sort();
        rows
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.model_info
            .get(key)?
            .as_str()
            .filter(|text| !text.is_empty())
    }

    fn number(&self, key: &str) -> Option<String> {
        self.model_info
            .get(key)
            .filter(|value| value.is_number())
            .map(Value::to_string)
    }
}

impl Tensor {
    fn row(&self) -> Vec<String> {
        let shape: Vec<_> = self.shape.iter().map(u64::to_string).collect();
        row([
            self.name.clone(),
            self.r#type.clone(),
            format!("[{}]", shape.join(" ")),
        ])
    }
}

/// An indented row.
fn row<T: Into<String>, const N: usize>(cells: [T; N]) -> Vec<String> {
    let indent = std::iter::once(String::new());
    indent.chain(cells.into_iter().map(Into::into)).collect()
}

fn known<const N: usize>(rows: [(&str, Option<String>); N]) -> Vec<Vec<String>> {
    let rows = rows
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    rows.filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| row([name.to_owned(), value]))
        .collect()
}

/// A heading and its rows, if there are any.
fn section(out: &mut dyn Write, heading: &str, rows: Vec<Vec<String>>) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "  {heading}")?;
    table(out, &rows)?;
    writeln!(out)
}

/// The first lines of a text that say anything, broken where they are too long.
fn head(text: &str) -> Vec<Vec<String>> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first: Vec<&str> = lines.by_ref().take(SHOWN_LINES).collect();
    let broken = first.iter().flat_map(|line| broken(line));
    let more = lines.next().map(|_| "...".to_owned());
    broken.chain(more).map(|line| row([line])).collect()
}

/// Breaks a line between words.
fn broken(line: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in line.split_whitespace() {
        match lines.last_mut() {
            Some(last) if last.chars().count() + 1 + word.chars().count() <= TEXT_COLUMNS => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A value among the metadata; of a long list its beginning.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => {
            let mut shown = String::new();
            for (index, value) in values.iter().enumerate() {
                let text = text_of(value);
                if index > 0 && shown.len() + text.len() > LIST_COLUMNS {
                    return format!("[{shown} ...+{} more]", values.len() - index);
                }
                let gap = if index > 0 { " " } else { "" };
                shown = shown + gap + &text;
            }
            format!("[{shown}]")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::testing::{Reply, ScriptedServer, ran};

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn reply() -> Value {
        json!({
            "license": "\nMIT License\n\nCopyright the makers\nof this\n",
            "modelfile": "FROM x", "template": "{{ .Prompt }}", "system": "Be brief.",
            "parameters": "stop                           \"<|a b|>\"\ntemperature                    0.7",
            "details": {"family": "llama", "parameter_size": "2.60M", "quantization_level": "Q8_0", "families": null},
            "model_info": {
                "general.architecture": "llama", "general.parameter_count": 2_600_000, "llama.context_length": 512,
                "llama.embedding_length": 128, "llama.rope.freq_base": 10000.0, "a.flag": true,
                "tokenizer.ggml.tokens": ["<s>", "</s>", "the", "of"], "tokenizer.ggml.scores": null,
            },
            "tensors": [{"name": "output.weight", "type": "Q8_0", "shape": [128, 1024]}],
            "capabilities": ["completion", "thinking"],
            "modified_at": "2026-11-22T00:00:00Z",
        })
    }

    async fn check(flags: &[&str], expected: &str) {
        let reply = Reply::ok(&reply().to_string());
        let server = ScriptedServer::start([("POST /api/show", reply)]).await;
        let line = Line::parse_from(["show", "tiny"].iter().chain(flags));
        let ran = ran(None, async |console| {
            run(&line.args, &server.client, console).await
        })
        .await;
        assert_eq!((ran.out.as_str(), ran.err.as_str()), (expected, ""));
    }

    #[tokio::test]
    async fn one_part_is_shown_as_it_is() {
        check(&["--modelfile"], "FROM x\n").await;
        check(&["--template"], "{{ .Prompt }}").await;
        check(&["--system"], "Be brief.").await;
        check(
            &["--license"],
            "\nMIT License\n\nCopyright the makers\nof this\n\n",
        )
        .await;
    }

    #[test]
    fn two_parts_at_a_time_are_refused() {
        assert!(Line::try_parse_from(["show", "tiny", "--license", "--system"]).is_err());
    }

    #[tokio::test]
    async fn the_overview_has_sections() {
        let model = "  Model
    architecture        llama
    parameters          2.60M
    context length      512
    embedding length    128
    quantization        Q8_0

  Capabilities
    completion
    thinking

  Parameters
    stop           \"<|a b|>\"
    temperature    0.7

";
        let texts = "  System
    Be brief.

  License
    MIT License
    Copyright the makers
    ...

";
        check(&[], &format!("{model}{texts}")).await;
        let metadata = "  Metadata
    a.flag                     true
    general.architecture       llama
    general.parameter_count    2600000
    llama.context_length       512
    llama.embedding_length     128
    llama.rope.freq_base       10000.0
    tokenizer.ggml.scores      null
    tokenizer.ggml.tokens      [<s> </s> ...+2 more]

  Tensors
    output.weight    Q8_0    [128 1024]

";
        check(&["-v"], &format!("{model}{metadata}{texts}")).await;
    }

    #[test]
    fn long_lines_are_broken_between_words() {
        let line = "word ".repeat(30);
        let lines = broken(&line);
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [99, 49]);
        assert_eq!(broken(&"x".repeat(120)), ["x".repeat(120)]);
    }
}
