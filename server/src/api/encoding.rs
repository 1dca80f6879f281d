//! Fields that requests for vectors, scores and labels share: what stands before texts, and what happens to those that are too
//! long.

use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use super::json::{Fields, FromJson, Mismatch};
use super::openapi::describe;
use crate::inference::encode::{Input, Prompt, Side, TooLong};

/// What happens to texts that are too long, but for whether they may be cut.
#[derive(Clone, Copy, Default)]
pub struct LongTexts {
    direction: Direction,
    split: bool,
}

/// `truncation_direction`: which end is cut off.
#[derive(Clone, Copy, Default)]
struct Direction(Option<Side>);

impl LongTexts {
    /// Takes these fields out of a body.
    ///
    /// # Errors
    /// When one is of another type.
    pub fn take(fields: &mut Fields) -> Result<Self, Mismatch> {
        Ok(Self {
            direction: fields.take("truncation_direction")?,
            split: fields.take("split")?,
        })
    }

    /// What happens to them, where cutting is allowed or not.
    #[must_use]
    pub fn rule(self, truncate: bool) -> TooLong {
        match (self.split, truncate) {
            (true, _) => TooLong::Split,
            (false, true) => TooLong::Cut(self.direction.0),
            (false, false) => TooLong::Refuse,
        }
    }
}

impl FromJson for Direction {
    const GO_TYPE: &'static str = "string";

    fn schema() -> RefOr<Schema> {
        describe::words(["left", "right"])
    }

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let name = String::from_json(value)?;
        Ok(Self(Some(match name.to_lowercase().as_str() {
            "left" => Side::Start,
            "right" => Side::End,
            _ => {
                return Err(Mismatch::Value(format!(
                    "truncation_direction must be \"left\" or \"right\", not {name:?}"
                )));
            }
        })))
    }
}

/// Takes what stands before every text out of a body: `prompt`, or the name of one of the model's own.
///
/// # Errors
/// When one is no text.
pub fn take_prompt(fields: &mut Fields) -> Result<Prompt, Mismatch> {
    let prompt: Option<String> = fields.take("prompt")?;
    let name: Option<String> = fields.take("prompt_name")?;
    Ok(match (prompt, name) {
        (Some(text), _) => Prompt::Text(text),
        (None, Some(name)) => Prompt::Named(name),
        (None, None) => Prompt::Default,
    })
}

/// A text, tokens, or a list of either.
#[derive(Debug, Default, PartialEq)]
pub struct TextsOrTokens(pub Vec<Input>);

impl FromJson for TextsOrTokens {
    const GO_TYPE: &'static str = "texts or token ids";

    fn schema() -> RefOr<Schema> {
        let text = <String as FromJson>::schema;
        let tokens = || describe::list(<i32 as FromJson>::schema());
        describe::either([
            text(),
            tokens(),
            describe::list(describe::either([text(), tokens()])),
        ])
    }

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let invalid = || Mismatch::Value("invalid input type".into());
        let tokens = |items: Vec<Value>| {
            let token = |item: Value| {
                let token = i32::from_json(item).ok();
                token
                    .and_then(|token| u32::try_from(token).ok())
                    .ok_or_else(invalid)
            };
            let tokens: Result<_, _> = items.into_iter().map(token).collect();
            tokens.map(Input::Tokens)
        };
        let inputs = match value {
            Value::String(text) => vec![Input::Text(text)],
            Value::Array(items) if items.iter().any(Value::is_number) => vec![tokens(items)?],
            Value::Array(items) => items
                .into_iter()
                .map(|item| match item {
                    Value::String(text) => Ok(Input::Text(text)),
                    Value::Array(items) => tokens(items),
                    _ => Err(invalid()),
                })
                .collect::<Result<_, _>>()?,
            _ => return Err(invalid()),
        };
        Ok(Self(inputs))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_input_is_a_text_or_tokens_or_several() {
        let text = |text: &str| Input::Text(text.into());
        let check = |input: Value, expected: &[Input]| {
            let read = TextsOrTokens::from_json(input.clone()).unwrap();
            assert_eq!(read.0, expected, "{input}");
        };
        check(json!("a"), &[text("a")]);
        check(json!(""), &[text("")]);
        check(json!(["a", ""]), &[text("a"), text("")]);
        check(json!([1, 2]), &[Input::Tokens(vec![1, 2])]);
        check(json!([[1], [2]]), &[1, 2].map(|it| Input::Tokens(vec![it])));
        check(json!(["a", [2]]), &[text("a"), Input::Tokens(vec![2])]);
        for nonsense in [
            json!(1),
            json!([{}]),
            json!([1, "a"]),
            json!([-1]),
            json!([[1.5]]),
        ] {
            assert!(
                TextsOrTokens::from_json(nonsense.clone()).is_err(),
                "{nonsense}"
            );
        }
    }

    #[test]
    fn long_texts_are_cut_split_or_refused() {
        let check = |body: Value, truncate: bool, expected: TooLong| {
            let mut fields = Fields::of("test", body).unwrap();
            let rule = LongTexts::take(&mut fields).unwrap().rule(truncate);
            assert_eq!(rule, expected);
        };
        check(json!({}), true, TooLong::Cut(None));
        check(json!({}), false, TooLong::Refuse);
        let left = json!({"truncation_direction": "Left"});
        check(left.clone(), true, TooLong::Cut(Some(Side::Start)));
        check(left, false, TooLong::Refuse);
        check(json!({"split": true}), false, TooLong::Split);
        let mut fields = Fields::of("test", json!({"truncation_direction": "up"})).unwrap();
        assert!(LongTexts::take(&mut fields).is_err());
    }

    #[test]
    fn a_prompt_is_a_text_or_a_name() {
        let check = |body: Value, expected: Prompt| {
            let mut fields = Fields::of("test", body).unwrap();
            assert_eq!(take_prompt(&mut fields).unwrap(), expected);
        };
        check(json!({}), Prompt::Default);
        check(
            json!({"prompt": "", "prompt_name": "a"}),
            Prompt::Text(String::new()),
        );
        check(json!({"prompt_name": "a"}), Prompt::Named("a".into()));
    }
}
