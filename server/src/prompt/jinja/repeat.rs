//! Lists that are repeated: the one thing that the engine does lazily and does not count.
//!
//! `[x] * 99999999` costs a template nothing until the list is printed, joined or searched, which takes minutes, and once
//! it stands in another list, longer than anyone waits. The engine has no hook for its operators, so a filter is put
//! behind both sides of every `*`: it changes nothing but lists, and those count what is taken out of them.

use std::borrow::Cow;
use std::sync::Arc;

use minijinja::value::{Enumerator, Object, ObjectRepr, ValueKind};
use minijinja::{Environment, Value};

use super::screen::{is_word, string_length};
use crate::prompt::allowance;

/// No name that a template would give to something.
const FILTER: &str = "__repeated";

/// Adds the filter.
pub(super) fn install(environment: &mut Environment<'static>) {
    environment.add_filter(FILTER, counted);
}

/// A list becomes one that counts; tuples are repeated at once, which the engine does count.
fn counted(value: &Value) -> Value {
    let is_list = matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable);
    if is_list && !value.is_tuple() && value.as_object().is_some() {
        Value::from_object(Counted(value.clone()))
    } else {
        value.clone()
    }
}

/// A list.
#[derive(Debug)]
struct Counted(Value);

impl Object for Counted {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        match self.0.kind() {
            ValueKind::Seq => ObjectRepr::Seq,
            _ => ObjectRepr::Iterable,
        }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let item = self.0.get_item(key).ok()?;
        (!item.is_undefined()).then_some(item)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        allowance::spend(self.0.len().unwrap_or(0).max(1));
        match self.0.try_iter() {
            Ok(items) => Enumerator::Iter(Box::new(items)),
            Err(_) => Enumerator::NonEnumerable,
        }
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        self.0.len()
    }
}

/// The template's text with the filter behind both sides of every `*` that multiplies.
pub(super) fn guard(source: &str) -> Cow<'_, str> {
    if !source.contains('*') {
        return Cow::Borrowed(source);
    }
    let mut places = Vec::new();
    for tag in tags(source) {
        for at in (0..tag.len()).filter(|&at| multiplies(&tag, at)) {
            places.push(tag[at - 1].end());
            places.extend(operand(&tag, at + 1).map(|last| tag[last].end()));
        }
    }
    places.sort_unstable();
    let mut text = String::with_capacity(source.len() + places.len() * (FILTER.len() + 1));
    let mut done = 0;
    for place in places {
        text.push_str(&source[done..place]);
        text.push('|');
        text.push_str(FILTER);
        done = place;
    }
    text.push_str(&source[done..]);
    Cow::Owned(text)
}

/// A word, a string or a sign between the delimiters of a tag.
#[derive(Debug)]
struct Piece<'a> {
    text: &'a str,
    start: usize,
}

impl Piece<'_> {
    fn end(&self) -> usize {
        self.start + self.text.len()
    }

    fn is_word(&self) -> bool {
        self.text.starts_with(is_word)
    }
}

/// The pieces of each tag. Comments and what stands in `{% raw %}` are none.
fn tags(source: &str) -> Vec<Vec<Piece<'_>>> {
    let mut tags = Vec::new();
    let mut at = 0;
    let mut is_raw = false;
    while let Some(start) = source[at..].find('{') {
        at += start + 1;
        let close = match source[at..].chars().next() {
            Some('{') if !is_raw => "}}",
            Some('%') => "%}",
            Some('#') if !is_raw => {
                at += source[at..].find("#}").unwrap_or(source.len() - at);
                continue;
            }
            _ => continue,
        };
        let begin = at + 1;
        let tag = pieces(source, begin, close);
        let word = match tag.as_slice() {
            [.., word] if is_alone(&tag) => word.text,
            [.., word, _] if is_alone(&tag[..tag.len() - 1]) => word.text,
            _ => "",
        };
        if is_raw {
            is_raw = close != "%}" || word != "endraw";
            continue;
        }
        is_raw = close == "%}" && word == "raw";
        at = tag.last().map_or(begin, Piece::end);
        tags.push(tag);
    }
    tags
}

/// Whether there is but one word, perhaps behind a sign for whitespace.
fn is_alone(tag: &[Piece<'_>]) -> bool {
    match tag {
        [word] => word.is_word(),
        [sign, word] => matches!(sign.text, "-" | "+") && word.is_word(),
        _ => false,
    }
}

fn pieces<'a>(source: &'a str, begin: usize, close: &str) -> Vec<Piece<'a>> {
    let mut pieces = Vec::new();
    let mut at = begin;
    let mut depth = 0_usize;
    while let Some(first) = source[at..].chars().next() {
        let rest = &source[at..];
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
        if !first.is_whitespace() {
            pieces.push(Piece {
                text: &rest[..length],
                start: at,
            });
        }
        at += length;
    }
    pieces
}

/// Whether a piece is the sign between two factors: not a power, and not what unpacks an argument.
fn multiplies(tag: &[Piece<'_>], at: usize) -> bool {
    let text = |at: Option<usize>| at.and_then(|at| tag.get(at)).map_or("", |piece| piece.text);
    let before = text(at.checked_sub(1));
    let ends_operand =
        before.ends_with(|c: char| is_word(c) || matches!(c, ')' | ']' | '}' | '\'' | '"'));
    tag[at].text == "*" && ends_operand && text(at.checked_add(1)) != "*"
}

/// The last piece of the factor that begins at a piece: its signs, a word, string or bracket, and what is looked up in,
/// called of and filtered from it. `None` if there is none.
fn operand(tag: &[Piece<'_>], mut at: usize) -> Option<usize> {
    let text = |at: usize| tag.get(at).map_or("", |piece| piece.text);
    while matches!(text(at), "-" | "+") {
        at += 1;
    }
    let mut last = whole(tag, at)?;
    loop {
        last = match text(last + 1) {
            "." | "|" if tag.get(last + 2).is_some_and(Piece::is_word) => number_end(tag, last + 2),
            "(" | "[" => whole(tag, last + 1)?,
            _ => return Some(last),
        };
    }
}

/// The last piece of what begins at a piece: the closing bracket, or the piece itself.
fn whole(tag: &[Piece<'_>], at: usize) -> Option<usize> {
    let first = tag.get(at)?;
    if !matches!(first.text, "(" | "[" | "{") {
        return Some(number_end(tag, at));
    }
    let mut depth = 0_usize;
    for (place, piece) in tag.iter().enumerate().skip(at) {
        match piece.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(place);
        }
    }
    None
}

/// A number such as `1e-5` is one, though it has a sign in it.
fn number_end(tag: &[Piece<'_>], at: usize) -> usize {
    let is_begun = tag[at].text.starts_with(|c: char| c.is_ascii_digit())
        && tag[at].text.ends_with(['e', 'E']);
    let goes_on = |more: usize| {
        tag.get(at + more)
            .is_some_and(|piece| piece.start == tag[at + more - 1].end())
    };
    if is_begun && goes_on(1) && matches!(tag[at + 1].text, "-" | "+") && goes_on(2) {
        at + 2
    } else {
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &str) {
        assert_eq!(guard(source), expected.replace('~', "|__repeated"));
    }

    #[test]
    fn both_sides_of_a_product_are_counted() {
        check("{{ a * b }} * c", "{{ a~ * b~ }} * c");
        check(
            "{{ -a.b[1](2) * -c.d['*'](e)|f(g * h) + 1 }}",
            "{{ -a.b[1](2)~ * -c.d['*'](e)|f(g~ * h~)~ + 1 }}",
        );
        check("{% set x = [1]*2*3.5 %}", "{% set x = [1]~*2~~*3.5~ %}");
        check(
            "{{ 1e-5 * 1e-5 * 2.5e+3 }}",
            "{{ 1e-5~ * 1e-5~~ * 2.5e+3~ }}",
        );
        check(
            "{{ {'a': '}}'} * (1, (2)) }}",
            "{{ {'a': '}}'}~ * (1, (2))~ }}",
        );
    }

    #[test]
    fn nothing_else_is_touched() {
        for source in [
            "{{ f(*a, **b) ~ c ** d ~ [*e] }}",
            "{# a * b #} a * b {{ '{% a * b %}' }} {",
            "{% raw %}{{ a * b }}{% x * y %}{% endraw %}",
            "{%- raw -%}{{ a * b }}{# {%- endraw +%}",
            "{{ * b }}{{ a *",
        ] {
            let touched = guard(source);
            assert!(
                !touched.contains("b|__") && !touched.contains("y|__"),
                "{touched}"
            );
        }
    }
}
