//! Parameters a model carries: `PARAMETER` lines of a Modelfile, the `params` layer, the `parameters` of a request.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::Serialize;
use serde_json::{Map, Value};

use super::StoreError;

/// Where the values begin in the text of `/api/show`.
const NAME_COLUMNS: usize = 30;

/// A model's parameters by name, each of the type its name demands.
#[derive(Clone, Default, PartialEq, Debug, Serialize)]
pub struct Parameters(BTreeMap<String, Parameter>);

/// One value. Names that are not known keep the type they came with, so that other servers find them again.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(untagged)]
pub enum Parameter {
    /// Like `num_ctx`.
    Integer(i64),
    /// Like `temperature`.
    Float(f64),
    /// Like `use_mmap`.
    Bool(bool),
    /// Only under names that are not known.
    Text(String),
    /// Like `stop`.
    Texts(Vec<String>),
}

#[derive(Clone, Copy)]
enum Kind {
    Integer,
    Float,
    Bool,
    Texts,
}

impl Parameters {
    /// Adds one `PARAMETER name value` of a Modelfile: `stop` accumulates, of others the last one counts.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), StoreError> {
        let invalid =
            |kind: &str| StoreError::InvalidRequest(format!("invalid {kind} value [{text}]"));
        let parameter = match Kind::of(name) {
            Some(Kind::Integer) => Parameter::Integer(text.parse().map_err(|_| invalid("int"))?),
            Some(Kind::Float) => Parameter::Float(
                text.parse()
                    .ok()
                    .filter(|number| is_single_precision(*number))
                    .ok_or_else(|| invalid("float"))?,
            ),
            Some(Kind::Bool) => Parameter::Bool(parse_bool(text).ok_or_else(|| invalid("bool"))?),
            Some(Kind::Texts) => {
                if let Some(Parameter::Texts(texts)) = self.0.get_mut(name) {
                    texts.push(text.to_owned());
                    return Ok(());
                }
                Parameter::Texts(vec![text.to_owned()])
            }
            None if is_retired(name) => {
                tracing::warn!(parameter = name, "this parameter has no effect any more");
                return Ok(());
            }
            None => {
                return Err(StoreError::InvalidRequest(format!(
                    "unknown parameter '{name}'"
                )));
            }
        };
        self.0.insert(name.to_owned(), parameter);
        Ok(())
    }

    /// The `parameters` of a request: a value of the wrong type is an error, `null` is as good as absent.
    pub fn from_json(object: &Map<String, Value>) -> Result<Self, StoreError> {
        let mut parameters = Self::default();
        for (name, value) in object {
            if let Some(parameter) = Parameter::from_json(name, value)? {
                parameters.0.insert(name.clone(), parameter);
            }
        }
        Ok(parameters)
    }

    /// What a `params` layer holds; a value that cannot be used is logged and left out, for the model is already there.
    pub(super) fn from_stored(object: &Map<String, Value>) -> Self {
        let mut parameters = Self::default();
        for (name, value) in object {
            match Parameter::from_json(name, value) {
                Ok(Some(parameter)) => drop(parameters.0.insert(name.clone(), parameter)),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(parameter = name, %error, "ignoring a stored parameter")
                }
            }
        }
        parameters
    }

    /// Sets one parameter. The value is of the type that the name demands; the caller sees to that.
    pub fn set(&mut self, name: &'static str, parameter: Parameter) {
        self.0.insert(name.to_owned(), parameter);
    }

    /// Takes over every parameter of `other`, replacing those of the same name.
    pub fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The value of that name.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.0.get(name)
    }

    /// Names and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Parameter)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Parameters {
    /// The text of `/api/show`: a line for each value, texts in Go's quotes.
    ///
    /// Numbers are written in full where Go would write `1e+06`, which no Modelfile could be made of.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut line = |name: &str, value: &dyn fmt::Display| {
            write!(formatter, "{separator}{name:<NAME_COLUMNS$} {value}")?;
            separator = "\n";
            Ok(())
        };
        for (name, parameter) in &self.0 {
            match parameter {
                Parameter::Texts(texts) => texts
                    .iter()
                    .try_for_each(|text| line(name, &go_quoted(text)))?,
                Parameter::Text(text) => line(name, &go_quoted(text))?,
                Parameter::Integer(number) => line(name, number)?,
                Parameter::Float(number) => line(name, number)?,
                Parameter::Bool(value) => line(name, value)?,
            }
        }
        Ok(())
    }
}

impl Parameter {
    fn from_json(name: &str, value: &Value) -> Result<Option<Self>, StoreError> {
        let must_be =
            |kind: &str| StoreError::InvalidRequest(format!("option \"{name}\" must be of {kind}"));
        let texts = |value: &Value| match value {
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(items) => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect(),
            _ => None,
        };
        Ok(Some(match (Kind::of(name), value) {
            (_, Value::Null) => return Ok(None),
            (Some(Kind::Integer), value) => {
                Self::Integer(whole_number(value).ok_or_else(|| must_be("type integer"))?)
            }
            (Some(Kind::Float), value) => Self::Float(
                value
                    .as_f64()
                    .filter(|number| is_single_precision(*number))
                    .ok_or_else(|| must_be("type float32"))?,
            ),
            (Some(Kind::Bool), value) => {
                Self::Bool(value.as_bool().ok_or_else(|| must_be("type boolean"))?)
            }
            (Some(Kind::Texts), value) => {
                Self::Texts(texts(value).ok_or_else(|| must_be("an array of strings"))?)
            }
            (None, Value::Bool(value)) => Self::Bool(*value),
            (None, Value::String(text)) => Self::Text(text.clone()),
            (None, Value::Number(number)) => match number.as_i64() {
                Some(number) => Self::Integer(number),
                None => Self::Float(number.as_f64().unwrap_or_default()),
            },
            (None, value) => match texts(value) {
                Some(texts) => Self::Texts(texts),
                None => {
                    tracing::warn!(parameter = name, "invalid option provided");
                    return Ok(None);
                }
            },
        }))
    }
}

impl Kind {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "num_ctx" | "num_batch" | "num_gpu" | "main_gpu" | "num_thread"
            | "draft_num_predict" | "num_keep" | "num_predict" | "seed" | "top_k"
            | "repeat_last_n" => Self::Integer,
            "temperature" | "top_p" | "min_p" | "typical_p" | "repeat_penalty"
            | "presence_penalty" | "frequency_penalty" => Self::Float,
            "use_mmap" => Self::Bool,
            "stop" => Self::Texts,
            _ => return None,
        })
    }
}

/// Names that old Modelfiles still have and that mean nothing any more.
fn is_retired(name: &str) -> bool {
    let retired = [
        "penalize_newline",
        "low_vram",
        "f16_kv",
        "logits_all",
        "vocab_only",
        "use_mlock",
        "mirostat",
        "mirostat_tau",
        "mirostat_eta",
    ];
    retired.contains(&name)
}

/// A whole number, or a fraction cut to one.
fn whole_number(value: &Value) -> Option<i64> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "Ollama cuts fractions too; the range is checked"
    )]
    let cut = |number: f64| (number.abs() < 9e18).then_some(number as i64);
    value.as_i64().or_else(|| value.as_f64().and_then(cut))
}

/// Engines compute with 32 bits: what is infinite there is no value.
fn is_single_precision(number: f64) -> bool {
    number.abs() <= f64::from(f32::MAX)
}

/// The spellings of Go's `strconv.ParseBool`.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Go's `strconv.Quote`.
fn go_quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            letter if letter.is_ascii_control() => {
                write!(quoted, "\\x{:02x}", u32::from(letter))
                    .expect("writing to a String cannot fail");
            }
            letter if letter.is_control() => {
                write!(quoted, "\\u{:04x}", u32::from(letter))
                    .expect("writing to a String cannot fail");
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(lines: &[(&str, &str)], expected: &str) {
        let mut parameters = Parameters::default();
        let text = match lines
            .iter()
            .try_for_each(|(name, value)| parameters.add(name, value))
        {
            Ok(()) => parameters.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(text, expected);
    }

    fn from_json(value: Value) -> Result<Parameters, String> {
        Parameters::from_json(value.as_object().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_of_a_modelfile_become_typed_values() {
        check(
            &[("num_ctx", "4096")],
            "num_ctx                        4096",
        );
        check(
            &[("temperature", "0.7")],
            "temperature                    0.7",
        );
        check(
            &[("temperature", "1"), ("temperature", "2")],
            "temperature                    2",
        );
        check(&[("use_mmap", "F")], "use_mmap                       false");
        check(
            &[("seed", "1234567")],
            "seed                           1234567",
        );
        check(
            &[("stop", "<|end|>"), ("top_k", "1"), ("stop", "a\n\"é\u{1}")],
            "stop                           \"<|end|>\"\n\
             stop                           \"a\\n\\\"é\\x01\"\n\
             top_k                          1",
        );
        check(&[("mirostat", "2")], "");
    }

    #[test]
    fn wrong_lines_get_ollamas_words() {
        check(&[("num_ctx", "many")], "invalid int value [many]");
        check(&[("num_ctx", "1.5")], "invalid int value [1.5]");
        for text in ["hot", "NaN", "inf", "1e39"] {
            check(
                &[("temperature", text)],
                &format!("invalid float value [{text}]"),
            );
        }
        check(&[("use_mmap", "yes")], "invalid bool value [yes]");
        check(&[("colour", "red")], "unknown parameter 'colour'");
    }

    #[test]
    fn requests_are_read_as_ollama_reads_options() {
        let parameters = from_json(json!({
            "num_ctx": 4096.9, "temperature": 1, "stop": "x", "top_k": null, "future": [1], "mirostat": 2, "note": "n",
        }));
        let expected =
            json!({"mirostat": 2, "note": "n", "num_ctx": 4096, "stop": ["x"], "temperature": 1.0});
        assert_eq!(serde_json::to_value(parameters.unwrap()).unwrap(), expected);
        let check =
            |value: Value, expected: &str| assert_eq!(from_json(value).unwrap_err(), expected);
        check(
            json!({"num_ctx": "x"}),
            "option \"num_ctx\" must be of type integer",
        );
        check(
            json!({"num_ctx": 1e30}),
            "option \"num_ctx\" must be of type integer",
        );
        check(
            json!({"temperature": true}),
            "option \"temperature\" must be of type float32",
        );
        check(
            json!({"use_mmap": 1}),
            "option \"use_mmap\" must be of type boolean",
        );
        check(
            json!({"stop": [1]}),
            "option \"stop\" must be of an array of strings",
        );
    }

    #[test]
    fn stored_values_that_cannot_be_used_do_not_hide_the_others() {
        let stored = json!({"num_ctx": "x", "seed": 7});
        let parameters = Parameters::from_stored(stored.as_object().unwrap());
        assert_eq!(
            parameters.iter().collect::<Vec<_>>(),
            [("seed", &Parameter::Integer(7))]
        );
    }

    #[test]
    fn later_parameters_win() {
        let mut base = from_json(json!({"stop": ["a"], "seed": 1})).unwrap();
        base.merge(from_json(json!({"stop": ["b"]})).unwrap());
        assert_eq!(
            base.get("stop"),
            Some(&Parameter::Texts(vec!["b".to_owned()]))
        );
        assert_eq!(base.get("seed"), Some(&Parameter::Integer(1)));
    }
}
