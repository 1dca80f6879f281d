//! Jinja chat templates, rendered as Hugging Face's `apply_chat_template` renders them.
//!
//! The template comes with the model's files, so it is untrusted: it may compute, but within bounds on its own length,
//! on its work, on its nesting and on its output, and it sees nothing but the conversation. The engine leaves gaps
//! through which a template could end the process or never come to an end: `screen`, `repeat` and `allowance` close them.

mod arguments;
mod context;
mod filters;
mod json;
mod methods;
mod number;
mod python;
mod repeat;
mod screen;
#[cfg(test)]
mod tests;

use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value};

use self::context::Wishes;
use super::{Conversation, PromptError, allowance};

/// Longest template text in bytes, four times the longest in use.
const MAX_TEMPLATE_BYTES: usize = 128 << 10;

/// Longest prompt in bytes: four for each of four million tokens.
const MAX_PROMPT_BYTES: usize = 16 << 20;

/// How deeply macros, loops and blocks may nest: as much as the engine deems safe on a thread's ordinary stack.
const RECURSION_LIMIT: usize = 500;

/// The name under which the environment holds its only template.
const NAME: &str = "chat_template";

/// A parsed template and all it may call.
#[derive(Debug)]
pub(super) struct Template {
    environment: Environment<'static>,
    wishes: Wishes,
}

impl Template {
    /// Parses a template's text.
    ///
    /// # Errors
    /// [`PromptError::Parse`] with the line, or [`PromptError::TooLarge`].
    pub(super) fn parse(source: &str) -> Result<Self, PromptError> {
        if source.len() > MAX_TEMPLATE_BYTES {
            return Err(PromptError::TooLarge {
                limit: MAX_TEMPLATE_BYTES,
            });
        }
        let source = python::prepare(source);
        if let Some((what, line)) = screen::objection(&source) {
            return Err(PromptError::Parse(format!("{what} (line {line})")));
        }
        let wishes = Wishes::of(&source);
        let source = repeat::guard(&source).into_owned();
        let environment = allowance::parse(|| environment(source))?;
        Ok(Self {
            environment,
            wishes,
        })
    }

    /// The prompt for a conversation.
    ///
    /// Some templates want arguments of tool calls as text, and some know no system message. Nothing in a template
    /// says so before it fails, so what failed is tried again in these shapes; if none works, the first failure counts.
    pub(super) fn render(&self, conversation: &Conversation<'_>) -> Result<String, PromptError> {
        let first = match self.render_once(&self.wishes, conversation) {
            Err(error @ (PromptError::Render(_) | PromptError::Refused(_))) => error,
            decided => return decided,
        };
        self.wishes
            .alternatives(conversation)
            .find_map(|wishes| self.render_once(&wishes, conversation).ok())
            .ok_or(first)
    }

    fn render_once(
        &self,
        wishes: &Wishes,
        conversation: &Conversation<'_>,
    ) -> Result<String, PromptError> {
        let units = allowance::units(conversation);
        allowance::render(units, || {
            let mut environment = self.environment.clone();
            environment.set_fuel(Some(units));
            render(&environment, context::of(conversation, wishes))
        })
    }
}

/// An environment with a template in it and everything that the template may call.
fn environment(source: String) -> Result<Environment<'static>, PromptError> {
    let mut environment = Environment::new();
    environment.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .expect("the delimiters are the defaults"),
    );
    environment.set_recursion_limit(RECURSION_LIMIT);
    python::install(&mut environment);
    environment
        .add_template_owned(NAME, source)
        .map_err(|error| PromptError::Parse(describe(&error)))?;
    Ok(environment)
}

fn render(environment: &Environment<'_>, context: Value) -> Result<String, PromptError> {
    let template = environment.get_template(NAME).expect("parse added it");
    let mut prompt = Bounded::default();
    match template.render_captured_to(context, &mut prompt) {
        Ok(_) => Ok(String::from_utf8(prompt.bytes).expect("templates write strings")),
        Err(_) if prompt.exceeded => Err(PromptError::TooLarge {
            limit: MAX_PROMPT_BYTES,
        }),
        Err(error) => Err(failure(&error)),
    }
}

/// Output that refuses to grow beyond [`MAX_PROMPT_BYTES`].
#[derive(Default)]
struct Bounded {
    bytes: Vec<u8>,
    exceeded: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > MAX_PROMPT_BYTES {
            self.exceeded = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Errors wrap each other where templates call macros; the innermost says what happened.
fn failure(error: &Error) -> PromptError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(python::Raised(words)) = current.downcast_ref() {
            return PromptError::Refused(words.clone());
        }
        if current
            .downcast_ref::<Error>()
            .is_some_and(|error| error.kind() == ErrorKind::OutOfFuel)
        {
            return PromptError::TooMuchWork;
        }
        cause = current.source();
    }
    PromptError::Render(describe(error))
}

/// What happened and where, without the name under which the environment holds the template.
fn describe(error: &Error) -> String {
    let what = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    match error.line() {
        Some(line) => format!("{what} (line {line})"),
        None => what,
    }
}
