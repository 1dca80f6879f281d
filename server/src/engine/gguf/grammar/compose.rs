//! A constraint in llguidance's terms: a grammar in its dialect of Lark that names the others.

use std::fmt::Write;

use llguidance::api::{GrammarWithLexer, TopLevelGrammar};
use serde_json::{Map, Value, json};

use super::gbnf;
use crate::inference::generate::{Constraint, Grammar, Preface};

/// Whitespace between the parts of JSON: none, a blank, or a new line with an indentation. It is bounded, because a
/// small model that may write blanks for ever does.
const JSON_WHITESPACE: &str = r"[ ]|\n[ \t]{0,20}";

/// Longest schema or grammar, in bytes. The API refuses longer ones with kinder words.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// The constraint as one grammar.
///
/// # Errors
/// What is wrong with it, for the caller.
pub(super) fn compose(constraint: &Constraint) -> Result<TopLevelGrammar, String> {
    let mut parts = Parts::default();
    let answer = parts.expression(&constraint.grammar)?;
    let start = match &constraint.preface {
        None => answer,
        Some(preface) => parts.preceded(preface, &answer),
    };
    let mut main = format!("start: {start}\n");
    main.push_str(&parts.rules);
    let mut grammars = vec![GrammarWithLexer::from_lark(main)];
    grammars.append(&mut parts.grammars);
    Ok(TopLevelGrammar {
        grammars,
        max_tokens: None,
    })
}

#[derive(Default)]
struct Parts {
    grammars: Vec<GrammarWithLexer>,
    /// Rules of the main grammar.
    rules: String,
}

impl Parts {
    /// An expression of the main grammar.
    fn expression(&mut self, grammar: &Grammar) -> Result<String, String> {
        Ok(match grammar {
            Grammar::Json => self.schema(json!({"type": "object"})),
            Grammar::JsonSchema(text) => {
                let schema = serde_json::from_str(short(text)?)
                    .map_err(|error| format!("the JSON Schema is no JSON: {error}"))?;
                self.schema(schema)
            }
            Grammar::Regex(text) => {
                let regex = unanchored(short(text)?);
                self.named(GrammarWithLexer::from_regex(regex))
            }
            Grammar::Lark(text) => self.named(GrammarWithLexer::from_lark(short(text)?.into())),
            Grammar::Gbnf(text) => {
                let lark = gbnf::to_lark(short(text)?)?;
                self.named(GrammarWithLexer::from_lark(lark))
            }
            Grammar::Text(text) => quoted(text),
            Grammar::Sequence(parts) => self.joined(parts, " ")?,
            Grammar::Choice(choices) => self.joined(choices, " | ")?,
            Grammar::Repeat {
                item,
                separator,
                least,
                most,
            } => {
                let item = self.expression(item)?;
                let (least, most) = (least.saturating_sub(1), most.saturating_sub(1));
                match most {
                    // The library knows no repetition that is none.
                    0 => item,
                    _ => format!("{item} ({} {item}){{{least},{most}}}", quoted(separator)),
                }
            }
        })
    }

    fn joined(&mut self, parts: &[Grammar], by: &str) -> Result<String, String> {
        let parts: Result<Vec<String>, String> =
            parts.iter().map(|part| self.expression(part)).collect();
        match parts?.join(by) {
            empty if empty.is_empty() => Err("the grammar is empty".into()),
            joined => Ok(format!("({joined})")),
        }
    }

    fn schema(&mut self, mut schema: Value) -> String {
        if let Value::Object(schema) = &mut schema {
            let options: Map<String, Value> = [
                // "Exactly one of" is taken as "one of": no grammar can tell whether two alternatives overlap.
                ("coerce_one_of", true.into()),
                // Keywords that are no grammar's matter are passed over, as llama.cpp does.
                ("lenient", true.into()),
                ("whitespace_pattern", JSON_WHITESPACE.into()),
            ]
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect();
            schema.insert("x-guidance".into(), options.into());
        }
        self.named(GrammarWithLexer::from_json_schema(schema))
    }

    /// Adds a grammar and returns the reference to it.
    fn named(&mut self, mut grammar: GrammarWithLexer) -> String {
        let name = format!("part{}", self.grammars.len());
        let reference = format!("@{name}");
        grammar.name = Some(name);
        self.grammars.push(grammar);
        reference
    }

    /// The answer behind its preface.
    fn preceded(&mut self, preface: &Preface, answer: &str) -> String {
        let close = quoted(&preface.close);
        // Written to a string, which cannot fail.
        let _ = write!(
            self.rules,
            "preface[suffix={close}]: /(?s:.*)/\nSPACE: /[ \\n\\r\\t]{{1,8}}/\n"
        );
        match &preface.open {
            None => format!("preface SPACE? {answer}"),
            Some(open) => format!("(SPACE? {} preface SPACE?)? {answer}", quoted(open)),
        }
    }
}

/// A literal of Lark, which writes strings as JSON does.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The whole answer is to match anyway, and llguidance knows no anchors.
fn unanchored(regex: &str) -> &str {
    let regex = regex.strip_prefix('^').unwrap_or(regex);
    match regex.strip_suffix('$') {
        Some(inner) if !inner.ends_with('\\') => inner,
        _ => regex,
    }
}

fn short(text: &str) -> Result<&str, String> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(format!(
            "it has {} bytes; at most {MAX_TEXT_BYTES} are supported",
            text.len()
        ));
    }
    Ok(text)
}
