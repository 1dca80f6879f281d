//! Glimmer: an answer is several messages, each with a header that says whom it is for.
//!
//! ` to=self<|message|>…<|eom|>` is thought, `<|start|>assistant to=user<|message|>…<|eot|>` is said, and what is for a
//! tool is a call, written in elements: `to=name<|message|><atem:function_calls>…</atem:function_calls>`.

use serde_json::{Map, Value};

use super::images::Images;
use super::typed::{self, Kinds};
use super::{Family, PARSER, Parser, Renderer, golang, schema};
use crate::prompt::parse::channels::{Channels, MAX_HELD_BYTES, Said};
use crate::prompt::parse::overlap;
use crate::prompt::parse::tools::Called;
use crate::prompt::{Conversation, Message, PromptError, Think, Tool, ToolFormat, Traits};

pub(super) const FAMILY: Family = Family {
    renderers: &[Renderer {
        name: "glimmer",
        render,
    }],
    parsers: &[GLIMMER],
};

const GLIMMER: Parser = Parser {
    name: "glimmer",
    tags: Some((THOUGHT, END_MESSAGE)),
    calls: Some(ToolFormat::Glimmer),
    ..PARSER
};

/// What answers look like, whoever says that they are in this format.
pub(in crate::prompt) fn traits() -> Traits {
    GLIMMER.traits()
}

const START: &str = "<|start|>";
const MESSAGE: &str = "<|message|>";
const END_MESSAGE: &str = "<|eom|>";
const END_TURN: &str = "<|eot|>";

/// What stands before that which is said, after the name of the speaker.
pub(in crate::prompt) const ANSWER: &str = " to=user<|message|>";
/// What stands before thoughts, after the name of the speaker.
pub(in crate::prompt) const THOUGHT: &str = " to=self<|message|>";
/// What stands between thoughts and the header of what follows them.
pub(in crate::prompt) const NEXT: &str = "<|eom|><|start|>assistant";
/// Marks that have to arrive as text.
pub(in crate::prompt) const MARKS: [&str; 4] = [START, MESSAGE, END_MESSAGE, END_TURN];
/// With what calls begin.
pub(in crate::prompt) const CALLS: &str = "<atem:function_calls>";

const CALLS_END: &str = "</atem:function_calls>";
const INVOKE: &str = "<atem:invoke name=\"";
const INVOKE_END: &str = "</atem:invoke>";
const PARAMETER: &str = "<atem:parameter name=\"";
const PARAMETER_END: &str = "</atem:parameter>";

const HOW_TO_CALL: &str = r#"In this environment you have access to a set of tools you can use to answer the user's question.

You can invoke a function by writing a "<atem:function_calls>" block like the following:
<atem:function_calls>
<atem:invoke name="$FUNCTION_NAME">
<atem:parameter name="$PARAMETER_NAME">$PARAMETER_VALUE</atem:parameter>
...
</atem:invoke>
</atem:function_calls>

String and scalar parameters should be specified as is, while lists and objects should use JSON format. Note that spaces for string values are not stripped. The output is not expected to be valid XML and is parsed with regular expressions.
Here are the functions available in JSONSchema format:
// Tool metadata
"#;

const EXAMPLE: &str = r#"

Here's an example of how to call a function in the tool set:
(If the tool namespace is not specified, invoke the function directly as `example_function_name` rather than `example_tool_name.example_function_name`)

to=example_tool_name.example_function_name

<atem:function_calls>
<atem:invoke name="example_tool_name.example_function_name">
<atem:parameter name="example_parameter_1">value_1</atem:parameter>
<atem:parameter name="example_parameter_2">This is the value for the second parameter
that can span
"multiple" lines
</atem:parameter>
</atem:invoke>
</atem:function_calls>"#;

fn render(conversation: &Conversation<'_>) -> Result<String, PromptError> {
    let messages = conversation.messages;
    let mut prompt = String::from("<|begin_of_text|>");
    if messages.iter().all(|message| message.role != "system") {
        let now = conversation.now.strftime("%Y-%m-%d");
        let words = format!(
            "You are a helpful AI assistant.\nKnowledge cutoff: 2026-01-04.\nCurrent date: {now}."
        );
        system(&mut prompt, &words, true, conversation);
    }
    let mut images = Images::default();
    for (index, message) in messages.iter().enumerate() {
        let content = images.place(message);
        let next = messages.get(index + 1);
        let goes_on = next.is_some_and(|next| next.role == message.role);
        match message.role.as_str() {
            "system" => system(&mut prompt, &with_strength(&content), false, conversation),
            "user" => put(&mut prompt, "user", &content, END_TURN),
            "tool" => {
                let name = tool_name(message, messages);
                let reply = format!("<tool_output name=\"{name}\">\n{content}\n</tool_output>");
                put(&mut prompt, &format!("tool {name}"), &reply, END_TURN);
            }
            "assistant" => answer(&mut prompt, message, &content, goes_on),
            _ => {}
        }
    }
    prompt.push_str("<|start|>assistant");
    Ok(prompt)
}

fn put(prompt: &mut String, header: &str, content: &str, end: &str) {
    prompt.push_str(&format!("{START}{header}{MESSAGE}{content}{end}"));
}

/// What the system says, with how much to think, what can be called and who can be spoken to.
fn system(prompt: &mut String, words: &str, is_default: bool, conversation: &Conversation<'_>) {
    let strength = match conversation.think {
        Think::Unset | Think::On => "high",
        Think::Off => "none",
        Think::Level(effort) => effort.as_str(),
    };
    let mut text = words.to_owned();
    if is_default || !words.to_lowercase().contains("reasoning strength") {
        text.push_str(&format!("\n\nReasoning strength: {strength}."));
    }
    let namespaces = namespaces(conversation.tools);
    if !conversation.tools.is_empty() {
        text.push_str("\n\n");
        declare(&mut text, conversation.tools, &namespaces);
    }
    text.push_str("\n\n# Valid recipients: \"self\"");
    for namespace in namespaces {
        text.push_str(&format!(", \"{namespace}.*\""));
    }
    text.push_str(", \"user\".");
    put(prompt, "system", &text, END_TURN);
}

/// A caller's own words about effort in those of the model.
fn with_strength(words: &str) -> String {
    [
        ("Reasoning effort", "Reasoning strength"),
        ("Reasoning Effort", "Reasoning Strength"),
        ("reasoning effort", "reasoning strength"),
        ("REASONING EFFORT", "REASONING STRENGTH"),
    ]
    .into_iter()
    .fold(words.to_owned(), |words, (theirs, ours)| {
        words.replace(theirs, ours)
    })
}

/// What stands before the first dot of a tool's name.
fn namespace(name: &str) -> &str {
    name.split_once('.')
        .map_or(name, |(namespace, _)| namespace)
}

fn namespaces(tools: &[Tool]) -> Vec<&str> {
    let mut found = Vec::new();
    for tool in tools {
        let namespace = namespace(&tool.name);
        if !found.contains(&namespace) {
            found.push(namespace);
        }
    }
    found
}

fn declare(text: &mut String, tools: &[Tool], namespaces: &[&str]) {
    let json = |value: &Value| golang::json(value, golang::PYTHON);
    text.push_str(HOW_TO_CALL);
    for namespace in namespaces {
        let name = json(&Value::from(*namespace));
        text.push_str(&format!("{{\"name\": {name}, \"description\": \"\"}}\n"));
    }
    text.push_str("// Function schemas");
    for tool in tools {
        text.push_str(&format!(
            "\n{{\"name\": {}, \"description\": {}, \"parameters\": {}}}",
            json(&tool.name.as_str().into()),
            json(&tool.description.as_str().into()),
            parameters(tool),
        ));
    }
    text.push_str(EXAMPLE);
}

/// A tool's parameters. Go escapes `<`, `>` and `&` in the properties alone: their type prints itself, without heed to what it is
/// printed in.
fn parameters(tool: &Tool) -> String {
    let parameters = schema::Parameters::of(tool).json();
    let fields = golang::entries(&parameters).map(|(name, value)| {
        let layout = match name {
            "properties" => golang::SPACED,
            _ => golang::PYTHON,
        };
        format!("\"{name}\": {}", golang::json(value, layout))
    });
    format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
}

/// The tool that a reply comes from: named by itself, or by the call that it replies to.
fn tool_name<'a>(reply: &'a Message, messages: &'a [Message]) -> &'a str {
    if !reply.tool_name.is_empty() {
        return &reply.tool_name;
    }
    let id = reply.tool_call_id.as_str();
    let mut calls = messages.iter().flat_map(|message| &message.tool_calls);
    let called = calls.rfind(|call| !id.is_empty() && call.id == id);
    called.map_or(id, |call| &call.name)
}

fn answer(prompt: &mut String, message: &Message, content: &str, goes_on: bool) {
    let thinking = message.thinking.as_str();
    if !thinking.is_empty() {
        put(prompt, "assistant to=self", thinking, END_MESSAGE);
    }
    if message.tool_calls.is_empty() {
        if !content.is_empty() || thinking.is_empty() {
            put(prompt, "assistant to=user", content, END_TURN);
        }
        return;
    }
    for (index, call) in message.tool_calls.iter().enumerate() {
        let name = &call.name;
        let mut text = format!("{CALLS}\n{INVOKE}{name}\">\n");
        for (key, value) in golang::entries(&call.arguments) {
            let value = match value {
                Value::Array(_) | Value::Object(_) => {
                    golang::json(&golang::sorted(value), golang::PYTHON)
                }
                scalar => golang::display(scalar),
            };
            text.push_str(&format!("{PARAMETER}{key}\">{value}{PARAMETER_END}\n"));
        }
        text.push_str(&format!("{INVOKE_END}\n{CALLS_END}"));
        let is_last = index + 1 == message.tool_calls.len();
        let end = match is_last && !goes_on {
            true => END_TURN,
            false => END_MESSAGE,
        };
        put(prompt, &format!("assistant to={name}"), &text, end);
    }
}

/// What the header of a further message begins with.
const SPEAKER: &str = "<|start|>assistant";

/// Longest header in bytes; what is longer is content.
const MAX_HEADER_BYTES: usize = 4 << 10;

/// Reads the messages of an answer.
#[derive(Debug)]
pub(in crate::prompt) struct Glimmer {
    tools: Kinds,
    has_tools: bool,
    /// What the model thinks all the same is for nobody.
    drops_thoughts: bool,
    state: State,
    held: String,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum State {
    /// In a header, which may begin with the name of the speaker.
    Header,
    /// In a message of thoughts.
    Thought,
    /// In one for the user, of which something may have been told.
    Said { is_told: bool },
    /// In one for this tool.
    Call(String),
}

/// What a text that begins like the header of a further message is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Status {
    Header,
    /// It takes more text to decide.
    Open,
    Text,
}

impl Glimmer {
    /// A parser that begins after the name of the speaker, with which the prompt ends.
    pub(in crate::prompt) fn new(tools: &[Tool], think: Think) -> Self {
        Self {
            tools: Kinds::of(tools),
            has_tools: !tools.is_empty(),
            drops_thoughts: think == Think::Off,
            state: State::Header,
            held: String::new(),
        }
    }

    /// Judges the beginning of what is held; none if it takes more text, or if there is no more.
    fn step(&mut self, is_end: bool, said: &mut Vec<Said>) -> Option<()> {
        if self.state == State::Header {
            return self.header(is_end);
        }
        self.body(is_end, said)
    }

    fn header(&mut self, is_end: bool) -> Option<()> {
        if let Some(rest) = self.held.strip_prefix(SPEAKER) {
            self.held = rest.to_owned();
        } else if !is_end && self.held.starts_with('<') && SPEAKER.starts_with(&self.held) {
            return None;
        }
        let end = self.held.find(MESSAGE);
        if is_end && end.is_none() || end.unwrap_or(self.held.len()) > MAX_HEADER_BYTES {
            self.state = State::Said { is_told: true };
            return (!self.held.is_empty()).then_some(());
        }
        let end = end?;
        let header = self.held[..end].trim();
        let recipient = header.strip_prefix("to=").unwrap_or(header).trim();
        self.state = match recipient {
            "self" => State::Thought,
            name if self.resolve(name).is_some() => State::Call(name.to_owned()),
            _ => State::Said { is_told: false },
        };
        self.held.drain(..end + MESSAGE.len());
        Some(())
    }

    fn body(&mut self, is_end: bool, said: &mut Vec<Said>) -> Option<()> {
        // Within a call, marks are text.
        let holds = self.may_be_call() && self.held.len() <= MAX_HELD_BYTES;
        let from = match holds {
            true => self
                .held
                .find(CALLS_END)
                .map_or(self.held.len(), |at| at + CALLS_END.len()),
            false => 0,
        };
        let ends = [END_MESSAGE, END_TURN].into_iter();
        let ends = ends.filter_map(|end| Some((self.held[from..].find(end)? + from, end.len())));
        let header = self.next_header(from, is_end);
        let headers = header.filter(|(_, status)| *status == Status::Header);
        let found = ends.chain(headers.map(|(at, _)| (at, 0))).min();
        if let Some((at, length)) = found {
            let body = self.take(at);
            self.held.drain(..length);
            self.tell(body, true, said);
            self.state = State::Header;
            return Some(());
        }
        if is_end {
            let body = self.take(self.held.len());
            self.tell(body, true, said);
            self.state = State::Header;
            return None;
        }
        if holds {
            return None;
        }
        let certain = match header {
            Some((at, _)) => at,
            None => {
                let held = [END_MESSAGE, END_TURN].map(|end| overlap(&self.held, end));
                self.held.len() - held[0].max(held[1])
            }
        };
        if certain > 0 {
            let body = self.take(certain);
            self.tell(body, false, said);
        }
        None
    }

    fn take(&mut self, length: usize) -> String {
        self.held.drain(..length).collect()
    }

    /// Tells a part of a message, or all of it that has not been told.
    fn tell(&mut self, body: String, is_whole: bool, said: &mut Vec<Said>) {
        match &mut self.state {
            State::Header => {}
            State::Thought => {
                if !self.drops_thoughts && !body.is_empty() {
                    said.push(Said::Thinking(body));
                }
            }
            State::Said { is_told } => {
                let was_told = std::mem::replace(is_told, true);
                let call = (is_whole && !was_told)
                    .then(|| self.stray_call(&body))
                    .flatten();
                match call {
                    Some(call) => said.push(Said::Call(call)),
                    None if body.is_empty() => {}
                    None => said.push(Said::Content(body)),
                }
            }
            State::Call(recipient) => {
                let recipient = recipient.clone();
                said.push(match self.call(&body, &recipient) {
                    Some(call) => Said::Call(call),
                    None => Said::Content(body),
                });
            }
        }
    }

    /// Whether the message may be a call: one for a tool, or one for somebody else that looks like it.
    fn may_be_call(&self) -> bool {
        match self.state {
            State::Call(_) => true,
            State::Said { is_told: false } if self.has_tools => {
                let text = self.held.trim_start();
                text.starts_with(CALLS) || CALLS.starts_with(text)
            }
            _ => false,
        }
    }

    /// Where the header of a further message begins that nothing ended the one before, or may begin.
    fn next_header(&self, from: usize, is_end: bool) -> Option<(usize, Status)> {
        let mut search = from;
        while let Some(at) = self.held[search..].find(START) {
            let at = search + at;
            match self.status(&self.held[at..], is_end) {
                Status::Text => search = at + START.len(),
                status => return Some((at, status)),
            }
        }
        let held = overlap(&self.held[search..], SPEAKER);
        (held > 0 && !is_end).then(|| (self.held.len() - held, Status::Open))
    }

    fn status(&self, text: &str, is_end: bool) -> Status {
        let open = |is_open: bool| match is_open && !is_end {
            true => Status::Open,
            false => Status::Text,
        };
        let Some(rest) = text.strip_prefix(SPEAKER) else {
            return open(SPEAKER.starts_with(text));
        };
        if rest.starts_with(MESSAGE) {
            return Status::Header;
        }
        let Some(after) = rest.strip_prefix(" to=") else {
            return open(MESSAGE.starts_with(rest) || " to=".starts_with(rest));
        };
        match after.split_once(MESSAGE) {
            Some((name, _)) if matches!(name, "self" | "user") || self.tools.knows(name) => {
                Status::Header
            }
            Some(_) => Status::Text,
            None => {
                let rest = after.find('<').map_or("", |at| &after[at..]);
                let is_name = !after.contains([' ', '\t', '\r', '\n']);
                open(after.len() <= MAX_HEADER_BYTES && is_name && MESSAGE.starts_with(rest))
            }
        }
    }

    /// The tool of a name, which may have its own namespace in front.
    fn resolve<'a>(&self, name: &'a str) -> Option<&'a str> {
        if self.tools.knows(name) {
            return Some(name);
        }
        let (before, own) = name.split_once('.')?;
        (self.tools.knows(own) && before == namespace(own)).then_some(own)
    }

    /// A call in a message that is for nobody who could be called.
    fn stray_call(&self, body: &str) -> Option<Called> {
        let (name, parameters) = invoked(body)?;
        let tool = self.resolve(&name)?;
        self.arguments(tool, parameters)
    }

    fn call(&self, body: &str, recipient: &str) -> Option<Called> {
        let (name, parameters) = invoked(body)?;
        let tool = self.resolve(recipient)?;
        (self.resolve(&name)? == tool).then_some(())?;
        self.arguments(tool, parameters)
    }

    fn arguments(&self, tool: &str, parameters: &str) -> Option<Called> {
        let mut rest = parameters;
        let mut arguments = Map::new();
        while !rest.is_empty() {
            let (key, after) = rest.strip_prefix(PARAMETER)?.split_once("\">")?;
            let (value, after) = after.split_once(PARAMETER_END)?;
            let value = typed::value(value, self.tools.of_argument(tool, key));
            arguments.insert(key.to_owned(), value);
            rest = after.strip_prefix('\n').unwrap_or(after);
        }
        Some(Called {
            name: tool.to_owned(),
            arguments: Value::Object(arguments),
        })
    }
}

/// The name and the parameters of a call in elements.
fn invoked(body: &str) -> Option<(String, &str)> {
    let calls = body.trim().strip_prefix(CALLS)?.strip_suffix(CALLS_END)?;
    let invoke = calls.trim().strip_prefix(INVOKE)?;
    let (name, rest) = cut_name(invoke)?;
    let parameters = rest.strip_suffix(INVOKE_END)?;
    let parameters = parameters.strip_prefix('\n').unwrap_or(parameters);
    Some((name, parameters.strip_suffix('\n').unwrap_or(parameters)))
}

/// A name up to the end of its tag. Models mistake the mark that ends a header for a part of it, or for its end.
fn cut_name(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let end = rest.find("\">");
        match rest.find(MESSAGE) {
            Some(mark) if end.is_none_or(|end| mark < end) => {
                name.push_str(&rest[..mark]);
                rest = &rest[mark + MESSAGE.len()..];
                if rest.starts_with(PARAMETER) {
                    return Some((name, rest));
                }
            }
            _ => {
                let end = end?;
                name.push_str(&rest[..end]);
                return Some((name, &rest[end + 2..]));
            }
        }
    }
}

impl Channels for Glimmer {
    fn push(&mut self, text: &str) -> Vec<Said> {
        self.held.push_str(text);
        let mut said = Vec::new();
        while self.step(false, &mut said).is_some() {}
        said
    }

    fn finish(&mut self) -> Vec<Said> {
        let mut said = Vec::new();
        while self.step(true, &mut said).is_some() {}
        said
    }
}
