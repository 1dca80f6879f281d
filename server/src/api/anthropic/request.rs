//! The body of a request, as far as it is about the conversation.

use serde_json::{Map, Value};

use super::content::{MessageField, System};
use super::tools::{ChoiceField, ToolField};
use crate::api::chat::Chat;
use crate::api::conversation::{Conversation, join_system, name_tools, said};
use crate::api::extension::Extension;
use crate::api::json::{Fields, Mismatch};
use crate::api::manner::Manner;
use crate::api::shape::{Format, Shape};
use crate::prompt::{Effort, Message, Think};
use crate::store::{Capability, Model};

/// Takes the conversation out of a body.
///
/// # Errors
/// When a field is missing, of another type, or makes no sense.
pub fn take(fields: &mut Fields) -> Result<Chat, Mismatch> {
    let typed_model: String = fields.take("model")?;
    let tools: Vec<ToolField> = fields.take("tools")?;
    let choice: ChoiceField = fields.take("tool_choice")?;
    let (think, format) = output(fields)?;
    let messages = messages(fields)?;
    let extension = Extension::take(fields)?;
    Ok(Chat {
        conversation: Conversation {
            typed_model,
            messages,
            tools: tools.into_iter().filter_map(|tool| tool.0).collect(),
            think,
        },
        shape: Shape {
            format,
            tool_choice: choice.choice,
            one_call: choice.one_call,
        },
        manner: Manner {
            parameters: extension.parameters,
            keep_alive: extension.keep_alive,
            truncate: extension.truncate,
            shift: extension.shift,
            ..Manner::default()
        },
    })
}

fn messages(fields: &mut Fields) -> Result<Vec<Message>, Mismatch> {
    let System(system) = fields.take("system")?;
    let told: Vec<MessageField> = fields.take("messages")?;
    if told.is_empty() {
        return Err(Mismatch::Value("messages is required".into()));
    }
    let system = (!system.is_empty()).then(|| said("system", &system));
    let told = told.into_iter().flat_map(|field| field.0);
    let mut messages: Vec<Message> = system.into_iter().chain(told).collect();
    name_tools(&mut messages);
    join_system(&mut messages);
    Ok(messages)
}

/// `thinking` and `output_config`: whether to think, and what shape the answer has.
fn output(fields: &mut Fields) -> Result<(Think, Format), Mismatch> {
    let thinking: Map<String, Value> = fields.take("thinking")?;
    let mut thinking = Fields::of("ThinkingConfig", Value::Object(thinking))?;
    let thinking: String = thinking.take("type")?;
    let config: Map<String, Value> = fields.take("output_config")?;
    let mut config = Fields::of("OutputConfig", Value::Object(config))?;
    let effort = config.take::<String>("effort")?.trim().to_lowercase();
    let think = match (thinking.as_str(), effort.as_str()) {
        ("enabled", _) => Think::On,
        ("disabled", _) => Think::Off,
        (_, "low") => Think::Level(Effort::Low),
        (_, "medium") => Think::Level(Effort::Medium),
        (_, "high" | "xhigh") => Think::Level(Effort::High),
        (_, "max") => Think::Level(Effort::Max),
        _ => Think::Unset,
    };
    let current: Option<Map<String, Value>> = config.take("format")?;
    let older: Option<Map<String, Value>> = fields.take("output_format")?;
    let format = match current.or(older) {
        Some(format) => read_format(format)?,
        None => Format::Free,
    };
    Ok((think, format))
}

fn read_format(format: Map<String, Value>) -> Result<Format, Mismatch> {
    let mut fields = Fields::of("OutputFormat", Value::Object(format))?;
    let kind: String = fields.take("type")?;
    let schema: Option<Map<String, Value>> = fields.take("schema")?;
    match (kind.as_str(), schema) {
        ("json_schema", Some(schema)) => Ok(Format::Schema(schema)),
        _ => Err(Mismatch::Value(
            "invalid output format: expected type \"json_schema\" and a schema".into(),
        )),
    }
}

/// Whether a model that cannot think was told to is passed over here, as in Ollama: agents tell every model to.
pub fn relax_thinking(chat: &mut Chat, model: &Model) {
    if !model.capabilities.contains(&Capability::Thinking) {
        chat.conversation.think = Think::Unset;
    }
}
