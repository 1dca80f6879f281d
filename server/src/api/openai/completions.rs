//! POST `/v1/completions`: continue a prompt, or several.
//!
//! As in Ollama a text goes through the model's template, unless `raw` says otherwise; tokens are taken as they are.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::Value;

use super::completions_reply::{Completion, CompletionEvent, Narrated, Shown};
use super::effort;
use super::settings::{self, Defaults};
use crate::api::answers::{Answers, MAX_ANSWERS, Wanted};
use crate::api::body::Body;
use crate::api::continuation::Continuation;
use crate::api::find::Refusals;
use crate::api::json::{Fields, FromJson, Mismatch};
use crate::api::manner::Manner;
use crate::api::openapi::About;
use crate::api::session::Session;
use crate::api::sse::sse;
use crate::api::{App, Error};
use crate::inference::Token;
use crate::inference::generate::Piece;
use crate::prompt::{OutputParser, Think};
use crate::store::Model;

/// The body.
#[derive(Default)]
pub struct CompletionRequest {
    model: String,
    prompts: Prompts,
    suffix: String,
    raw: bool,
    think: Think,
    echo: bool,
    stream: bool,
    include_usage: bool,
    manner: Manner,
}

/// `prompt`: a text, tokens, or a list of either.
#[derive(Debug, PartialEq)]
struct Prompts(Vec<Prompt>);

#[derive(Clone, Debug, PartialEq)]
enum Prompt {
    Text(String),
    Tokens(Vec<Token>),
}

impl Default for Prompts {
    fn default() -> Self {
        Self(vec![Prompt::Text(String::new())])
    }
}

impl FromJson for Prompts {
    const GO_TYPE: &'static str = "string";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let invalid = || {
            Mismatch::Value(
                "invalid prompt: expected a string, an array of strings, an array of token ids, or an array of these"
                    .into(),
            )
        };
        let tokens = |items: Vec<Value>| {
            let token = |item: Value| Token::from_json(item).map_err(|_| invalid());
            items.into_iter().map(token).collect::<Result<_, _>>()
        };
        let prompts = match value {
            Value::String(text) => vec![Prompt::Text(text)],
            Value::Array(items) if items.iter().any(Value::is_number) => {
                vec![Prompt::Tokens(tokens(items)?)]
            }
            Value::Array(items) => items
                .into_iter()
                .map(|item| match item {
                    Value::String(text) => Ok(Prompt::Text(text)),
                    Value::Array(items) => tokens(items).map(Prompt::Tokens),
                    _ => Err(invalid()),
                })
                .collect::<Result<_, _>>()?,
            _ => return Err(invalid()),
        };
        if prompts.is_empty() || prompts.contains(&Prompt::Tokens(Vec::new())) {
            return Err(Mismatch::Value("the prompt is empty".into()));
        }
        Ok(Self(prompts))
    }
}

impl FromJson for CompletionRequest {
    const GO_TYPE: &'static str = "CompletionRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        let mut manner = settings::take(&mut fields, &Defaults::new(&["max_tokens"]))?;
        let logprobs: Option<i64> = fields.take("logprobs")?;
        manner.logprobs = logprobs
            .map(|count| settings::top_logprobs(count, "logprobs"))
            .transpose()?;
        let best_of: Option<i64> = fields.take("best_of")?;
        if best_of.is_some_and(|count| count > manner.choices.into()) {
            return Err(Mismatch::Value(
                "best_of above n is not supported: every answer that is made is told".into(),
            ));
        }
        let effort: String = fields.take("reasoning_effort")?;
        let request = Self {
            model: fields.take("model")?,
            prompts: fields.take("prompt")?,
            suffix: fields.take("suffix")?,
            raw: fields.take("raw")?,
            think: effort::think(&effort)?,
            echo: fields.take("echo")?,
            stream: fields.take("stream")?,
            include_usage: settings::take_include_usage(&mut fields)?,
            manner,
        };
        request.check()?;
        Ok(request)
    }
}

impl CompletionRequest {
    /// Refuses what no model could do.
    fn check(&self) -> Result<(), Mismatch> {
        let choices = usize::try_from(self.manner.choices).expect("there are few choices");
        let answers = self.prompts.0.len().saturating_mul(choices);
        if answers > MAX_ANSWERS {
            return Err(Mismatch::Value(format!(
                "{answers} answers are asked for; at most {MAX_ANSWERS} are given at once"
            )));
        }
        if self.echo && self.manner.logprobs.is_some() {
            return Err(Mismatch::Value(
                "log probabilities of an echoed prompt are not supported".into(),
            ));
        }
        Ok(())
    }

    /// What a text prompt is put into the template with.
    fn continuation(&self, prompt: String) -> Continuation {
        Continuation {
            typed_model: self.model.clone(),
            prompt,
            suffix: self.suffix.clone(),
            raw: self.raw,
            think: self.think,
            ..Continuation::default()
        }
    }
}

/// For the document.
pub fn about() -> About {
    About::new("Continue prompts")
        .takes::<CompletionRequest>()
        .gives_or_tells::<Completion<'_>, CompletionEvent<'_>>()
}

/// Continues the prompts.
pub async fn completions(
    State(app): State<Arc<App>>,
    Body(request): Body<CompletionRequest>,
) -> Result<Response, Error> {
    let model = app.find(&request.model, Refusals::NotFound).await?;
    request.continuation(String::new()).check(&model)?;
    let options = request.manner.options(&model)?;
    let purpose = request.manner.purpose("generate", &options);
    let mut session = Session::open(&app, &model, purpose).await?;

    let written = write_prompts(&app, &model, &request, &session).await;
    let written = session.checked(written)?;
    let context = session.lease.facts().context;
    let mut wanted = Vec::new();
    let mut echoes = Vec::new();
    for prompt in written {
        let jobs =
            request
                .manner
                .jobs(std::slice::from_ref(&prompt.piece), &options, None, context);
        for job in jobs {
            wanted.push(Wanted {
                job,
                parser: prompt.parser(),
                one_call: false,
            });
            echoes.push(prompt.echo.clone());
        }
    }
    let shown = Shown::new(request.model, echoes, request.manner.choices);
    let answers = Answers::start(session, wanted).await?;
    Ok(if request.stream {
        sse(
            answers.pieces(),
            Narrated::new(shown, request.include_usage),
        )
        .await?
    } else {
        shown.whole(answers.whole().await?)
    })
}

/// A prompt as the model is to read it.
struct Written {
    piece: Piece,
    template: Option<crate::api::conversation::Prompt>,
    /// What is put in front of the answer; empty if nothing is.
    echo: String,
}

impl Written {
    fn parser(&self) -> Option<OutputParser> {
        self.template.as_ref().map(|prompt| prompt.parser())
    }
}

async fn write_prompts(
    app: &App,
    model: &Arc<Model>,
    request: &CompletionRequest,
    session: &Session,
) -> Result<Vec<Written>, Error> {
    let mut written = Vec::new();
    for prompt in &request.prompts.0 {
        written.push(match prompt {
            Prompt::Text(text) => {
                let mut continuation = request.continuation(text.clone());
                continuation.check(model)?;
                let template = continuation.prompt(app, model).await?;
                let asked = template.as_ref().map_or(text, |prompt| &prompt.text);
                Written {
                    piece: Piece::Text(asked.clone()),
                    template,
                    echo: if request.echo {
                        text.clone()
                    } else {
                        String::new()
                    },
                }
            }
            Prompt::Tokens(tokens) => Written {
                piece: Piece::Tokens(tokens.clone()),
                template: None,
                echo: if request.echo {
                    session.lease.detokenize(tokens.clone()).await?
                } else {
                    String::new()
                },
            },
        });
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<CompletionRequest, String> {
        CompletionRequest::from_json(body).map_err(|error| error.to_string())
    }

    #[test]
    fn a_prompt_is_a_text_or_tokens_or_several() {
        let text = |text: &str| Prompt::Text(text.into());
        let check = |prompt: Value, expected: &[Prompt]| {
            let read = read(json!({"prompt": prompt})).unwrap();
            assert_eq!(read.prompts.0, expected, "{prompt}");
        };
        check(json!("a"), &[text("a")]);
        check(Value::Null, &[text("")]);
        check(json!(["a", "b"]), &[text("a"), text("b")]);
        check(json!([1, 2]), &[Prompt::Tokens(vec![1, 2])]);
        let both = [Prompt::Tokens(vec![1]), Prompt::Tokens(vec![2, 3])];
        check(json!([[1], [2, 3]]), &both);
        for nonsense in [
            json!({}),
            json!([null]),
            json!([1, "a"]),
            json!([[1.5]]),
            json!([1e10]),
        ] {
            let error = read(json!({"prompt": nonsense})).err().unwrap();
            assert!(error.starts_with("invalid prompt"), "{nonsense}: {error}");
        }
        for empty in [json!([]), json!([[]])] {
            let error = read(json!({"prompt": empty})).err().unwrap();
            assert_eq!(error, "the prompt is empty");
        }
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let check = |body: Value, expected: &str| {
            let error = read(body.clone()).err().unwrap();
            assert!(error.contains(expected), "{body}: {error}");
        };
        let many: Vec<&str> = vec!["a"; MAX_ANSWERS / 2 + 1];
        check(json!({"prompt": many, "n": 2}), "130 answers are asked for");
        check(json!({"echo": true, "logprobs": 1}), "echoed prompt");
        check(json!({"logprobs": 21}), "logprobs must be between 0 and 20");
        check(json!({"best_of": 2}), "best_of above n");
        assert!(read(json!({"best_of": 2, "n": 2, "logprobs": 0})).is_ok());
    }
}
