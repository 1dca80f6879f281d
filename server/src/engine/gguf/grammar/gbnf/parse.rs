//! Reads GBNF (`grammars/README.md` and `src/llama-grammar.cpp` of llama.cpp).

use std::collections::HashMap;
use std::iter::Peekable;
use std::str::CharIndices;

/// Most rules, those included that groups become. Rules are compiled recursively, so this bounds a stack.
const MAX_RULES: usize = 2000;

/// Most brackets inside one another.
const MAX_DEPTH: usize = 100;

/// Most repetitions in braces; llama.cpp's own bound.
const MAX_REPETITIONS: u32 = 2000;

/// A grammar in which every group is a rule of its own.
#[derive(Debug)]
pub(super) struct Grammar {
    pub(super) rules: Vec<Rule>,
    /// Which rule is `root`.
    pub(super) root: usize,
}

#[derive(Debug, Default)]
pub(super) struct Rule {
    /// Empty as long as the rule is only named.
    pub(super) alternatives: Vec<Vec<Item>>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Item {
    pub(super) atom: Atom,
    pub(super) least: u32,
    /// `None` is without end.
    pub(super) most: Option<u32>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Atom {
    Literal(String),
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    Any,
    Rule(usize),
}

/// Reads a grammar.
pub(super) fn parse(text: &str) -> Result<Grammar, String> {
    let mut parser = Parser {
        text,
        characters: text.char_indices().peekable(),
        rules: Vec::new(),
        names: HashMap::new(),
        depth: 0,
    };
    parser.grammar()?;
    let undefined =
        (parser.names.iter()).find(|(_, rule)| parser.rules[**rule].alternatives.is_empty());
    if let Some((name, _)) = undefined {
        return Err(format!("GBNF: the rule {name:?} is used and not defined"));
    }
    match parser.names.get("root") {
        Some(&root) => Ok(Grammar {
            rules: parser.rules,
            root,
        }),
        None => Err("GBNF: there is no rule \"root\"".into()),
    }
}

struct Parser<'a> {
    text: &'a str,
    characters: Peekable<CharIndices<'a>>,
    rules: Vec<Rule>,
    names: HashMap<&'a str, usize>,
    depth: usize,
}

/// Whether a line may end here: only inside brackets, and where something must follow.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Lines {
    End,
    GoOn,
}

impl<'a> Parser<'a> {
    fn grammar(&mut self) -> Result<(), String> {
        self.space(Lines::GoOn);
        while self.peek().is_some() {
            let name = self
                .name()
                .ok_or_else(|| self.wrong("expected the name of a rule"))?;
            self.space(Lines::End);
            for character in "::=".chars() {
                if !self.take(character) {
                    return Err(self.wrong("expected ::="));
                }
            }
            self.space(Lines::GoOn);
            let rule = self.rule(name)?;
            let alternatives = self.alternatives(Lines::End)?;
            if !self.rules[rule].alternatives.is_empty() {
                return Err(format!("GBNF: the rule {name:?} is defined twice"));
            }
            self.rules[rule].alternatives = alternatives;
            match self.peek() {
                None | Some('\n' | '\r') => self.space(Lines::GoOn),
                Some(_) => return Err(self.wrong("expected the end of the line")),
            }
        }
        Ok(())
    }

    fn alternatives(&mut self, lines: Lines) -> Result<Vec<Vec<Item>>, String> {
        let mut alternatives = vec![self.sequence(lines)?];
        while self.take('|') {
            self.space(Lines::GoOn);
            alternatives.push(self.sequence(lines)?);
        }
        Ok(alternatives)
    }

    fn sequence(&mut self, lines: Lines) -> Result<Vec<Item>, String> {
        let mut items: Vec<Item> = Vec::new();
        while let Some(character) = self.peek() {
            if let Some((least, most)) = self.repetition()? {
                let item = items
                    .last_mut()
                    .ok_or_else(|| self.wrong("nothing to repeat"))?;
                if (item.least, item.most) == (1, Some(1)) {
                    (item.least, item.most) = (least, most);
                } else {
                    // Repeated once more: what is repeated already becomes a rule.
                    let inner = item.clone();
                    let rule = self.new_rule(vec![vec![inner]])?;
                    let last = items.len() - 1;
                    items[last] = Item {
                        atom: Atom::Rule(rule),
                        least,
                        most,
                    };
                }
                self.space(lines);
                continue;
            }
            let atom = match character {
                '"' => self.literal()?,
                '[' => self.class()?,
                '.' => {
                    self.take('.');
                    Atom::Any
                }
                '(' => self.group()?,
                '<' | '!' => {
                    return Err(self.wrong("tokens in grammars are not supported, only text"));
                }
                _ => match self.name() {
                    Some(name) => Atom::Rule(self.rule(name)?),
                    None => break,
                },
            };
            items.push(Item {
                atom,
                least: 1,
                most: Some(1),
            });
            self.space(lines);
        }
        Ok(items)
    }

    fn group(&mut self) -> Result<Atom, String> {
        self.take('(');
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.wrong("too many brackets inside one another"));
        }
        self.space(Lines::GoOn);
        let alternatives = self.alternatives(Lines::GoOn)?;
        if !self.take(')') {
            return Err(self.wrong("expected )"));
        }
        self.depth -= 1;
        self.new_rule(alternatives).map(Atom::Rule)
    }

    /// How often what stands before is repeated, if this says so.
    fn repetition(&mut self) -> Result<Option<(u32, Option<u32>)>, String> {
        let repetition = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => return self.braces().map(Some),
            _ => return Ok(None),
        };
        self.characters.next();
        Ok(Some(repetition))
    }

    fn braces(&mut self) -> Result<(u32, Option<u32>), String> {
        self.take('{');
        self.space(Lines::End);
        let least = self.number()?;
        self.space(Lines::End);
        let mut most = least;
        if self.take(',') {
            self.space(Lines::End);
            most = self.number()?;
            self.space(Lines::End);
            if least.is_none() && most.is_none() {
                return Err(self.wrong("expected a number"));
            }
        } else if least.is_none() {
            return Err(self.wrong("expected a number"));
        }
        if !self.take('}') {
            return Err(self.wrong("expected }"));
        }
        let least = least.unwrap_or(0);
        if least > MAX_REPETITIONS || most.is_some_and(|most| most > MAX_REPETITIONS) {
            return Err(self.wrong("more than 2000 repetitions"));
        }
        if most.is_some_and(|most| most < least) {
            return Err(self.wrong("fewer repetitions at most than at least"));
        }
        Ok((least, most))
    }

    fn number(&mut self) -> Result<Option<u32>, String> {
        let digits = self.taken(|character| character.is_ascii_digit());
        if digits.is_empty() {
            return Ok(None);
        }
        digits
            .parse()
            .map(Some)
            .map_err(|_| self.wrong("too large a number"))
    }

    fn literal(&mut self) -> Result<Atom, String> {
        self.take('"');
        let mut literal = String::new();
        loop {
            match self.peek() {
                None => return Err(self.wrong("the string does not end")),
                Some('"') => {
                    self.take('"');
                    return Ok(Atom::Literal(literal));
                }
                Some(_) => literal.push(self.character()?),
            }
        }
    }

    fn class(&mut self) -> Result<Atom, String> {
        self.take('[');
        let negated = self.take('^');
        let mut ranges = Vec::new();
        loop {
            match self.peek() {
                None => return Err(self.wrong("the class of characters does not end")),
                Some(']') => break,
                Some(_) => {}
            }
            let first = self.character()?;
            let mut last = first;
            let mut ahead = self.characters.clone();
            let is_range = ahead.next().is_some_and(|(_, character)| character == '-')
                && ahead.next().is_some_and(|(_, character)| character != ']');
            if is_range {
                self.take('-');
                last = self.character()?;
            }
            if last < first {
                return Err(self.wrong("a range of characters that runs backwards"));
            }
            ranges.push((first, last));
        }
        self.take(']');
        match (ranges.is_empty(), negated) {
            (true, true) => Ok(Atom::Any),
            (true, false) => Err(self.wrong("an empty class of characters")),
            (false, negated) => Ok(Atom::Class { negated, ranges }),
        }
    }

    /// A character, as itself or escaped.
    fn character(&mut self) -> Result<char, String> {
        let (_, character) = self
            .characters
            .next()
            .ok_or_else(|| self.wrong("unexpected end"))?;
        if character != '\\' {
            return Ok(character);
        }
        let Some((_, escaped)) = self.characters.next() else {
            return Err(self.wrong("unexpected end"));
        };
        match escaped {
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            '\\' | '"' | '[' | ']' => Ok(escaped),
            'x' => self.code_point(2),
            'u' => self.code_point(4),
            'U' => self.code_point(8),
            other => Err(self.wrong(&format!("unknown escape \\{other}"))),
        }
    }

    fn code_point(&mut self, digits: usize) -> Result<char, String> {
        let mut code = 0;
        for _ in 0..digits {
            let digit = self
                .characters
                .next()
                .and_then(|(_, character)| character.to_digit(16));
            let digit = digit.ok_or_else(|| self.wrong("expected a hexadecimal digit"))?;
            // Eight digits fill it exactly.
            code = code << 4 | digit;
        }
        char::from_u32(code).ok_or_else(|| self.wrong("no Unicode character has this number"))
    }

    fn name(&mut self) -> Option<&'a str> {
        let is_part =
            |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
        Some(self.taken(is_part)).filter(|name| !name.is_empty())
    }

    /// The text of the longest run of such characters, which may be empty.
    fn taken(&mut self, is_part: impl Fn(char) -> bool) -> &'a str {
        let start = self.offset();
        while self.peek().is_some_and(&is_part) {
            self.characters.next();
        }
        &self.text[start..self.offset()]
    }

    /// The rule of this name, which may not be defined yet.
    fn rule(&mut self, name: &'a str) -> Result<usize, String> {
        if let Some(&rule) = self.names.get(name) {
            return Ok(rule);
        }
        let rule = self.new_rule(Vec::new())?;
        self.names.insert(name, rule);
        Ok(rule)
    }

    fn new_rule(&mut self, alternatives: Vec<Vec<Item>>) -> Result<usize, String> {
        if self.rules.len() >= MAX_RULES {
            return Err(format!("GBNF: more than {MAX_RULES} rules and groups"));
        }
        self.rules.push(Rule { alternatives });
        Ok(self.rules.len() - 1)
    }

    /// Passes over blanks and comments, and over the ends of lines if these mean nothing.
    fn space(&mut self, lines: Lines) {
        while let Some(character) = self.peek() {
            match character {
                ' ' | '\t' => {}
                '\n' | '\r' if lines == Lines::GoOn => {}
                '#' => {
                    self.taken(|character| character != '\n' && character != '\r');
                    continue;
                }
                _ => break,
            }
            self.characters.next();
        }
    }

    fn peek(&mut self) -> Option<char> {
        self.characters.peek().map(|(_, character)| *character)
    }

    fn take(&mut self, expected: char) -> bool {
        self.characters
            .next_if(|(_, character)| *character == expected)
            .is_some()
    }

    fn offset(&mut self) -> usize {
        self.characters
            .peek()
            .map_or(self.text.len(), |(offset, _)| *offset)
    }

    fn wrong(&mut self, what: &str) -> String {
        let before = &self.text[..self.offset()];
        let line = before.matches('\n').count() + 1;
        format!("GBNF, line {line}: {what}")
    }
}
