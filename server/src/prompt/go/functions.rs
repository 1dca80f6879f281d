//! What templates can call: the functions that Go's `text/template` has, and those that Ollama adds.

use std::borrow::Cow;
use std::fmt::Write;
use std::rc::Rc;

use super::compare;
use super::data;
use super::execute::{Failure, Run};
use super::marshal;
use super::print;
use super::quote;
use super::value::{Held, Value};

/// The day as templates print it.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    pub(super) today: String,
    pub(super) yesterday: String,
}

/// What an argument has to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Parameter {
    /// `any`
    Any,
    /// `reflect.Value`: also nothing at all.
    Reflected,
    /// `string`
    Text,
    /// No parameter at all, but the beginning of a chain.
    Unchecked,
}

/// The parameters of a function.
#[derive(Debug)]
pub(super) struct Signature {
    pub(super) name: &'static str,
    pub(super) fixed: &'static [Parameter],
    /// Of any number of further arguments.
    pub(super) rest: Option<Parameter>,
}

/// Why a function gave nothing.
#[derive(Debug)]
pub(super) enum Error {
    /// It cannot be applied to these arguments.
    Wrong(String),
    /// The whole execution ends.
    Fatal(Failure),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Fatal(failure)
    }
}

impl From<print::TooLong> for Error {
    fn from(too_long: print::TooLong) -> Self {
        Self::Fatal(too_long.into())
    }
}

const fn function(
    name: &'static str,
    fixed: &'static [Parameter],
    rest: Option<Parameter>,
) -> Signature {
    Signature { name, fixed, rest }
}

const REFLECTED: &[Parameter] = &[Parameter::Reflected];
const TWO_REFLECTED: &[Parameter] = &[Parameter::Reflected, Parameter::Reflected];

const FUNCTIONS: &[Signature] = &[
    function("and", REFLECTED, Some(Parameter::Reflected)),
    function("call", REFLECTED, Some(Parameter::Reflected)),
    function("html", &[], Some(Parameter::Any)),
    function("index", REFLECTED, Some(Parameter::Reflected)),
    function("slice", REFLECTED, Some(Parameter::Reflected)),
    function("js", &[], Some(Parameter::Any)),
    function("len", REFLECTED, None),
    function("not", REFLECTED, None),
    function("or", REFLECTED, Some(Parameter::Reflected)),
    function("print", &[], Some(Parameter::Any)),
    function("printf", &[Parameter::Text], Some(Parameter::Any)),
    function("println", &[], Some(Parameter::Any)),
    function("urlquery", &[], Some(Parameter::Any)),
    function("eq", REFLECTED, Some(Parameter::Reflected)),
    function("ge", TWO_REFLECTED, None),
    function("gt", TWO_REFLECTED, None),
    function("le", TWO_REFLECTED, None),
    function("lt", TWO_REFLECTED, None),
    function("ne", TWO_REFLECTED, None),
    function("json", &[Parameter::Any], None),
    function("currentDate", &[], Some(Parameter::Text)),
    function("yesterdayDate", &[], Some(Parameter::Text)),
    function("toTypeScriptType", &[Parameter::Any], None),
];

impl Signature {
    pub(super) fn parameter(&self, index: usize) -> Parameter {
        self.fixed
            .get(index)
            .copied()
            .or(self.rest)
            .expect("the arguments were counted")
    }
}

/// The function of that name.
pub(super) fn signature(name: &str) -> Option<&'static Signature> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// Whether there is a function of that name.
pub(super) fn is_known(name: &str) -> bool {
    signature(name).is_some()
}

/// Calls a function with arguments that suit it. `callee` is how the first of them is written.
pub(super) fn call(
    run: &mut Run<'_>,
    name: &str,
    arguments: Vec<Held>,
    callee: Option<String>,
) -> Result<Held, Error> {
    let truth = |truth: Result<bool, String>| truth.map(Value::Bool).map_err(Error::Wrong);
    let value = match name {
        "print" => Value::Text(print::print(&values(arguments))?.into()),
        "println" => Value::Text(print::println(&values(arguments))?.into()),
        "printf" => {
            let values = values(arguments);
            let (format, values) = values.split_first().expect("it has a fixed parameter");
            Value::Text(print::printf(text_of(format), values)?.into())
        }
        "html" => Value::Text(html(&joined(arguments)?).into()),
        "js" => Value::text(&js(&joined(arguments)?)),
        "urlquery" => Value::text(&url_query(&joined(arguments)?)),
        "not" => Value::Bool(!first(&arguments).value.is_true()),
        "len" => length(first(&arguments)).map_err(Error::Wrong)?,
        "index" => return index(arguments).map_err(Error::Wrong),
        "slice" => slice(arguments).map_err(Error::Wrong)?,
        "eq" => truth(compare::equal(&arguments[0], &arguments[1..]))?,
        "ne" => truth(compare::equal(&arguments[0], &arguments[1..]).map(|equal| !equal))?,
        "lt" => truth(compare::less(&arguments[0], &arguments[1]))?,
        "le" => truth(compare::less_or_equal(&arguments[0], &arguments[1]))?,
        "gt" => truth(compare::less_or_equal(&arguments[0], &arguments[1]).map(|le| !le))?,
        "ge" => truth(compare::less(&arguments[0], &arguments[1]).map(|less| !less))?,
        "json" => Value::text(&marshal::json(&first(&arguments).value)),
        "currentDate" => Value::text(&run.clock.today),
        "yesterdayDate" => Value::text(&run.clock.yesterday),
        "toTypeScriptType" => Value::text(&match &first(&arguments).value {
            Value::Record(record) => data::type_script_type(record).unwrap_or("any".into()),
            _ => "any".into(),
        }),
        "call" => return Err(Error::Wrong(not_callable(first(&arguments), callee))),
        _ => unreachable!("and and or are evaluated where their arguments are"),
    };
    if let Value::Text(text) = &value {
        run.step(text.len())?;
    }
    Ok(value.into())
}

fn first(arguments: &[Held]) -> &Held {
    arguments.first().expect("the arguments were counted")
}

fn values(arguments: Vec<Held>) -> Vec<Value> {
    arguments.into_iter().map(|held| held.value).collect()
}

fn text_of(value: &Value) -> &[u8] {
    match value {
        Value::Text(text) => text,
        _ => &[],
    }
}

/// No value that templates see is a function.
fn not_callable(held: &Held, callee: Option<String>) -> String {
    match &held.value {
        Value::Nil => "call of nil".into(),
        other => {
            let callee = callee.unwrap_or_else(|| match other {
                Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
                _ => format!("<{} Value>", other.type_name()),
            });
            format!("non-function {callee} of type {}", other.type_name())
        }
    }
}

fn length(held: &Held) -> Result<Value, String> {
    let length = match &held.value {
        Value::Nil if held.is_interface => return Err("len of nil pointer".into()),
        Value::Nil => return Err("reflect: call of reflect.Value.Type on zero Value".into()),
        Value::Properties(None) => return Err("len of nil pointer".into()),
        Value::Text(text) => text.len(),
        Value::List(list) => list.len(),
        Value::Map(map) => map.entries.len(),
        other => {
            let name = other.type_name();
            return Err(format!("len of type {}", name.trim_start_matches('*')));
        }
    };
    Ok(Value::Int(
        i64::try_from(length).expect("it fits the memory"),
    ))
}

fn index(arguments: Vec<Held>) -> Result<Held, String> {
    let mut arguments = arguments.into_iter();
    let mut item = arguments.next().expect("it has a fixed parameter");
    if let Value::Nil = item.value {
        return Err("index of untyped nil".into());
    }
    item = item.concrete();
    for index in arguments {
        item = match &item.value {
            Value::Nil | Value::Properties(None) => return Err("index of nil pointer".into()),
            Value::Text(text) => {
                let index = place(&index, text.len())?;
                // Go lets the index pass that is one too large, and panics.
                let byte = text
                    .get(index)
                    .ok_or("reflect: string index out of range")?;
                Value::Byte(*byte).into()
            }
            Value::List(list) => {
                let index = place(&index, list.len())?;
                list.get(index).ok_or("reflect: slice index out of range")?
            }
            Value::Map(map) => match &index.value {
                Value::Text(key) => map.get(key),
                Value::Nil => return Err("value is nil; should be of type string".into()),
                other => {
                    let name = other.type_name();
                    return Err(format!("value has type {name}; should be string"));
                }
            },
            other => {
                let name = other.type_name();
                return Err(format!(
                    "can't index item of type {}",
                    name.trim_start_matches('*')
                ));
            }
        };
    }
    Ok(item)
}

/// An argument as an index of at most `capacity`.
fn place(index: &Held, capacity: usize) -> Result<usize, String> {
    let number = match &index.value {
        Value::Int(number) => *number,
        Value::Byte(byte) => i64::from(*byte),
        Value::Nil => return Err("cannot index slice/array with nil".into()),
        other => {
            let name = other.type_name();
            return Err(format!("cannot index slice/array with type {name}"));
        }
    };
    usize::try_from(number)
        .ok()
        .filter(|place| *place <= capacity)
        .ok_or_else(|| format!("index out of range: {number}"))
}

fn slice(arguments: Vec<Held>) -> Result<Value, String> {
    let (item, indexes) = arguments.split_first().expect("it has a fixed parameter");
    if indexes.len() > 3 {
        return Err(format!("too many slice indexes: {}", indexes.len()));
    }
    let (length, capacity) = match &item.value {
        Value::Nil => return Err("slice of untyped nil".into()),
        Value::Properties(None) => return Err("slice of nil pointer".into()),
        Value::Text(_) if indexes.len() == 3 => return Err("cannot 3-index slice a string".into()),
        Value::Text(text) => (text.len(), text.len()),
        Value::List(list) => (list.len(), list.capacity()),
        other => {
            let name = other.type_name();
            return Err(format!(
                "can't slice item of type {}",
                name.trim_start_matches('*')
            ));
        }
    };
    let mut bounds = [0, length, capacity];
    for (bound, index) in bounds.iter_mut().zip(indexes) {
        // Unlike `index`, Go's `slice` does not look into interfaces.
        if index.is_interface {
            return Err("cannot index slice/array with type interface {}".into());
        }
        *bound = place(index, capacity)?;
    }
    let [from, to, end] = bounds;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    if indexes.len() == 3 && to > end {
        return Err(format!("invalid slice index: {to} > {end}"));
    }
    Ok(match &item.value {
        Value::Text(text) => Value::Text(Rc::from(&text[from..to])),
        Value::List(list) => Value::List(list.slice(from, to)),
        _ => unreachable!("only these have a length"),
    })
}

/// The arguments of an escaping function as one text.
fn joined(arguments: Vec<Held>) -> Result<Vec<u8>, print::TooLong> {
    let printable = values(arguments).into_iter().map(|value| match value {
        Value::Nil => Value::text("<no value>"),
        other => other.dereferenced(),
    });
    print::print(&printable.collect::<Vec<_>>())
}

fn html(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b'\0' => out.extend_from_slice("\u{fffd}".as_bytes()),
            b'"' => out.extend_from_slice(b"&#34;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            _ => out.push(*byte),
        }
    }
    out
}

fn js(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in String::from_utf8_lossy(text).chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' | '\0'..' ' => {
                write!(out, "\\u{:04X}", u32::from(letter)).expect("strings take everything");
            }
            _ if letter.is_ascii() || quote::is_printable(letter) => out.push(letter),
            _ => write!(out, "\\u{:04X}", u32::from(letter)).expect("strings take everything"),
        }
    }
    out
}

fn url_query(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(*byte));
            }
            b' ' => out.push('+'),
            _ => write!(out, "%{byte:02X}").expect("strings take everything"),
        }
    }
    out
}

/// A type of JSON Schema as TypeScript names it.
pub(super) fn type_script_name(json_type: &str) -> Cow<'static, str> {
    Cow::Borrowed(match json_type {
        "string" => "string",
        "number" | "integer" => "number",
        "boolean" => "boolean",
        "array" => "any[]",
        "object" => "Record<string, any>",
        "null" => "null",
        _ => "any",
    })
}
