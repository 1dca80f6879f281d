//! What a template is executed on, and how often: Ollama's rules (`template/template.go`, `server/prompt.go`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::data;
use super::execute::{Allowance, Failure, Run};
use super::functions::Clock;
use super::value::{Map, MapKind, Value};
use super::{Template, tree};
use crate::prompt::{Conversation, Message, Think};

/// Between messages that become one.
const PARAGRAPH: &str = "\n\n";

/// A rendering in progress.
pub(super) struct Rendering<'t> {
    template: &'t Template,
    think: Think,
    clock: &'t Clock,
    allowance: Allowance,
}

/// One turn of a template that knows no messages.
#[derive(Debug, Default)]
struct Turn<'m> {
    system: &'m str,
    prompt: &'m str,
    response: &'m str,
}

impl<'t> Rendering<'t> {
    pub(super) fn new(
        template: &'t Template,
        think: Think,
        clock: &'t Clock,
        allowance: Allowance,
    ) -> Self {
        Self {
            template,
            think,
            clock,
            allowance,
        }
    }

    /// The prompt of a conversation.
    pub(super) fn conversation(
        &mut self,
        conversation: &Conversation<'_>,
    ) -> Result<Vec<u8>, Failure> {
        let messages = collated(conversation.messages);
        if !self.template.names.contains("messages") {
            return self.turns(&messages);
        }
        let system = messages_of(conversation.messages, "system").join(PARAGRAPH);
        let data = self.data([
            ("System", Value::text(&system)),
            ("Messages", data::messages(&messages)),
            ("Tools", data::tools(conversation.tools)),
            ("Response", Value::text("")),
        ]);
        self.execute(&self.template.root, data)
    }

    /// The prompt that asks for what stands between two texts.
    pub(super) fn insertion(&mut self, prompt: &str, suffix: &str) -> Result<Vec<u8>, Failure> {
        let data = self.data([
            ("Prompt", Value::text(prompt)),
            ("Suffix", Value::text(suffix)),
            ("Response", Value::text("")),
        ]);
        self.execute(&self.template.root, data)
    }

    /// One turn after the other; the last one is cut where the model is to go on.
    fn turns(&mut self, messages: &[Message]) -> Result<Vec<u8>, Failure> {
        let mut out = Vec::new();
        let mut turn = Turn::default();
        for message in messages {
            let content = message.content.as_str();
            match message.role.as_str() {
                "system" => {
                    if !(turn.prompt.is_empty() && turn.response.is_empty()) {
                        out.extend(self.turn(&self.template.root, std::mem::take(&mut turn))?);
                    }
                    turn.system = content;
                }
                "user" => {
                    if !turn.response.is_empty() {
                        out.extend(self.turn(&self.template.root, std::mem::take(&mut turn))?);
                    }
                    turn.prompt = content;
                }
                "assistant" => turn.response = content,
                _ => {}
            }
        }
        out.extend(self.turn(&self.template.last_turn, turn)?);
        Ok(out)
    }

    fn turn(&mut self, list: &'t tree::List, turn: Turn<'_>) -> Result<Vec<u8>, Failure> {
        let data = self.data([
            ("System", Value::text(turn.system)),
            ("Prompt", Value::text(turn.prompt)),
            ("Response", Value::text(turn.response)),
        ]);
        self.execute(list, data)
    }

    /// These values, and what every template is told about thinking.
    fn data<const N: usize>(&self, values: [(&str, Value); N]) -> Value {
        let (think, level) = match self.think {
            Think::Unset | Think::Off => (false, ""),
            Think::On => (true, "medium"),
            Think::Level(effort) => (true, effort.as_str()),
        };
        let thinking = [
            ("Think", Value::Bool(think)),
            ("ThinkLevel", Value::text(level)),
            ("IsThinkSet", Value::Bool(self.think != Think::Unset)),
        ];
        let entries: BTreeMap<String, Value> = values
            .into_iter()
            .chain(thinking)
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        Map::new(MapKind::Any, entries).into()
    }

    fn execute(&mut self, list: &'t tree::List, data: Value) -> Result<Vec<u8>, Failure> {
        Run::execute(
            &self.template.source,
            &self.template.templates,
            list,
            data,
            self.clock,
            &mut self.allowance,
        )
    }
}

fn messages_of<'m>(messages: &'m [Message], role: &str) -> Vec<&'m str> {
    messages
        .iter()
        .filter(|message| message.role == role)
        .map(|message| message.content.as_str())
        .collect()
}

/// Neighbours of the same role as one message, except for the replies of tools; images named in the text.
fn collated(messages: &[Message]) -> Vec<Message> {
    let mut collated: Vec<Message> = Vec::new();
    let mut images = 0;
    for message in messages {
        let content = with_images(message, &mut images);
        match collated.last_mut() {
            Some(last) if last.role == message.role && message.role != "tool" => {
                last.content.push_str(PARAGRAPH);
                last.content.push_str(&content);
            }
            _ => collated.push(Message {
                content: content.into_owned(),
                ..message.clone()
            }),
        }
    }
    collated
}

/// The content with `[img-N]` for each image: where it says `[img]`, otherwise in front.
fn with_images<'m>(message: &'m Message, images: &mut usize) -> Cow<'m, str> {
    let mut content = Cow::Borrowed(message.content.as_str());
    let mut in_front = String::new();
    for _ in 0..message.images {
        let tag = format!("[img-{images}]");
        *images += 1;
        if content.contains("[img]") {
            content = content.replacen("[img]", &tag, 1).into();
        } else {
            in_front.push_str(&tag);
        }
    }
    if in_front.is_empty() {
        content
    } else {
        (in_front + &content).into()
    }
}
