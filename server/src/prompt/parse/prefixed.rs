//! Calls behind a prefix that is known from a Go template, in whatever JSON the model was taught, as Ollama's
//! `tools/tools.go` finds them: the first object behind the prefix is a call if a tool's name stands in it or before it.
//!
//! Unlike Ollama, what is no call after all stays content, and so does what is said after a call.

use serde_json::{Map, Value};

use super::overlap;
use super::tools::{Called, Format, SoFar, Step};
use crate::prompt::Tool;

/// The prefixes of models that mark their calls in no way: only an answer that begins with one may be a call.
const BRACKETS: [&str; 2] = ["{", "["];

/// What may stand between two calls or behind the last.
const SEPARATORS: [char; 7] = [' ', '\n', '\r', '\t', ',', ';', ']'];

/// See the file.
#[derive(Debug)]
pub(super) struct Prefixed {
    prefix: String,
    names: Vec<String>,
    state: State,
    objects: Objects,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Before the prefix.
    Looking,
    /// Behind it.
    Calling,
    /// Behind a call.
    Between,
    /// Everything is content.
    Done,
}

impl Prefixed {
    pub(super) fn new(prefix: &str, tools: &[Tool]) -> Self {
        Self {
            prefix: prefix.to_owned(),
            names: tools.iter().map(|tool| tool.name.clone()).collect(),
            state: State::Looking,
            objects: Objects::default(),
        }
    }

    fn is_bracket(&self) -> bool {
        BRACKETS.contains(&self.prefix.as_str())
    }

    fn look(&mut self, text: &str, so_far: SoFar) -> Step {
        let start = text.find(&self.prefix);
        let before = start.unwrap_or_else(|| text.len() - overlap(text, &self.prefix));
        if self.is_bracket() && (so_far.content || !text[..before].trim().is_empty()) {
            self.state = State::Done;
            return Step::Content(text.len());
        }
        match (start, before) {
            (Some(0), _) => {
                self.state = State::Calling;
                self.objects = Objects::default();
                self.call(text)
            }
            (None, 0) => Step::Wait,
            (_, before) => Step::Content(before),
        }
    }

    fn call(&mut self, text: &str) -> Step {
        while let Some((start, end)) = self.objects.next(text) {
            let Ok(Value::Object(object)) = serde_json::from_str(&text[start..end]) else {
                continue;
            };
            let Some(name) = self.name(&text[..end]) else {
                continue;
            };
            self.state = State::Between;
            self.objects = Objects::default();
            let arguments = Value::Object(arguments(object, &name));
            return Step::Calls(vec![Called { name, arguments }], end);
        }
        // An object that is whole and names no tool is what the model says.
        if self.is_bracket() && self.objects.is_closed {
            self.state = State::Done;
            return Step::Content(text.len());
        }
        Step::Wait
    }

    /// The tool that is named first; of two that begin at the same place, the longer name.
    fn name(&self, text: &str) -> Option<String> {
        let found = self.names.iter().filter(|name| !name.is_empty());
        found
            .filter_map(|name| text.find(name.as_str()).map(|start| (start, name)))
            .min_by_key(|(start, name)| (*start, usize::MAX - name.len()))
            .map(|(_, name)| name.clone())
    }

    fn between(&mut self, text: &str) -> Step {
        let rest = text.trim_start_matches(SEPARATORS);
        if rest.len() < text.len() {
            return Step::Skip(text.len() - rest.len());
        }
        if rest.starts_with(['<', '[']) && !rest.starts_with(self.prefix.as_str()) {
            // The mark that closes a call, if it is one.
            if self.prefix.starts_with(rest) || rest.len() == 1 {
                return Step::Wait;
            }
            if rest[1..].starts_with(['/', '|']) {
                return match rest.find(['>', ']', ' ', '\n']) {
                    Some(end) if rest[end..].starts_with(['>', ']']) => Step::Skip(end + 1),
                    Some(_) => self.go_on(),
                    None => Step::Wait,
                };
            }
        }
        let is_call = |name: &String| rest.starts_with(name.as_str()) || name.starts_with(rest);
        if rest.starts_with(['{', '[']) || self.names.iter().any(is_call) {
            self.state = State::Calling;
            return self.call(text);
        }
        self.go_on()
    }

    /// What follows is content until the prefix comes again.
    fn go_on(&mut self) -> Step {
        self.state = if self.is_bracket() {
            State::Done
        } else {
            State::Looking
        };
        Step::Skip(0)
    }
}

impl Format for Prefixed {
    fn step(&mut self, text: &str, so_far: SoFar) -> Step {
        loop {
            let step = match self.state {
                State::Looking => self.look(text, so_far),
                State::Calling => self.call(text),
                State::Between => self.between(text),
                State::Done => Step::Content(text.len()),
            };
            // Only the state has changed.
            if step != Step::Skip(0) {
                return step;
            }
        }
    }
}

/// Finds JSON objects in a text that grows.
#[derive(Debug, Default)]
struct Objects {
    seen: usize,
    depth: usize,
    start: usize,
    in_string: bool,
    is_escaped: bool,
    /// Brackets of both kinds that are open, and whether they have all been closed once.
    open: usize,
    is_closed: bool,
}

impl Objects {
    /// The next object that is complete, as a range of bytes.
    fn next(&mut self, text: &str) -> Option<(usize, usize)> {
        for &byte in &text.as_bytes()[self.seen..] {
            let place = self.seen;
            self.seen += 1;
            if std::mem::take(&mut self.is_escaped) {
                continue;
            }
            match byte {
                b'\\' => self.is_escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' => {
                    if self.depth == 0 {
                        self.start = place;
                    }
                    self.depth += 1;
                    self.open += 1;
                }
                b'[' => self.open += 1,
                b']' => self.close(),
                b'}' => {
                    self.close();
                    let is_object = self.depth == 1;
                    self.depth = self.depth.saturating_sub(1);
                    if is_object {
                        return Some((self.start, self.seen));
                    }
                }
                _ => {}
            }
        }
        None
    }

    fn close(&mut self) {
        self.is_closed |= self.open == 1;
        self.open = self.open.saturating_sub(1);
    }
}

/// The arguments in an object that stands for a call: beside a `name`, under the tool's name, within another object, or
/// the object itself.
fn arguments(object: Map<String, Value>, tool: &str) -> Map<String, Value> {
    find(&object, tool).unwrap_or(object)
}

fn find(object: &Map<String, Value>, tool: &str) -> Option<Map<String, Value>> {
    let map = |key: &str| match object.get(key)? {
        Value::Object(map) => Some(map.clone()),
        Value::String(text) => serde_json::from_str(text).ok(),
        _ => None,
    };
    if object.contains_key("name") {
        return Some(
            map("arguments")
                .or_else(|| map("parameters"))
                .unwrap_or_default(),
        );
    }
    map(tool).or_else(|| {
        object.values().find_map(|value| match value {
            Value::Object(inner) => find(inner, tool),
            Value::Array(items) => items
                .iter()
                .filter_map(Value::as_object)
                .find_map(|inner| find(inner, tool)),
            _ => None,
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Part;
    use super::super::tools::ToolCalls;
    use crate::prompt::Tool;

    fn read<'a>(
        prefix: &str,
        pieces: impl Iterator<Item = &'a str>,
    ) -> (String, Vec<(String, serde_json::Value)>) {
        let tools = ["get_weather", "get", "now"].map(|name| Tool {
            name: name.into(),
            description: String::new(),
            parameters: serde_json::Value::Null,
        });
        let mut parser = ToolCalls::prefixed(prefix, &tools);
        let mut parts = Vec::new();
        for piece in pieces {
            parser.push(piece, &mut parts);
        }
        parser.finish(&mut parts);
        let (mut content, mut calls) = (String::new(), Vec::new());
        for part in parts {
            match part {
                Part::Content(text) => content.push_str(&text),
                Part::ToolCall(call) => calls.push((call.name, call.arguments)),
                Part::Thinking(thought) => panic!("nobody thinks: {thought}"),
            }
        }
        (content, calls)
    }

    /// However the answer is cut into pieces, these are its content and its calls.
    fn check(prefix: &str, answer: &str, content: &str, calls: &[(&str, serde_json::Value)]) {
        let calls = calls
            .iter()
            .map(|(name, arguments)| ((*name).to_owned(), arguments.clone()));
        let expected = (content.to_owned(), calls.collect());
        assert_eq!(
            read(prefix, [answer].into_iter()),
            expected,
            "{prefix} {answer}"
        );
        let letters = answer
            .char_indices()
            .map(|(start, letter)| &answer[start..start + letter.len_utf8()]);
        assert_eq!(read(prefix, letters), expected, "{prefix} {answer}");
    }

    #[test]
    fn calls_are_found_behind_the_prefix() {
        let paris = || json!({"city": "Paris"});
        check("<tool_call>", "Hello", "Hello", &[]);
        check(
            "<tool_call>",
            "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}\n</tool_call>",
            "",
            &[("get_weather", paris())],
        );
        check(
            "<tool_call>",
            "Let me see. <tool_call>{\"name\":\"now\",\"arguments\":{}}</tool_call>\n<tool_call>{\"name\":\"get\",\"parameters\":{\"a\":1}}</tool_call> That is all.",
            "Let me see.That is all.",
            &[("now", json!({})), ("get", json!({"a": 1}))],
        );
        check(
            "[TOOL_CALLS]",
            "[TOOL_CALLS] [{\"name\":\"get_weather\",\"arguments\":{\"city\":\"Paris\"}},{\"name\":\"now\",\"arguments\":{}}]",
            "",
            &[("get_weather", paris()), ("now", json!({}))],
        );
        check(
            "[TOOL_CALLS]",
            "[TOOL_CALLS]get_weather{\"city\": \"Paris\"}now{}",
            "",
            &[("get_weather", paris()), ("now", json!({}))],
        );
        check(
            "<call>",
            "<call>{\"get_weather\": {\"city\": \"Paris\"}}",
            "",
            &[("get_weather", paris())],
        );
        check(
            "<call>",
            "<call>{\"function\": {\"name\": \"get_weather\", \"arguments\": \"{\\\"city\\\": \\\"Paris\\\"}\"}}",
            "",
            &[("get_weather", paris())],
        );
    }

    #[test]
    fn without_a_mark_only_a_whole_answer_is_a_call() {
        let call = "{\"name\": \"get\", \"parameters\": {\"x\": \"}\"}}";
        check("{", call, "", &[("get", json!({"x": "}"}))]);
        check(
            "{",
            &format!("\n {call}\n"),
            "",
            &[("get", json!({"x": "}"}))],
        );
        check("{", &format!("I say {call}"), &format!("I say {call}"), &[]);
        check("{", "{\"answer\": 42} is it", "{\"answer\": 42} is it", &[]);
        check(
            "[",
            &format!("[{call}, {call}]"),
            "",
            &[("get", json!({"x": "}"})), ("get", json!({"x": "}"}))],
        );
        check("[", "[1, 2]", "[1, 2]", &[]);
        check("{", "{\"unfinished\": ", "{\"unfinished\": ", &[]);
    }

    #[test]
    fn what_is_no_call_stays_content() {
        check(
            "<call>",
            "<call>{\"name\": \"other\"}",
            "<call>{\"name\": \"other\"}",
            &[],
        );
        check("<call>", "a <cal", "a <cal", &[]);
        check(
            "<call>",
            "<call>{not json} get",
            "<call>{not json} get",
            &[],
        );
    }
}
