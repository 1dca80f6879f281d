//! What the engine cannot survive, told from a template's text before the engine sees it.
//!
//! The one thing that a template can change is a namespace, so only through a namespace can a value come to contain
//! itself; printing or comparing such a value never ends and takes the process with it. Templates use a namespace for
//! its attributes and hand it to their own macros, which do the same with it; nothing else is allowed, and then a
//! namespace is part of no value.
//!
//! An expression that goes on and on takes the engine time in proportion to its length squared and worse, before any
//! allowance of work counts.

use std::collections::HashSet;
use std::ops::Range;

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

/// Macros through which a namespace may go from one to the next. Templates in use have three.
const MAX_HANDS: usize = 8;

/// The line on which a template uses a namespace as a value.
fn misuse(tokens: &[Token<'_>]) -> Option<usize> {
    let code = Code {
        tokens,
        macros: macros(tokens),
    };
    let made = (0..tokens.len()).filter(|&at| code.makes_namespace(at));
    let mut names: HashSet<&str> = made.map(|at| code.before(at, 2)).collect();
    for _ in 0..MAX_HANDS {
        let uses = (0..tokens.len()).filter(|&at| names.contains(code.word(at)));
        let handed: HashSet<&str> = uses.filter_map(|at| code.handed_to(at)).collect();
        names.extend(handed);
    }
    (0..tokens.len())
        .find(|&at| !code.is_harmless(at, &names))
        .map(|at| tokens[at].line)
}

/// A macro of the template.
#[derive(Debug)]
struct Macro<'a> {
    name: &'a str,
    /// Its parameters, and whether they have a default.
    parameters: Vec<(&'a str, bool)>,
    /// Where its head stands among the tokens.
    head: Range<usize>,
    /// Where its body does.
    body: Range<usize>,
    /// The name means nothing else.
    is_plain: bool,
}

/// The macros that tokens define.
fn macros<'a>(tokens: &[Token<'a>]) -> Vec<Macro<'a>> {
    let mut macros: Vec<Macro<'a>> = Vec::new();
    let mut open = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let is_later = |back: usize| {
            let before = at.checked_sub(back).map(|at| &tokens[at]);
            before.is_some_and(|before| before.tag == token.tag && !is_trim(before))
        };
        if is_later(1) || is_later(2) {
            continue;
        }
        match token.text {
            "macro" => {
                let head = tokens[at..].iter().take_while(|next| next.tag == token.tag);
                let end = at + head.count();
                open.push(macros.len());
                macros.push(Macro {
                    name: tokens[at..end].get(1).map_or("", |name| name.text),
                    parameters: parameters(&tokens[at..end]),
                    head: at..end,
                    body: end..end,
                    is_plain: false,
                });
            }
            "endmacro" => {
                if let Some(opened) = open.pop() {
                    macros[opened].body.end = at;
                }
            }
            _ => {}
        }
    }
    for index in 0..macros.len() {
        let name = macros[index].name;
        let mut others = macros.iter().map(|other| other.name);
        let is_one = others.by_ref().filter(|other| *other == name).count() == 1;
        macros[index].is_plain = is_one && is_only_called(tokens, name);
    }
    macros
}

/// What a tag may begin with that says how whitespace before it is treated.
fn is_trim(token: &Token<'_>) -> bool {
    matches!(token.text, "-" | "+")
}

/// The parameters in a macro's head, up to the first that is not a name with perhaps a default.
fn parameters<'a>(head: &[Token<'a>]) -> Vec<(&'a str, bool)> {
    let mut parameters = Vec::new();
    let mut depth = 0usize;
    for (at, token) in head.iter().enumerate().skip(2) {
        let starts = depth == 1 && matches!(head[at - 1].text, "(" | ",");
        if starts && token.text.starts_with(is_word) {
            let has_default = head.get(at + 1).is_some_and(|next| next.text == "=");
            parameters.push((token.text, has_default));
        }
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    parameters
}

/// Whether a name is used for nothing but calls, besides its definition.
fn is_only_called(tokens: &[Token<'_>], name: &str) -> bool {
    let mut uses = (0..tokens.len()).filter(|&at| tokens[at].text == name);
    uses.all(|at| {
        let next = tokens.get(at + 1).is_some_and(|next| next.text == "(");
        let last = at.checked_sub(1).map_or("", |last| tokens[last].text);
        next || matches!(last, "endmacro" | ".")
    })
}

/// The code of a template.
struct Code<'a, 'b> {
    tokens: &'b [Token<'a>],
    macros: Vec<Macro<'a>>,
}

impl<'a> Code<'a, '_> {
    fn word(&self, at: usize) -> &'a str {
        self.tokens.get(at).map_or("", |token| token.text)
    }

    fn before(&self, at: usize, back: usize) -> &'a str {
        at.checked_sub(back).map_or("", |at| self.word(at))
    }

    /// Whether `namespace` stands here in `set name = namespace(`.
    fn makes_namespace(&self, at: usize) -> bool {
        self.word(at) == "namespace"
            && self.word(at + 1) == "("
            && self.before(at, 1) == "="
            && self.before(at, 3) == "set"
    }

    /// Whether a token is no use of a namespace, or one that cannot do harm.
    fn is_harmless(&self, at: usize, names: &HashSet<&str>) -> bool {
        if self.before(at, 1) == "." {
            return true;
        }
        let next = self.word(at + 1);
        match self.word(at) {
            "namespace" => {
                self.makes_namespace(at)
                    || matches!(next, "=" | "is")
                    || next != "(" && self.is_within_parameter(at, "namespace")
            }
            name if names.contains(name) => {
                matches!(next, "." | "=" | "is")
                    || self.handed_to(at).is_some()
                    || self.macros.iter().any(|defined| defined.head.contains(&at))
            }
            _ => true,
        }
    }

    /// Whether the name means, here, a parameter of the macro around, which has a value of its own.
    fn is_within_parameter(&self, at: usize, name: &str) -> bool {
        self.macros
            .iter()
            .any(|defined| defined.body.contains(&at) && defined.parameters.contains(&(name, true)))
    }

    /// The parameter that gets the value of a name which is, as it stands, an argument of a macro's call.
    fn handed_to(&self, at: usize) -> Option<&'a str> {
        let tag = self.tokens[at].tag;
        if !matches!(self.word(at + 1), "," | ")") {
            return None;
        }
        let is_named = self.before(at, 1) == "=" && matches!(self.before(at, 3), "(" | ",");
        let key = is_named.then(|| self.before(at, 2));
        let start = at.checked_sub(if is_named { 3 } else { 1 })?;
        if !matches!(self.word(start), "(" | ",") {
            return None;
        }
        let (mut depth, mut place) = (0usize, 0usize);
        for back in (0..=start).rev() {
            if self.tokens[back].tag != tag {
                return None;
            }
            match self.word(back) {
                ")" | "]" | "}" => depth += 1,
                "(" if depth == 0 => return self.parameter_of(back, place, key),
                "[" | "{" if depth == 0 => return None,
                "(" | "[" | "{" => depth -= 1,
                "," if depth == 0 => place += 1,
                // What is unpacked moves all that follow.
                "*" if depth == 0 && matches!(self.before(back, 1), "(" | "," | "*") => {
                    return None;
                }
                _ => {}
            }
        }
        None
    }

    /// The parameter of the macro whose call's parenthesis opens here.
    fn parameter_of(&self, open: usize, place: usize, key: Option<&str>) -> Option<&'a str> {
        if matches!(self.before(open, 2), "." | "|" | "is" | "macro" | "not") {
            return None;
        }
        let name = self.before(open, 1);
        let mut macros = self.macros.iter();
        let called = macros.find(|defined| defined.name == name && defined.is_plain)?;
        let mut parameters = called.parameters.iter().map(|(name, _)| *name);
        let found = match key {
            Some(key) => parameters.find(|name| *name == key),
            None => parameters.nth(place),
        };
        found.filter(|name| *name != "namespace")
    }
}

#[derive(Debug)]
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

pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Bytes of a string literal with its quotes, or of the whole text if it does not end.
pub(super) fn string_length(text: &str, quote: char) -> usize {
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
            "{% macro f(s) %}{% set s.x = 1 %}{% endmacro %}{% set ns = namespace() %}{{ f(ns) }}",
            "{% macro f(a, s=none) %}{{ s.x }}{% endmacro %}{% macro g(t) %}{{ f([1, 2], s=t) }}{% endmacro f %}\
             {% set ns = namespace() %}{{ g(ns) ~ f((1), ns) }}",
            "{% macro f(x, namespace='a') %}{{ namespace ~ x }}{% endmacro %}{{ f(1, namespace='b') }}",
            "{%- macro f(x, namespace='a') -%}{{- namespace ~ x -}}{%- endmacro -%}",
            "{{ namespace is defined }}",
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
            // A macro that does with it what only a value is for.
            (
                1,
                "{% macro f(s) %}{% set s.x = s %}{% endmacro %}{% set ns = namespace() %}{{ f(ns) }}",
            ),
            (
                1,
                "{% macro f(s) %}{% set s.x = [s] %}{% endmacro %}{% set ns = namespace() %}{{ f(s=ns) }}",
            ),
            (
                2,
                "{% macro f(a, s) %}{% endmacro %}{% macro g(t) %}{{ f(1, t) }}\n{{ t }}{% endmacro %}\
                 {% set ns = namespace() %}{{ g(ns) }}",
            ),
            // What looks like a macro's call and is none.
            (
                1,
                "{% macro f(s) %}{% endmacro %}{% set ns = namespace() %}{{ 1|f(ns) }}",
            ),
            (
                1,
                "{% macro f(s) %}{% endmacro %}{% set ns = namespace() %}{{ x.f(ns) }}",
            ),
            (
                1,
                "{% macro f(s) %}{% endmacro %}{% set ns = namespace() %}{{ f([ns]) }}",
            ),
            (
                1,
                "{% macro f(s) %}{% endmacro %}{% set ns = namespace() %}{{ f(*a, ns) }}",
            ),
            (
                1,
                "{% macro f(s) %}{% endmacro %}{% set ns = namespace() %}{{ f(1, ns) }}",
            ),
            (
                1,
                "{% macro f(s) %}{% endmacro %}{% set f = dict %}{% set ns = namespace() %}{{ f(ns) }}",
            ),
            (
                1,
                "{% macro f(s) %}{% endmacro %}{% set ns = namespace() %}{% for f in [dict] %}{{ f(s=ns) }}{% endfor %}",
            ),
            (
                1,
                "{% macro f(s) %}{% endmacro %}{% macro f(t) %}{% endmacro %}{% set ns = namespace() %}{{ f(ns) }}",
            ),
            (
                1,
                "{% macro f(x, namespace) %}{{ namespace }}{% endmacro %}",
            ),
            (1, "{% macro f(x, namespace=namespace) %}{% endmacro %}"),
            (
                1,
                "{% macro f(x, namespace=1) %}{% endmacro %}{{ [namespace] }}",
            ),
            (
                1,
                "{% macro f(namespace=1) %}{{ namespace }}{% endmacro %}{% set ns = namespace() %}{{ f(ns) }}",
            ),
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
