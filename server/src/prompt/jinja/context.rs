//! What a template sees: the variables that `apply_chat_template` defines, made of a conversation.

use minijinja::Value;

use super::json;
use crate::prompt::{Conversation, Message, Think, Tool, ToolCall};

/// Letters and digits that Mistral's templates demand of a call's id.
const MISTRAL_ID_LENGTH: usize = 9;

/// How a template wants the conversation where templates differ and none of them says so.
#[derive(Clone, Debug, Default)]
pub(super) struct Wishes {
    /// The content of a message with images is a list of parts.
    image_parts: bool,
    /// Ids of calls have exactly [`MISTRAL_ID_LENGTH`] letters and digits.
    short_ids: bool,
    /// The arguments of a call are JSON text.
    arguments_as_text: bool,
    /// What the system says stands in front of what the user says first.
    system_in_user: bool,
    /// The role that OpenAI put in the system's place has a name of its own.
    developer: bool,
}

impl Wishes {
    /// What can be read off the template's text.
    pub(super) fn of(source: &str) -> Self {
        Self {
            image_parts: source.contains("image"),
            short_ids: source.contains("length != 9"),
            developer: source.contains("developer"),
            ..Self::default()
        }
    }

    /// Other shapes in which a conversation that failed may succeed.
    pub(super) fn alternatives(
        &self,
        conversation: &Conversation<'_>,
    ) -> impl Iterator<Item = Self> {
        let calls = conversation
            .messages
            .iter()
            .any(|message| !message.tool_calls.is_empty());
        let system = conversation
            .messages
            .iter()
            .any(|message| self.is_system(message));
        [(calls, false), (false, system), (calls, system)]
            .into_iter()
            .filter(move |&(text, moved)| (text || moved) && (text <= calls) && (moved <= system))
            .map(|(arguments_as_text, system_in_user)| Self {
                arguments_as_text,
                system_in_user,
                ..self.clone()
            })
    }

    /// Whether the template is told that the system says this.
    fn is_system(&self, message: &Message) -> bool {
        let role = message.role.as_str();
        role == "system" || role == "developer" && !self.developer
    }
}

/// The variables of one rendering.
pub(super) fn of(conversation: &Conversation<'_>, wishes: &Wishes) -> Value {
    let folded;
    let messages = if wishes.system_in_user {
        folded = fold_system(conversation.messages, wishes);
        &folded
    } else {
        conversation.messages
    };
    let ids = Ids::of(messages, wishes);
    let messages: Vec<Value> = messages
        .iter()
        .enumerate()
        .map(|(index, message)| of_message(message, index, &ids, wishes))
        .collect();
    let mut variables = vec![
        ("messages", Value::from(messages)),
        (
            "add_generation_prompt",
            Value::from(conversation.add_generation_prompt),
        ),
        ("bos_token", Value::from(conversation.bos_token)),
        ("eos_token", Value::from(conversation.eos_token)),
        ("tools", of_tools(conversation.tools)),
        ("documents", Value::from(())),
        ("strftime_now", super::python::strftime(&conversation.now)),
    ];
    match conversation.think {
        Think::Unset => {}
        Think::Off => variables.push(("enable_thinking", Value::from(false))),
        Think::On => variables.push(("enable_thinking", Value::from(true))),
        Think::Level(effort) => {
            variables.push(("enable_thinking", Value::from(true)));
            variables.push(("reasoning_effort", Value::from(effort.as_str())));
        }
    }
    Value::from_pairs(variables)
}

/// No tools are `none`, as in `apply_chat_template`: some templates ask only whether it is that.
fn of_tools(tools: &[Tool]) -> Value {
    if tools.is_empty() {
        return Value::from(());
    }
    tools.iter().map(of_tool).collect()
}

fn of_tool(tool: &Tool) -> Value {
    let mut function = vec![("name", Value::from(tool.name.as_str()))];
    if !tool.description.is_empty() {
        function.push(("description", Value::from(tool.description.as_str())));
    }
    if !tool.parameters.is_null() {
        function.push(("parameters", json::to_value(&tool.parameters)));
    }
    Value::from_pairs([
        ("type", Value::from("function")),
        ("function", Value::from_pairs(function)),
    ])
}

/// Absent fields are left out rather than empty: templates ask whether a key is there.
fn of_message(message: &Message, index: usize, ids: &Ids, wishes: &Wishes) -> Value {
    let role = if wishes.is_system(message) {
        "system"
    } else {
        message.role.as_str()
    };
    let mut fields = vec![
        ("role", Value::from(role)),
        ("content", of_content(message, wishes)),
    ];
    if !message.thinking.is_empty() {
        // The name is `reasoning_content` in most templates and `thinking` in some.
        fields.push(("reasoning_content", Value::from(message.thinking.as_str())));
        fields.push(("thinking", Value::from(message.thinking.as_str())));
    }
    if !message.tool_calls.is_empty() {
        let calls = message.tool_calls.iter().enumerate();
        let calls: Vec<Value> = calls
            .map(|(place, call)| of_call(call, ids.of_call(index, place, call), wishes))
            .collect();
        fields.push(("tool_calls", Value::from(calls)));
    }
    if !message.tool_name.is_empty() {
        fields.push(("name", Value::from(message.tool_name.as_str())));
    }
    if let Some(id) = ids.of_reply(index, message) {
        fields.push(("tool_call_id", Value::from(id)));
    }
    Value::from_pairs(fields)
}

fn of_content(message: &Message, wishes: &Wishes) -> Value {
    let text = Value::from(message.content.as_str());
    if message.images == 0 || !wishes.image_parts {
        return text;
    }
    let image = Value::from_pairs([("type", Value::from("image"))]);
    let mut parts = vec![image; message.images];
    parts.push(Value::from_pairs([
        ("type", Value::from("text")),
        ("text", text),
    ]));
    Value::from(parts)
}

fn of_call(call: &ToolCall, id: Option<String>, wishes: &Wishes) -> Value {
    let arguments = if wishes.arguments_as_text {
        Value::from(json::dump_spaced(&call.arguments))
    } else {
        json::to_value(&call.arguments)
    };
    let mut fields = vec![
        ("type", Value::from("function")),
        (
            "function",
            Value::from_pairs([
                ("name", Value::from(call.name.as_str())),
                ("arguments", arguments),
            ]),
        ),
    ];
    if let Some(id) = id {
        fields.insert(0, ("id", Value::from(id)));
    }
    Value::from_pairs(fields)
}

/// What the system said, in front of what the user said first.
fn fold_system(messages: &[Message], wishes: &Wishes) -> Vec<Message> {
    let (system, mut others): (Vec<Message>, Vec<Message>) = messages
        .iter()
        .cloned()
        .partition(|message| wishes.is_system(message));
    let mut words: Vec<String> = system.into_iter().map(|message| message.content).collect();
    if let Some(user) = others.iter_mut().find(|message| message.role == "user") {
        words.push(std::mem::take(&mut user.content));
        user.content = words.join("\n\n");
    } else {
        others.insert(
            0,
            Message {
                role: "user".into(),
                content: words.join("\n\n"),
                ..Message::default()
            },
        );
    }
    others
}

/// The ids of calls and of the replies to them. Most templates print what the caller gave; Mistral's refuse an id that
/// is not nine letters and digits, or that is missing, so for them every id is made so, the same one always the same.
struct Ids {
    short: bool,
    /// For each message: the short id of the call that it replies to if it names none, in the order of the calls.
    awaited: Vec<Option<String>>,
}

impl Ids {
    fn of(messages: &[Message], wishes: &Wishes) -> Self {
        let mut awaited = Vec::new();
        let mut open = std::collections::VecDeque::new();
        for (index, message) in messages.iter().enumerate() {
            for (place, call) in message.tool_calls.iter().enumerate() {
                open.push_back(short_id(index, place, call));
            }
            awaited.push((message.role == "tool").then(|| open.pop_front()).flatten());
        }
        Self {
            short: wishes.short_ids,
            awaited,
        }
    }

    fn of_call(&self, message: usize, place: usize, call: &ToolCall) -> Option<String> {
        if self.short {
            return Some(short_id(message, place, call));
        }
        (!call.id.is_empty()).then(|| call.id.clone())
    }

    fn of_reply(&self, index: usize, message: &Message) -> Option<String> {
        match (self.short, message.tool_call_id.is_empty()) {
            (false, true) => None,
            (false, false) => Some(message.tool_call_id.clone()),
            (true, true) => self.awaited[index].clone(),
            (true, false) => Some(shorten(&message.tool_call_id)),
        }
    }
}

fn short_id(message: usize, place: usize, call: &ToolCall) -> String {
    if call.id.is_empty() {
        shorten(&format!("{message}x{place}"))
    } else {
        shorten(&call.id)
    }
}

/// The last nine letters and digits, with zeros in front if there are fewer.
fn shorten(id: &str) -> String {
    let kept: Vec<char> = id.chars().filter(char::is_ascii_alphanumeric).collect();
    let kept: String = kept[kept.len().saturating_sub(MISTRAL_ID_LENGTH)..]
        .iter()
        .collect();
    format!("{kept:0>MISTRAL_ID_LENGTH$}")
}
