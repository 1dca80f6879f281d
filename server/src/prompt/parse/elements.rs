//! Calls as elements: one for the function, one within it for each argument, and one around them all.

use serde_json::{Map, Value};

use super::overlap;
use super::tools::{Called, Format, SoFar, Step};
use crate::prompt::Tool;
use crate::prompt::families::typed::{self, Kinds};

/// How the elements are written.
#[derive(Debug)]
struct Notation {
    /// Around the calls, with what ends each.
    outer: &'static [(&'static str, &'static str)],
    /// Before the name of a function. Which of them a text has tells how the rest of it is written.
    inner: &'static [Inner],
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Inner {
    function: &'static str,
    function_end: &'static str,
    parameter: &'static str,
    parameter_end: &'static str,
    /// What ends a name. After it there may be further attributes.
    name_end: char,
}

const FUNCTIONS: Notation = Notation {
    outer: &[
        ("<tool_call>", "</tool_call>"),
        ("<seed:tool_call>", "</seed:tool_call>"),
    ],
    inner: &[Inner {
        function: "<function=",
        function_end: "</function>",
        parameter: "<parameter=",
        parameter_end: "</parameter>",
        name_end: '>',
    }],
};

const INVOKES: Notation = Notation {
    outer: &[
        ("<minimax:tool_call>", "</minimax:tool_call>"),
        ("<｜DSML｜function_calls>", "</｜DSML｜function_calls>"),
    ],
    inner: &[
        Inner {
            function: "<invoke name=\"",
            function_end: "</invoke>",
            parameter: "<parameter name=\"",
            parameter_end: "</parameter>",
            name_end: '"',
        },
        Inner {
            function: "<｜DSML｜invoke name=\"",
            function_end: "</｜DSML｜invoke>",
            parameter: "<｜DSML｜parameter name=\"",
            parameter_end: "</｜DSML｜parameter>",
            name_end: '"',
        },
    ],
};

/// Reads such calls. The outermost element may be missing, as models forget it, where the function is a tool on offer.
#[derive(Debug)]
pub(super) struct Elements {
    notation: Notation,
    kinds: Kinds,
    /// What ends the element around the calls, while we are in it or it may not have ended.
    within: Option<&'static str>,
}

impl Elements {
    /// `<tool_call><function=name><parameter=key>value</parameter></function></tool_call>`.
    pub(super) fn functions(tools: &[Tool]) -> Self {
        Self::new(FUNCTIONS, tools)
    }

    /// `<invoke name="name"><parameter name="key">value</parameter></invoke>` within some other element.
    pub(super) fn invokes(tools: &[Tool]) -> Self {
        Self::new(INVOKES, tools)
    }

    fn new(notation: Notation, tools: &[Tool]) -> Self {
        Self {
            notation,
            kinds: Kinds::of(tools),
            within: None,
        }
    }

    /// Within the outermost element, after a call.
    fn after_call(&mut self, text: &str, close: &'static str) -> Option<Step> {
        let trimmed = text.trim_start();
        let space = text.len() - trimmed.len();
        if trimmed.starts_with(close) {
            self.within = None;
            return Some(Step::Skip(space + close.len()));
        }
        for inner in self.notation.inner {
            if trimmed.starts_with(inner.function) {
                return Some(match self.call(trimmed, *inner, true) {
                    Reading::Open => Step::Wait,
                    Reading::Call(call, length) => Step::Calls(vec![call], space + length),
                    Reading::None => {
                        self.within = None;
                        Step::Content(space + inner.function.len())
                    }
                });
            }
        }
        let may_become = |mark: &str| mark.starts_with(trimmed);
        let inner = self.notation.inner.iter();
        if may_become(close) || inner.map(|inner| inner.function).any(may_become) {
            return Some(Step::Wait);
        }
        self.within = None;
        None
    }

    /// Judges a text that begins with the element around calls.
    fn opened(&mut self, text: &str, open: &'static str, close: &'static str) -> Step {
        let inside = text[open.len()..].trim_start();
        let begun = text.len() - inside.len();
        for inner in self.notation.inner {
            if inside.starts_with(inner.function) {
                return match self.call(inside, *inner, true) {
                    Reading::Open => Step::Wait,
                    Reading::Call(call, length) => {
                        self.within = Some(close);
                        Step::Calls(vec![call], begun + length)
                    }
                    Reading::None => Step::Content(open.len()),
                };
            }
        }
        let mut inner = self.notation.inner.iter();
        match inner.any(|inner| inner.function.starts_with(inside)) {
            true => Step::Wait,
            false => Step::Content(open.len()),
        }
    }

    /// Judges a text that begins with a function's element.
    fn call(&self, text: &str, inner: Inner, is_certain: bool) -> Reading {
        let named = &text[inner.function.len()..];
        let found = tag(named, inner.name_end);
        let head = found.map_or(named, |(_, rest)| &named[..named.len() - rest.len()]);
        if head.contains(['\n', '<']) {
            return Reading::None;
        }
        let Some((name, rest)) = found else {
            return Reading::Open;
        };
        if name.is_empty() || (!is_certain && !self.kinds.knows(name)) {
            return Reading::None;
        }
        let mut rest = rest;
        let mut arguments = Map::new();
        let outer_ends = self.notation.outer.iter().map(|(_, close)| *close);
        let ends: Vec<&str> = outer_ends.chain([inner.function_end]).collect();
        loop {
            // Between the elements there is nothing but whitespace; what a model puts there all the same is dropped.
            let marks = ends.iter().copied().chain([inner.parameter]);
            let next = marks
                .filter_map(|mark| Some((rest.find(mark)?, mark)))
                .min();
            let Some((at, mark)) = next else {
                return Reading::Open;
            };
            let after = &rest[at + mark.len()..];
            if mark != inner.parameter {
                // The element around them may end where the function's does not.
                let left = if mark == inner.function_end {
                    after.len()
                } else {
                    rest.len() - at
                };
                let call = Called {
                    name: name.to_owned(),
                    arguments: Value::Object(arguments),
                };
                return Reading::Call(call, text.len() - left);
            }
            let Some((key, value)) = tag(after, inner.name_end) else {
                return Reading::Open;
            };
            let Some((value, after)) = value.split_once(inner.parameter_end) else {
                return Reading::Open;
            };
            let value = typed::value(typed::line(value), self.kinds.of_argument(name, key));
            arguments.insert(key.to_owned(), value);
            rest = after;
        }
    }
}

/// What a text that begins with a function's element turns out to be.
enum Reading {
    /// It takes more text to decide.
    Open,
    /// A call of so many bytes.
    Call(Called, usize),
    /// No call.
    None,
}

/// A name, and what follows the tag that it stands in.
fn tag(text: &str, name_end: char) -> Option<(&str, &str)> {
    let (name, rest) = text.split_once(name_end)?;
    match name_end {
        '>' => Some((name, rest)),
        _ => Some((name, rest.split_once('>')?.1)),
    }
}

impl Format for Elements {
    fn step(&mut self, text: &str, _: SoFar) -> Step {
        if let Some(close) = self.within
            && let Some(step) = self.after_call(text, close)
        {
            return step;
        }
        let outer = self.notation.outer.iter().map(|(open, _)| *open);
        let inner = self.notation.inner.iter().map(|inner| inner.function);
        let marks: Vec<&str> = outer.chain(inner).collect();
        let start = marks.iter().filter_map(|mark| text.find(mark)).min();
        match start {
            Some(0) => {}
            Some(start) => return Step::Content(start),
            None => {
                let held = marks.iter().map(|mark| overlap(text, mark)).max();
                return match text.len() - held.unwrap_or(0) {
                    0 => Step::Wait,
                    certain => Step::Content(certain),
                };
            }
        }
        let mut outer = self.notation.outer.iter();
        if let Some((open, close)) = outer.find(|(open, _)| text.starts_with(open)) {
            return self.opened(text, open, close);
        }
        let mut inner = self.notation.inner.iter();
        let inner = *inner
            .find(|inner| text.starts_with(inner.function))
            .expect("the text begins with one of the marks");
        match self.call(text, inner, false) {
            Reading::Open => Step::Wait,
            Reading::Call(call, length) => {
                // The end of an element that never began may follow.
                self.within = Some(self.notation.outer[0].1);
                Step::Calls(vec![call], length)
            }
            Reading::None => Step::Content(inner.function.len()),
        }
    }

    fn mark(&self) -> Option<&'static str> {
        Some(self.notation.outer[0].0)
    }
}
