//! A model's chat template with what it prints of the vocabulary, read once per model.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{App, Error};
use crate::prompt::families::{self, gemma4};
use crate::prompt::{Conversation, Message, PromptError, Template, Think, Tool};
use crate::store::gguf::{Arrays, Gguf, Value};
use crate::store::{Digest, Model, Store, Weights};

/// Templates that are kept; a server with more models in use reads them again.
const MAX_PROMPTERS: usize = 64;

/// Writes prompts the way one model wants them.
#[derive(Debug)]
pub struct Prompter {
    /// The template itself.
    pub template: Template,
    bos_token: String,
    eos_token: String,
}

/// The prompters of the models in use, by model identity.
#[derive(Debug, Default)]
pub struct Prompters(Mutex<HashMap<Digest, Arc<Prompter>>>);

/// What is to be put into a prompt.
#[derive(Clone, Copy)]
pub struct Talk<'a> {
    /// What was said.
    pub messages: &'a [Message],
    /// What may be called.
    pub tools: &'a [Tool],
    /// Whether to think.
    pub think: Think,
}

impl App {
    /// The prompter of a model.
    ///
    /// # Errors
    /// When the model's template cannot be read.
    pub async fn prompter(&self, model: &Arc<Model>) -> Result<Arc<Prompter>, Error> {
        if let Some(prompter) = self.prompters.lock().get(&model.id) {
            return Ok(Arc::clone(prompter));
        }
        let id = model.id;
        let model = Arc::clone(model);
        let prompter = self
            .with_store(move |store| Prompter::of(store, &model))
            .await?;
        let prompter = Arc::new(prompter);
        let mut prompters = self.prompters.lock();
        if prompters.len() >= MAX_PROMPTERS {
            prompters.clear();
        }
        prompters.insert(id, Arc::clone(&prompter));
        Ok(prompter)
    }
}

impl Prompters {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Arc<Prompter>>> {
        // The map is whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Prompter {
    fn of(store: &Store, model: &Model) -> Result<Self, Error> {
        let template = if model.config.renderer.is_empty() {
            model.templates().template(store.go_templates())?
        } else {
            Template::renderer(renderer(model)?)
        };
        let template = match families::parser(parser(model)) {
            Some(parser) => template.with_traits(parser.traits()),
            None => template,
        };
        let (bos_token, eos_token) = match &model.weights {
            Weights::Gguf { model, .. } => {
                special_tokens(&store.gguf(&model.digest, Arrays::Keep)?)
            }
            Weights::Onnx { .. } | Weights::Other => Default::default(),
        };
        Ok(Self {
            template,
            bos_token,
            eos_token,
        })
    }

    /// The prompt for a conversation. An assistant's message at its very end is the beginning of the answer.
    ///
    /// # Errors
    /// When the template refuses the conversation.
    pub fn render(&self, talk: Talk<'_>) -> Result<String, PromptError> {
        self.render_with(&self.template, talk)
    }

    /// The same through another template, as a request may bring one.
    ///
    /// # Errors
    /// When the template refuses the conversation.
    pub fn render_with(&self, template: &Template, talk: Talk<'_>) -> Result<String, PromptError> {
        let (messages, begun) = match talk.messages.split_last() {
            Some((last, before))
                if last.role == "assistant"
                    && last.tool_calls.is_empty()
                    && !template.continues_answers() =>
            {
                (before, last.content.as_str())
            }
            _ => (talk.messages, ""),
        };
        let mut prompt = template.render(&Conversation {
            messages,
            tools: talk.tools,
            think: talk.think,
            add_generation_prompt: true,
            bos_token: &self.bos_token,
            eos_token: &self.eos_token,
            now: jiff::Zoned::now(),
        })?;
        if !begun.is_empty() {
            prompt.push_str(self.template.traits().answer_prefix());
            prompt.push_str(begun);
        }
        Ok(prompt)
    }
}

/// The way of reading answers that a model names. The gpt-oss of older stores name none; their template shows it.
fn parser(model: &Model) -> &str {
    let is_harmony = matches!(model.details.family.as_str(), "gptoss" | "gpt-oss")
        && model
            .template
            .as_ref()
            .is_some_and(|template| template.contains("<|start|>") && template.contains("<|end|>"));
    if model.config.parser.is_empty() && is_harmony {
        "harmony"
    } else {
        &model.config.parser
    }
}

/// The way of writing prompts that a model names.
fn renderer(model: &Model) -> Result<&'static families::Renderer, Error> {
    let name = match model.config.renderer.as_str() {
        "gemma4" => gemma4::resolve(&model.name.to_string(), &model.config.model_type),
        name => name,
    };
    families::renderer(name).ok_or_else(|| Error::Failed(format!("unknown renderer {name:?}")))
}

/// The texts of the tokens that begin and end a sequence; empty where the vocabulary has none.
fn special_tokens(gguf: &Gguf) -> (String, String) {
    let text = |key: &str| {
        let id = gguf.metadata.get(key).and_then(Value::as_unsigned)?;
        let Some(Value::Array {
            values: Some(tokens),
            ..
        }) = gguf.metadata.get("tokenizer.ggml.tokens")
        else {
            return None;
        };
        match tokens.get(usize::try_from(id).ok()?)? {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    };
    (
        text("tokenizer.ggml.bos_token_id").unwrap_or_default(),
        text("tokenizer.ggml.eos_token_id").unwrap_or_default(),
    )
}
