//! What a parsed template is made of. Printed, every part is what Go's messages quote of it.

use std::fmt;

use super::literal::Number;
use super::quote;

/// What stands between two delimiters of a block, or the whole template.
#[derive(Clone, Debug, Default)]
pub(super) struct List {
    /// Where it starts, in bytes.
    pub(super) position: usize,
    pub(super) nodes: Vec<Node>,
}

/// Something that is executed.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Text {
        position: usize,
        text: String,
    },
    /// `{{pipeline}}`
    Action {
        position: usize,
        pipe: Pipe,
    },
    Branch(Box<Branch>),
    /// `{{template "name" pipeline}}`
    Call {
        position: usize,
        name: String,
        pipe: Option<Pipe>,
    },
    Break {
        position: usize,
    },
    Continue {
        position: usize,
    },
}

/// `{{if}}`, `{{with}}` or `{{range}}`.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub(super) kind: BranchKind,
    pub(super) position: usize,
    pub(super) pipe: Pipe,
    pub(super) list: List,
    pub(super) otherwise: Option<List>,
}

/// Which [`Branch`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BranchKind {
    If,
    Range,
    With,
}

/// `$x, $y := command | command`
#[derive(Clone, Debug)]
pub(super) struct Pipe {
    pub(super) position: usize,
    /// `=` rather than `:=`.
    pub(super) is_assignment: bool,
    pub(super) variables: Vec<String>,
    pub(super) commands: Vec<Command>,
}

/// A function or a value, with arguments after it. Never empty.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub(super) position: usize,
    pub(super) operands: Vec<Operand>,
}

/// A word of a [`Command`].
#[derive(Clone, Debug)]
pub(super) struct Operand {
    pub(super) position: usize,
    pub(super) term: Term,
}

/// What an [`Operand`] is.
#[derive(Clone, Debug)]
pub(super) enum Term {
    /// A function's name.
    Identifier(String),
    /// `$x.A.B`, without the dots; the first has its dollar sign.
    Variable(Vec<String>),
    /// `.A.B`, without the dots.
    Field(Vec<String>),
    /// `(pipeline).A.B`
    Chain(Box<Operand>, Vec<String>),
    Dot,
    Nil,
    Bool(bool),
    Number(Number),
    Text {
        /// As written, with its quotes.
        quoted: String,
        /// What it stands for, which need not be UTF-8.
        text: Vec<u8>,
    },
    Pipe(Pipe),
}

impl Node {
    pub(super) fn position(&self) -> usize {
        match self {
            Self::Text { position, .. }
            | Self::Action { position, .. }
            | Self::Call { position, .. }
            | Self::Break { position }
            | Self::Continue { position } => *position,
            Self::Branch(branch) => branch.position,
        }
    }
}

impl List {
    /// Whether there is nothing in it but space.
    pub(super) fn is_blank(&self) -> bool {
        self.nodes
            .iter()
            .all(|node| matches!(node, Node::Text { text, .. } if text.trim().is_empty()))
    }
}

impl fmt::Display for List {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.nodes.iter().try_for_each(|node| node.fmt(formatter))
    }
}

impl fmt::Display for Node {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { text, .. } => formatter.write_str(text),
            Self::Action { pipe, .. } => write!(formatter, "{{{{{pipe}}}}}"),
            Self::Branch(branch) => branch.fmt(formatter),
            Self::Call { name, pipe, .. } => {
                write!(formatter, "{{{{template {}", quote::quoted_text(name))?;
                if let Some(pipe) = pipe {
                    write!(formatter, " {pipe}")?;
                }
                formatter.write_str("}}")
            }
            Self::Break { .. } => formatter.write_str("{{break}}"),
            Self::Continue { .. } => formatter.write_str("{{continue}}"),
        }
    }
}

impl fmt::Display for Branch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.kind {
            BranchKind::If => "if",
            BranchKind::Range => "range",
            BranchKind::With => "with",
        };
        write!(formatter, "{{{{{word} {}}}}}{}", self.pipe, self.list)?;
        if let Some(otherwise) = &self.otherwise {
            write!(formatter, "{{{{else}}}}{otherwise}")?;
        }
        formatter.write_str("{{end}}")
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            let sign = if self.is_assignment { "=" } else { ":=" };
            write!(formatter, "{} {sign} ", self.variables.join(", "))?;
        }
        for (index, command) in self.commands.iter().enumerate() {
            if index > 0 {
                formatter.write_str(" | ")?;
            }
            command.fmt(formatter)?;
        }
        Ok(())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, operand) in self.operands.iter().enumerate() {
            if index > 0 {
                formatter.write_str(" ")?;
            }
            match &operand.term {
                Term::Pipe(pipe) => write!(formatter, "({pipe})")?,
                _ => operand.fmt(formatter)?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.term {
            Term::Identifier(name) => formatter.write_str(name),
            Term::Variable(path) => formatter.write_str(&path.join(".")),
            Term::Field(path) => write!(formatter, ".{}", path.join(".")),
            Term::Chain(operand, path) => {
                match &operand.term {
                    Term::Pipe(pipe) => write!(formatter, "({pipe})")?,
                    _ => operand.fmt(formatter)?,
                }
                write!(formatter, ".{}", path.join("."))
            }
            Term::Dot => formatter.write_str("."),
            Term::Nil => formatter.write_str("nil"),
            Term::Bool(value) => value.fmt(formatter),
            Term::Number(number) => formatter.write_str(&number.text),
            Term::Text { quoted, .. } => formatter.write_str(quoted),
            Term::Pipe(pipe) => pipe.fmt(formatter),
        }
    }
}
