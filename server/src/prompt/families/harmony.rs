//! Harmony, which gpt-oss speaks: an answer is several messages, each with a header that says whom it is for.
//!
//! `<|start|>assistant<|channel|>analysis<|message|>…<|end|>` is thought, `…<|channel|>final<|message|>…` is said, and
//! `…<|channel|>commentary to=functions.name <|constrain|>json<|message|>{…}<|call|>` is a call.
//! Source: <https://cookbook.openai.com/articles/openai-harmony>.

use serde_json::{Map, Value};

use super::{Family, PARSER, Parser};
use crate::prompt::parse::channels::{Channels, MAX_HELD_BYTES, Said};
use crate::prompt::parse::overlap;
use crate::prompt::parse::tools::Called;
use crate::prompt::{Tool, ToolFormat, Traits};

pub(super) const FAMILY: Family = Family {
    renderers: &[],
    parsers: &[HARMONY],
};

const HARMONY: Parser = Parser {
    name: "harmony",
    tags: Some((THOUGHT, END)),
    calls: Some(ToolFormat::Harmony),
    ..PARSER
};

/// What answers look like, whoever says that they are in this format.
pub(in crate::prompt) fn traits() -> Traits {
    HARMONY.traits()
}

/// What stands before thoughts, after the name of the speaker.
pub(in crate::prompt) const THOUGHT: &str = "<|channel|>analysis<|message|>";
/// What stands before that which is said.
pub(in crate::prompt) const ANSWER: &str = "<|channel|>final<|message|>";
/// What stands after both.
pub(in crate::prompt) const END: &str = "<|end|>";
/// What stands between thoughts and the header of what follows them.
pub(in crate::prompt) const NEXT: &str = "<|end|><|start|>assistant";

const START: &str = "<|start|>";
const CHANNEL: &str = "<|channel|>";
const MESSAGE: &str = "<|message|>";
const CONSTRAIN: &str = "<|constrain|>";

/// Marks that have to arrive as text. Those that end an answer never do.
pub(in crate::prompt) const MARKS: [&str; 5] = [START, END, MESSAGE, CHANNEL, CONSTRAIN];

/// What may end a message.
const ENDS: [&str; 4] = [END, "<|call|>", "<|return|>", START];

/// Longest header in bytes; what is longer is content.
const MAX_HEADER_BYTES: usize = 4 << 10;

/// Reads the messages of an answer.
#[derive(Debug)]
pub(in crate::prompt) struct Harmony {
    /// Names of the tools on offer.
    names: Vec<String>,
    state: State,
    held: String,
    /// Bytes of `held` that are the prompt's: the beginning of the first header.
    begun: usize,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum State {
    /// After a message: another may start.
    Between,
    /// In a header.
    Header,
    /// In a message.
    Body(Kind),
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Kind {
    Thought,
    Said,
    /// A call of this tool, as the header names it.
    Call(String),
}

impl Harmony {
    /// A parser that goes on where the prompt ends: most end in a header, after the name of the speaker.
    pub(in crate::prompt) fn new(prompt_end: &str, tools: &[Tool]) -> Self {
        let (state, held) = match prompt_end.rsplit_once(START) {
            Some((_, begun)) => match begun.split_once(MESSAGE) {
                Some((header, body)) if !body.contains(END) => {
                    (State::Body(kind(header)), String::new())
                }
                Some(_) => (State::Between, String::new()),
                None => (State::Header, begun.to_owned()),
            },
            None => (State::Between, String::new()),
        };
        Self {
            names: tools.iter().map(|tool| tool.name.clone()).collect(),
            state,
            begun: held.len(),
            held,
        }
    }

    /// Judges the beginning of what is held; none if it takes more text.
    fn step(&mut self, said: &mut Vec<Said>) -> Option<()> {
        match &self.state {
            State::Between => self.between(),
            State::Header => self.header(),
            State::Body(kind) => {
                let kind = kind.clone();
                self.body(&kind, said)
            }
        }
    }

    fn between(&mut self) -> Option<()> {
        self.held = self.held.trim_start().to_owned();
        let trimmed = self.held.as_str();
        if trimmed.is_empty() {
            return None;
        }
        if let Some(header) = trimmed.strip_prefix(START) {
            self.held = header.to_owned();
            self.state = State::Header;
        } else if trimmed.starts_with(CHANNEL) {
            // Some forget to start the message.
            self.state = State::Header;
        } else if START.starts_with(trimmed) || CHANNEL.starts_with(trimmed) {
            return None;
        } else {
            self.state = State::Body(Kind::Said);
        }
        Some(())
    }

    fn header(&mut self) -> Option<()> {
        let fresh = self.held[self.begun..].trim_start();
        let may_go_on = |mark: &&str| fresh.starts_with(*mark) || mark.starts_with(fresh);
        let goes_on = [CHANNEL, MESSAGE, CONSTRAIN, "to="].iter().any(may_go_on);
        let end = self.held.find(MESSAGE);
        let is_long = end.unwrap_or(self.held.len()) > MAX_HEADER_BYTES;
        if (self.begun > 0 && !goes_on) || is_long {
            // A model that does not speak Harmony after all.
            self.no_header();
            return Some(());
        }
        let end = end?;
        self.state = State::Body(kind(&self.held[..end]));
        self.held.drain(..end + MESSAGE.len());
        self.begun = 0;
        Some(())
    }

    fn no_header(&mut self) {
        self.held.drain(..self.begun);
        self.begun = 0;
        self.state = State::Body(Kind::Said);
    }

    fn body(&mut self, kind: &Kind, said: &mut Vec<Said>) -> Option<()> {
        let ends = ENDS
            .iter()
            .filter_map(|end| Some((self.held.find(end)?, *end)));
        if let Some((length, end)) = ends.min() {
            let body: String = self.held.drain(..length).collect();
            if end != START {
                self.held.drain(..end.len());
            }
            said.extend(self.part(kind, body));
            self.state = State::Between;
            return Some(());
        }
        if let Kind::Call(_) = kind {
            if self.held.len() > MAX_HELD_BYTES {
                self.state = State::Body(Kind::Said);
                return Some(());
            }
            return None;
        }
        let held = ENDS.iter().map(|end| overlap(&self.held, end)).max();
        let certain = self.held.len() - held.unwrap_or(0);
        let body: String = self.held.drain(..certain).collect();
        said.extend(self.part(kind, body));
        None
    }

    fn part(&self, kind: &Kind, body: String) -> Option<Said> {
        match kind {
            Kind::Call(recipient) => Some(match self.call(recipient, &body) {
                Some(call) => Said::Call(call),
                None => Said::Content(body),
            }),
            _ if body.is_empty() => None,
            Kind::Thought => Some(Said::Thinking(body)),
            Kind::Said => Some(Said::Content(body)),
        }
    }

    fn call(&self, recipient: &str, body: &str) -> Option<Called> {
        let arguments = match body.trim() {
            "" => Value::Object(Map::new()),
            json => serde_json::from_str(json).ok()?,
        };
        let name = recipient.strip_prefix("functions.").unwrap_or(recipient);
        // Names that are no identifiers come back as ones.
        let offered = self.names.iter().find(|offered| *offered == name);
        let offered = offered.or_else(|| {
            self.names
                .iter()
                .find(|offered| identifier(offered) == name)
        });
        arguments.is_object().then(|| Called {
            name: offered.map_or(name, String::as_str).to_owned(),
            arguments,
        })
    }
}

impl Channels for Harmony {
    fn push(&mut self, text: &str) -> Vec<Said> {
        self.held.push_str(text);
        let mut said = Vec::new();
        while self.step(&mut said).is_some() {}
        said
    }

    fn finish(&mut self) -> Vec<Said> {
        if self.state == State::Header && !self.held.contains(CHANNEL) {
            self.no_header();
        }
        let held = std::mem::take(&mut self.held);
        let part = match std::mem::replace(&mut self.state, State::Between) {
            State::Body(kind) => self.part(&kind, held),
            // What a header without a message says is for nobody.
            State::Header | State::Between => None,
        };
        part.into_iter().collect()
    }
}

/// The message, or the beginning of one, with which a prompt ends.
pub(in crate::prompt) fn last_message(prompt_end: &str) -> &str {
    (prompt_end.rsplit_once(START)).map_or(prompt_end, |(_, message)| message)
}

/// Whom a message is for.
fn kind(header: &str) -> Kind {
    let header = header.replacen(CONSTRAIN, &format!(" {CONSTRAIN}"), 1);
    let (before, channel, after) = match header.split_once(CHANNEL) {
        Some((before, after)) => {
            let end = after.find(char::is_whitespace).unwrap_or(after.len());
            (before, &after[..end], &after[end..])
        }
        None => (header.as_str(), "", ""),
    };
    let mut words = before.split_whitespace().chain(after.split_whitespace());
    let recipient = words.find_map(|word| word.strip_prefix("to="));
    match (channel, recipient) {
        ("analysis" | "commentary", Some(tool)) => Kind::Call(tool.to_owned()),
        ("analysis", None) => Kind::Thought,
        _ => Kind::Said,
    }
}

/// A name as an identifier: spaces, dashes and dots become underscores, and what no identifier has is left out.
pub(in crate::prompt) fn identifier(name: &str) -> String {
    let letters = name.chars().filter_map(|letter| match letter {
        ' ' | '-' | '.' => Some('_'),
        letter if letter.is_alphanumeric() || matches!(letter, '_' | '$') => Some(letter),
        _ => None,
    });
    let name: String = letters.collect();
    match name.chars().next() {
        None => "unnamed".into(),
        Some(first) if first.is_numeric() => format!("_{name}"),
        Some(_) => name,
    }
}
