//! A model's way of writing prompts, whichever language it is written in.

use super::families::Renderer;
use super::{Conversation, PromptError, Think, Traits, go, jinja, plain};

/// Turns conversations into prompts the way one model wants them.
#[derive(Debug)]
pub struct Template {
    language: Language,
    traits: Traits,
}

#[derive(Debug)]
enum Language {
    /// No template: the messages one after the other.
    Plain,
    /// The Jinja template of the model's own files. Boxed because it owns a whole environment.
    Jinja(Box<jinja::Template>),
    /// The Go template of a layer beside them.
    Go(Box<go::Template>),
    /// Part of the program, and named by the model.
    Renderer(&'static Renderer),
}

impl Template {
    /// The template of a model that brings none, see [`plain::render`].
    #[must_use]
    pub fn plain() -> Self {
        Self {
            language: Language::Plain,
            traits: Traits::default(),
        }
    }

    /// Reads a Jinja chat template, as `tokenizer.chat_template` of a GGUF file holds it.
    ///
    /// # Errors
    /// [`PromptError::Parse`] with the line; [`PromptError::TooLarge`] for a text that is no template by any measure.
    pub fn jinja(source: &str) -> Result<Self, PromptError> {
        Ok(Self {
            language: Language::Jinja(Box::new(jinja::Template::parse(source)?)),
            traits: Traits::of_jinja(source),
        })
    }

    /// Whether a prompt that is too long even with its last message alone may lose its middle. With a template of the
    /// model's own file Ollama refuses it instead.
    #[must_use]
    pub fn may_be_cut(&self) -> bool {
        match self.language {
            Language::Plain | Language::Go(_) | Language::Renderer(_) => true,
            Language::Jinja(_) => false,
        }
    }

    /// The way of writing prompts that a model names.
    #[must_use]
    pub fn renderer(renderer: &'static Renderer) -> Self {
        Self {
            language: Language::Renderer(renderer),
            traits: Traits::default(),
        }
    }

    /// The same template for answers that are read another way.
    #[must_use]
    pub fn with_traits(self, traits: Traits) -> Self {
        Self { traits, ..self }
    }

    /// Reads a Go template, as Ollama's template layers hold it.
    ///
    /// # Errors
    /// [`PromptError::Go`] in Go's words; [`PromptError::TooLarge`] for a text that is no template by any measure.
    pub fn go(source: &str) -> Result<Self, PromptError> {
        let template = go::Template::parse(source)?;
        Ok(Self {
            traits: Traits::of_go(&template),
            language: Language::Go(Box::new(template)),
        })
    }

    /// Whether a last message of the assistant is left open, so that the model goes on with it. Others would end it.
    #[must_use]
    pub fn continues_answers(&self) -> bool {
        matches!(self.language, Language::Go(_) | Language::Renderer(_))
    }

    /// What the template's text tells of the answers to expect.
    #[must_use]
    pub fn traits(&self) -> &Traits {
        &self.traits
    }

    /// The prompt for a conversation. Takes processor time in proportion to the conversation and is bounded in time and
    /// memory whatever the template does.
    ///
    /// # Errors
    /// Every [`PromptError`] but [`PromptError::Parse`].
    pub fn render(&self, conversation: &Conversation<'_>) -> Result<String, PromptError> {
        match &self.language {
            Language::Plain => Ok(plain::render(conversation.messages)),
            Language::Jinja(template) => template.render(conversation),
            Language::Renderer(renderer) => (renderer.render)(conversation),
            Language::Go(template) => template.render(conversation),
        }
    }

    /// The prompt that asks for what stands between two texts; none if the template has no place for the second.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub fn insert(
        &self,
        prompt: &str,
        suffix: &str,
        think: Think,
        now: &jiff::Zoned,
    ) -> Result<Option<String>, PromptError> {
        match &self.language {
            Language::Go(template) if template.takes_suffix() => {
                template.insert(prompt, suffix, think, now).map(Some)
            }
            _ => Ok(None),
        }
    }
}
