//! The response object: every field of OpenAI's, those that mean nothing here included, because clients look for them.

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::super::record;
use super::super::tools::arguments_text;
use super::Echo;
use crate::api::answer::{Cut, Ending};
use crate::api::blocks::{Block, Blocks};
use crate::api::logprob::LogprobRecord;
use crate::api::{Error, identity};
use crate::inference::generate::{Finish, TokenLogprob};

/// What all forms of a response have in common.
pub struct Shown {
    id: String,
    created_at: u64,
    model: String,
    echo: Echo,
}

/// The response.
#[derive(Serialize, ToSchema)]
pub struct ResponseRecord {
    id: String,
    object: &'static str,
    created_at: u64,
    completed_at: Option<u64>,
    status: Status,
    incomplete_details: Option<IncompleteDetails>,
    model: String,
    previous_response_id: Option<String>,
    instructions: Option<String>,
    output: Vec<ItemRecord>,
    error: Option<ResponseError>,
    tools: Vec<Value>,
    tool_choice: Value,
    truncation: String,
    parallel_tool_calls: bool,
    text: Value,
    top_p: f64,
    presence_penalty: f64,
    frequency_penalty: f64,
    top_logprobs: u8,
    temperature: f64,
    reasoning: Option<Value>,
    usage: Option<ResponseUsage>,
    max_output_tokens: Option<i64>,
    max_tool_calls: Option<u32>,
    store: bool,
    background: bool,
    service_tier: &'static str,
    metadata: Map<String, Value>,
    safety_identifier: Option<String>,
    prompt_cache_key: Option<String>,
}

/// Where a response, or an item of it, stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// More is to come.
    InProgress,
    /// It is all there.
    Completed,
    /// It was cut.
    Incomplete,
    /// Nothing will come any more.
    Failed,
}

#[derive(Serialize, ToSchema)]
struct IncompleteDetails {
    reason: &'static str,
}

#[derive(Serialize, ToSchema)]
struct ResponseError {
    code: &'static str,
    message: String,
}

#[derive(Serialize, ToSchema)]
struct ResponseUsage {
    input_tokens: u32,
    input_tokens_details: InputDetails,
    output_tokens: u32,
    output_tokens_details: OutputDetails,
    total_tokens: u32,
    /// Ours: only there if something was cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_truncated: Option<Cut>,
}

#[derive(Serialize, ToSchema)]
struct InputDetails {
    cached_tokens: u32,
}

#[derive(Serialize, ToSchema)]
struct OutputDetails {
    reasoning_tokens: u32,
}

/// An item of `output`.
#[derive(Clone, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ItemRecord {
    /// What was thought. The whole of it is the summary, and comes back as it is in `encrypted_content`.
    Reasoning {
        id: String,
        summary: Vec<SummaryRecord>,
        #[serde(skip_serializing_if = "String::is_empty")]
        encrypted_content: String,
    },
    /// What was said.
    Message {
        id: String,
        status: Status,
        role: &'static str,
        content: Vec<PartRecord>,
    },
    /// What was called.
    FunctionCall {
        id: String,
        status: Status,
        call_id: String,
        name: String,
        arguments: String,
    },
}

/// A part of a summary: always a text.
#[derive(Clone, Default, Serialize, ToSchema)]
#[serde(tag = "type", rename = "summary_text")]
pub struct SummaryRecord {
    pub text: String,
}

/// A part of a message: always a text.
#[derive(Clone, Default, Serialize, ToSchema)]
#[serde(tag = "type", rename = "output_text")]
pub struct PartRecord {
    pub text: String,
    annotations: Vec<Value>,
    logprobs: Vec<LogprobRecord>,
}

impl Status {
    /// Of a response whose answer ended so.
    pub fn of(finish: Finish) -> Self {
        match finish {
            Finish::Stop => Self::Completed,
            Finish::Length => Self::Incomplete,
        }
    }
}

impl PartRecord {
    /// A text with the log probabilities of its tokens.
    pub fn new(text: String, logprobs: Vec<TokenLogprob>) -> Self {
        Self {
            text,
            annotations: Vec::new(),
            logprobs: logprobs_of(logprobs),
        }
    }
}

/// `logprobs` of a part.
pub fn logprobs_of(logprobs: Vec<TokenLogprob>) -> Vec<LogprobRecord> {
    logprobs.into_iter().map(LogprobRecord::from).collect()
}

impl ItemRecord {
    /// The item of a block, with a new id; without its contents, which are yet to come, if it is in progress.
    pub fn of(block: &Block, status: Status) -> Self {
        Self::named(block, status, Self::id(block))
    }

    /// A new id for the item of a block.
    pub fn id(block: &Block) -> String {
        identity::new(match block {
            Block::Thinking(_) => "rs_",
            Block::Text { .. } => "msg_",
            Block::Call(_) => "fc_",
        })
    }

    /// The item of a block whose id is known.
    pub fn named(block: &Block, status: Status, id: String) -> Self {
        let is_begun = status == Status::InProgress;
        match block {
            Block::Thinking(_) if is_begun => Self::Reasoning {
                id,
                summary: Vec::new(),
                encrypted_content: String::new(),
            },
            Block::Thinking(text) => Self::Reasoning {
                id,
                summary: vec![SummaryRecord { text: text.clone() }],
                encrypted_content: text.clone(),
            },
            Block::Text { text, logprobs } => Self::Message {
                id,
                status,
                role: "assistant",
                content: if is_begun {
                    Vec::new()
                } else {
                    vec![PartRecord::new(text.clone(), logprobs.clone())]
                },
            },
            Block::Call(call) => Self::FunctionCall {
                id,
                status,
                call_id: call.id.clone(),
                name: call.name.clone(),
                arguments: if is_begun {
                    String::new()
                } else {
                    arguments_text(call)
                },
            },
        }
    }
}

impl Shown {
    /// A response to come.
    pub fn new(model: String, echo: Echo) -> Self {
        Self {
            id: identity::new("resp_"),
            created_at: record::now(),
            model,
            echo,
        }
    }

    /// The response before anything is known of its answer.
    pub fn begun(&self) -> ResponseRecord {
        let echo = self.echo.clone();
        let truncation = echo.truncation.unwrap_or_else(|| "disabled".into());
        let has_reasoning = echo.effort.is_some() || echo.summary.is_some();
        let format = echo.format.unwrap_or_else(|| json!({"type": "text"}));
        let mut text = json!({ "format": format });
        if let Some(verbosity) = echo.verbosity {
            text["verbosity"] = verbosity.into();
        }
        ResponseRecord {
            id: self.id.clone(),
            object: "response",
            created_at: self.created_at,
            completed_at: None,
            status: Status::InProgress,
            incomplete_details: None,
            model: self.model.clone(),
            previous_response_id: None,
            instructions: echo.instructions,
            output: Vec::new(),
            error: None,
            tools: echo.tools,
            tool_choice: echo.tool_choice,
            truncation,
            parallel_tool_calls: echo.parallel_tool_calls,
            text,
            top_p: echo.top_p.unwrap_or(1.0),
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            top_logprobs: echo.top_logprobs,
            temperature: echo.temperature.unwrap_or(1.0),
            reasoning: has_reasoning
                .then(|| json!({"effort": echo.effort, "summary": echo.summary})),
            usage: None,
            max_output_tokens: echo.max_output_tokens,
            max_tool_calls: None,
            store: false,
            background: echo.background,
            service_tier: "default",
            metadata: echo.metadata,
            safety_identifier: None,
            prompt_cache_key: None,
        }
    }

    /// The response with its answer.
    pub fn ended(&self, output: Vec<ItemRecord>, ending: &Ending) -> ResponseRecord {
        let usage = &ending.usage;
        let status = Status::of(ending.finish);
        ResponseRecord {
            completed_at: Some(record::now()),
            status,
            incomplete_details: (status == Status::Incomplete).then_some(IncompleteDetails {
                reason: "max_output_tokens",
            }),
            output,
            usage: Some(ResponseUsage {
                input_tokens: usage.prompt_tokens,
                input_tokens_details: InputDetails {
                    cached_tokens: usage.cached_tokens,
                },
                output_tokens: usage.generated_tokens,
                output_tokens_details: OutputDetails {
                    reasoning_tokens: ending.thinking_tokens,
                },
                total_tokens: usage.prompt_tokens + usage.generated_tokens,
                prompt_truncated: ending.cut.if_any(),
            }),
            ..self.begun()
        }
    }

    /// The whole response at once.
    pub fn whole(&self, blocks: &Blocks, ending: &Ending) -> ResponseRecord {
        let blocks = blocks.all().iter();
        let items = blocks.map(|block| ItemRecord::of(block, Status::Completed));
        self.ended(items.collect(), ending)
    }

    /// The response that will have no answer.
    pub fn failed(&self, output: Vec<ItemRecord>, error: &Error) -> ResponseRecord {
        ResponseRecord {
            status: Status::Failed,
            output,
            error: Some(ResponseError {
                code: error.refusal().code.unwrap_or("server_error"),
                message: error.to_string(),
            }),
            ..self.begun()
        }
    }
}
