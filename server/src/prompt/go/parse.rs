//! Items into trees, by the grammar and with the messages of Go's `text/template/parse`.

use std::collections::HashMap;

use super::functions;
use super::lex::{Item, Keyword, Kind, Lexer};
use super::literal::{self, Notation, Number};
use super::quote::quoted_text;
use super::tree::{Branch, BranchKind, Command, List, Node, Operand, Pipe, Term};

/// How deeply blocks and parentheses may nest. Go allows 10,000 parentheses and any number of blocks.
const MAX_NESTING: usize = 250;

/// Variables that may be visible at once: looking one up takes as many comparisons.
const MAX_VARIABLES: usize = 1_000;

/// The templates of one text: what stands outside of every `{{define}}`, and what they define.
#[derive(Clone, Debug)]
pub(super) struct Templates {
    /// By name. Always has the one with the empty name, the text itself.
    pub(super) by_name: HashMap<String, List>,
}

/// Parses a text.
///
/// # Errors
/// In Go's words, with the line.
pub(super) fn parse(text: &str) -> Result<Templates, String> {
    let mut parser = Parser {
        lexer: Lexer::new(text),
        ahead: Default::default(),
        ahead_count: 0,
        variables: vec!["$".to_owned()],
        action_line: None,
        ranges: 0,
        nesting: 0,
        defined: HashMap::new(),
    };
    let root = parser.root()?;
    parser.define("", root)?;
    Ok(Templates {
        by_name: parser.defined,
    })
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    /// Items that were read and given back; the first is the one read last.
    ahead: [Option<Item<'t>>; 3],
    ahead_count: usize,
    /// The variables visible here.
    variables: Vec<String>,
    /// The line of the action being read.
    action_line: Option<usize>,
    /// How many ranges are around.
    ranges: usize,
    /// How many blocks and parentheses are around.
    nesting: usize,
    defined: HashMap<String, List>,
}

/// What ended a list.
enum Ending {
    End,
    /// With the position of an `if` or `with` behind it that is left to be read.
    Else(usize),
}

impl Ending {
    fn as_str(&self) -> &'static str {
        match self {
            Self::End => "{{end}}",
            Self::Else(_) => "{{else}}",
        }
    }
}

/// What an action turned out to be.
enum Action {
    Node(Node),
    Ending(Ending),
}

impl<'t> Parser<'t> {
    fn next(&mut self) -> Item<'t> {
        match self.ahead_count.checked_sub(1) {
            Some(count) => self.ahead_count = count,
            None => self.ahead[0] = Some(self.lexer.next_item()),
        }
        self.ahead[self.ahead_count]
            .clone()
            .expect("it was read or given back")
    }

    fn backup(&mut self) {
        self.ahead_count += 1;
    }

    /// Gives an item back that came before the one read last.
    fn backup_before(&mut self, item: Item<'t>) {
        self.ahead[1] = Some(item);
        self.ahead_count = 2;
    }

    /// Gives two items back that came before the one read last.
    fn backup_two_before(&mut self, first: Item<'t>, second: Item<'t>) {
        self.ahead[1] = Some(second);
        self.ahead[2] = Some(first);
        self.ahead_count = 3;
    }

    fn peek(&mut self) -> Item<'t> {
        let item = self.next();
        self.backup();
        item
    }

    fn next_non_space(&mut self) -> Item<'t> {
        loop {
            let item = self.next();
            if item.kind != Kind::Space {
                return item;
            }
        }
    }

    fn peek_non_space(&mut self) -> Item<'t> {
        let item = self.next_non_space();
        self.backup();
        item
    }

    fn failure(&self, what: impl std::fmt::Display) -> String {
        let line = self.ahead[0].as_ref().map_or(0, |item| item.line);
        format!("template: :{line}: {what}")
    }

    fn unexpected(&self, item: &Item<'_>, context: &str) -> String {
        if item.kind != Kind::Error {
            return self.failure(format_args!("unexpected {item} in {context}"));
        }
        match self.action_line {
            Some(line) if line != item.line => {
                // Not "action in action".
                let what = if item.text.ends_with(" action") {
                    ""
                } else {
                    " in action"
                };
                self.failure(format_args!("{item}{what} started at :{line}"))
            }
            _ => self.failure(item),
        }
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Result<Item<'t>, String> {
        let item = self.next_non_space();
        if item.kind == kind {
            Ok(item)
        } else {
            Err(self.unexpected(&item, context))
        }
    }

    fn nested<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, String>,
    ) -> Result<T, String> {
        if self.nesting >= MAX_NESTING {
            return Err(self.failure("max expression depth exceeded"));
        }
        self.nesting += 1;
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }

    fn root(&mut self) -> Result<List, String> {
        let mut list = List {
            position: self.peek().position,
            nodes: Vec::new(),
        };
        loop {
            match self.peek().kind {
                Kind::End => return Ok(list),
                Kind::LeftDelimiter => {
                    let delimiter = self.next();
                    if self.next_non_space().kind == Kind::Keyword(Keyword::Define) {
                        self.definition()?;
                        continue;
                    }
                    self.backup_before(delimiter);
                }
                _ => {}
            }
            match self.text_or_action()? {
                Action::Node(node) => list.nodes.push(node),
                Action::Ending(ending) => {
                    return Err(self.failure(format_args!("unexpected {}", ending.as_str())));
                }
            }
        }
    }

    fn definition(&mut self) -> Result<(), String> {
        const CONTEXT: &str = "define clause";
        let name = self.next_non_space();
        let name = self.template_name(&name, CONTEXT)?;
        self.expect(Kind::RightDelimiter, CONTEXT)?;
        let list = self.apart(|parser| parser.body(CONTEXT))?;
        self.define(&name, list)
    }

    /// Parses a template within the text: it sees no variables and no ranges from outside.
    fn apart<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, String>,
    ) -> Result<T, String> {
        let variables = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let ranges = std::mem::take(&mut self.ranges);
        let action_line = self.action_line.take();
        let parsed = self.nested(parse)?;
        self.variables = variables;
        self.ranges = ranges;
        self.action_line = action_line;
        Ok(parsed)
    }

    fn body(&mut self, context: &str) -> Result<List, String> {
        match self.list()? {
            (list, Ending::End) => Ok(list),
            (_, ending) => {
                Err(self.failure(format_args!("unexpected {} in {context}", ending.as_str())))
            }
        }
    }

    fn define(&mut self, name: &str, list: List) -> Result<(), String> {
        match self.defined.get(name) {
            Some(before) if !before.is_blank() => {
                if list.is_blank() {
                    return Ok(());
                }
                let name = quoted_text(name);
                Err(self.failure(format_args!(
                    "template: multiple definition of template {name}"
                )))
            }
            _ => {
                self.defined.insert(name.to_owned(), list);
                Ok(())
            }
        }
    }

    fn list(&mut self) -> Result<(List, Ending), String> {
        let mut list = List {
            position: self.peek_non_space().position,
            nodes: Vec::new(),
        };
        while self.peek_non_space().kind != Kind::End {
            match self.text_or_action()? {
                Action::Node(node) => list.nodes.push(node),
                Action::Ending(ending) => return Ok((list, ending)),
            }
        }
        Err(self.failure("unexpected EOF"))
    }

    fn text_or_action(&mut self) -> Result<Action, String> {
        let item = self.next_non_space();
        match item.kind {
            Kind::Text => Ok(Action::Node(Node::Text {
                position: item.position,
                text: item.text.into_owned(),
            })),
            Kind::LeftDelimiter => {
                self.action_line = Some(item.line);
                let action = self.action();
                if action.is_ok() {
                    self.action_line = None;
                }
                action
            }
            _ => Err(self.unexpected(&item, "input")),
        }
    }

    fn action(&mut self) -> Result<Action, String> {
        let item = self.next_non_space();
        if let Kind::Keyword(keyword) = item.kind {
            let position = item.position;
            let node = match keyword {
                Keyword::Block => self.block()?,
                Keyword::Break => {
                    self.jump("{{break}}")?;
                    Node::Break { position }
                }
                Keyword::Continue => {
                    self.jump("{{continue}}")?;
                    Node::Continue { position }
                }
                Keyword::Else => return self.otherwise().map(Action::Ending),
                Keyword::End => {
                    self.expect(Kind::RightDelimiter, "end")?;
                    return Ok(Action::Ending(Ending::End));
                }
                Keyword::If => self.branch(BranchKind::If)?,
                Keyword::Range => self.branch(BranchKind::Range)?,
                Keyword::With => self.branch(BranchKind::With)?,
                Keyword::Template => self.call()?,
                Keyword::Define => return Err(self.unexpected(&item, "command")),
            };
            return Ok(Action::Node(node));
        }
        self.backup();
        let position = self.peek().position;
        let pipe = self.pipeline("command", Kind::RightDelimiter)?;
        Ok(Action::Node(Node::Action { position, pipe }))
    }

    fn jump(&mut self, what: &str) -> Result<(), String> {
        let item = self.next_non_space();
        if item.kind != Kind::RightDelimiter {
            return Err(self.unexpected(&item, what));
        }
        if self.ranges == 0 {
            return Err(self.failure(format_args!("{what} outside {{{{range}}}}")));
        }
        Ok(())
    }

    fn otherwise(&mut self) -> Result<Ending, String> {
        let next = self.peek_non_space();
        if matches!(next.kind, Kind::Keyword(Keyword::If | Keyword::With)) {
            return Ok(Ending::Else(next.position));
        }
        let end = self.expect(Kind::RightDelimiter, "else")?;
        Ok(Ending::Else(end.position))
    }

    fn branch(&mut self, kind: BranchKind) -> Result<Node, String> {
        self.nested(|parser| {
            let visible = parser.variables.len();
            let branch = parser.branch_parts(kind)?;
            parser.variables.truncate(visible);
            Ok(Node::Branch(Box::new(branch)))
        })
    }

    fn branch_parts(&mut self, kind: BranchKind) -> Result<Branch, String> {
        let (context, keyword) = match kind {
            BranchKind::If => ("if", Some(Keyword::If)),
            BranchKind::With => ("with", Some(Keyword::With)),
            BranchKind::Range => ("range", None),
        };
        let pipe = self.pipeline(context, Kind::RightDelimiter)?;
        let is_range = usize::from(kind == BranchKind::Range);
        self.ranges += is_range;
        let (list, ending) = self.list()?;
        self.ranges -= is_range;
        let otherwise = match ending {
            Ending::End => None,
            Ending::Else(position)
                if keyword.is_some_and(|keyword| self.peek().kind == Kind::Keyword(keyword)) =>
            {
                // `{{else if}}` is `{{else}}{{if}}` with one `{{end}}` for both.
                self.next();
                let nodes = vec![self.branch(kind)?];
                Some(List { position, nodes })
            }
            Ending::Else(_) => match self.list()? {
                (otherwise, Ending::End) => Some(otherwise),
                (_, ending) => {
                    return Err(
                        self.failure(format_args!("expected end; found {}", ending.as_str()))
                    );
                }
            },
        };
        Ok(Branch {
            kind,
            position: pipe.position,
            pipe,
            list,
            otherwise,
        })
    }

    fn block(&mut self) -> Result<Node, String> {
        const CONTEXT: &str = "block clause";
        let item = self.next_non_space();
        let name = self.template_name(&item, CONTEXT)?;
        let pipe = self.pipeline(CONTEXT, Kind::RightDelimiter)?;
        let list = self.apart(|parser| parser.body(CONTEXT))?;
        self.define(&name, list)?;
        Ok(Node::Call {
            position: item.position,
            name,
            pipe: Some(pipe),
        })
    }

    fn call(&mut self) -> Result<Node, String> {
        const CONTEXT: &str = "template clause";
        let item = self.next_non_space();
        let name = self.template_name(&item, CONTEXT)?;
        let pipe = if self.next_non_space().kind == Kind::RightDelimiter {
            None
        } else {
            self.backup();
            Some(self.pipeline(CONTEXT, Kind::RightDelimiter)?)
        };
        Ok(Node::Call {
            position: item.position,
            name,
            pipe,
        })
    }

    fn template_name(&mut self, item: &Item<'_>, context: &str) -> Result<String, String> {
        if !matches!(item.kind, Kind::String | Kind::RawString) {
            return Err(self.unexpected(item, context));
        }
        let name = literal::unquote(&item.text).map_err(|error| self.failure(error))?;
        Ok(String::from_utf8_lossy(&name).into_owned())
    }

    fn pipeline(&mut self, context: &str, end: Kind) -> Result<Pipe, String> {
        let mut pipe = Pipe {
            position: self.peek_non_space().position,
            is_assignment: false,
            variables: Vec::new(),
            commands: Vec::new(),
        };
        while self.declaration(&mut pipe, context)? {}
        loop {
            let item = self.next_non_space();
            match item.kind {
                kind if kind == end => break,
                Kind::Bool
                | Kind::CharConstant
                | Kind::Complex
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftParen => {
                    self.backup();
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                _ => return Err(self.unexpected(&item, context)),
            }
        }
        self.check(&pipe, context)?;
        Ok(pipe)
    }

    /// Reads one variable that a pipeline sets, and tells whether a further one follows.
    fn declaration(&mut self, pipe: &mut Pipe, context: &str) -> Result<bool, String> {
        let variable = self.peek_non_space();
        if variable.kind != Kind::Variable {
            return Ok(false);
        }
        self.next();
        // "$x foo" is seen to be a command only three items on.
        let after = self.peek();
        let next = self.peek_non_space();
        match next.kind {
            Kind::Assign | Kind::Declare => {
                pipe.is_assignment = next.kind == Kind::Assign;
                self.next_non_space();
                self.declare(pipe, &variable)?;
            }
            Kind::Char if next.text == "," => {
                self.next_non_space();
                self.declare(pipe, &variable)?;
                if context != "range" || pipe.variables.len() >= 2 {
                    return Err(self.failure(format_args!("too many declarations in {context}")));
                }
                return match self.peek_non_space().kind {
                    Kind::Variable | Kind::RightDelimiter | Kind::RightParen => Ok(true),
                    _ => Err(self.failure("range can only initialize variables")),
                };
            }
            _ if after.kind == Kind::Space => self.backup_two_before(variable, after),
            _ => self.backup_before(variable),
        }
        Ok(false)
    }

    fn declare(&mut self, pipe: &mut Pipe, variable: &Item<'_>) -> Result<(), String> {
        if self.variables.len() >= MAX_VARIABLES {
            return Err(self.failure("too many variables"));
        }
        pipe.variables.push(variable.text.to_string());
        self.variables.push(variable.text.to_string());
        Ok(())
    }

    fn check(&self, pipe: &Pipe, context: &str) -> Result<(), String> {
        if pipe.commands.is_empty() {
            return Err(self.failure(format_args!("missing value for {context}")));
        }
        for (index, command) in pipe.commands.iter().enumerate().skip(1) {
            if let Term::Bool(_) | Term::Dot | Term::Nil | Term::Number(_) | Term::Text { .. } =
                command.operands[0].term
            {
                let stage = index + 1;
                return Err(self.failure(format_args!(
                    "non executable command in pipeline stage {stage}"
                )));
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Result<Command, String> {
        let mut operands = Vec::new();
        let position = self.peek_non_space().position;
        loop {
            self.peek_non_space();
            operands.extend(self.operand()?);
            let item = self.next();
            match item.kind {
                Kind::Space => {}
                Kind::RightDelimiter | Kind::RightParen => {
                    self.backup();
                    break;
                }
                Kind::Pipe => break,
                _ => return Err(self.unexpected(&item, "operand")),
            }
        }
        if operands.is_empty() {
            return Err(self.failure("empty command"));
        }
        Ok(Command { position, operands })
    }

    fn operand(&mut self) -> Result<Option<Operand>, String> {
        let Some(operand) = self.term()? else {
            return Ok(None);
        };
        let next = self.peek();
        if next.kind != Kind::Field {
            return Ok(Some(operand));
        }
        let mut path = Vec::new();
        while self.peek().kind == Kind::Field {
            path.push(self.next().text[1..].to_owned());
        }
        let position = next.position;
        let term = match operand.term {
            Term::Field(mut fields) => {
                fields.append(&mut path);
                Term::Field(fields)
            }
            Term::Variable(mut fields) => {
                fields.append(&mut path);
                Term::Variable(fields)
            }
            Term::Bool(_) | Term::Text { .. } | Term::Number(_) | Term::Nil | Term::Dot => {
                let term = quoted_text(&operand.to_string());
                return Err(self.failure(format_args!("unexpected . after term {term}")));
            }
            Term::Identifier(_) | Term::Chain(..) | Term::Pipe(_) => {
                Term::Chain(Box::new(operand), path)
            }
        };
        Ok(Some(Operand { position, term }))
    }

    fn term(&mut self) -> Result<Option<Operand>, String> {
        let item = self.next_non_space();
        let text = item.text.as_ref();
        let term = match item.kind {
            Kind::Identifier if functions::is_known(text) => Term::Identifier(text.to_owned()),
            Kind::Identifier => {
                let name = quoted_text(text);
                return Err(self.failure(format_args!("function {name} not defined")));
            }
            Kind::Dot => Term::Dot,
            Kind::Nil => Term::Nil,
            Kind::Variable => {
                if !self.variables.iter().any(|variable| variable == text) {
                    let name = quoted_text(text);
                    return Err(self.failure(format_args!("undefined variable {name}")));
                }
                Term::Variable(vec![text.to_owned()])
            }
            Kind::Field => Term::Field(vec![text[1..].to_owned()]),
            Kind::Bool => Term::Bool(text == "true"),
            Kind::CharConstant => self.number(text, Notation::Char)?,
            Kind::Complex => self.number(text, Notation::Complex)?,
            Kind::Number => self.number(text, Notation::Plain)?,
            Kind::LeftParen => Term::Pipe(
                self.nested(|parser| parser.pipeline("parenthesized pipeline", Kind::RightParen))?,
            ),
            Kind::String | Kind::RawString => Term::Text {
                quoted: text.to_owned(),
                text: literal::unquote(text).map_err(|error| self.failure(error))?,
            },
            _ => {
                self.backup();
                return Ok(None);
            }
        };
        // A pipeline's own position is that of its first word.
        let position = match &term {
            Term::Pipe(pipe) => pipe.position,
            _ => item.position,
        };
        Ok(Some(Operand { position, term }))
    }

    fn number(&self, text: &str, notation: Notation) -> Result<Term, String> {
        Number::parse(text, notation)
            .map(Term::Number)
            .map_err(|error| self.failure(error))
    }
}
