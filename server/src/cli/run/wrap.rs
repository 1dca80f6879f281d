//! Breaks lines between words, though a word is shown letter by letter before its end is known.

use std::io::{self, Write};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Left free at the right, as Ollama does.
const MARGIN_COLUMNS: usize = 5;

/// A terminal narrower than this is left alone.
const MIN_COLUMNS: usize = 10;

/// Writes text into lines of a terminal.
#[derive(Debug)]
pub struct WordWrap {
    /// The longest line. `None` breaks none.
    columns: Option<usize>,
    line_columns: usize,
    /// The part of the word at the line's end that is on the screen already.
    word: String,
}

impl WordWrap {
    /// For a terminal of that width; `None` breaks no lines.
    #[must_use]
    pub fn new(columns: Option<usize>) -> Self {
        let columns = columns.filter(|columns| *columns >= MIN_COLUMNS);
        Self {
            columns: columns.map(|columns| columns - MARGIN_COLUMNS),
            line_columns: 0,
            word: String::new(),
        }
    }

    /// Writes the next piece of the text.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&mut self, text: &str, out: &mut dyn Write) -> io::Result<()> {
        let Some(columns) = self.columns else {
            return out.write_all(text.as_bytes());
        };
        for letter in text.chars() {
            let width = letter.width().unwrap_or_default();
            if self.line_columns + width > columns && !letter.is_whitespace() {
                self.break_line(columns, out)?;
            }
            write!(out, "{letter}")?;
            match letter {
                '\n' | '\r' => {
                    self.line_columns = 0;
                    self.word.clear();
                }
                ' ' | '\t' => {
                    self.line_columns += 1;
                    self.word.clear();
                }
                // Between wide letters, as in Chinese, every place is good.
                _ if width >= 2 => {
                    self.line_columns += width;
                    self.word.clear();
                }
                _ => {
                    self.line_columns += width;
                    self.word.push(letter);
                }
            }
        }
        Ok(())
    }

    /// Takes the word that has become too long for this line back and begins the next line with it.
    fn break_line(&mut self, columns: usize, out: &mut dyn Write) -> io::Result<()> {
        let width = self.word.width();
        if width >= columns {
            // No line is long enough for it.
            self.word.clear();
            self.line_columns = 0;
            return writeln!(out);
        }
        if width > 0 {
            write!(out, "\x1b[{width}D")?;
        }
        write!(out, "\x1b[K\n{}", self.word)?;
        self.line_columns = width;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a terminal shows: `ESC[nD` goes back, `ESC[K` deletes to the end of the line.
    fn screen(bytes: &[u8]) -> Vec<String> {
        let mut lines = vec![Vec::<char>::new()];
        let mut letters = std::str::from_utf8(bytes).unwrap().chars();
        let mut back = 0;
        while let Some(letter) = letters.next() {
            let line = lines.last_mut().unwrap();
            match letter {
                '\n' => lines.push(Vec::new()),
                '\x1b' => {
                    assert_eq!(letters.next(), Some('['));
                    let number: String = letters
                        .by_ref()
                        .take_while(|c| c.is_ascii_digit())
                        .collect();
                    // The letter after the digits has been taken with them.
                    match number.parse() {
                        Ok(columns) => back = columns,
                        Err(_) => {
                            let kept = line.len() - back;
                            line.truncate(kept);
                            back = 0;
                        }
                    }
                }
                letter => line.push(letter),
            }
        }
        lines.iter().map(|line| line.iter().collect()).collect()
    }

    fn wrapped(columns: usize, pieces: &[&str]) -> Vec<String> {
        let mut wrap = WordWrap::new(Some(columns));
        let mut out = Vec::new();
        for piece in pieces {
            wrap.write(piece, &mut out).unwrap();
        }
        screen(&out)
    }

    #[test]
    fn lines_are_broken_between_words() {
        let lines = wrapped(15, &["one two th", "ree four\nfive"]);
        assert_eq!(lines, ["one two ", "three four", "five"]);
        assert_eq!(wrapped(15, &["abcdefghijklm no"]), ["abcdefghij", "klm no"]);
        assert_eq!(wrapped(15, &["模型模型模型模"]), ["模型模型模", "型模"]);
    }

    #[test]
    fn without_a_terminal_nothing_is_changed() {
        let mut wrap = WordWrap::new(None);
        let mut out = Vec::new();
        wrap.write(&"word ".repeat(100), &mut out).unwrap();
        assert_eq!(out, "word ".repeat(100).as_bytes());
    }

    proptest! {
        #[test]
        fn words_stay_whole_and_lines_short(words in prop::collection::vec("[a-z]{1,10}", 1..60), cut in 1_usize..20) {
            let text = words.join(" ");
            let letters: Vec<char> = text.chars().collect();
            let pieces: Vec<String> = letters.chunks(cut).map(|piece| piece.iter().collect()).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let lines = wrapped(25, &pieces);
            let seen: Vec<_> = lines.iter().flat_map(|line| line.split_whitespace()).collect();
            prop_assert_eq!(seen, words);
            // A blank may stand where the margin begins.
            prop_assert!(lines.iter().all(|line| line.trim_end().len() <= 20));
        }
    }
}
