//! llama.cpp's grammar notation (GBNF) in llguidance's dialect of Lark.
//!
//! A grammar of that notation has no tokens: its rules go down to single characters. Rules that are not recursive are
//! regular, and become terminals of Lark where [`lexing`] finds that safe; so does every run of regular parts inside a
//! recursive rule. What is left are the rules that really need a parser. Where two terminals may stand at the same place
//! and one is the beginning of the other, only the longer is followed: some sentences of such a grammar are never
//! written, but every answer is a sentence of the grammar.
//!
//! llama.cpp's own sampler was the alternative. It throws through C code on grammars it does not like, which ends the
//! process, and bounds neither its stacks nor its time.

mod lexing;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use lexing::{Lexing, Part};
use parse::{Atom, Item, Rule};

/// The grammar in Lark.
///
/// # Errors
/// What is wrong with it and where, for the caller.
pub(super) fn to_lark(text: &str) -> Result<String, String> {
    let grammar = parse::parse(text)?;
    let lexing = Lexing::new(&grammar.rules, recursive(&grammar.rules));
    let mut lark = Lark {
        lexing: &lexing,
        text: String::new(),
        runs: 0,
    };
    lark.line(&format!("start: {}", lark.name(grammar.root)));
    for (index, rule) in grammar.rules.iter().enumerate() {
        lark.rule(index, rule);
    }
    Ok(lark.text)
}

/// Which of the rules can come to themselves, or to one that does: all that are no regular expressions.
fn recursive(rules: &[Rule]) -> Vec<bool> {
    // A rule is regular once all that it names are: what never becomes so is recursive.
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); rules.len()];
    let mut missing = vec![0_usize; rules.len()];
    for (index, rule) in rules.iter().enumerate() {
        for named in rule.names() {
            users[named].push(index);
            missing[index] += 1;
        }
    }
    let mut ready: Vec<usize> = (0..rules.len())
        .filter(|&rule| missing[rule] == 0)
        .collect();
    let mut recursive = vec![true; rules.len()];
    while let Some(rule) = ready.pop() {
        recursive[rule] = false;
        for &user in &users[rule] {
            missing[user] -= 1;
            if missing[user] == 0 {
                ready.push(user);
            }
        }
    }
    recursive
}

struct Lark<'a> {
    lexing: &'a Lexing,
    text: String,
    /// How many terminals were made of runs.
    runs: usize,
}

impl Lark<'_> {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Lark tells rules and terminals apart by their case.
    fn name(&self, rule: usize) -> String {
        match self.lexing.is_rule[rule] {
            true => format!("r{rule}"),
            false => format!("R{rule}"),
        }
    }

    fn rule(&mut self, index: usize, rule: &Rule) {
        let alternatives: Vec<String> = (rule.alternatives.iter())
            .map(|items| match self.lexing.is_rule[index] {
                true => self.sequence(index, items),
                false => self.terminal(items),
            })
            .collect();
        let line = format!("{}: {}", self.name(index), alternatives.join(" | "));
        self.line(&line);
    }

    /// A sequence in what is no terminal.
    fn sequence(&mut self, rule: usize, items: &[Item]) -> String {
        let parts: Vec<String> = (self.lexing.parts(rule, items).into_iter())
            .map(|part| match part {
                Part::Item(item) => self.item(item),
                Part::Terminal(run) => self.run(run),
            })
            .collect();
        joined(&parts)
    }

    /// The terminal that is all of these items.
    fn run(&mut self, items: &[Item]) -> String {
        if let [item] = items
            && (item.least, item.most) == (1, Some(1))
        {
            return self.item(item);
        }
        let name = format!("RUN{}", self.runs);
        self.runs += 1;
        let line = format!("{name}: {}", self.terminal(items));
        self.line(&line);
        name
    }

    fn terminal(&self, items: &[Item]) -> String {
        let items: Vec<String> = items.iter().map(|item| self.item(item)).collect();
        joined(&items)
    }

    fn item(&self, item: &Item) -> String {
        let atom = match &item.atom {
            Atom::Literal(text) => serde_json::Value::from(text.as_str()).to_string(),
            Atom::Class { negated, ranges } => class(*negated, ranges),
            Atom::Any => "/(?s:.)/".into(),
            Atom::Rule(rule) => self.name(*rule),
        };
        match (item.least, item.most) {
            (1, Some(1)) => atom,
            (0, Some(1)) => format!("{atom}?"),
            (0, None) => format!("{atom}*"),
            (1, None) => format!("{atom}+"),
            (least, None) => format!("{atom}{{{least},}}"),
            (least, Some(most)) => format!("{atom}{{{least},{most}}}"),
        }
    }
}

fn joined(parts: &[String]) -> String {
    match parts.is_empty() {
        true => "\"\"".into(),
        false => parts.join(" "),
    }
}

/// A class of characters as a regular expression of Lark.
fn class(negated: bool, ranges: &[(char, char)]) -> String {
    let mut regex = String::from(if negated { "/[^" } else { "/[" });
    for (first, last) in ranges {
        // Written to a string, which cannot fail.
        let _ = write!(
            regex,
            "\\u{{{:x}}}-\\u{{{:x}}}",
            u32::from(*first),
            u32::from(*last)
        );
    }
    regex.push_str("]/");
    regex
}

impl Rule {
    fn names(&self) -> impl Iterator<Item = usize> {
        self.alternatives
            .iter()
            .flatten()
            .filter_map(|item| match item.atom {
                Atom::Rule(rule) => Some(rule),
                _ => None,
            })
    }
}
