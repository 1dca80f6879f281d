use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
use tokio::time::{Instant, sleep_until};

use super::{
    Mock,
    fault::Kind,
    pace::Schedule,
    script::{self, Step},
};

/// Ollama's limit when a request sets none is "no limit"; a mock has to end.
const DEFAULT_NUM_PREDICT: u64 = 128;

#[derive(Debug, Deserialize)]
pub(super) struct Request {
    model: String,
    #[serde(default)]
    options: Options,
    #[serde(default)]
    format: Value,
    #[serde(default)]
    logprobs: bool,
    /// `prompt` or `input`, whatever its form.
    #[serde(default, alias = "input", alias = "messages")]
    prompt: Value,
}

#[derive(Debug, Default, Deserialize)]
struct Options {
    num_predict: Option<u64>,
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
    let arrived = Instant::now();
    let faults = mock.admit(&request.model)?;
    let num_predict = request.options.num_predict.unwrap_or(DEFAULT_NUM_PREDICT);
    let args = &mock.0.args;
    let mut steps = script::generate(args, &request.model, num_predict, request.logprobs, &faults);
    if args.reply_cache && mock.0.replies.knows(request.prompt.to_string()) {
        steps
            .iter_mut()
            .for_each(|(after, _)| *after = Duration::ZERO);
    }
    let stamp = args.stamp.then(unix_ns);
    Ok((
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(play(mock.0.pace.schedule(arrived), steps, stamp)),
    )
        .into_response())
}

pub(super) async fn embed(
    State(mock): State<Mock>,
    Json(request): Json<Request>,
) -> Result<Response, Refusal> {
    let arrived = Instant::now();
    let faults = mock.admit(&request.model)?;
    let dimensions = mock.0.args.dimensions + usize::from(faults.contains(&Kind::WrongDimensions));
    let texts = match &request.prompt {
        Value::Array(texts) => texts.clone(),
        text => vec![text.clone()],
    };
    let mut vectors: Vec<Vec<Option<f64>>> = texts
        .iter()
        .map(|text| vector(text.as_str().unwrap_or_default(), dimensions))
        .collect();
    if faults.contains(&Kind::NotFinite) {
        vectors[0][0] = None;
    }
    let tokens = 20 * texts.len();
    let reply =
        json!({ "model": request.model, "embeddings": vectors, "prompt_eval_count": tokens });
    let time = if mock.0.args.reply_cache && mock.0.replies.knows(request.prompt.to_string()) {
        Duration::ZERO
    } else {
        mock.0.args.embed_time
    };
    Ok(mock.answer(arrived, time, &faults, reply).await)
}

pub(super) async fn classify(
    State(mock): State<Mock>,
    Json(request): Json<Request>,
) -> Result<Response, Refusal> {
    let arrived = Instant::now();
    let faults = mock.admit(&request.model)?;
    let mut labels = mock.0.args.labels.clone();
    if faults.contains(&Kind::UnknownLabel) {
        labels[0] = "no-such-label".into();
    }
    let score = |rank: usize| {
        if faults.contains(&Kind::NotFinite) {
            None
        } else {
            Some(0.5 / (rank + 1) as f64)
        }
    };
    let scored: Vec<Value> = labels
        .iter()
        .enumerate()
        .map(|(rank, label)| json!({ "label": label, "score": score(rank) }))
        .collect();
    let reply = json!({ "model": request.model, "results": [scored], "prompt_eval_count": 14 });
    let time = mock.0.args.classify_time;
    Ok(mock.answer(arrived, time, &faults, reply).await)
}

/// Picks the first label that the schema allows; takes as long as generating a few tokens would.
pub(super) async fn chat(
    State(mock): State<Mock>,
    Json(request): Json<Request>,
) -> Result<Response, Refusal> {
    const TOKENS: u32 = 8;
    let arrived = Instant::now();
    let faults = mock.admit(&request.model)?;
    let label = match faults.contains(&Kind::UnknownLabel) {
        true => json!("no-such-label"),
        false => request.format["properties"]["label"]["enum"][0].clone(),
    };
    let content = json!({ "label": label }).to_string();
    let reply = json!({
        "model": request.model,
        "message": { "role": "assistant", "content": content },
        "done": !faults.contains(&Kind::MissingDone),
        "done_reason": "stop",
        "prompt_eval_count": 30,
        "eval_count": TOKENS,
    });
    let args = &mock.0.args;
    let time = args.ttft + args.itl * TOKENS;
    Ok(mock.answer(arrived, time, &faults, reply).await)
}

/// A request that Ollama too would refuse.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("model '{0}' not found")]
    NoModel(String),
    #[error("server busy, please try again.  maximum pending requests exceeded")]
    Busy,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self {
            Self::NoModel(_) => StatusCode::NOT_FOUND,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, Json(json!({ "error": self.to_string() }))).into_response()
    }
}

impl Mock {
    /// Loads the model, or refuses as Ollama does. Returns the faults of this request.
    fn admit(&self, model: &str) -> Result<Vec<Kind>, Refusal> {
        let name = self.refuse_unknown(model)?;
        if let Some(worker) = &self.0.worker {
            worker.count();
        }
        self.0
            .loaded
            .lock()
            .expect("no holder of this lock can panic")
            .insert(name.to_owned());
        let faults = self.0.faults.next();
        if faults.contains(&Kind::Busy) {
            return Err(Refusal::Busy);
        }
        Ok(faults)
    }

    /// The model's name without its tag.
    fn refuse_unknown<'a>(&self, model: &'a str) -> Result<&'a str, Refusal> {
        let name = model.strip_suffix(":latest").unwrap_or(model);
        if self.0.args.models.iter().any(|known| known == name) {
            Ok(name)
        } else {
            Err(Refusal::NoModel(model.into()))
        }
    }

    /// Sends a whole reply `time` after the request arrived, or its first half when it shall stall or be cut.
    async fn answer(
        &self,
        arrived: Instant,
        time: Duration,
        faults: &[Kind],
        reply: Value,
    ) -> Response {
        let schedule = self.0.pace.schedule(arrived);
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
            return ([(header::CONTENT_TYPE, "application/json")], whole).into_response();
        }
        let steps = vec![(time, Some(first)), (time + pause, second)];
        (
            [(header::CONTENT_TYPE, "application/json")],
            Body::from_stream(play(schedule, steps, None)),
        )
            .into_response()
    }
}

/// Sends each piece when it is due. Times count from the request, not from the piece before, so that late wake-ups do not
/// add up. `stamp` is when the request arrived, for pieces that shall tell.
fn play(
    schedule: Schedule,
    steps: Vec<Step>,
    stamp: Option<u128>,
) -> impl Stream<Item = Result<Bytes, CutOff>> {
    stream::iter(steps).then(move |(after, piece)| async move {
        sleep_until(schedule.due(after)).await;
        let piece = piece.ok_or(CutOff)?;
        Ok(match stamp {
            Some(arrived) => stamped(&piece, arrived),
            None => piece,
        })
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
