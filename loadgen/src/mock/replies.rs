use std::time::Duration;

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::{
    Mock,
    fault::Kind,
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
    let model = |name: &String| json!({ "name": format!("{name}:latest") });
    Json(json!({ "models": loaded.iter().map(model).collect::<Vec<_>>() }))
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
    let steps = script::generate(&mock.0.args, &request.model, num_predict, &faults);
    Ok((
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(play(arrived, steps)),
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
    let component = 1.0 / (dimensions as f64).sqrt();
    let mut vector: Vec<Option<f64>> = vec![Some(component); dimensions];
    if faults.contains(&Kind::NotFinite) {
        vector[0] = None;
    }
    let reply = json!({ "model": request.model, "embeddings": [vector], "prompt_eval_count": 20 });
    Ok(mock
        .answer(arrived + mock.0.args.embed_time, &faults, reply)
        .await)
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
    Ok(mock
        .answer(arrived + mock.0.args.classify_time, &faults, reply)
        .await)
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
    Ok(mock
        .answer(arrived + args.ttft + args.itl * TOKENS, &faults, reply)
        .await)
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
        let name = model.strip_suffix(":latest").unwrap_or(model);
        if !self.0.args.models.iter().any(|known| known == name) {
            return Err(Refusal::NoModel(model.into()));
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

    /// Sends a whole reply at `due`, or its first half when it shall stall or be cut.
    async fn answer(&self, due: Instant, faults: &[Kind], reply: Value) -> Response {
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
            sleep_until(due).await;
            return ([(header::CONTENT_TYPE, "application/json")], whole).into_response();
        }
        let steps = vec![(Duration::ZERO, Some(first)), (pause, second)];
        (
            [(header::CONTENT_TYPE, "application/json")],
            Body::from_stream(play(due, steps)),
        )
            .into_response()
    }
}

/// Sends each piece when it is due. Times count from `start`, not from the piece before, so that late wake-ups do not
/// add up.
fn play(start: Instant, steps: Vec<Step>) -> impl Stream<Item = Result<Bytes, CutOff>> {
    stream::iter(steps).then(move |(after, piece)| async move {
        sleep_until(start + after).await;
        piece.ok_or(CutOff)
    })
}

/// Ends a reply without its end, which makes the HTTP layer close the connection.
#[derive(Debug, thiserror::Error)]
#[error("cut off as told")]
struct CutOff;
