//! Messages into the text a model reads, and the text a model writes into thinking, content and tool calls.
//!
//! Nothing here knows HTTP, an engine, a process or the store: a [`Template`] is made from its text, a prompt is a
//! `String`, and an answer arrives as pieces of text. JSON appears only as the values that tools and their arguments
//! are made of, because templates print them.
//!
//! A further template language is one more variant of [`Template`]; a further model family, with its way of writing
//! prompts and tool calls, is one more file in `families/`.

mod allowance;
mod call_syntax;
mod choice;
mod error;
pub mod families;
mod go;
mod jinja;
mod message;
mod parse;
mod plain;
mod template;
mod traits;
mod truncate;

pub use call_syntax::{Arguments, CallOpening, CallSyntax};
pub use choice::{Brought, Chosen, GoTemplates};
pub use error::PromptError;
pub use message::{Conversation, Effort, Message, Think, Tool, ToolCall};
pub use parse::{Expectations, OutputParser, Part};
pub use template::Template;
pub use traits::{CallPrefix, Capabilities, Tags, ToolFormat, Traits, capabilities};
pub use truncate::{Truncation, truncate};
