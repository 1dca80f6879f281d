//! POST `/rerank`: how well each of several texts answers a query, as Cohere and Jina are asked (`documents`) and as
//! text-embeddings-inference is (`texts`).

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Schema, Type};

use super::score_model::{ScoreModel, Task};
use super::tei::TeiError;
use crate::api::json::{Fields, FromJson, Json, Mismatch};
use crate::api::openapi::About;
use crate::api::openapi::describe;
use crate::api::{App, Error, reply};
use crate::inference::encode::Rerank;

/// The body, in either form.
#[derive(Default)]
pub struct RerankRequest {
    model: ScoreModel,
    query: String,
    documents: Option<Vec<Document>>,
    texts: Option<Vec<String>>,
    top_n: Option<i64>,
    return_documents: bool,
    return_text: bool,
    raw_scores: bool,
}

/// A text, alone or in an object.
#[derive(Default)]
struct Document(String);

#[derive(Serialize, ToSchema)]
struct RerankRecord {
    model: String,
    object: &'static str,
    /// Best first.
    results: Vec<ResultRecord>,
    usage: UsageRecord,
    /// Ours: pairs that were cut. Absent if none was.
    #[serde(skip_serializing_if = "reply::is_zero")]
    truncated_inputs: u32,
}

#[derive(Serialize, ToSchema)]
struct ResultRecord {
    /// Its place among the documents, from 0.
    index: usize,
    relevance_score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<DocumentRecord>,
}

#[derive(Serialize, ToSchema)]
struct DocumentRecord {
    text: String,
}

#[derive(Serialize, ToSchema)]
struct UsageRecord {
    prompt_tokens: u32,
    total_tokens: u32,
}

/// A result as text-embeddings-inference gives it.
#[derive(Serialize, ToSchema)]
struct RankRecord {
    index: usize,
    score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

impl FromJson for RerankRequest {
    const GO_TYPE: &'static str = "RerankRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        Ok(Self {
            model: ScoreModel::take(&mut fields)?,
            query: fields.take("query")?,
            documents: fields.take("documents")?,
            texts: fields.take("texts")?,
            top_n: fields.take("top_n")?,
            return_documents: fields.take("return_documents")?,
            return_text: fields.take("return_text")?,
            raw_scores: fields.take("raw_scores")?,
        })
    }
}

impl FromJson for Document {
    const GO_TYPE: &'static str = "string";

    fn schema() -> RefOr<Schema> {
        describe::either([
            <String as FromJson>::schema(),
            describe::value(Type::Object),
        ])
    }

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::Object(_) => Ok(Self(Fields::of("Document", value)?.take("text")?)),
            text => String::from_json(text).map(Self),
        }
    }
}

/// Where requests of two shapes arrive.
pub const TEI_PATH: &str = "/rerank";

/// For the document.
pub fn about() -> About {
    summary().gives::<RerankRecord>()
}

/// For the document, of [`TEI_PATH`].
pub fn about_both() -> About {
    summary().gives_content("application/json")
}

fn summary() -> About {
    About::new("Order documents by their relevance to a query").takes::<RerankRequest>()
}

/// Ranks the texts. At the path that text-embeddings-inference has too, a request of its shape is answered in its shape.
pub async fn rerank(
    State(app): State<Arc<App>>,
    uri: Uri,
    Json(request): Json<RerankRequest>,
) -> Response {
    let is_tei = request.texts.is_some() && uri.path() == TEI_PATH;
    match answer(&app, request, is_tei).await {
        Ok(response) => response,
        Err(error) if is_tei => TeiError(error).into_response(),
        Err(error) => error.into_response(),
    }
}

async fn answer(app: &App, request: RerankRequest, is_tei: bool) -> Result<Response, Error> {
    let bad = |text: &str| Error::BadRequest(text.to_owned());
    if request.query.is_empty() {
        return Err(bad("query is required"));
    }
    let documents: Vec<String> = match (request.documents, request.texts) {
        (Some(documents), None) => documents.into_iter().map(|document| document.0).collect(),
        (None, Some(texts)) => texts,
        (None, None) => Vec::new(),
        (Some(_), Some(_)) => return Err(bad("documents and texts are the same; give one")),
    };
    if documents.is_empty() {
        return Err(bad("documents is required and must not be empty"));
    }
    let top_n = match request.top_n {
        None => documents.len(),
        Some(count) => usize::try_from(count)
            .ok()
            .filter(|count| *count > 0)
            .ok_or_else(|| bad("top_n must be at least 1"))?,
    };
    let model = if is_tei {
        request.model.truncating_only_if_told()
    } else {
        request.model
    };
    let mut opened = model.open(app, Task::Rerank).await?;
    let wants_texts = request.return_documents || request.return_text;
    let kept = wants_texts.then(|| documents.clone());
    let job = Rerank {
        query: request.query,
        documents,
        overflow: opened.overflow,
        raw_scores: request.raw_scores,
    };
    let reranked = opened.session.encode(job).await?;
    let mut ranks: Vec<(usize, f32)> = reranked.results.into_iter().enumerate().collect();
    // Equal scores stay in the order of the documents.
    ranks.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranks.truncate(top_n);
    let text = |index: usize| kept.as_ref().map(|texts| texts[index].clone());
    if is_tei {
        let record = |(index, score)| RankRecord {
            index,
            score,
            text: text(index),
        };
        let records: Vec<RankRecord> = ranks.into_iter().map(record).collect();
        return Ok(reply::json(StatusCode::OK, &records));
    }
    let record = |(index, relevance_score)| ResultRecord {
        index,
        relevance_score,
        document: text(index).map(|text| DocumentRecord { text }),
    };
    let record = RerankRecord {
        model: opened.name,
        object: "list",
        results: ranks.into_iter().map(record).collect(),
        usage: UsageRecord {
            prompt_tokens: reranked.usage.prompt_tokens,
            total_tokens: reranked.usage.prompt_tokens,
        },
        truncated_inputs: reranked.usage.truncated_inputs,
    };
    Ok(reply::json(StatusCode::OK, &record))
}
