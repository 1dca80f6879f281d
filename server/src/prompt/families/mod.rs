//! Model families whose prompts and answers are known by name: a model may carry the name of a renderer or parser in
//! its configuration instead of a template.
//!
//! Each file that is not named below is one family: how its prompts are written, how its tool calls are read, and its
//! tests. One more family is one more file and its line in [`FAMILIES`]. The names, and what is printed under them, are
//! those of Ollama (`model/renderers`, `model/parsers`), with which every conversation in `tests/prompt/families` was
//! compared byte by byte.

mod cogito;
pub(super) mod cohere;
pub(super) mod deepseek;
pub(super) mod functiongemma;
mod gemma;
pub mod gemma4;
pub(super) mod glimmer;
pub(super) mod glm;
mod golang;
pub(super) mod harmony;
mod images;
pub(super) mod kimi;
mod laguna;
pub(super) mod lfm2;
mod mistral;
mod nemotron;
pub(super) mod olmo3;
mod passthrough;
mod python_call;
mod qwen3;
mod qwen35;
mod qwen3_coder;
mod qwen3_vl;
mod schema;
#[cfg(test)]
mod tests;
pub(super) mod typed;

pub use images::image_mark;

use super::{Conversation, PromptError, Tags, ToolFormat, Traits};

/// All families.
const FAMILIES: &[Family] = &[
    cogito::FAMILY,
    cohere::FAMILY,
    deepseek::FAMILY,
    functiongemma::FAMILY,
    gemma4::FAMILY,
    glimmer::FAMILY,
    glm::FAMILY,
    harmony::FAMILY,
    laguna::FAMILY,
    lfm2::FAMILY,
    mistral::FAMILY,
    nemotron::FAMILY,
    olmo3::FAMILY,
    passthrough::FAMILY,
    qwen3::FAMILY,
    qwen3_coder::FAMILY,
    qwen3_vl::FAMILY,
    qwen35::FAMILY,
];

/// What is known by the names of one family.
struct Family {
    renderers: &'static [Renderer],
    parsers: &'static [Parser],
}

/// A way of writing prompts.
#[derive(Debug)]
pub struct Renderer {
    /// The name that models carry.
    pub name: &'static str,
    /// The prompt for a conversation. A last message of the assistant is the beginning of the answer, and it is the
    /// renderer that leaves it open.
    pub(super) render: fn(&Conversation<'_>) -> Result<String, PromptError>,
}

/// A way of reading answers.
#[derive(Debug)]
pub struct Parser {
    /// The name that models carry.
    pub name: &'static str,
    /// Models that carry it can call tools.
    pub tools: bool,
    /// Models that carry it can think.
    pub thinking: bool,
    /// What surrounds their thoughts.
    tags: Option<(&'static str, &'static str)>,
    calls: Option<ToolFormat>,
    /// Thoughts may begin again after content.
    reopens: bool,
    /// What a model thinks that was told not to is dropped.
    drops: bool,
}

/// What most parsers are; each says how it differs.
const PARSER: Parser = Parser {
    name: "",
    tools: true,
    thinking: true,
    tags: Some(THINK),
    calls: None,
    reopens: false,
    drops: false,
};

/// The marks that most models put around their thoughts.
const THINK: (&str, &str) = ("<think>", "</think>");

/// A renderer by the name that a model carries.
#[must_use]
pub fn renderer(name: &str) -> Option<&'static Renderer> {
    let mut renderers = FAMILIES.iter().flat_map(|family| family.renderers);
    renderers.find(|renderer| renderer.name == name)
}

/// A parser by the name that a model carries.
#[must_use]
pub fn parser(name: &str) -> Option<&'static Parser> {
    let mut parsers = FAMILIES.iter().flat_map(|family| family.parsers);
    parsers.find(|parser| parser.name == name)
}

impl Parser {
    /// What the answers of models that carry its name look like.
    #[must_use]
    pub fn traits(&self) -> Traits {
        Traits {
            thinking: self.tags.map(|(open, close)| Tags {
                open: open.into(),
                close: close.into(),
            }),
            tools: self.calls,
            call_prefix: None,
            is_named: true,
            reopens_thinking: self.reopens,
            drops_unwanted_thinking: self.drops,
        }
    }
}
