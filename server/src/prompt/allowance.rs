//! How much work a template may do, and the stack it does it on.

use std::cell::Cell;
use std::panic::resume_unwind;

use super::{Conversation, Message, PromptError};

/// Units of work every rendering gets: one an instruction, and one for every 64 bytes that are made on the way.
const BASE: u64 = 20_000;

/// Units for each message, each tool and each value within their JSON. Those in use take less than half.
const PER_ITEM: u64 = 500;

/// Bytes of text for a unit, which so can be copied or searched a score of times.
const BYTES_PER_UNIT: u64 = 4;

/// Units no rendering gets more than: a second of one core, and 128 MB.
const MAX: u64 = 2_000_000;

/// Stack for each unit of a Jinja template's work. A unit can put a value into one more list, and printing, comparing or dropping lists
/// within lists takes as many nested calls, of at most 640 bytes as measured. Only what is used takes memory.
const STACK_BYTES_PER_UNIT: u64 = 1_024;

/// Stack for everything else.
const BASE_STACK_BYTES: u64 = 4 << 20;

/// Stack for parsing: the parser limits its own depth, but not that of what it makes of long chains of operators.
const PARSE_STACK_BYTES: u64 = 256 << 20;

/// Items that may be taken out of repeated lists in one rendering: more than fit into any prompt.
const MAX_REPEATED_ITEMS: usize = 1 << 20;

thread_local! {
    /// What is left of them. Every rendering has a thread of its own.
    static REPEATED_ITEMS: Cell<usize> = const { Cell::new(MAX_REPEATED_ITEMS) };
}

/// The end of a rendering that takes more than it may.
struct Exhausted;

/// Counts items of repeated lists, and ends the rendering when there are too many: an iterator has no other way to end what
/// goes through it whatever it says.
pub(super) fn spend(items: usize) {
    let left = REPEATED_ITEMS.get().checked_sub(items);
    REPEATED_ITEMS.set(left.unwrap_or(0));
    if left.is_none() {
        // Unlike a panic, this is no accident that the log has to tell of.
        resume_unwind(Box::new(Exhausted));
    }
}

/// What a conversation's rendering may cost, in proportion to the conversation: whoever wrote the template decides how
/// much work it does, but not how long the conversation is.
pub(super) fn units(conversation: &Conversation<'_>) -> u64 {
    let messages = conversation.messages.iter().map(of_message);
    let tools = conversation.tools.iter().map(|tool| {
        PER_ITEM + text(&tool.name) + text(&tool.description) + of_json(&tool.parameters)
    });
    (BASE + messages.chain(tools).sum::<u64>()).min(MAX)
}

/// What a rendering may cost that has nothing but texts.
pub(super) fn of_texts(texts: &[&str]) -> u64 {
    let texts = texts.iter().map(|of_one| text(of_one));
    (BASE + texts.sum::<u64>()).min(MAX)
}

/// Renders a Jinja template that may cost so many units on a stack that suffices for it.
pub(super) fn render<T: Send>(
    units: u64,
    work: impl FnOnce() -> Result<T, PromptError> + Send,
) -> Result<T, PromptError> {
    on_stack(BASE_STACK_BYTES + units * STACK_BYTES_PER_UNIT, work)
}

/// Parses on a stack that suffices for the longest template.
pub(super) fn parse<T: Send>(
    work: impl FnOnce() -> Result<T, PromptError> + Send,
) -> Result<T, PromptError> {
    on_stack(PARSE_STACK_BYTES, work)
}

/// Works on a stack of so many bytes, of which only those that are used take memory.
pub(super) fn on_stack<T: Send>(
    bytes: u64,
    work: impl FnOnce() -> Result<T, PromptError> + Send,
) -> Result<T, PromptError> {
    let failed = |why: &str| PromptError::Render(format!("the template engine failed: {why}"));
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("template".into())
            .stack_size(usize::try_from(bytes).map_err(|error| failed(&error.to_string()))?)
            .spawn_scoped(scope, work)
            .map_err(|error| failed(&error.to_string()))?
            .join()
            .unwrap_or_else(|payload| {
                Err(if payload.is::<Exhausted>() {
                    PromptError::TooMuchWork
                } else {
                    failed("it panicked")
                })
            })
    })
}

fn of_message(message: &Message) -> u64 {
    let calls = message
        .tool_calls
        .iter()
        .map(|call| PER_ITEM + text(&call.name) + of_json(&call.arguments));
    PER_ITEM + text(&message.content) + text(&message.thinking) + calls.sum::<u64>()
}

fn of_json(value: &serde_json::Value) -> u64 {
    use serde_json::Value as Json;
    PER_ITEM
        + match value {
            Json::Null | Json::Bool(_) | Json::Number(_) => 0,
            Json::String(string) => text(string),
            Json::Array(items) => items.iter().map(of_json).sum(),
            Json::Object(entries) => entries
                .iter()
                .map(|(key, value)| text(key) + of_json(value))
                .sum(),
        }
}

fn text(text: &str) -> u64 {
    text.len() as u64 / BYTES_PER_UNIT
}
