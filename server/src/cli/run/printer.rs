//! Shows an answer while it comes: thoughts in grey before it, words whole on their lines.

use std::io::{self, Write};

use serde_json::Value;

use super::session::Session;
use super::wrap::WordWrap;
use crate::cli::console::{BOLD_GREY, Console, GREY, PLAIN};

/// Writes one answer.
pub struct Printer<'a> {
    out: &'a mut dyn Write,
    wrap: WordWrap,
    columns: Option<usize>,
    is_coloured: bool,
    hides_thinking: bool,
    /// Whether the thoughts that are on the screen end with a line; `None` outside of thoughts.
    thoughts: Option<bool>,
    /// Whether the last line on the screen is still to be ended.
    is_open: bool,
}

impl<'a> Printer<'a> {
    /// For an answer of this session.
    #[must_use]
    pub fn new(session: &Session, console: &'a mut Console<'_>) -> Self {
        let columns = console.columns.filter(|_| session.wraps_words);
        Self {
            out: console.out,
            wrap: WordWrap::new(columns),
            columns,
            is_coloured: console.columns.is_some(),
            hides_thinking: session.hides_thinking,
            thoughts: None,
            is_open: false,
        }
    }

    /// Shows more of what the model thinks.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn thinking(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() || self.hides_thinking {
            return Ok(());
        }
        if self.thoughts.is_none() {
            self.grey_line("Thinking...\n", GREY)?;
        }
        self.thoughts = Some(text.ends_with('\n'));
        self.is_open = true;
        self.wrap.write(text, self.out)?;
        self.out.flush()
    }

    /// Shows more of what the model says.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn content(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.end_thoughts()?;
        self.is_open = true;
        self.wrap.write(text, self.out)?;
        self.out.flush()
    }

    /// Shows that the model wants a function, which nobody here has offered.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn tool_call(&mut self, name: &str, arguments: &Value) -> io::Result<()> {
        self.end_thoughts()?;
        let text = format!(
            "  Model called a non-existent function '{name}()' with arguments: {arguments}\n"
        );
        self.grey_line(&text, "")?;
        self.out.flush()
    }

    /// Ends the answer with a blank line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        self.end_thoughts()?;
        self.is_open = false;
        write!(self.out, "\n\n")?;
        self.out.flush()
    }

    fn end_thoughts(&mut self) -> io::Result<()> {
        if let Some(ends_line) = self.thoughts.take() {
            if !ends_line {
                writeln!(self.out)?;
            }
            self.grey_line("...done thinking.\n\n", "")?;
            self.wrap = WordWrap::new(self.columns);
        }
        Ok(())
    }

    /// Words that are not the model's own, and the colour of what follows them.
    fn grey_line(&mut self, text: &str, then: &str) -> io::Result<()> {
        if self.is_coloured {
            write!(self.out, "{BOLD_GREY}{text}{PLAIN}{then}")
        } else {
            write!(self.out, "{text}")
        }
    }
}

impl Drop for Printer<'_> {
    /// An answer that breaks off leaves neither colour nor an unfinished line behind.
    fn drop(&mut self) {
        if self.is_open {
            let plain = if self.thoughts.is_some() && self.is_coloured {
                PLAIN
            } else {
                ""
            };
            // A terminal that cannot be written to shows no line either.
            let _ = writeln!(self.out, "{plain}");
        }
    }
}
