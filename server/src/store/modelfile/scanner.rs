//! The reading half: letters become commands, as Ollama's parser makes them.

use std::iter::Peekable;
use std::str::Chars;

use super::{Command, ModelfileError};

const ROLES: [&str; 3] = ["system", "user", "assistant"];

/// The commands of a file in UTF-8, or in what its byte order mark says.
pub(super) fn commands(bytes: &[u8]) -> Result<Vec<Command>, ModelfileError> {
    let text = decode(bytes);
    let mut scanner = Scanner {
        letters: text.chars().peekable(),
        line: 1,
    };
    let mut commands = Vec::new();
    while scanner.skip_to_command() {
        commands.push(scanner.command()?);
    }
    Ok(commands)
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

pub(super) fn is_line_end(letter: char) -> bool {
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
