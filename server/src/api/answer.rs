//! An answer under way: the model's text taken apart into thinking, content and tool calls, timed, and ended exactly once.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::Error;
use super::session::Session;
use crate::inference::generate::{Event, Finish, Generate, TokenLogprob, Usage};
use crate::inference::{self, Token};
use crate::metrics;
use crate::models::Generation;
use crate::prompt::{OutputParser, Part, ToolCall};

/// A running generation. Dropping it cancels the job.
pub struct Answer {
    generation: Generation,
    cut: Cut,
    /// None where the caller wants the text as the model writes it.
    parser: Option<OutputParser>,
    request: metrics::Request,
    load: Duration,
    prompt_tokens: u32,
    /// How many more tool calls count; none for as many as there are.
    calls_left: Option<usize>,
    thought: Thought,
    ended: bool,
}

/// How much of an answer is thinking.
#[derive(Debug, Default)]
struct Thought {
    tokens: u32,
    /// Tokens of which it is not yet known what they belong to.
    undecided: u32,
}

impl Thought {
    fn count(&mut self, tokens: u32, delta: &Delta) {
        self.undecided += tokens;
        if !delta.thinking.is_empty() {
            self.tokens += std::mem::take(&mut self.undecided);
        } else if !delta.content.is_empty() || !delta.tool_calls.is_empty() {
            self.undecided = 0;
        }
    }
}

/// What an answer consists of: any number of deltas, then one ending.
pub enum Piece {
    /// The next part.
    Delta(Delta),
    /// What the parser held back until the end, and how it ended.
    Ending(Delta, Ending),
}

/// A part of an answer.
#[derive(Debug, Default)]
pub struct Delta {
    /// What is said.
    pub content: String,
    /// What is thought.
    pub thinking: String,
    /// What is called.
    pub tool_calls: Vec<ToolCall>,
    /// One per token, if they were asked for.
    pub logprobs: Vec<TokenLogprob>,
}

/// What of a prompt the context did not hold. Nobody who gets an answer is to believe that all was read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, ToSchema)]
pub struct Cut {
    /// Messages that were left out, the oldest first.
    pub messages: usize,
    /// Tokens that were cut from the middle of the rest.
    pub tokens: u32,
}

/// How an answer ended and what it took.
#[derive(Debug)]
pub struct Ending {
    /// Why it ended.
    pub finish: Finish,
    /// What of the prompt was not read.
    pub cut: Cut,
    /// The stop string that ended it, if one did.
    pub stop: Option<String>,
    /// What the model's worker measured.
    pub usage: Usage,
    /// How many of the tokens are thinking, the mark before it included.
    pub thinking_tokens: u32,
    /// Prompt and answer, to be sent back as `context`.
    pub context: Vec<Token>,
    /// From the request's arrival to now.
    pub total: Duration,
    /// From the request's arrival until its model was ready.
    pub load: Duration,
}

impl Cut {
    /// The same, unless nothing was cut.
    #[must_use]
    pub fn if_any(self) -> Option<Self> {
        (self != Self::default()).then_some(self)
    }
}

impl Answer {
    /// Submits the job and waits until it is admitted.
    ///
    /// # Errors
    /// Whatever refused it.
    pub async fn start(
        mut session: Session,
        mut job: Generate,
        parser: Option<OutputParser>,
    ) -> Result<Self, Error> {
        job.overflow.truncate &= session.may_cut;
        if let Some(parser) = &parser {
            job.visible = parser.marks().to_vec();
        }
        let admitted = session.lease.generate(job).await;
        let (admitted, generation) = session.checked(admitted)?;
        let cut = Cut {
            messages: session.left_out,
            tokens: admitted.truncated_tokens,
        };
        if cut != Cut::default() {
            session.request.truncated();
            tracing::warn!(
                messages = cut.messages,
                tokens = cut.tokens,
                "the prompt did not fit the context and was cut"
            );
        }
        Ok(Self {
            generation,
            cut,
            parser,
            request: session.request,
            load: session.load,
            prompt_tokens: admitted.prompt_tokens,
            calls_left: None,
            thought: Thought::default(),
            ended: false,
        })
    }

    /// The same, but that only its first tool call counts.
    #[must_use]
    pub fn with_one_call(mut self) -> Self {
        self.calls_left = Some(1);
        self
    }

    /// Tokens of the prompt.
    #[must_use]
    pub fn prompt_tokens(&self) -> u32 {
        self.prompt_tokens
    }

    /// The next part. None after an ending or an error.
    pub async fn next(&mut self) -> Option<Result<Piece, Error>> {
        while !self.ended {
            match self.generation.next().await {
                Some(Event::Text(text)) => {
                    self.request.piece();
                    let tokens = text.tokens;
                    let mut delta = Delta {
                        logprobs: text.logprobs,
                        ..self.parse(text.text)
                    };
                    self.thought.count(tokens, &delta);
                    self.count_calls(&mut delta);
                    if !delta.is_empty() {
                        return Some(Ok(Piece::Delta(delta)));
                    }
                }
                Some(Event::Finished(finished)) => {
                    self.ended = true;
                    self.request.generated(&finished.usage);
                    let mut tail = match self.parser.take() {
                        Some(parser) => Delta::of(parser.finish()),
                        None => Delta::default(),
                    };
                    self.thought.count(0, &tail);
                    let ending = Ending {
                        finish: finished.reason,
                        cut: self.cut,
                        stop: finished.stop,
                        usage: finished.usage,
                        thinking_tokens: self.thought.tokens,
                        context: finished.context,
                        total: self.request.elapsed(),
                        load: self.load,
                    };
                    self.count_calls(&mut tail);
                    return Some(Ok(Piece::Ending(tail, ending)));
                }
                Some(Event::Failed(error)) => return Some(Err(self.fail(error))),
                Some(Event::Admitted(_)) | None => {
                    let error = "the answer stopped without an end".into();
                    return Some(Err(self.fail(inference::Error::Engine(error))));
                }
            }
        }
        None
    }

    fn parse(&mut self, text: String) -> Delta {
        match &mut self.parser {
            Some(parser) => Delta::of(parser.push(&text)),
            None => Delta {
                content: text,
                ..Delta::default()
            },
        }
    }

    fn count_calls(&mut self, delta: &mut Delta) {
        if let Some(left) = &mut self.calls_left {
            delta.tool_calls.truncate(*left);
            *left -= delta.tool_calls.len();
        }
    }

    fn fail(&mut self, error: inference::Error) -> Error {
        self.ended = true;
        let error = Error::from(error);
        self.request.ended(error.outcome());
        error
    }
}

impl Delta {
    fn of(parts: impl IntoIterator<Item = Part>) -> Self {
        let mut delta = Self::default();
        for part in parts {
            match part {
                Part::Thinking(text) => delta.thinking.push_str(&text),
                Part::Content(text) => delta.content.push_str(&text),
                Part::ToolCall(call) => delta.tool_calls.push(call),
            }
        }
        delta
    }

    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.content.is_empty()
            && self.thinking.is_empty()
            && self.tool_calls.is_empty()
            && self.logprobs.is_empty()
    }

    /// Adds what came after.
    pub fn append(&mut self, later: Self) {
        self.content.push_str(&later.content);
        self.thinking.push_str(&later.thinking);
        self.tool_calls.extend(later.tool_calls);
        self.logprobs.extend(later.logprobs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_thoughts_are_told_from_others() {
        let mut thought = Thought::default();
        let thinking = |text: &str| Delta {
            thinking: text.into(),
            ..Delta::default()
        };
        let content = Delta {
            content: "4".into(),
            ..Delta::default()
        };
        // The mark before it, two thoughts of which the first came late, and the mark after it with the answer.
        thought.count(1, &Delta::default());
        thought.count(1, &Delta::default());
        thought.count(1, &thinking("two and two"));
        thought.count(2, &thinking(" make"));
        thought.count(1, &Delta::default());
        thought.count(1, &content);
        assert_eq!(thought.tokens, 5);
        // What was held back to the end.
        thought.count(3, &Delta::default());
        thought.count(0, &thinking("?"));
        assert_eq!(thought.tokens, 8);
    }
}
