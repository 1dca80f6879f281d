//! What the engine cannot survive, told from a template's text before the engine sees it.
//!
//! The one thing that a template can change is a namespace, so only through a namespace can a value come to contain
//! itself; printing or comparing such a value never ends and takes the process with it. Templates use a namespace for
//! nothing but its attributes, so nothing else is allowed, and then a namespace is part of no value.
//!
//! An expression that goes on and on takes the engine time in proportion to its length squared and worse, before any
//! allowance of work counts.

use std::collections::HashSet;

/// Most words and signs between two delimiters. Templates in use have less than two hundred.
const MAX_TOKENS: usize = 2_000;

/// What is wrong with a template, and the line, from 1; none if nothing is.
pub(super) fn objection(source: &str) -> Option<(&'static str, usize)> {
    let tokens = tokens(source);
    let long = tokens
        .chunk_by(|a, b| a.tag == b.tag)
        .find(|tag| tag.len() > MAX_TOKENS)
        .map(|tag| ("the expression is too long", tag[0].line));
    let misused = || misuse(&tokens).map(|line| (MISUSED, line));
    long.or_else(misused)
}

const MISUSED: &str = "a namespace can only be used through its attributes";

/// The line on which a template uses a namespace as a value.
fn misuse(tokens: &[Token<'_>]) -> Option<usize> {
    let word = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let before = |at: usize, back: usize| at.checked_sub(back).map_or("", &word);
    let made = |at: usize| {
        word(at) == "namespace"
            && word(at + 1) == "("
            && before(at, 1) == "="
            && before(at, 3) == "set"
    };
    let names: HashSet<&str> = (0..tokens.len())
        .filter(|&at| made(at))
        .map(|at| before(at, 2))
        .collect();
    (0..tokens.len())
        .find(|&at| {
            if before(at, 1) == "." {
                return false;
            }
            let used_well = matches!(word(at + 1), "." | "=" | "is");
            match word(at) {
                "namespace" => !made(at),
                name => names.contains(name) && !used_well,
            }
        })
        .map(|at| tokens[at].line)
}

struct Token<'a> {
    text: &'a str,
    line: usize,
    /// Which of the template's tags it stands in.
    tag: usize,
}

/// The words and signs between the delimiters, without strings and comments. What stands in `{% raw %}` counts as if it
/// were code, which errs on the safe side.
fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = source;
    let mut line = 1;
    let mut tag = 0;
    while let Some(start) = rest.find('{') {
        line += rest[..start].matches('\n').count();
        tag += 1;
        rest = &rest[start + 1..];
        let close = match rest.chars().next() {
            Some('{') => "}}",
            Some('%') => "%}",
            Some('#') => {
                let (comment, after) = rest.split_at(rest.find("#}").unwrap_or(rest.len()));
                line += comment.matches('\n').count();
                rest = after;
                continue;
            }
            _ => continue,
        };
        rest = &rest[1..];
        let mut depth = 0usize;
        while let Some(first) = rest.chars().next() {
            if depth == 0 && rest.starts_with(close) {
                break;
            }
            let length = match first {
                '\'' | '"' => string_length(rest, first),
                c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                c => c.len_utf8(),
            };
            match first {
                '{' | '(' | '[' => depth += 1,
                '}' | ')' | ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            let (text, after) = rest.split_at(length);
            if !first.is_whitespace() && !matches!(first, '\'' | '"') {
                tokens.push(Token { text, line, tag });
            }
            line += text.matches('\n').count();
            rest = after;
        }
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Bytes of a string literal with its quotes, or of the whole text if it does not end.
fn string_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    text.char_indices()
        .skip(1)
        .find(|&(_, c)| {
            let ends = c == quote && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        })
        .map_or(text.len(), |(end, _)| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_may_only_be_used_through_its_attributes() {
        for fine in [
            "{% set ns = namespace(a=1, b={'c': [1]}) %}{% set ns.a = ns.b %}{{ ns.a }}",
            "{%- set ns = namespace() -%}ns {{ 'ns' }} {# ns #} {{ x.ns }} {{ f(ns=1) }}",
            "{% if ns is defined %}{% set ns=namespace(x=false) %}{% endif %}",
            "{{ {'a': {'b': 1}}}} namespace",
            "{{ 'it\\'s namespace' }}",
        ] {
            assert_eq!(objection(fine), None, "{fine}");
        }
        for (line, bad) in [
            (1, "{% set ns = namespace() %}{% set ns.x = ns %}"),
            (2, "{% set ns = namespace() %}\n{{ ns }}"),
            (1, "{% set ns = namespace() %}{% set a = [ns] %}"),
            (1, "{% set ns = namespace() %}{{ f(ns) }}"),
            (1, "{% set ns = namespace() %}{{ ns['x'] }}"),
            (1, "{% set a = [namespace()] %}"),
            (1, "{% set a = b or namespace() %}"),
            (1, "{% set make = namespace %}"),
            (3, "{{ '\n\n' ~ namespace() }}"),
            (1, "{% set ns = namespace(), 1 %}{{ ns[0] }}"),
            (1, "{% with ns = namespace() %}{% endwith %}"),
            (1, "{{ {'a': namespace()}}}"),
        ] {
            assert_eq!(objection(bad), Some((MISUSED, line)), "{bad}");
        }
    }

    #[test]
    fn an_expression_may_not_go_on_and_on() {
        let sum = |length: usize| format!("\n{{{{ 1{} }}}}{{{{ 2 }}}}", "+1".repeat(length));
        assert_eq!(objection(&sum(900)), None);
        assert_eq!(
            objection(&sum(1100)),
            Some(("the expression is too long", 2))
        );
        assert_eq!(objection(&"{{ 1 + 1 }}".repeat(1000)), None);
    }
}
