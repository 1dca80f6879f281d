//! Modelfiles: Ollama's grammar read and written.
//!
//! Only the command line reads them; `/api/show` writes them. A value is the rest of its line, or a text in `"…"` or
//! `"""…"""` that may go over lines; `#` begins a line of comment.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

use super::{Model, Parameters, StoreError, Weights, parameters::Parameter};

const ROLES: [&str; 3] = ["system", "user", "assistant"];

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
        let text = decode(bytes);
        let mut scanner = Scanner {
            letters: text.chars().peekable(),
            line: 1,
        };
        let mut commands = Vec::new();
        while scanner.skip_to_command() {
            commands.push(scanner.command()?);
        }
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

/// Reads letter by letter, counting lines.
struct Scanner<'a> {
    letters: Peekable<Chars<'a>>,
    line: usize,
}

impl Scanner<'_> {
    /// Passes over blank lines and comments; false at the end of the text.
    fn skip_to_command(&mut self) -> bool {
        while let Some(&letter) = self.letters.peek() {
            match letter {
                '#' => while self.next().is_some_and(|letter| !is_line_end(letter)) {},
                ' ' | '\t' | '\n' | '\r' => drop(self.next()),
                _ => return true,
            }
        }
        false
    }

    fn command(&mut self) -> Result<Command, ModelfileError> {
        let line = self.line;
        let unknown = ModelfileError::UnknownCommand { line };
        let name = self
            .word(char::is_alphabetic)
            .ok_or_else(|| unknown.clone())?;
        Ok(match name.to_lowercase().as_str() {
            "from" => Command::From(self.value()?),
            "template" => Command::Template(self.value()?),
            "system" => Command::System(self.value()?),
            "adapter" => Command::Adapter(self.value()?),
            "license" => Command::License(self.value()?),
            "draft" => Command::Draft(self.value()?),
            "renderer" => Command::Renderer(self.value()?),
            "parser" => Command::Parser(self.value()?),
            "requires" => Command::Requires(self.value()?),
            "parameter" => {
                let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
                let name = self.word(is_name).ok_or(ModelfileError::UnexpectedEnd)?;
                Command::Parameter {
                    name,
                    value: self.value()?,
                }
            }
            "message" => {
                let role = self
                    .word(char::is_alphabetic)
                    .ok_or(ModelfileError::UnexpectedEnd)?;
                if !ROLES.contains(&role.as_str()) {
                    return Err(ModelfileError::UnknownRole { line });
                }
                Command::Message {
                    role,
                    content: self.value()?,
                }
            }
            _ => return Err(unknown),
        })
    }

    /// A word of such letters that a blank ends, after any blanks.
    fn word(&mut self, is_allowed: impl Fn(char) -> bool) -> Option<String> {
        while self.letters.next_if(|&letter| is_blank(letter)).is_some() {}
        let mut word = String::new();
        loop {
            match self.next()? {
                letter if is_allowed(letter) => word.push(letter),
                letter if is_blank(letter) => return Some(word),
                _ => return None,
            }
        }
    }

    /// Everything up to the end of a line at which no quote is open.
    fn value(&mut self) -> Result<String, ModelfileError> {
        let mut text = String::new();
        loop {
            let letter = self.next();
            if letter.is_none_or(is_line_end) {
                match (unquoted(text.trim()), letter) {
                    (Some(value), _) => return Ok(value.to_owned()),
                    (None, None) => return Err(ModelfileError::UnexpectedEnd),
                    (None, Some(_)) => {}
                }
            }
            text.extend(letter);
        }
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.letters.next()?;
        self.line += usize::from(letter == '\n');
        Some(letter)
    }
}

fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t')
}

fn is_line_end(letter: char) -> bool {
    matches!(letter, '\n' | '\r')
}

/// What stands between the quotes, if there are any; `None` while they are not closed.
fn unquoted(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix("\"\"\"") {
        rest.strip_suffix("\"\"\"")
    } else if let Some(rest) = text.strip_prefix('"') {
        rest.strip_suffix('"')
    } else {
        Some(text)
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

/// Text by its byte order mark, UTF-8 without one; what cannot be decoded is replaced.
fn decode(bytes: &[u8]) -> String {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes
            .chunks_exact(2)
            .map(|pair| unit([pair[0], pair[1]]))
            .collect();
        String::from_utf16_lossy(&units)
    };
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &[Command]) {
        assert_eq!(
            Modelfile::parse(text.as_bytes()).unwrap().commands,
            expected,
            "{text}"
        );
    }

    fn check_error(text: &str, expected: &str) {
        assert_eq!(
            Modelfile::parse(text.as_bytes()).unwrap_err().to_string(),
            expected,
            "{text}"
        );
    }

    fn from(text: &str) -> Command {
        Command::From(text.to_owned())
    }

    #[test]
    fn every_form_of_value_is_read() {
        check("FROM tiny", &[from("tiny")]);
        check(
            "\n# a comment\r\n  from   ./a b.gguf  \r\n",
            &[from("./a b.gguf")],
        );
        check("FROM \"quoted\"\n", &[from("quoted")]);
        let system = |text: &str| [from("x"), Command::System(text.to_owned())];
        check(
            "FROM x\nSYSTEM \"\"\"\none\n\n# two\n\"\"\"\n",
            &system("\none\n\n# two\n"),
        );
        check("FROM x\nSYSTEM \"one\ntwo\"", &system("one\ntwo"));
        check("FROM x\nSYSTEM say \"hi\" now", &system("say \"hi\" now"));
        check(
            "FROM x\nSYSTEM \"\"\"say \"hi\"\"\"\"\n",
            &system("say \"hi\""),
        );
        check("FROM x\nSYSTEM \n", &system(""));
        check(
            "from x\nparameter stop \"<|end|>\"\nMESSAGE user Hi: you\nLicense MIT\n",
            &[
                from("x"),
                Command::Parameter {
                    name: "stop".to_owned(),
                    value: "<|end|>".to_owned(),
                },
                Command::Message {
                    role: "user".to_owned(),
                    content: "Hi: you".to_owned(),
                },
                Command::License("MIT".to_owned()),
            ],
        );
    }

    #[test]
    fn byte_order_marks_are_obeyed() {
        let little: Vec<u8> = "\u{feff}FROM é"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let big: Vec<u8> = "\u{feff}FROM é"
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect();
        for bytes in [
            little.as_slice(),
            big.as_slice(),
            "\u{feff}FROM é".as_bytes(),
        ] {
            assert_eq!(Modelfile::parse(bytes).unwrap().commands, [from("é")]);
        }
    }

    #[test]
    fn errors_are_ollamas() {
        let commands = "command must be one of \"from\", \"license\", \"template\", \"system\", \"adapter\", \
                        \"draft\", \"renderer\", \"parser\", \"parameter\", \"message\", or \"requires\"";
        check_error("", "no FROM line");
        check_error("# only\nSYSTEM x", "no FROM line");
        check_error("FROM x\nFROMM y\n", &format!("(line 2): {commands}"));
        check_error("FROM", &format!("(line 1): {commands}"));
        check_error("FROM x\nFROM\"y\"", &format!("(line 2): {commands}"));
        let roles = "message role must be one of \"system\", \"user\", or \"assistant\"";
        check_error(
            "FROM x\n\nMESSAGE nobody hi\n",
            &format!("(line 3): {roles}"),
        );
        check_error("FROM x\nSYSTEM \"\"\"open", "unexpected EOF");
        check_error("FROM x\nSYSTEM \"open\n", "unexpected EOF");
        check_error("FROM x\nPARAMETER stop", "unexpected EOF");
    }

    #[test]
    fn parameters_are_collected_and_checked() {
        let file =
            Modelfile::parse(b"FROM x\nPARAMETER stop a\nPARAMETER stop b\nPARAMETER seed 3\n")
                .unwrap();
        let text = "seed                           3\nstop                           \"a\"\n\
                    stop                           \"b\"";
        assert_eq!(file.parameters().unwrap().to_string(), text);
        let file = Modelfile::parse(b"FROM x\nPARAMETER colour red\n").unwrap();
        assert_eq!(
            file.parameters().unwrap_err().to_string(),
            "unknown parameter 'colour'"
        );
    }

    fn any_command() -> impl Strategy<Value = Command> {
        let text = "([a-z #é\t\r\n]|\"|\"\"){0,20}"
            .prop_filter("three quotes in a row cannot be written", |text| {
                !text.contains("\"\"\"")
            });
        let name = "[a-zA-Z0-9_]{1,8}";
        prop_oneof![
            text.clone().prop_map(Command::Template),
            text.clone().prop_map(Command::System),
            text.clone().prop_map(Command::License),
            (name, text.clone()).prop_map(|(name, value)| Command::Parameter { name, value }),
            (prop::sample::select(&ROLES[..]), text).prop_map(|(role, content)| Command::Message {
                role: role.to_owned(),
                content
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(mut commands in prop::collection::vec(any_command(), 0..6)) {
            commands.insert(0, from("x"));
            let file = Modelfile { commands };
            prop_assert_eq!(Modelfile::parse(file.to_string().as_bytes()).unwrap(), file);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Modelfile::parse(&bytes);
        }
    }
}
