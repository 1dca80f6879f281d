//! The text of a template as a sequence of items: what Go's `text/template/parse` calls lexing, trim markers and
//! comments included.

use std::borrow::Cow;
use std::fmt;

use super::quote;

const LEFT: &str = "{{";
const RIGHT: &str = "}}";
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];
/// A trim marker: the minus and the space that must go with it.
const MARKER_LENGTH: usize = 2;

/// What an item is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Error,
    Bool,
    Char,
    CharConstant,
    Complex,
    Assign,
    Declare,
    End,
    Field,
    Identifier,
    LeftDelimiter,
    LeftParen,
    Number,
    Pipe,
    RawString,
    RightDelimiter,
    RightParen,
    Space,
    String,
    Text,
    Variable,
    Dot,
    Nil,
    Keyword(Keyword),
}

/// The words that are no names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Keyword {
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Range,
    Template,
    With,
}

/// A piece of the text.
#[derive(Clone, Debug)]
pub(super) struct Item<'t> {
    pub(super) kind: Kind,
    /// Where it starts, in bytes.
    pub(super) position: usize,
    /// Its text, or what is wrong.
    pub(super) text: Cow<'t, str>,
    /// The line it starts on, from 1.
    pub(super) line: usize,
}

/// As Go's messages name it.
impl fmt::Display for Item<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::End => formatter.write_str("EOF"),
            Kind::Error => formatter.write_str(&self.text),
            Kind::Keyword(_) | Kind::Dot | Kind::Nil => write!(formatter, "<{}>", self.text),
            _ if self.text.len() > 10 => {
                let beginning: String = self.text.chars().take(10).collect();
                write!(formatter, "{}...", quote::quoted_text(&beginning))
            }
            _ => formatter.write_str(&quote::quoted_text(&self.text)),
        }
    }
}

/// Cuts a text into items, one at a time.
#[derive(Debug)]
pub(super) struct Lexer<'t> {
    input: &'t str,
    /// How far it has read.
    position: usize,
    /// Where the current item starts.
    start: usize,
    inside_action: bool,
    open_parens: usize,
    /// The position up to which lines were counted, and the line there.
    counted: (usize, usize),
}

impl<'t> Lexer<'t> {
    pub(super) fn new(input: &'t str) -> Self {
        Self {
            input,
            position: 0,
            start: 0,
            inside_action: false,
            open_parens: 0,
            counted: (0, 1),
        }
    }

    /// The next item. After the last one, [`Kind::End`] for ever.
    pub(super) fn next_item(&mut self) -> Item<'t> {
        if self.inside_action {
            return self.inside_action();
        }
        loop {
            let Some(length) = self.rest().find(LEFT) else {
                self.position = self.input.len();
                let kind = if self.position > self.start {
                    Kind::Text
                } else {
                    Kind::End
                };
                return self.item(kind);
            };
            let delimiter = self.position + length;
            let before = &self.input[self.start..delimiter];
            let kept = if has_left_marker(&self.input[delimiter + LEFT.len()..]) {
                before.trim_end_matches(SPACES)
            } else {
                before
            };
            if !kept.is_empty() {
                self.position = self.start + kept.len();
                let item = self.item(Kind::Text);
                self.skip_to(delimiter);
                return item;
            }
            self.skip_to(delimiter);
            if let Some(item) = self.left_delimiter() {
                return item;
            }
        }
    }

    fn rest(&self) -> &'t str {
        &self.input[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.position += next.len_utf8();
        Some(next)
    }

    fn accept(&mut self, valid: &str) -> bool {
        let is_valid = self.peek().is_some_and(|next| valid.contains(next));
        if is_valid {
            self.next();
        }
        is_valid
    }

    fn accept_run(&mut self, valid: &str) {
        while self.accept(valid) {}
    }

    fn skip_to(&mut self, position: usize) {
        self.position = position;
        self.start = position;
    }

    fn line(&mut self) -> usize {
        let (counted, line) = self.counted;
        let more = self.input[counted..self.start].matches('\n').count();
        self.counted = (self.start, line + more);
        line + more
    }

    fn item(&mut self, kind: Kind) -> Item<'t> {
        let item = Item {
            kind,
            position: self.start,
            text: Cow::Borrowed(&self.input[self.start..self.position]),
            line: self.line(),
        };
        self.start = self.position;
        item
    }

    fn error(&mut self, what: impl Into<String>) -> Item<'t> {
        Item {
            kind: Kind::Error,
            position: self.start,
            text: Cow::Owned(what.into()),
            line: self.line(),
        }
    }

    /// Reads an opening delimiter, or a whole comment, which is none.
    fn left_delimiter(&mut self) -> Option<Item<'t>> {
        self.position += LEFT.len();
        let marker = if has_left_marker(self.rest()) {
            MARKER_LENGTH
        } else {
            0
        };
        if self.rest()[marker..].starts_with("/*") {
            self.skip_to(self.position + marker);
            return self.comment();
        }
        let item = self.item(Kind::LeftDelimiter);
        self.skip_to(self.position + marker);
        self.inside_action = true;
        self.open_parens = 0;
        Some(item)
    }

    fn comment(&mut self) -> Option<Item<'t>> {
        let Some(length) = self.rest()[2..].find("*/") else {
            return Some(self.error("unclosed comment"));
        };
        self.position += 2 + length + 2;
        let Some(trims) = self.at_right_delimiter() else {
            return Some(self.error("comment ends before closing delimiter"));
        };
        self.skip_right_delimiter(trims);
        None
    }

    /// Whether a closing delimiter is next, and if so whether it trims.
    fn at_right_delimiter(&self) -> Option<bool> {
        let rest = self.rest();
        if has_right_marker(rest) && rest[MARKER_LENGTH..].starts_with(RIGHT) {
            Some(true)
        } else {
            rest.starts_with(RIGHT).then_some(false)
        }
    }

    fn skip_right_delimiter(&mut self, trims: bool) {
        if trims {
            let after = &self.rest()[MARKER_LENGTH + RIGHT.len()..];
            self.skip_to(self.input.len() - after.trim_start_matches(SPACES).len());
        } else {
            self.skip_to(self.position + RIGHT.len());
        }
    }

    fn right_delimiter(&mut self, trims: bool) -> Item<'t> {
        if trims {
            self.skip_to(self.position + MARKER_LENGTH);
        }
        self.position += RIGHT.len();
        let item = self.item(Kind::RightDelimiter);
        if trims {
            let after = self.rest();
            self.skip_to(self.input.len() - after.trim_start_matches(SPACES).len());
        }
        self.inside_action = false;
        item
    }

    fn inside_action(&mut self) -> Item<'t> {
        if let Some(trims) = self.at_right_delimiter() {
            return if self.open_parens == 0 {
                self.right_delimiter(trims)
            } else {
                self.error("unclosed left paren")
            };
        }
        let Some(first) = self.next() else {
            return self.error("unclosed action");
        };
        match first {
            ' ' | '\t' | '\r' | '\n' => self.space(),
            '=' => self.item(Kind::Assign),
            ':' if self.accept("=") => self.item(Kind::Declare),
            ':' => self.error("expected :="),
            '|' => self.item(Kind::Pipe),
            '"' => self.quoted('"', Kind::String, "unterminated quoted string"),
            '\'' => self.quoted('\'', Kind::CharConstant, "unterminated character constant"),
            '`' => self.raw_quoted(),
            '$' => self.name(Kind::Variable),
            '.' if !self.peek().is_some_and(|next| next.is_ascii_digit())
                && self.peek().is_some() =>
            {
                self.name(Kind::Field)
            }
            '.' | '+' | '-' | '0'..='9' => {
                self.position = self.start;
                self.number()
            }
            '(' => {
                self.open_parens += 1;
                self.item(Kind::LeftParen)
            }
            ')' => match self.open_parens.checked_sub(1) {
                Some(open) => {
                    self.open_parens = open;
                    self.item(Kind::RightParen)
                }
                None => self.error("unexpected right paren"),
            },
            _ if is_alphanumeric(first) => self.identifier(),
            _ if first.is_ascii_graphic() => self.item(Kind::Char),
            _ => self.error(format!(
                "unrecognized character in action: {}",
                quote::code_point(first)
            )),
        }
    }

    /// A run of spaces, of which the last may belong to a trim marker.
    fn space(&mut self) -> Item<'t> {
        let mut count = 1;
        while self.peek().is_some_and(|next| SPACES.contains(&next)) {
            self.next();
            count += 1;
        }
        let last = self.position - 1;
        let at_last = &self.input[last..];
        if has_right_marker(at_last) && at_last[MARKER_LENGTH..].starts_with(RIGHT) {
            self.position = last;
            if count == 1 {
                return self.right_delimiter(true);
            }
        }
        self.item(Kind::Space)
    }

    fn identifier(&mut self) -> Item<'t> {
        while self.peek().is_some_and(is_alphanumeric) {
            self.next();
        }
        if let Some(error) = self.bad_character() {
            return error;
        }
        let kind = match &self.input[self.start..self.position] {
            "block" => Kind::Keyword(Keyword::Block),
            "break" => Kind::Keyword(Keyword::Break),
            "continue" => Kind::Keyword(Keyword::Continue),
            "define" => Kind::Keyword(Keyword::Define),
            "else" => Kind::Keyword(Keyword::Else),
            "end" => Kind::Keyword(Keyword::End),
            "if" => Kind::Keyword(Keyword::If),
            "range" => Kind::Keyword(Keyword::Range),
            "template" => Kind::Keyword(Keyword::Template),
            "with" => Kind::Keyword(Keyword::With),
            "nil" => Kind::Nil,
            "true" | "false" => Kind::Bool,
            _ => Kind::Identifier,
        };
        self.item(kind)
    }

    /// A field or a variable, whose first character has been read.
    fn name(&mut self, kind: Kind) -> Item<'t> {
        if self.at_terminator() {
            return self.item(if kind == Kind::Field { Kind::Dot } else { kind });
        }
        while self.peek().is_some_and(is_alphanumeric) {
            self.next();
        }
        match self.bad_character() {
            Some(error) => error,
            None => self.item(kind),
        }
    }

    fn bad_character(&mut self) -> Option<Item<'t>> {
        if self.at_terminator() {
            return None;
        }
        let next = self.peek().expect("the end of the input is a terminator");
        Some(self.error(format!("bad character {}", quote::code_point(next))))
    }

    /// Whether what is next may follow a name.
    fn at_terminator(&self) -> bool {
        match self.peek() {
            None | Some(' ' | '\t' | '\r' | '\n' | '.' | ',' | '|' | ':' | ')' | '(') => true,
            Some(_) => self.rest().starts_with(RIGHT),
        }
    }

    fn quoted(&mut self, quote: char, kind: Kind, unterminated: &str) -> Item<'t> {
        loop {
            match self.next() {
                Some('\\') => {
                    if matches!(self.next(), None | Some('\n')) {
                        return self.error(unterminated);
                    }
                }
                None | Some('\n') => return self.error(unterminated),
                Some(next) if next == quote => return self.item(kind),
                Some(_) => {}
            }
        }
    }

    fn raw_quoted(&mut self) -> Item<'t> {
        match self.rest().find('`') {
            Some(length) => {
                self.position += length + 1;
                self.item(Kind::RawString)
            }
            None => self.error("unterminated raw quoted string"),
        }
    }

    fn number(&mut self) -> Item<'t> {
        if !self.scan_number() {
            return self.bad_number();
        }
        if matches!(self.peek(), Some('+' | '-')) {
            if !self.scan_number() || !self.input[..self.position].ends_with('i') {
                return self.bad_number();
            }
            return self.item(Kind::Complex);
        }
        self.item(Kind::Number)
    }

    fn bad_number(&mut self) -> Item<'t> {
        let text = quote::quoted_text(&self.input[self.start..self.position]);
        self.error(format!("bad number syntax: {text}"))
    }

    /// Roughly a number; what is none is seen when it is parsed.
    fn scan_number(&mut self) -> bool {
        const DECIMAL: &str = "0123456789_";
        const HEXADECIMAL: &str = "0123456789abcdefABCDEF_";
        self.accept("+-");
        let mut digits = DECIMAL;
        if self.accept("0") {
            if self.accept("xX") {
                digits = HEXADECIMAL;
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        let exponent = match digits {
            DECIMAL => "eE",
            HEXADECIMAL => "pP",
            _ => "",
        };
        if self.accept(exponent) {
            self.accept("+-");
            self.accept_run(DECIMAL);
        }
        self.accept("i");
        if self.peek().is_some_and(is_alphanumeric) {
            self.next();
            return false;
        }
        true
    }
}

fn is_alphanumeric(letter: char) -> bool {
    letter == '_' || letter.is_alphabetic() || letter.is_numeric()
}

fn has_left_marker(text: &str) -> bool {
    matches!(text.as_bytes(), [b'-', b' ' | b'\t' | b'\r' | b'\n', ..])
}

fn has_right_marker(text: &str) -> bool {
    matches!(text.as_bytes(), [b' ' | b'\t' | b'\r' | b'\n', b'-', ..])
}
