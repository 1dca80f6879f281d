//! The fields about how an answer is written, as the three routes that generate share them, with Ollama's own beside them:
//! `keep_alive`, `options`, `truncate` and `shift`.

use serde_json::{Map, Value};

use crate::api::answers::MAX_CHOICES;
use crate::api::extension::Extension;
use crate::api::json::{Fields, FromJson, Mismatch};
use crate::api::manner::{MAX_TOP_LOGPROBS, Manner};
use crate::api::number::Float;
use crate::inference::Token;
use crate::store::Parameters;
use crate::store::parameters::Parameter;

/// Most entries of `logit_bias`.
const MAX_BIASES: usize = 1024;

/// Beyond these numbers a token is forbidden, or the only one.
const BIASES: std::ops::RangeInclusive<f32> = -100.0..=100.0;

/// What answers are made with where neither the request nor its `options` say otherwise: OpenAI's defaults, which come
/// before the model's own, as in Ollama.
const DEFAULT_TEMPERATURE: f64 = 1.0;
const DEFAULT_TOP_P: f64 = 1.0;

/// A text, or a list of which only the texts count.
#[derive(Debug, Default)]
struct Stop(Option<Vec<String>>);

#[derive(Debug, Default)]
struct LogitBias(Vec<(Token, f32)>);

/// In what the routes differ.
pub struct Defaults<'a> {
    /// `top_p` where nothing else is said; none leaves it to the model.
    pub top_p: Option<f64>,
    /// The names that the most tokens of an answer go by; the last that is given counts.
    pub max_tokens: &'a [&'a str],
}

impl<'a> Defaults<'a> {
    /// Those of the older routes.
    #[must_use]
    pub fn new(max_tokens: &'a [&'a str]) -> Self {
        Self {
            top_p: Some(DEFAULT_TOP_P),
            max_tokens,
        }
    }
}

/// Takes the fields out of a body.
///
/// # Errors
/// When one is of another type or out of range.
pub fn take(fields: &mut Fields, defaults: &Defaults<'_>) -> Result<Manner, Mismatch> {
    let mut parameters = Parameters::default();
    parameters.set("temperature", Parameter::Float(DEFAULT_TEMPERATURE));
    if let Some(top_p) = defaults.top_p {
        parameters.set("top_p", Parameter::Float(top_p));
    }
    let extension = Extension::take(fields)?;
    parameters.merge(extension.parameters);

    for name in [
        "temperature",
        "top_p",
        "frequency_penalty",
        "presence_penalty",
    ] {
        if let Some(Float(number)) = fields.take(name)? {
            parameters.set(name, Parameter::Float(number));
        }
    }
    for name in defaults.max_tokens {
        if let Some(number) = fields.take::<Option<i64>>(name)? {
            parameters.set("num_predict", Parameter::Integer(number));
        }
    }
    if let Some(seed) = fields.take::<Option<i64>>("seed")? {
        parameters.set("seed", Parameter::Integer(seed));
    }
    if let Stop(Some(texts)) = fields.take("stop")? {
        parameters.set("stop", Parameter::Texts(texts));
    }
    let LogitBias(logit_bias) = fields.take("logit_bias")?;
    Ok(Manner {
        parameters,
        keep_alive: extension.keep_alive,
        truncate: extension.truncate,
        shift: extension.shift,
        logprobs: None,
        logit_bias,
        choices: choices(fields)?,
    })
}

/// `logprobs` and `top_logprobs` of a chat.
///
/// # Errors
/// When there are more than can be reported.
pub fn take_logprobs(fields: &mut Fields) -> Result<Option<u8>, Mismatch> {
    let is_wanted: bool = fields.take("logprobs")?;
    let count: i64 = fields.take("top_logprobs")?;
    let count = top_logprobs(count, "top_logprobs")?;
    Ok(is_wanted.then_some(count))
}

/// A number of alternatives to a token.
///
/// # Errors
/// When there are more than can be reported.
pub fn top_logprobs(count: i64, field: &str) -> Result<u8, Mismatch> {
    u8::try_from(count)
        .ok()
        .filter(|count| *count <= MAX_TOP_LOGPROBS)
        .ok_or_else(|| Mismatch::Value(format!("{field} must be between 0 and {MAX_TOP_LOGPROBS}")))
}

/// `stream_options.include_usage`.
///
/// # Errors
/// When it is of another type.
pub fn take_include_usage(fields: &mut Fields) -> Result<bool, Mismatch> {
    let options: Option<Map<String, Value>> = fields.take("stream_options")?;
    let options = options.map_or(Value::Object(Map::new()), Value::Object);
    Fields::of("StreamOptions", options)?.take("include_usage")
}

fn choices(fields: &mut Fields) -> Result<u32, Mismatch> {
    let count: Option<i64> = fields.take("n")?;
    u32::try_from(count.unwrap_or(1))
        .ok()
        .filter(|count| (1..=MAX_CHOICES).contains(count))
        .ok_or_else(|| Mismatch::Value(format!("n must be between 1 and {MAX_CHOICES}")))
}

impl FromJson for Stop {
    const GO_TYPE: &'static str = "[]string";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let texts = match value {
            Value::String(text) => vec![text],
            Value::Array(items) => items
                .into_iter()
                .map(|item| match item {
                    Value::String(text) => Ok(text),
                    other => Err(Mismatch::Value(format!(
                        "invalid type for 'stop' field: {}",
                        go_type(&other)
                    ))),
                })
                .collect::<Result<_, _>>()?,
            other => return Err(Mismatch::new(&other, Self::GO_TYPE)),
        };
        Ok(Self(Some(texts)))
    }
}

impl FromJson for LogitBias {
    const GO_TYPE: &'static str = "map[string]float64";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let biases = Map::from_json(value)?;
        if biases.len() > MAX_BIASES {
            return Err(Mismatch::Value(format!(
                "logit_bias has {} entries; at most {MAX_BIASES} are supported",
                biases.len()
            )));
        }
        biases
            .into_iter()
            .map(|(token, bias)| {
                let token: Token = token.parse().map_err(|_| {
                    Mismatch::Value(format!("logit_bias names {token:?}, which is no token id"))
                })?;
                #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
                let bias = bias
                    .as_f64()
                    .map(|bias| bias as f32)
                    .filter(|bias| BIASES.contains(bias))
                    .ok_or_else(|| {
                        Mismatch::Value(format!(
                            "the logit_bias of token {token} must be a number from {} to {}",
                            BIASES.start(),
                            BIASES.end()
                        ))
                    })?;
                let is_forbidden = bias <= *BIASES.start();
                Ok((
                    token,
                    if is_forbidden {
                        f32::NEG_INFINITY
                    } else {
                        bias
                    },
                ))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// What Go calls the type of a decoded value.
pub fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<Manner, String> {
        let mut fields = Fields::of("Request", body).unwrap();
        take(
            &mut fields,
            &Defaults::new(&["max_tokens", "max_completion_tokens"]),
        )
        .map_err(|error| error.to_string())
    }

    fn parameters(body: Value) -> Vec<(String, Parameter)> {
        let manner = read(body).unwrap();
        let named = manner.parameters.iter();
        named
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .collect()
    }

    #[test]
    fn openai_s_defaults_hold_and_its_fields_win_over_options() {
        let (one, two) = (Parameter::Float(1.0), Parameter::Float(2.0));
        let none = parameters(json!({}));
        let expected = [("temperature", one.clone()), ("top_p", one.clone())];
        assert_eq!(none, expected.map(|(name, it)| (name.to_owned(), it)));

        let both = parameters(json!({
            "temperature": 2, "options": {"temperature": 0.5, "top_p": 2, "num_ctx": 512},
            "max_tokens": 3, "max_completion_tokens": 4, "seed": 5, "stop": "end",
        }));
        let expected = [
            ("num_ctx", Parameter::Integer(512)),
            ("num_predict", Parameter::Integer(4)),
            ("seed", Parameter::Integer(5)),
            ("stop", Parameter::Texts(vec!["end".into()])),
            ("temperature", two.clone()),
            ("top_p", two),
        ];
        assert_eq!(both, expected.map(|(name, it)| (name.to_owned(), it)));
    }

    #[test]
    fn biases_are_numbers_of_tokens() {
        let manner = read(json!({"logit_bias": {"5": -100, "7": 1.5}})).unwrap();
        assert_eq!(manner.logit_bias, [(5, f32::NEG_INFINITY), (7, 1.5)]);
        let check = |bias: Value, expected: &str| {
            let error = read(json!({"logit_bias": bias})).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check(json!({"word": 1}), "\"word\", which is no token id");
        check(json!({"1": 101}), "must be a number from -100 to 100");
        check(json!({"1": "1"}), "must be a number from -100 to 100");
        let many: Map<String, Value> = (0..=MAX_BIASES)
            .map(|token| (token.to_string(), json!(1)))
            .collect();
        check(Value::Object(many), "at most 1024");
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        let check = |body: Value, expected: &str| {
            assert_eq!(read(body.clone()).unwrap_err(), expected, "{body}");
        };
        check(json!({"n": 0}), "n must be between 1 and 16");
        check(json!({"n": 17}), "n must be between 1 and 16");
        check(json!({"temperature": 1e300}), "1e+300 is out of range");
        check(
            json!({"stop": ["a", 1]}),
            "invalid type for 'stop' field: float64",
        );
        check(
            json!({"options": {"num_ctx": "x"}}),
            "option \"num_ctx\" must be of type integer",
        );
        check(
            json!({"max_tokens": "x"}),
            "json: cannot unmarshal string into Go struct field Request.max_tokens of type int",
        );
    }
}
