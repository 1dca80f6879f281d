//! Where commands write: the real terminal, or the memory of a test.

use std::io::{self, IsTerminal, Write};

use super::error::Error;

/// Bold and grey, as Ollama shows what is not the answer itself.
pub const BOLD_GREY: &str = "\x1b[38;5;245m\x1b[1m";
/// Grey.
pub const GREY: &str = "\x1b[38;5;245m";
/// As it was before.
pub const PLAIN: &str = "\x1b[0m";

/// Standard output and standard error of a command.
pub struct Console<'a> {
    /// Results.
    pub out: &'a mut dyn Write,
    /// Progress, timings and errors.
    pub err: &'a mut dyn Write,
    /// How wide `out` is if it is a terminal.
    pub columns: Option<usize>,
    /// Whether progress may be drawn over itself on standard error.
    pub is_animated: bool,
}

impl Console<'_> {
    /// Runs `command` on this process's own terminal, or whatever stands in its place.
    pub fn of_process<R>(command: impl FnOnce(&mut Console<'_>) -> R) -> R {
        let (mut out, mut err) = (io::stdout().lock(), io::stderr());
        let columns = out.is_terminal().then(|| terminal_columns(&out));
        let is_animated = err.is_terminal();
        command(&mut Console {
            out: &mut out,
            err: &mut err,
            columns,
            is_animated,
        })
    }

    /// Tells in one line what went wrong.
    pub fn fail(&mut self, error: &Error) {
        // Where standard error is closed there is nobody left to tell.
        let _ = writeln!(self.err, "Error: {error}");
    }
}

/// The usual width stands for a terminal that does not know its own.
fn terminal_columns(terminal: &io::StdoutLock<'_>) -> usize {
    match rustix::termios::tcgetwinsize(terminal) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        _ => 80,
    }
}
