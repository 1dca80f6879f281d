use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep_until},
};

use super::{
    Mock,
    fault::Kind,
    pace::Schedule,
    script::{self, Asked, Dialect, Step},
};

/// Ollama's limit when a request sets none is "no limit"; a mock has to end.
const DEFAULT_MAX_TOKENS: u64 = 128;

/// Tokens that every text is said to have.
const TOKENS_PER_TEXT: usize = 20;

/// Tokens that choosing a label takes.
const CHOICE_TOKENS: u32 = 8;

/// What any of the routes is asked; each looks at what it knows.
#[derive(Debug, Deserialize)]
pub(super) struct Request {
    #[serde(default)]
    model: String,
    #[serde(default)]
    options: Options,
    #[serde(default)]
    format: Value,
    #[serde(default)]
    response_format: Value,
    max_tokens: Option<u64>,
    /// A truth value or, in a completion of OpenAI's, a number.
    #[serde(default)]
    logprobs: Value,
    /// 0 without a prompt means: let go of the model.
    #[serde(default)]
    keep_alive: Value,
    /// What is asked, under whatever name and in whatever form.
    #[serde(default, alias = "input", alias = "inputs", alias = "messages")]
    prompt: Value,
}

#[derive(Debug, Default, Deserialize)]
struct Options {
    num_predict: Option<u64>,
}

/// A request that was let in.
struct Admitted {
    faults: Vec<Kind>,
    /// When the work on it began: with all slots taken, after a wait.
    started: Instant,
    slot: Option<OwnedSemaphorePermit>,
}

pub(super) async fn version() -> Json<Value> {
    Json(json!({ "version": concat!(env!("CARGO_PKG_VERSION"), "-mock") }))
}

pub(super) async fn tags(State(Mock(shared)): State<Mock>) -> Json<Value> {
    let bytes = shared.args.model_bytes;
    let model = |name: &String| json!({ "name": format!("{name}:latest"), "size": bytes, "digest": format!("mock-{name}") });
    Json(json!({ "models": shared.args.models.iter().map(model).collect::<Vec<_>>() }))
}

pub(super) async fn ps(State(Mock(shared)): State<Mock>) -> Json<Value> {
    let loaded = shared
        .loaded
        .lock()
        .expect("no holder of this lock can panic");
    let context = shared.args.context;
    let model =
        |name: &String| json!({ "name": format!("{name}:latest"), "context_length": context });
    Json(json!({ "models": loaded.iter().map(model).collect::<Vec<_>>() }))
}

pub(super) async fn show(
    State(mock): State<Mock>,
    Json(request): Json<Request>,
) -> Result<Json<Value>, Refusal> {
    use sha2::{Digest, Sha256};
    mock.refuse_unknown(&request.model)?;
    let weights = Sha256::digest(&mock.0.args.weights);
    let digest: String = weights.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Json(json!({
        "modelfile": format!("# Modelfile of a mock\nFROM /models/blobs/sha256-{digest}\n"),
        "details": { "format": "gguf", "family": "mock", "parameter_size": "1K", "quantization_level": "F32" },
    })))
}

pub(super) async fn page_not_found() -> Response {
    (StatusCode::NOT_FOUND, "404 page not found").into_response()
}

pub(super) async fn generate(
    State(mock): State<Mock>,
    Json(request): Json<Request>,
) -> Result<Response, Refusal> {
    if request.keep_alive == 0 && request.prompt.is_null() {
        return mock.unload(&request.model);
    }
    mock.text(Dialect::Generate, &request).await
}

/// With a schema of labels it classifies, else it chats.
pub(super) async fn chat(
    State(mock): State<Mock>,
    Json(request): Json<Request>,
) -> Result<Response, Refusal> {
    let labels = &request.format["properties"]["label"]["enum"];
    if labels.is_null() {
        return mock.text(Dialect::Chat, &request).await;
    }
    let admitted = mock.admit(&request.model).await?;
    let reply = json!({
        "model": request.model,
        "message": { "role": "assistant", "content": choice(labels, &admitted) },
        "done": !admitted.faults.contains(&Kind::MissingDone),
        "done_reason": "stop",
        "prompt_eval_count": 30,
        "eval_count": CHOICE_TOKENS,
    });
    Ok(mock.answer(admitted, mock.choice_time(), reply).await)
}

pub(super) async fn openai_completion(
    State(mock): State<Mock>,
    Json(request): Json<Request>,
) -> Result<Response, Refusal> {
    mock.text(Dialect::OpenaiCompletion, &request).await
}

pub(super) async fn openai_chat(
    State(mock): State<Mock>,
    Json(request): Json<Request>,
) -> Result<Response, Refusal> {
    let schema = &request.response_format["json_schema"]["schema"];
    let labels = &schema["properties"]["label"]["enum"];
    if labels.is_null() {
        return mock.text(Dialect::OpenaiChat, &request).await;
    }
    let admitted = mock.admit(&request.model).await?;
    let message = json!({ "role": "assistant", "content": choice(labels, &admitted) });
    let reply = json!({
        "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 30, "completion_tokens": CHOICE_TOKENS },
    });
    Ok(mock.answer(admitted, mock.choice_time(), reply).await)
}

pub(super) async fn embed(
    State(mock): State<Mock>,
    Json(request): Json<Request>,
) -> Result<Response, Refusal> {
    mock.embedded(&request, |vectors| {
        let tokens = TOKENS_PER_TEXT * vectors.len();
        json!({ "model": request.model, "embeddings": vectors, "prompt_eval_count": tokens })
    })
    .await
}

pub(super) async fn openai_embed(
    State(mock): State<Mock>,
    Json(request): Json<Request>,
) -> Result<Response, Refusal> {
    mock.embedded(&request, |vectors| {
        let tokens = TOKENS_PER_TEXT * vectors.len();
        let row = |(index, vector)| json!({ "index": index, "embedding": vector });
        let rows: Vec<Value> = vectors.into_iter().enumerate().map(row).collect();
        json!({ "data": rows, "usage": { "prompt_tokens": tokens } })
    })
    .await
}

pub(super) async fn tei_embed(
    State(mock): State<Mock>,
    Json(request): Json<Request>,
) -> Result<Response, Refusal> {
    mock.embedded(&request, |vectors| json!(vectors)).await
}

pub(super) async fn classify(
    State(mock): State<Mock>,
    Json(request): Json<Request>,
) -> Result<Response, Refusal> {
    mock.classified(
        &request,
        |scored| json!({ "model": request.model, "results": [scored], "prompt_eval_count": 14 }),
    )
    .await
}

pub(super) async fn tei_predict(
    State(mock): State<Mock>,
    Json(request): Json<Request>,
) -> Result<Response, Refusal> {
    mock.classified(&request, |scored| json!(scored)).await
}

/// The first of the labels that the schema allows, as a model writes it.
fn choice(labels: &Value, admitted: &Admitted) -> String {
    let label = match admitted.faults.contains(&Kind::UnknownLabel) {
        true => json!("no-such-label"),
        false => labels[0].clone(),
    };
    json!({ "label": label }).to_string()
}

/// A request that Ollama too would refuse.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("model '{0}' not found")]
    NoModel(String),
    #[error("server busy, please try again.  maximum pending requests exceeded")]
    Busy,
    #[error("the mock fails as it was told to")]
    Internal,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self {
            Self::NoModel(_) => StatusCode::NOT_FOUND,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(json!({ "error": self.to_string() }))).into_response()
    }
}

impl Mock {
    /// Loads the model and waits for a slot, or refuses as Ollama does.
    async fn admit(&self, model: &str) -> Result<Admitted, Refusal> {
        let name = self.refuse_unknown(model)?;
        self.load(name).map_err(|_| Refusal::Internal)?;
        let faults = self.0.faults.next();
        if faults.contains(&Kind::Busy) {
            return Err(Refusal::Busy);
        }
        if faults.contains(&Kind::Internal) {
            return Err(Refusal::Internal);
        }
        let slot = match &self.0.slots {
            Some(slots) => Some(
                Arc::clone(slots)
                    .acquire_owned()
                    .await
                    .expect("nobody closes this semaphore"),
            ),
            None => None,
        };
        Ok(Admitted {
            faults,
            started: Instant::now(),
            slot,
        })
    }

    fn load(&self, name: &str) -> std::io::Result<()> {
        let mut loaded = self
            .0
            .loaded
            .lock()
            .expect("no holder of this lock can panic");
        loaded.insert(name.to_owned());
        self.0.worker.load()
    }

    /// Lets go of a model; the child process ends with the last one.
    fn unload(&self, model: &str) -> Result<Response, Refusal> {
        let name = self.refuse_unknown(model)?;
        let mut loaded = self
            .0
            .loaded
            .lock()
            .expect("no holder of this lock can panic");
        loaded.remove(name);
        if loaded.is_empty() {
            self.0.worker.unload();
        }
        Ok(Json(json!({
            "model": model, "response": "", "done": true, "done_reason": "unload",
        }))
        .into_response())
    }

    /// A streamed text.
    async fn text(&self, dialect: Dialect, request: &Request) -> Result<Response, Refusal> {
        let admitted = self.admit(&request.model).await?;
        let args = &self.0.args;
        let limit = request.max_tokens.or(request.options.num_predict);
        let asked = Asked {
            dialect,
            model: &request.model,
            max_tokens: limit.unwrap_or(DEFAULT_MAX_TOKENS).max(1),
            logprobs: !matches!(request.logprobs, Value::Null | Value::Bool(false)),
            faults: &admitted.faults,
        };
        let mut steps = script::generate(args, &asked);
        if self.knows(request) {
            steps
                .iter_mut()
                .for_each(|(after, _)| *after = Duration::ZERO);
        }
        let stamp = args.stamp.then(unix_ns);
        let schedule = self.0.pace.schedule(admitted.started);
        Ok((
            [(header::CONTENT_TYPE, dialect.content_type())],
            Body::from_stream(play(schedule, steps, stamp, admitted.slot)),
        )
            .into_response())
    }

    /// Whether the same was asked before, on a mock that remembers its replies.
    fn knows(&self, request: &Request) -> bool {
        self.0.args.reply_cache && self.0.replies.knows(request.prompt.to_string())
    }

    /// The vectors of a request's texts, as its dialect writes them.
    async fn embedded(
        &self,
        request: &Request,
        written: impl FnOnce(Vec<Vec<Option<f64>>>) -> Value,
    ) -> Result<Response, Refusal> {
        let admitted = self.admit(&request.model).await?;
        let reply = written(self.vectors(request, &admitted.faults));
        Ok(self.answer(admitted, self.embed_time(request), reply).await)
    }

    /// The labels of a text, as its dialect writes them.
    async fn classified(
        &self,
        request: &Request,
        written: impl FnOnce(Vec<Value>) -> Value,
    ) -> Result<Response, Refusal> {
        let admitted = self.admit(&request.model).await?;
        let reply = written(self.scored(&admitted.faults));
        Ok(self
            .answer(admitted, self.0.args.classify_time, reply)
            .await)
    }

    /// As long as generating a few tokens would take.
    fn choice_time(&self) -> Duration {
        self.0.args.ttft + self.0.args.itl * CHOICE_TOKENS
    }

    fn embed_time(&self, request: &Request) -> Duration {
        match self.knows(request) {
            true => Duration::ZERO,
            false => self.0.args.embed_time,
        }
    }

    /// One vector per text.
    fn vectors(&self, request: &Request, faults: &[Kind]) -> Vec<Vec<Option<f64>>> {
        let dimensions =
            self.0.args.dimensions + usize::from(faults.contains(&Kind::WrongDimensions));
        let texts = match &request.prompt {
            Value::Array(texts) => texts.as_slice(),
            text => std::slice::from_ref(text),
        };
        let mut vectors: Vec<Vec<Option<f64>>> = texts
            .iter()
            .map(|text| vector(text.as_str().unwrap_or_default(), dimensions))
            .collect();
        if faults.contains(&Kind::OtherVector) {
            vectors.iter_mut().for_each(|vector| vector.rotate_left(1));
        }
        if faults.contains(&Kind::NotFinite) {
            vectors[0][0] = None;
        }
        vectors
    }

    /// Every label with its probability.
    fn scored(&self, faults: &[Kind]) -> Vec<Value> {
        let mut labels = self.0.args.labels.clone();
        if faults.contains(&Kind::UnknownLabel) {
            labels[0] = "no-such-label".into();
        }
        let not_finite = faults.contains(&Kind::NotFinite);
        let score = |rank: usize| (!not_finite).then(|| 0.5 / (rank + 1) as f64);
        labels
            .iter()
            .enumerate()
            .map(|(rank, label)| json!({ "label": label, "score": score(rank) }))
            .collect()
    }

    /// The model's name without its tag.
    fn refuse_unknown<'a>(&self, model: &'a str) -> Result<&'a str, Refusal> {
        let name = model.strip_suffix(":latest").unwrap_or(model);
        // Servers of a single model are not asked for it by name.
        if name.is_empty() || self.0.args.models.iter().any(|known| known == name) {
            Ok(name)
        } else {
            Err(Refusal::NoModel(model.into()))
        }
    }

    /// Sends a whole reply `time` after the work on it began, or its first half when it shall stall or be cut.
    async fn answer(&self, admitted: Admitted, time: Duration, reply: Value) -> Response {
        let faults = &admitted.faults;
        let schedule = self.0.pace.schedule(admitted.started);
        let whole = Bytes::from(reply.to_string());
        let (first, second) = (
            whole.slice(..whole.len() / 2),
            whole.slice(whole.len() / 2..),
        );
        let second = if faults.contains(&Kind::Cut) {
            None
        } else {
            Some(second)
        };
        let pause = if faults.contains(&Kind::Stall) {
            self.0.args.stall
        } else {
            Duration::ZERO
        };
        if second.is_some() && pause.is_zero() && !faults.contains(&Kind::Split) {
            sleep_until(schedule.due(time)).await;
            drop(admitted.slot);
            return ([(header::CONTENT_TYPE, "application/json")], whole).into_response();
        }
        let steps = vec![(time, Some(first)), (time + pause, second)];
        (
            [(header::CONTENT_TYPE, "application/json")],
            Body::from_stream(play(schedule, steps, None, admitted.slot)),
        )
            .into_response()
    }
}

/// Sends each piece when it is due. Times count from the request, not from the piece before, so that late wake-ups do not
/// add up. `stamp` is when the request arrived, for pieces that shall tell. `slot` is held until the last piece.
fn play(
    schedule: Schedule,
    steps: Vec<Step>,
    stamp: Option<u128>,
    slot: Option<OwnedSemaphorePermit>,
) -> impl Stream<Item = Result<Bytes, CutOff>> {
    stream::iter(steps).then(move |(after, piece)| {
        let _held = &slot;
        async move {
            sleep_until(schedule.due(after)).await;
            let piece = piece.ok_or(CutOff)?;
            Ok(match stamp {
                Some(arrived) => stamped(&piece, arrived),
                None => piece,
            })
        }
    })
}

/// A line of JSON with the time of arrival and, as late as possible, that of sending. Other pieces stay as they are.
fn stamped(piece: &Bytes, arrived: u128) -> Bytes {
    let Some(open) = piece.strip_suffix(b"}\n") else {
        return piece.clone();
    };
    let mut line = open.to_vec();
    let stamps = format!(",\"arrived_ns\":{arrived},\"sent_ns\":{}}}\n", unix_ns());
    line.extend(stamps.into_bytes());
    line.into()
}

fn unix_ns() -> u128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos())
}

/// A vector of length 1 that depends on the text only.
fn vector(text: &str, dimensions: usize) -> Vec<Option<f64>> {
    let seed = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let numbers: Vec<f64> = (0..dimensions)
        .map(|_| rng.random_range(-1.0..1.0))
        .collect();
    let length = numbers
        .iter()
        .map(|number| number * number)
        .sum::<f64>()
        .sqrt();
    numbers
        .into_iter()
        .map(|number| Some(number / length))
        .collect()
}

/// Ends a reply without its end, which makes the HTTP layer close the connection.
#[derive(Debug, thiserror::Error)]
#[error("cut off as told")]
struct CutOff;
