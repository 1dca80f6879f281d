//! What a prompt is made of.

use std::sync::Arc;

use serde_json::{Map, Value};

/// One message of a conversation. An empty string is an absent field.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, `tool`, or whatever else the template knows.
    pub role: String,
    /// What is said.
    pub content: String,
    /// What the assistant thought before it spoke.
    pub thinking: String,
    /// How many images belong to the message.
    pub images: usize,
    /// The files of these images.
    pub image_files: Vec<Arc<[u8]>>,
    /// The tools that the assistant called.
    pub tool_calls: Vec<ToolCall>,
    /// Of a tool's reply: which tool answers.
    pub tool_name: String,
    /// Of a tool's reply: which call it answers.
    pub tool_call_id: String,
}

/// A tool that the assistant calls.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// Names the call within the conversation; empty if the caller gave none.
    pub id: String,
    /// Its place among the calls of one message, from 0.
    pub index: usize,
    /// The tool's name.
    pub name: String,
    /// What the tool is called with: a JSON object.
    pub arguments: Value,
}

impl Default for ToolCall {
    /// A call of nothing with nothing.
    fn default() -> Self {
        Self {
            id: String::new(),
            index: 0,
            name: String::new(),
            arguments: Value::Object(Map::new()),
        }
    }
}

/// A function that the model may call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tool {
    /// The name to call it by.
    pub name: String,
    /// What it does; empty if the caller did not say.
    pub description: String,
    /// JSON Schema of its arguments, in the caller's key order; null if it takes none.
    pub parameters: Value,
}

/// Whether the model is to think before it speaks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Think {
    /// The template does as it likes. What a model that cannot think is asked with.
    #[default]
    Unset,
    /// It must not.
    Off,
    /// It must.
    On,
    /// It must, this much.
    Level(Effort),
}

impl Think {
    /// Whether it was asked for.
    #[must_use]
    pub fn is_wanted(self) -> bool {
        matches!(self, Self::On | Self::Level(_))
    }
}

/// How much a model is to think.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Effort {
    /// A little.
    Low,
    /// As much as the model's makers thought right.
    Medium,
    /// A lot.
    High,
    /// As much as it can.
    Max,
}

impl Effort {
    /// The word templates and clients use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Max => "max",
        }
    }
}

/// Everything one prompt depends on.
#[derive(Clone, Debug)]
pub struct Conversation<'a> {
    /// What was said, oldest first.
    pub messages: &'a [Message],
    /// The tools the model may call.
    pub tools: &'a [Tool],
    /// Whether it is to think.
    pub think: Think,
    /// Whether the prompt ends where the assistant's answer begins.
    pub add_generation_prompt: bool,
    /// Text of the beginning-of-sequence token; empty if the vocabulary has none.
    pub bos_token: &'a str,
    /// Text of the end-of-sequence token; empty if the vocabulary has none.
    pub eos_token: &'a str,
    /// The date that templates print.
    pub now: jiff::Zoned,
}
