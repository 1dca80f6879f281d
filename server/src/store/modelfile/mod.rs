//! Modelfiles: Ollama's grammar read and written.
//!
//! Only the command line reads them; `/api/show` writes them. A value is the rest of its line, or a text in `"…"` or
//! `"""…"""` that may go over lines; `#` begins a line of comment.

mod scanner;
#[cfg(test)]
mod tests;

use std::fmt;

use self::scanner::is_line_end;
use super::{Model, Parameters, StoreError, Weights, parameters::Parameter};

/// The commands of a Modelfile in their order; one of them is a `FROM`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Modelfile {
    /// At least one, of which one is [`Command::From`].
    pub commands: Vec<Command>,
}

/// One command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// A model's name, a file or a folder.
    From(String),
    /// `PARAMETER name value`, not yet checked.
    Parameter {
        /// Like `temperature`.
        name: String,
        /// As it was written.
        value: String,
    },
    /// A Go template that renders prompts.
    Template(String),
    /// The system message.
    System(String),
    /// A LoRA adapter's file or folder.
    Adapter(String),
    /// A licence's text; there may be several.
    License(String),
    /// `MESSAGE role text`: opens every chat.
    Message {
        /// `system`, `user` or `assistant`.
        role: String,
        /// What is said.
        content: String,
    },
    /// A draft model for speculation.
    Draft(String),
    /// A built-in renderer's name.
    Renderer(String),
    /// A built-in parser's name.
    Parser(String),
    /// The oldest Ollama version that can run the model.
    Requires(String),
}

/// Why a text is no Modelfile, in Ollama's words.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ModelfileError {
    /// There is nothing to build on.
    #[error("no FROM line")]
    NoFrom,
    /// A line begins with something else.
    #[error(
        "(line {line}): command must be one of \"from\", \"license\", \"template\", \"system\", \"adapter\", \
         \"draft\", \"renderer\", \"parser\", \"parameter\", \"message\", or \"requires\""
    )]
    UnknownCommand {
        /// Counted from 1.
        line: usize,
    },
    /// Nobody else speaks in a chat.
    #[error("(line {line}): message role must be one of \"system\", \"user\", or \"assistant\"")]
    UnknownRole {
        /// Counted from 1.
        line: usize,
    },
    /// A quote is not closed, or a command lacks its value.
    #[error("unexpected EOF")]
    UnexpectedEnd,
}

impl Modelfile {
    /// Reads a Modelfile in UTF-8, or in what its byte order mark says.
    pub fn parse(bytes: &[u8]) -> Result<Self, ModelfileError> {
        let commands = scanner::commands(bytes)?;
        if commands
            .iter()
            .any(|command| matches!(command, Command::From(_)))
        {
            Ok(Self { commands })
        } else {
            Err(ModelfileError::NoFrom)
        }
    }

    /// All `PARAMETER` lines together.
    pub fn parameters(&self) -> Result<Parameters, StoreError> {
        let mut parameters = Parameters::default();
        for command in &self.commands {
            if let Command::Parameter { name, value } = command {
                parameters.add(name, value)?;
            }
        }
        Ok(parameters)
    }

    /// The commands that would make this model again.
    pub fn of(model: &Model) -> Self {
        let mut commands = vec![Command::From(match &model.weights {
            Weights::Gguf { model, .. } => model.path.display().to_string(),
            // The files of an ONNX model have lost their names in the store; its own name stands for all of them.
            Weights::Onnx { .. } | Weights::Other => model.name.to_string(),
        })];
        let optional = |text: &str, command: fn(String) -> Command| {
            (!text.is_empty()).then(|| command(text.to_owned()))
        };
        if let Weights::Gguf { projectors, .. } = &model.weights {
            commands.extend(
                projectors
                    .iter()
                    .map(|file| Command::From(file.path.display().to_string())),
            );
        }
        commands.extend(
            model
                .template
                .as_deref()
                .and_then(|text| optional(text, Command::Template)),
        );
        commands.extend(
            model
                .system
                .as_deref()
                .and_then(|text| optional(text, Command::System)),
        );
        for (name, value) in model.parameters.iter() {
            let line = |value: String| Command::Parameter {
                name: name.to_owned(),
                value,
            };
            match value {
                Parameter::Texts(texts) => commands.extend(texts.iter().cloned().map(line)),
                Parameter::Text(text) => commands.push(line(text.clone())),
                Parameter::Integer(number) => commands.push(line(number.to_string())),
                Parameter::Float(number) => commands.push(line(number.to_string())),
                Parameter::Bool(value) => commands.push(line(value.to_string())),
            }
        }
        if let Weights::Gguf { adapters, .. } = &model.weights {
            commands.extend(
                adapters
                    .iter()
                    .map(|file| Command::Adapter(file.path.display().to_string())),
            );
        }
        commands.extend(model.licenses.iter().cloned().map(Command::License));
        for message in &model.messages {
            commands.push(Command::Message {
                role: message.role.clone(),
                content: message.content.clone(),
            });
        }
        commands.extend(optional(&model.config.renderer, Command::Renderer));
        commands.extend(optional(&model.config.parser, Command::Parser));
        commands.extend(optional(&model.config.requires, Command::Requires));
        Self { commands }
    }
}

/// The `modelfile` of `/api/show`.
pub fn show(model: &Model) -> String {
    format!(
        "# Modelfile generated by \"ollama show\"\n\
         # To build a new Modelfile based on this, replace FROM with:\n\
         # FROM {}\n\n{}",
        model.name,
        Modelfile::of(model)
    )
}

impl fmt::Display for Modelfile {
    /// One command after another, as Ollama writes them. A value that contains `"""` cannot be written in this grammar.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.commands
            .iter()
            .try_for_each(|command| writeln!(formatter, "{command}"))
    }
}

impl fmt::Display for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::From(value) => write!(formatter, "FROM {}", quoted(value)),
            Self::Parameter { name, value } => {
                write!(formatter, "PARAMETER {name} {}", quoted(value))
            }
            Self::Template(value) => write!(formatter, "TEMPLATE {}", quoted(value)),
            Self::System(value) => write!(formatter, "SYSTEM {}", quoted(value)),
            Self::Adapter(value) => write!(formatter, "ADAPTER {}", quoted(value)),
            Self::License(value) => write!(formatter, "LICENSE {}", quoted(value)),
            Self::Message { role, content } => {
                write!(formatter, "MESSAGE {role} {}", quoted(content))
            }
            Self::Draft(value) => write!(formatter, "DRAFT {}", quoted(value)),
            Self::Renderer(value) => write!(formatter, "RENDERER {}", quoted(value)),
            Self::Parser(value) => write!(formatter, "PARSER {}", quoted(value)),
            Self::Requires(value) => write!(formatter, "REQUIRES {}", quoted(value)),
        }
    }
}

/// The value with the quotes it needs to be read again as it is.
fn quoted(value: &str) -> String {
    let is_plain = !value.contains(is_line_end) && value.trim() == value && !value.starts_with('"');
    if is_plain {
        value.to_owned()
    } else if value.contains('"') {
        format!("\"\"\"{value}\"\"\"")
    } else {
        format!("\"{value}\"")
    }
}
