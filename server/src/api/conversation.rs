//! A conversation on its way to a prompt, whatever the dialect it came in: what the model cannot do is refused, the
//! model's own messages are added, and what its context does not hold is left out.

use std::collections::HashMap;
use std::sync::Arc;

use super::images::Images;
use super::prompter::{Prompter, Talk};
use super::shape::Shape;
use super::{App, Error};
use crate::inference;
use crate::inference::generate::{Constraint, Piece};
use crate::models::Lease;
use crate::prompt::{Expectations, Message, OutputParser, Think, Tool, Truncation};
use crate::store::{self, Capability, Model};

/// What was said and what may be called.
#[derive(Debug, Default)]
pub struct Conversation {
    /// The model's name as the caller typed it, for refusals.
    pub typed_model: String,
    /// The caller's messages, oldest first.
    pub messages: Vec<Message>,
    /// The tools that are offered.
    pub tools: Vec<Tool>,
    /// Whether to think, as the caller told.
    pub think: Think,
}

/// A prompt, with what is needed to read the answers to it.
#[derive(Debug)]
pub struct Prompt {
    /// What the model is to continue.
    pub text: String,
    /// How many of the oldest messages are not in it.
    pub left_out: usize,
    /// The images that are marked in it.
    pub images: Images,
    prompter: Arc<Prompter>,
    tools: Vec<Tool>,
    think: Think,
}

impl Conversation {
    /// Refuses what the model cannot do, and settles whether it thinks.
    ///
    /// # Errors
    /// 400 in Ollama's words, in its order.
    pub fn check(&mut self, model: &Model) -> Result<(), Error> {
        let can = |capability| model.capabilities.contains(&capability);
        self.think = settle_thinking(self.think, model, &self.typed_model)?;
        if !can(Capability::Completion) {
            return Err(Error::BadRequest(format!(
                "{:?} does not support chat",
                self.typed_model
            )));
        }
        if !self.tools.is_empty() && !can(Capability::Tools) {
            return Err(lacks(model, "tools"));
        }
        let images: usize = self.messages.iter().map(|message| message.images).sum();
        if images > 0 && !can(Capability::Vision) {
            return Err(lacks(model, "vision"));
        }
        Images::check(images)
    }

    /// The prompt of the conversation; of as many of its newest messages as the context holds if it may be truncated.
    ///
    /// # Errors
    /// When the model's template refuses the conversation, or its last message alone is too long.
    pub async fn prompt(
        self,
        app: &App,
        model: &Arc<Model>,
        lease: &Lease,
        truncate: bool,
    ) -> Result<Prompt, Error> {
        let prompter = app.prompter(model).await?;
        let files = self
            .messages
            .iter()
            .flat_map(|message| &message.image_files);
        let images = Images::new(files.cloned().collect());
        let messages = self.assemble(model, &images);
        let talk = Talk {
            messages: &messages,
            tools: &self.tools,
            think: self.think,
        };
        let (text, left_out) = if truncate && app.config.cut_prompts {
            fit(&prompter, talk, &images, lease).await?
        } else {
            (prompter.render(talk)?, 0)
        };
        Ok(Prompt {
            left_out,
            images,
            ..Prompt::new(text, prompter, self.tools, self.think)
        })
    }

    /// The model's own messages before the caller's, and its system message unless the caller brings one.
    fn assemble(&self, model: &Model, images: &Images) -> Vec<Message> {
        let has_system = self
            .messages
            .first()
            .is_some_and(|message| message.role == "system");
        let system = model.system.as_deref().filter(|_| !has_system);
        let mut messages: Vec<Message> = system
            .map(|system| said("system", system))
            .into_iter()
            .chain(model.messages.iter().map(brought))
            .chain(self.marked(images))
            .collect();
        if repeats_thoughts(model) {
            forget_thoughts(&mut messages);
        }
        messages
    }
}

impl Conversation {
    /// The caller's messages with their images as marks in front of their text.
    fn marked(&self, images: &Images) -> impl Iterator<Item = Message> {
        self.messages.iter().scan(0, |shown, message| {
            let first = *shown;
            *shown += message.image_files.len();
            let content = images.marks(first..*shown) + &message.content;
            Some(Message {
                content,
                images: 0,
                image_files: Vec::new(),
                ..message.clone()
            })
        })
    }
}

impl Prompt {
    /// What the model is to continue, as a job has it.
    #[must_use]
    pub fn pieces(&self) -> Vec<Piece> {
        self.images.pieces(&self.text)
    }

    /// The text as people read it.
    #[must_use]
    pub fn shown(&self) -> String {
        self.images.shown(&self.text)
    }

    /// A prompt that `prompter` wrote.
    #[must_use]
    pub fn new(text: String, prompter: Arc<Prompter>, tools: Vec<Tool>, think: Think) -> Self {
        Self {
            text,
            left_out: 0,
            images: Images::default(),
            prompter,
            tools,
            think,
        }
    }

    /// What takes one answer to the prompt apart.
    #[must_use]
    pub fn parser(&self) -> OutputParser {
        OutputParser::new(self.expectations())
    }

    /// What every answer to the prompt is held to, if it is to have a shape.
    ///
    /// # Errors
    /// See [`Shape::constraint`].
    pub fn constraint(&self, shape: &Shape) -> Result<Option<Box<Constraint>>, Error> {
        shape.constraint(self.expectations())
    }

    fn expectations(&self) -> Expectations<'_> {
        Expectations {
            traits: self.prompter.template.traits(),
            prompt_end: &self.text,
            think: self.think,
            tools: &self.tools,
        }
    }
}

/// What being told to think means to this model: one that can think does so unless told otherwise.
///
/// # Errors
/// When a model is to think that cannot.
pub fn settle_thinking(told: Think, model: &Model, typed_model: &str) -> Result<Think, Error> {
    let is_able = model.capabilities.contains(&Capability::Thinking);
    match told {
        Think::Unset if is_able => Ok(Think::On),
        Think::Unset | Think::Off if !is_able => Ok(Think::Unset),
        Think::On | Think::Level(_) if !is_able => Err(Error::BadRequest(format!(
            "{typed_model:?} does not support thinking"
        ))),
        told => Ok(told),
    }
}

/// The refusal of what this model cannot do.
pub fn lacks(model: &Model, what: &str) -> Error {
    let full = model.name.full();
    Error::BadRequest(format!("{full} does not support {what}"))
}

/// A message that a model brings along.
pub fn brought(message: &store::Message) -> Message {
    said(&message.role, &message.content)
}

/// A message that is nothing but text.
pub fn said(role: &str, content: &str) -> Message {
    Message {
        role: role.to_owned(),
        content: content.to_owned(),
        ..Message::default()
    }
}

/// Gives every tool's reply without a name the name of the tool in the call that it answers. Of calls with the same id the
/// last one counts.
pub fn name_tools(messages: &mut [Message]) {
    let called: HashMap<String, String> = messages
        .iter()
        .flat_map(|message| &message.tool_calls)
        .map(|call| (call.id.clone(), call.name.clone()))
        .collect();
    let replies = messages
        .iter_mut()
        .filter(|message| message.role == "tool" && message.tool_name.is_empty());
    for reply in replies {
        if let Some(name) = called.get(&reply.tool_call_id) {
            reply.tool_name.clone_from(name);
        }
    }
}

/// Makes one message of the system messages that a conversation opens with. Dialects have several places for them, and
/// many templates one.
pub fn join_system(messages: &mut Vec<Message>) {
    let count = messages
        .iter()
        .take_while(|message| message.role == "system")
        .count();
    if count > 1 {
        let texts: Vec<String> = messages
            .drain(..count)
            .map(|message| message.content)
            .filter(|text| !text.is_empty())
            .collect();
        messages.insert(0, said("system", &texts.join("\n\n")));
    }
}

/// What an image is taken to need when messages are left out, as in Ollama.
pub const TOKENS_PER_IMAGE: usize = 768;

/// The prompt of as many of the newest messages as the context holds, and how many it does not hold.
async fn fit(
    prompter: &Prompter,
    talk: Talk<'_>,
    images: &Images,
    lease: &Lease,
) -> Result<(String, usize), Error> {
    let context = usize::try_from(lease.facts().context).unwrap_or(usize::MAX);
    let mut search = Truncation::new(talk.messages.len());
    while let Some(start) = search.candidate() {
        let kept = Truncation::kept(talk.messages, start);
        let messages = kept.as_slice();
        let fits = match prompter.render(Talk { messages, ..talk }) {
            // No token is shorter than a byte, and one place is the beginning's: most prompts need no counting.
            Ok(prompt) if prompt.len() < context && images.is_empty() => true,
            Ok(prompt) => {
                let seen = images.marked(&prompt) * TOKENS_PER_IMAGE;
                seen + lease.tokenize(prompt, true, true).await?.len() <= context
            }
            // The template may object to what is left, as to a conversation that opens with an answer.
            Err(_) if start > 0 => false,
            Err(error) => return Err(error.into()),
        };
        search.report(fits);
    }
    let kept = Truncation::kept(talk.messages, search.start());
    let messages = kept.as_slice();
    let prompt = prompter.render(Talk { messages, ..talk })?;
    if prompt.len() >= context && !prompter.template.may_be_cut() {
        let tokens = lease.tokenize(prompt.clone(), true, true).await?.len();
        if tokens >= context {
            let count = |tokens| u32::try_from(tokens).unwrap_or(u32::MAX);
            return Err(Error::Inference(inference::Error::PromptTooLong {
                tokens: count(tokens),
                limit: count(context.saturating_sub(1)),
            }));
        }
    }
    Ok((prompt, talk.messages.len() - kept.len()))
}

/// Models whose templates keep old thoughts that their makers want cut.
fn repeats_thoughts(model: &Model) -> bool {
    model.details.family == "qwen3" || model.name.model() == "deepseek-r1"
}

/// Cuts thoughts from the answers before the last question.
fn forget_thoughts(messages: &mut [Message]) {
    let last_question = messages.iter().rposition(|message| message.role == "user");
    let before = &mut messages[..last_question.unwrap_or(0)];
    for message in before {
        let thought = message
            .content
            .trim_start()
            .strip_prefix("<think>")
            .and_then(|rest| rest.split_once("</think>"));
        if let Some((_, answer)) = thought.filter(|_| message.role == "assistant") {
            message.content = answer.trim_start().to_owned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_speaks_once_at_the_beginning() {
        let mut messages = vec![
            said("system", "a"),
            said("system", ""),
            said("system", "b"),
            said("user", "c"),
            said("system", "d"),
        ];
        join_system(&mut messages);
        let expected = [
            said("system", "a\n\nb"),
            said("user", "c"),
            said("system", "d"),
        ];
        assert_eq!(messages, expected);
    }

    #[test]
    fn old_thoughts_are_forgotten_and_new_ones_kept() {
        let mut messages = [
            said("assistant", "<think>a</think>\n\nfirst"),
            said("user", "<think>b</think>asked"),
            said("assistant", "no thoughts"),
            said("user", "asked again"),
            said("assistant", "<think>c</think>begun"),
        ];
        forget_thoughts(&mut messages);
        let contents = messages.map(|message| message.content);
        let expected = [
            "first",
            "<think>b</think>asked",
            "no thoughts",
            "asked again",
            "<think>c</think>begun",
        ];
        assert_eq!(contents, expected);
    }
}
