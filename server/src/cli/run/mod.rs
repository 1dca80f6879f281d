//! `chaski run`: one answer, or a conversation.
//!
//! What a model can do decides what happens to the prompt: it is answered, embedded or classified.

mod chat;
mod encode;
mod entry;
mod help;
mod printer;
mod repl;
mod session;
mod summary;
#[cfg(test)]
mod tests;
mod wrap;

use std::io::{IsTerminal, Read};

use reqwest::StatusCode;
use serde_json::Value;

pub use self::session::Message;
use self::session::{Session, Think};
use super::client::Client;
use super::console::Console;
use super::error::Error;
use super::show::{self, Shown};
use super::transfer;
use crate::duration::KeepAlive;

/// Options of `run`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The model
    model: String,
    /// What it is asked; standard input comes first unless it is a terminal
    prompt: Vec<String>,
    /// How long the model stays loaded, like 5m
    #[arg(long, value_parser = keep_alive)]
    keepalive: Option<String>,
    /// Show timings
    #[arg(long)]
    verbose: bool,
    /// Speak plain HTTP with the registry, if the model has to be pulled
    #[arg(long)]
    insecure: bool,
    /// Let the terminal break lines inside words
    #[arg(long)]
    nowordwrap: bool,
    /// Shape of the answer: json, or a JSON schema
    #[arg(long, value_parser = session::format)]
    format: Option<Value>,
    /// Think first: true, false, low, medium, high or max
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    think: Option<Think>,
    /// Do not show thoughts
    #[arg(long)]
    hidethinking: bool,
    /// Cut what is too long to be embedded; --truncate=false refuses it
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    truncate: Option<bool>,
    /// Length of an embedding
    #[arg(long)]
    dimensions: Option<u32>,
}

/// Runs the model on the prompt, or talks with whoever sits at the terminal.
///
/// # Errors
/// When the server cannot be asked, knows no such model, or fails.
pub async fn run(args: &Args, client: &Client, console: &mut Console<'_>) -> Result<(), Error> {
    let piped = piped_input()?;
    let is_interactive = piped.is_none() && args.prompt.is_empty() && console.columns.is_some();
    if is_interactive {
        let session = begin(args, client, console).await?;
        return repl::talk(session, repl::Terminal::open()?, client, console).await;
    }
    answer_once(args, piped.as_deref(), client, console).await
}

/// Everything on standard input, unless a person would have to type it.
fn piped_input() -> Result<Option<String>, Error> {
    let mut input = std::io::stdin().lock();
    if input.is_terminal() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// One prompt, made of what was piped in and what was typed.
async fn answer_once(
    args: &Args,
    piped: Option<&str>,
    client: &Client,
    console: &mut Console<'_>,
) -> Result<(), Error> {
    let piped = piped.filter(|text| !text.is_empty()).into_iter();
    let typed = args.prompt.iter().map(String::as_str);
    let prompt = piped.chain(typed).collect::<Vec<_>>().join(" ");
    let model = find(args, client, console).await?;
    if model.can("embedding") {
        return encode::embed(args, &prompt, client, console).await;
    }
    if model.can("classify") {
        return encode::classify(args, &prompt, client, console).await;
    }
    let mut session = Session::new(args, &model);
    if prompt.is_empty() {
        return session.load(client).await;
    }
    session.ask(prompt);
    let answer = chat::chat(&session, client, console).await?;
    if session.verbose {
        answer.timings.write(console.err)?;
    }
    Ok(())
}

/// A conversation with the model already loaded.
async fn begin(args: &Args, client: &Client, console: &mut Console<'_>) -> Result<Session, Error> {
    let model = find(args, client, console).await?;
    for (capability, verb) in [("embedding", "embed"), ("classify", "classify")] {
        if model.can(capability) {
            let name = &args.model;
            let text = format!(
                "{name} needs a text to {verb}. Usage: chaski run {name} \"your text here\""
            );
            return Err(Error::Usage(text));
        }
    }
    let session = Session::new(args, &model);
    session.greet(&model, client, console).await?;
    Ok(session)
}

/// What the server knows about the model, which it is asked to pull if it knows nothing.
async fn find(args: &Args, client: &Client, console: &mut Console<'_>) -> Result<Shown, Error> {
    let missing = match show::ask(client, &args.model).await {
        Err(error) if error.is_not_found() => error,
        answered => return answered,
    };
    let pulling = transfer::Args {
        model: args.model.clone(),
        insecure: args.insecure,
    };
    match transfer::pull(&pulling, client, console).await {
        Ok(()) => show::ask(client, &args.model).await,
        // A server that cannot pull at all: that the model is missing says more.
        Err(Error::Server { status, .. }) if status == StatusCode::NOT_IMPLEMENTED => Err(missing),
        Err(error) => Err(error),
    }
}

/// Checks a Go duration and leaves it as it was typed.
fn keep_alive(text: &str) -> Result<String, String> {
    match KeepAlive::parse(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err(format!("time: invalid duration {text:?}")),
    }
}
