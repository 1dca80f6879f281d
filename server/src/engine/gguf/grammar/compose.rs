//! A constraint in llguidance's terms: a grammar in its dialect of Lark that names the others.

use llguidance::api::{GrammarWithLexer, TopLevelGrammar};
use serde_json::{Map, Value, json};

use super::gbnf;
use super::lexicon::{Controls, Written};
use crate::inference::generate::{Grammar, Preface};

/// Whitespace between the parts of JSON: none, a blank, or a new line with an indentation. It is bounded, because a
/// small model that may write blanks for ever does.
const JSON_WHITESPACE: &str = r"[ ]|\n[ \t]{0,20}";

/// Longest schema or grammar, in bytes. The API refuses longer ones with kinder words.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// Rules that every grammar may name.
const COMMON: &str = "SPACE: /[ \\n\\r\\t]{1,20}/\nDIGITS: /[0-9]{1,20}/\n";

/// A grammar, and what may come before it, as one grammar.
///
/// # Errors
/// What is wrong with it, for the caller.
pub(super) fn compose(
    grammar: &Grammar,
    preface: Option<&Preface>,
    controls: &Controls,
) -> Result<TopLevelGrammar, String> {
    let mut parts = Parts {
        grammars: Vec::new(),
        rules: COMMON.into(),
        controls,
    };
    let answer = parts.expression(grammar)?;
    let start = match preface {
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

struct Parts<'a> {
    grammars: Vec<GrammarWithLexer>,
    /// Rules of the main grammar.
    rules: String,
    controls: &'a Controls,
}

impl Parts<'_> {
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
            Grammar::Marks(text) => self.marks(text),
            Grammar::Space => "SPACE?".into(),
            Grammar::Digits => "DIGITS".into(),
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
                    _ => {
                        let separator = self.expression(separator)?;
                        format!("{item} ({separator} {item}){{{least},{most}}}")
                    }
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

    /// A text in which names of control tokens are these tokens.
    fn marks(&self, text: &str) -> String {
        let pieces = self.controls.split(text);
        let pieces = pieces.iter().map(|piece| match piece {
            Written::Text(text) => quoted(text),
            Written::Control(id) => format!("<[{id}]>"),
        });
        match pieces.collect::<Vec<_>>().join(" ") {
            none if none.is_empty() => quoted(""),
            pieces => pieces,
        }
    }

    /// The answer behind its preface.
    fn preceded(&mut self, preface: &Preface, answer: &str) -> String {
        // Free text ends by itself where a control token follows; otherwise the lexer has to look for its end.
        let free = match self.controls.split(&preface.close).first() {
            Some(Written::Control(_)) => {
                format!(
                    "preface: FREE? {}\nFREE: /(?s:.+)/\n",
                    self.marks(&preface.close)
                )
            }
            _ => format!("preface[suffix={}]: /(?s:.*)/\n", quoted(&preface.close)),
        };
        self.rules.push_str(&free);
        match &preface.open {
            None => format!("preface SPACE? {answer}"),
            Some(open) => format!("(SPACE? {} preface SPACE?)? {answer}", self.marks(open)),
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
