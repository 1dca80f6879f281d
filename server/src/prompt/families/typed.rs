//! Arguments that a model writes as plain text, made into the values that the tool's schema asks for.

use std::collections::HashMap;

use serde_json::Value;

use super::schema::Parameters;
use crate::prompt::Tool;

/// The types that the arguments of the tools on offer may have.
#[derive(Debug, Default)]
pub(in crate::prompt) struct Kinds(HashMap<String, HashMap<String, Vec<String>>>);

impl Kinds {
    pub(in crate::prompt) fn of(tools: &[Tool]) -> Self {
        let of_tool = |tool: &Tool| {
            let parameters = Parameters::of(tool);
            let arguments = parameters.arguments().iter();
            let kinds = arguments.map(|(name, property)| {
                let kinds = property.all_kinds().into_iter().map(str::to_owned);
                (name.clone(), kinds.collect())
            });
            (tool.name.clone(), kinds.collect())
        };
        Self(tools.iter().map(of_tool).collect())
    }

    /// Whether a tool of that name is on offer.
    pub(in crate::prompt) fn knows(&self, tool: &str) -> bool {
        self.0.contains_key(tool)
    }

    /// The types an argument may have; none are known of what is not declared.
    pub(in crate::prompt) fn of_argument(&self, tool: &str, argument: &str) -> &[String] {
        let found = self.0.get(tool).and_then(|tool| tool.get(argument));
        found.map_or(&[], Vec::as_slice)
    }
}

/// A text without the line breaks that set it off from the tags around it.
pub(in crate::prompt) fn line(text: &str) -> &str {
    let text = text.strip_prefix('\n').unwrap_or(text);
    text.strip_suffix('\n').unwrap_or(text)
}

/// The value a text stands for: of the types that are possible the narrowest that it can be read as, a string if there
/// is none. `null` is null whatever the types.
pub(in crate::prompt) fn value(text: &str, kinds: &[String]) -> Value {
    if text.eq_ignore_ascii_case("null") {
        return Value::Null;
    }
    let may_be = |kind: &str| kinds.iter().any(|possible| possible == kind);
    if may_be("boolean") {
        match text.to_ascii_lowercase().as_str() {
            "true" => return Value::Bool(true),
            "false" => return Value::Bool(false),
            // Where nothing else is possible, what is not true is false.
            _ if kinds.len() == 1 => return Value::Bool(false),
            _ => {}
        }
    }
    if may_be("integer")
        && let Ok(number) = text.parse::<i64>()
    {
        return number.into();
    }
    if may_be("number")
        && let Some(number) = number(text)
    {
        return number;
    }
    let json = || serde_json::from_str::<Value>(text).ok();
    if may_be("array")
        && let Some(value) = json().filter(Value::is_array)
    {
        return value;
    }
    if may_be("object")
        && let Some(value) = json().filter(Value::is_object)
    {
        return value;
    }
    Value::String(text.to_owned())
}

/// A finite number; a whole one without a fraction.
pub(in crate::prompt) fn number(text: &str) -> Option<Value> {
    if let Ok(number) = text.parse::<i64>() {
        return Some(number.into());
    }
    let number: f64 = text.parse().ok()?;
    if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 {
        // Exact: it is whole and below 2^53.
        #[expect(clippy::cast_possible_truncation)]
        return Some((number as i64).into());
    }
    serde_json::Number::from_f64(number).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_narrowest_possible_type_wins() {
        let check = |text: &str, kinds: &[&str], expected: Value| {
            let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
            assert_eq!(value(text, &kinds), expected, "{text} {kinds:?}");
        };
        check("5", &[], json!("5"));
        check("NULL", &["string"], json!(null));
        check("True", &["boolean"], json!(true));
        check("yes", &["boolean"], json!(false));
        check("yes", &["boolean", "string"], json!("yes"));
        check("5", &["integer"], json!(5));
        check("5.5", &["integer"], json!("5.5"));
        check("5.0", &["number"], json!(5));
        check("5.5", &["integer", "number"], json!(5.5));
        check("1e300", &["number"], json!(1e300));
        check("inf", &["number"], json!("inf"));
        check("[1, 2]", &["array"], json!([1, 2]));
        check("{\"a\": 1}", &["array", "object"], json!({"a": 1}));
        check("{a}", &["object"], json!("{a}"));
        check("123", &["string", "number"], json!(123));
        check("hello", &["string", "number"], json!("hello"));
    }
}
