//! A text on its way to a prompt, whatever the dialect it came in: as it is, or put into the model's template as a
//! question.

use std::sync::Arc;

use super::conversation::{Prompt, brought, lacks, said, settle_thinking};
use super::images::Images;
use super::prompter::Talk;
use super::{App, Error};
use crate::prompt::{Message, Template, Think};
use crate::store::{Capability, Model};

/// A text to be continued, and how.
#[derive(Debug, Default)]
pub struct Continuation {
    /// The model's name as the caller typed it, for refusals.
    pub typed_model: String,
    /// The text.
    pub prompt: String,
    /// What comes after the answer; empty if nothing is known of that.
    pub suffix: String,
    /// Instead of the model's system message; empty for that one.
    pub system: String,
    /// Instead of the model's template; empty for that one.
    pub template: String,
    /// Whether the prompt follows tokens of an earlier answer, which have the model's own messages in them.
    pub has_context: bool,
    /// Whether the text is the prompt as it is.
    pub raw: bool,
    /// The images that belong to it.
    pub images: Images,
    /// Whether to think, as the caller told.
    pub think: Think,
}

impl Continuation {
    /// Refuses what the model cannot do, and settles whether it thinks.
    ///
    /// # Errors
    /// 400 in Ollama's words, in its order.
    pub fn check(&mut self, model: &Model) -> Result<(), Error> {
        let can = |capability| model.capabilities.contains(&capability);
        if can(Capability::Image) {
            return Err(Error::BadRequest(
                "image generation models are not currently supported".into(),
            ));
        }
        let is_shaped = !(self.template.is_empty() && self.system.is_empty()) || self.has_context;
        if self.raw && is_shaped {
            return Err(Error::BadRequest(
                "raw mode does not support template, system, or context".into(),
            ));
        }
        self.think = settle_thinking(self.think, model, &self.typed_model)?;
        if !can(Capability::Completion) {
            return Err(Error::BadRequest(format!(
                "{:?} does not support generate",
                self.typed_model
            )));
        }
        if !self.suffix.is_empty() && !can(Capability::Insert) {
            return Err(lacks(model, "insert"));
        }
        if !self.images.is_empty() && !can(Capability::Vision) {
            return Err(lacks(model, "vision"));
        }
        Images::check(self.images.len())?;
        Ok(())
    }

    /// The prompt. None: the text is the prompt as it is, and the answer is wanted as the model writes it.
    ///
    /// # Errors
    /// When the model's template refuses the text.
    pub async fn prompt(&self, app: &App, model: &Arc<Model>) -> Result<Option<Prompt>, Error> {
        if self.raw {
            return Ok(None);
        }
        let prompter = app.prompter(model).await?;
        let own = match self.template.as_str() {
            "" => None,
            template => Some(Template::go(template)?),
        };
        let template = own.as_ref().unwrap_or(&prompter.template);
        let text = match self.inserted(template)? {
            Some(text) => text,
            None => prompter.render_with(
                template,
                Talk {
                    messages: &self.messages(model),
                    tools: &[],
                    think: self.think,
                },
            )?,
        };
        let mut prompt = Prompt::new(text, prompter, Vec::new(), self.think);
        prompt.images = self.images.clone();
        Ok(Some(prompt))
    }

    /// The prompt that asks for what comes before the suffix, if there is one.
    fn inserted(&self, template: &Template) -> Result<Option<String>, Error> {
        if self.suffix.is_empty() {
            return Ok(None);
        }
        let now = jiff::Zoned::now();
        Ok(template.insert(&self.prompt, &self.suffix, self.think, &now)?)
    }

    fn messages(&self, model: &Model) -> Vec<Message> {
        let system = match (self.system.as_str(), &model.system) {
            ("", Some(system)) => system,
            (system, _) => system,
        };
        let mut messages = Vec::new();
        if !system.is_empty() {
            messages.push(said("system", system));
        }
        if !self.has_context {
            messages.extend(model.messages.iter().map(brought));
        }
        let marks = self.images.marks(0..self.images.len());
        messages.push(said("user", &(marks + &self.prompt)));
        messages
    }
}
