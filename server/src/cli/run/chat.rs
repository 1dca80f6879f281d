//! One answer: asked for, shown as it comes, and kept.

use serde::Deserialize;
use serde_json::Value;

use super::printer::Printer;
use super::session::Session;
use super::summary::Timings;
use crate::cli::client::Client;
use crate::cli::console::Console;
use crate::cli::error::Error;
use crate::cli::progress::Waiting;

/// What the model has said.
#[derive(Debug, Default)]
pub struct Answer {
    /// Without thoughts.
    pub content: String,
    /// What it took.
    pub timings: Timings,
}

/// A line of the stream.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    message: Said,
    #[serde(default)]
    done: bool,
    #[serde(flatten)]
    timings: Timings,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    content: String,
    thinking: String,
    tool_calls: Vec<ToolCall>,
}

#[derive(Deserialize)]
struct ToolCall {
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    arguments: Value,
}

/// Asks for the next message of the session and shows it.
///
/// # Errors
/// When the server cannot be asked, refuses, or breaks off.
pub async fn chat(
    session: &Session,
    client: &Client,
    console: &mut Console<'_>,
) -> Result<Answer, Error> {
    let mut answer = Answer::default();
    chat_into(&mut answer, session, client, console).await?;
    Ok(answer)
}

/// The same, and `answer` holds what has come so far whenever this is stopped by being dropped.
///
/// # Errors
/// As above.
pub async fn chat_into(
    answer: &mut Answer,
    session: &Session,
    client: &Client,
    console: &mut Console<'_>,
) -> Result<(), Error> {
    let mut waiting = Some(Waiting::start(console.is_animated));
    let mut lines = client
        .stream::<Line>("/api/chat", &session.chat_request())
        .await?;
    let mut printer = Printer::new(session, console);
    while let Some(line) = lines.next().await? {
        let Said {
            content,
            thinking,
            tool_calls,
        } = line.message;
        if line.done || !content.is_empty() || !session.hides_thinking {
            waiting = None;
        }
        printer.thinking(&thinking)?;
        printer.content(&content)?;
        for call in tool_calls {
            printer.tool_call(&call.function.name, &call.function.arguments)?;
        }
        answer.content.push_str(&content);
        if line.done {
            answer.timings = line.timings;
            printer.finish()?;
            return Ok(());
        }
    }
    drop(waiting);
    Err(Error::Unfinished)
}
