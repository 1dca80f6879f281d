//! Trees carried out: the walk over nodes, with variables, blocks and calls.

use super::functions::Clock;
use super::parse::Templates;
use super::print::{self, TooLong};
use super::quote::quoted_text;
use super::tree::{Branch, BranchKind, Command, List, Node, Operand, Pipe};
use super::value::{Held, Value};

/// How deeply blocks, calls and parentheses may be nested while they are executed. Go allows 100,000 calls.
const MAX_DEPTH: usize = 1_000;

/// Bytes of text that cost as much as one step.
const BYTES_PER_STEP: u64 = 64;

/// Why a template did not come to its end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Failure {
    /// It went wrong, in Go's words.
    Wrong(String),
    /// Its allowance of work is spent.
    TooMuchWork,
    /// The prompt is longer than anything a model could read.
    TooLong,
}

impl From<TooLong> for Failure {
    fn from(_: TooLong) -> Self {
        Self::TooLong
    }
}

/// What an execution may use up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    /// Nodes, commands and 64 bytes of text that may still be dealt with.
    pub(super) steps: u64,
    /// Bytes of the longest output.
    pub(super) bytes: usize,
}

/// One execution of a template.
pub(super) struct Run<'t> {
    source: &'t str,
    templates: &'t Templates,
    pub(super) clock: &'t Clock,
    allowance: Allowance,
    output: Vec<u8>,
    depth: usize,
    frame: Frame<'t>,
}

/// What a `{{template}}` has of its own.
struct Frame<'t> {
    name: &'t str,
    variables: Vec<(&'t str, Held)>,
    /// What is being dealt with, for messages.
    at: At<'t>,
}

/// A part of a tree.
#[derive(Clone, Copy)]
pub(super) enum At<'t> {
    List(&'t List),
    Node(&'t Node),
    Pipe(&'t Pipe),
    Command(&'t Command),
    Operand(&'t Operand),
}

/// How a walk over a list ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Flow {
    Next,
    Break,
    Continue,
}

impl<'t> Run<'t> {
    /// Executes `root`, which is one of the templates or was made of one, on `data`.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(super) fn execute(
        source: &'t str,
        templates: &'t Templates,
        root: &'t List,
        data: Value,
        clock: &'t Clock,
        allowance: &mut Allowance,
    ) -> Result<Vec<u8>, Failure> {
        let data = Held::from(data);
        let mut run = Self {
            source,
            templates,
            clock,
            allowance: *allowance,
            output: Vec::new(),
            depth: 0,
            frame: Frame {
                name: "",
                variables: vec![("$", data.clone())],
                at: At::List(root),
            },
        };
        run.list(&data, root)?;
        *allowance = Allowance {
            steps: run.allowance.steps,
            bytes: run.allowance.bytes - run.output.len(),
        };
        Ok(run.output)
    }

    pub(super) fn at(&mut self, at: At<'t>) {
        self.frame.at = at;
    }

    /// The failure that Go reports with these words.
    pub(super) fn failure(&self, what: impl std::fmt::Display) -> Failure {
        let (position, context) = match self.frame.at {
            At::List(list) => (list.position, list.to_string()),
            At::Node(node) => (node.position(), node.to_string()),
            At::Pipe(pipe) => (pipe.position, pipe.to_string()),
            At::Command(command) => (command.position, command.to_string()),
            At::Operand(operand) => (operand.position, operand.to_string()),
        };
        let before = &self.source[..position];
        let line = 1 + before.matches('\n').count();
        let column = position - before.rfind('\n').map_or(0, |index| index + 1);
        let name = quoted_text(self.frame.name);
        Failure::Wrong(format!(
            "template: :{line}:{column}: executing {name} at <{context}>: {what}"
        ))
    }

    /// Counts a step, and the text it makes or copies.
    pub(super) fn step(&mut self, bytes: usize) -> Result<(), Failure> {
        let cost = 1 + bytes as u64 / BYTES_PER_STEP;
        self.allowance.steps = self
            .allowance
            .steps
            .checked_sub(cost)
            .ok_or(Failure::TooMuchWork)?;
        Ok(())
    }

    pub(super) fn deeper<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if self.depth >= MAX_DEPTH {
            return Err(self.failure(format_args!(
                "exceeded maximum template depth ({MAX_DEPTH})"
            )));
        }
        self.depth += 1;
        let result = work(self);
        self.depth -= 1;
        result
    }

    pub(super) fn declare(&mut self, name: &'t str, value: Held) {
        self.frame.variables.push((name, value));
    }

    pub(super) fn assign(&mut self, name: &str, value: Held) -> Result<(), Failure> {
        match self
            .frame
            .variables
            .iter_mut()
            .rfind(|(known, _)| *known == name)
        {
            Some((_, variable)) => {
                *variable = value;
                Ok(())
            }
            None => Err(self.failure(format_args!("undefined variable: {name}"))),
        }
    }

    pub(super) fn variable(&self, name: &str) -> Result<Held, Failure> {
        self.frame
            .variables
            .iter()
            .rfind(|(known, _)| *known == name)
            .map(|(_, value)| value.clone())
            .ok_or_else(|| self.failure(format_args!("undefined variable: {name}")))
    }

    fn write(&mut self, text: &[u8]) -> Result<(), Failure> {
        self.step(text.len())?;
        if self.output.len() + text.len() > self.allowance.bytes {
            return Err(Failure::TooLong);
        }
        self.output.extend_from_slice(text);
        Ok(())
    }

    fn list(&mut self, dot: &Held, list: &'t List) -> Result<Flow, Failure> {
        self.at(At::List(list));
        self.deeper(|run| {
            for node in &list.nodes {
                match run.node(dot, node)? {
                    Flow::Next => {}
                    flow => return Ok(flow),
                }
            }
            Ok(Flow::Next)
        })
    }

    fn node(&mut self, dot: &Held, node: &'t Node) -> Result<Flow, Failure> {
        self.at(At::Node(node));
        self.step(0)?;
        match node {
            Node::Text { text, .. } => self.write(text.as_bytes())?,
            Node::Action { pipe, .. } => {
                let value = self.pipeline(dot, pipe)?;
                if pipe.variables.is_empty() {
                    self.at(At::Node(node));
                    let text = printed(value)?;
                    self.write(&text)?;
                }
            }
            Node::Branch(branch) => {
                let visible = self.frame.variables.len();
                let flow = match branch.kind {
                    BranchKind::Range => self.range(dot, node, branch),
                    BranchKind::If | BranchKind::With => self.choose(dot, branch),
                };
                self.frame.variables.truncate(visible);
                return flow;
            }
            Node::Call { name, pipe, .. } => self.call(dot, node, name, pipe.as_ref())?,
            Node::Break { .. } => return Ok(Flow::Break),
            Node::Continue { .. } => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn choose(&mut self, dot: &Held, branch: &'t Branch) -> Result<Flow, Failure> {
        let value = self.pipeline(dot, &branch.pipe)?;
        if value.value.is_true() {
            let inner = match branch.kind {
                BranchKind::With => &value,
                BranchKind::If | BranchKind::Range => dot,
            };
            self.list(inner, &branch.list)
        } else if let Some(otherwise) = &branch.otherwise {
            self.list(dot, otherwise)
        } else {
            Ok(Flow::Next)
        }
    }

    fn range(&mut self, dot: &Held, node: &'t Node, branch: &'t Branch) -> Result<Flow, Failure> {
        self.at(At::Node(node));
        let over = self.pipeline(dot, &branch.pipe)?.value.dereferenced();
        let visible = self.frame.variables.len();
        let mut is_empty = true;
        let mut iterate = |run: &mut Self, key: Held, item: Held| {
            is_empty = false;
            run.step(0)?;
            run.bind(branch, visible, key, &item)?;
            let flow = run.list(&item, &branch.list);
            run.frame.variables.truncate(visible);
            flow.map(|flow| flow == Flow::Break)
        };
        match &over {
            Value::Nil => {}
            Value::Int(_) | Value::Byte(_) if branch.pipe.variables.len() > 1 => {
                let number = shown(&over)?;
                return Err(self.failure(format_args!(
                    "can't use {number} to iterate over more than one variable"
                )));
            }
            Value::Int(count) => {
                for number in 0..*count {
                    if iterate(self, Held::NOTHING, Value::Int(number).into())? {
                        break;
                    }
                }
            }
            Value::Byte(count) => {
                for number in 0..*count {
                    if iterate(self, Held::NOTHING, Value::Byte(number).into())? {
                        break;
                    }
                }
            }
            Value::List(list) => {
                for (index, item) in list.items().iter().enumerate() {
                    let index = Value::Int(i64::try_from(index).expect("lists are short"));
                    if iterate(self, index.into(), list.kind.held(item.clone()))? {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                for (key, item) in map.entries.iter() {
                    if iterate(self, Value::text(key).into(), map.kind.held(item.clone()))? {
                        break;
                    }
                }
            }
            other => {
                let text = shown(other)?;
                return Err(self.failure(format_args!("range can't iterate over {text}")));
            }
        }
        match &branch.otherwise {
            Some(otherwise) if is_empty => self.list(dot, otherwise),
            _ => Ok(Flow::Next),
        }
    }

    /// Sets the variables of a range, of which there are at most two: the key and the item, or only the item.
    fn bind(
        &mut self,
        branch: &'t Branch,
        visible: usize,
        key: Held,
        item: &Held,
    ) -> Result<(), Failure> {
        let variables = &branch.pipe.variables;
        if branch.pipe.is_assignment {
            match variables.as_slice() {
                [] => {}
                [only] => self.assign(only, item.clone())?,
                [first, second, ..] => {
                    self.assign(first, key)?;
                    self.assign(second, item.clone())?;
                }
            }
            return Ok(());
        }
        // They are the ones declared last.
        if !variables.is_empty() {
            self.frame.variables[visible - 1].1 = item.clone();
        }
        if variables.len() > 1 {
            self.frame.variables[visible - 2].1 = key;
        }
        Ok(())
    }

    fn call(
        &mut self,
        dot: &Held,
        node: &'t Node,
        name: &'t str,
        pipe: Option<&'t Pipe>,
    ) -> Result<(), Failure> {
        self.at(At::Node(node));
        let Some(list) = self.templates.by_name.get(name) else {
            let name = quoted_text(name);
            return Err(self.failure(format_args!("template {name} not defined")));
        };
        let inner = match pipe {
            Some(pipe) => self.pipeline(dot, pipe)?,
            None => Held::NOTHING,
        };
        let frame = Frame {
            name,
            variables: vec![("$", inner.clone())],
            at: self.frame.at,
        };
        let outer = std::mem::replace(&mut self.frame, frame);
        self.list(&inner, list)?;
        self.frame = outer;
        Ok(())
    }
}

/// What an action writes of a value.
fn printed(held: Held) -> Result<Vec<u8>, Failure> {
    match held.value {
        Value::Nil => Ok(b"<no value>".to_vec()),
        Value::Text(text) => Ok(text.to_vec()),
        other => Ok(print::print(&[other.dereferenced()])?),
    }
}

/// What `%v` shows of a value.
pub(super) fn shown(value: &Value) -> Result<String, Failure> {
    let text = print::print(std::slice::from_ref(value))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
