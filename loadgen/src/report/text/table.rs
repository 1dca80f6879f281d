use console::measure_text_width;

use super::line;

/// The width of a page that is no terminal.
const PLAIN_WIDTH: usize = 100;
/// Narrower than this, a table is no table: lines are left to break.
const NARROWEST: usize = 40;

/// Where text is shown.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Columns.
    pub width: usize,
    /// Whether it shows colours.
    pub colour: bool,
}

/// How a piece of text stands out. Never the only bearer of meaning: the words say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// Not at all.
    Plain,
    /// Titles and what decides.
    Strong,
    /// What is secondary.
    Faint,
    /// What is well.
    Good,
    /// What is not.
    Bad,
    /// What is undecided.
    Unsure,
}

impl Page {
    /// Standard output as it is: its width if it is a terminal, and colours unless `NO_COLOR` or the terminal forbid them.
    pub fn stdout() -> Self {
        let terminal = console::Term::stdout();
        if !terminal.is_term() {
            return Self {
                width: PLAIN_WIDTH,
                colour: false,
            };
        }
        let width = terminal
            .size_checked()
            .map_or(PLAIN_WIDTH, |(_, columns)| usize::from(columns));
        Self {
            width: width.max(NARROWEST),
            colour: console::colors_enabled(),
        }
    }

    /// `text` in `paint`, if this page shows colours.
    pub fn paint(&self, text: &str, paint: Paint) -> String {
        let code = match paint {
            Paint::Plain => return text.into(),
            Paint::Strong => 1,
            Paint::Faint => 2,
            Paint::Good => 32,
            Paint::Bad => 31,
            Paint::Unsure => 33,
        };
        if self.colour && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.into()
        }
    }

    /// Adds `text` to `out`, broken at blanks to this page's width; further lines are indented by `indent`.
    pub fn paragraph(&self, out: &mut String, text: &str, indent: usize, paint: Paint) {
        let mut current = String::new();
        for word in text.split(' ') {
            let width = measure_text_width(&current) + 1 + measure_text_width(word);
            if !current.trim().is_empty() && width > self.width {
                line(out, &self.paint(&current, paint));
                current = " ".repeat(indent);
            } else if !current.is_empty() {
                current.push(' ');
            }
            current.push_str(word);
        }
        line(out, &self.paint(&current, paint));
    }
}

/// Rows of cells that are laid out together, so that their columns align.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Line>,
}

#[derive(Debug)]
enum Line {
    Title(String),
    Cells {
        label: Cell,
        figures: Vec<Cell>,
        words: Vec<Cell>,
    },
}

/// Text in one place of a table.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    paint: Paint,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>, paint: Paint) -> Self {
        Self {
            text: text.into(),
            paint,
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Paint::Plain)
    }
}

impl Table {
    /// A line across all columns.
    pub(super) fn title(&mut self, text: impl Into<String>) {
        self.rows.push(Line::Title(text.into()));
    }

    /// A label to the left, figures to the right of their columns, words to the left of theirs.
    pub(super) fn row(&mut self, label: impl Into<Cell>, figures: Vec<Cell>, words: Vec<Cell>) {
        self.rows.push(Line::Cells {
            label: label.into(),
            figures,
            words,
        });
    }

    /// Lays the rows out. Where a line does not fit, its words move to a line of their own below.
    pub(super) fn write(&self, out: &mut String, page: &Page) {
        let columns = Columns::of(&self.rows);
        for row in &self.rows {
            match row {
                Line::Title(text) => {
                    let text = console::truncate_str(text, page.width, "…");
                    line(out, &page.paint(&text, Paint::Strong));
                }
                Line::Cells {
                    label,
                    figures,
                    words,
                } => columns.write(out, page, label, figures, words),
            }
        }
    }
}

/// The widths of all columns.
#[derive(Debug, Default)]
struct Columns {
    label: usize,
    figures: Vec<usize>,
    words: Vec<usize>,
}

impl Columns {
    fn of(rows: &[Line]) -> Self {
        let mut columns = Self::default();
        for row in rows {
            let Line::Cells {
                label,
                figures,
                words,
            } = row
            else {
                continue;
            };
            columns.label = columns.label.max(measure_text_width(&label.text));
            widen(&mut columns.figures, figures);
            // A lone remark, such as why there is no ratio, runs on and widens nothing.
            if words.len() > 1 {
                widen(&mut columns.words, words);
            }
        }
        columns
    }

    fn write(&self, out: &mut String, page: &Page, label: &Cell, figures: &[Cell], words: &[Cell]) {
        const GAP: &str = "  ";
        let mut text = page.paint(&padded(&label.text, self.label), label.paint);
        for (cell, width) in figures.iter().zip(&self.figures) {
            text += GAP;
            text += &page.paint(&aligned(&cell.text, *width), cell.paint);
        }
        let mut tail = String::new();
        for (index, cell) in words.iter().enumerate() {
            let width = self.words.get(index).copied().unwrap_or(0);
            tail += GAP;
            tail += &page.paint(&padded(&cell.text, width), cell.paint);
        }
        let tail = tail.trim_end();
        let fits = measure_text_width(&text) + measure_text_width(tail) <= page.width;
        if fits || tail.is_empty() {
            line(out, &(text + tail));
        } else {
            line(out, &text);
            line(out, &format!("{GAP}{tail}"));
        }
    }
}

fn widen(widths: &mut Vec<usize>, cells: &[Cell]) {
    for (index, cell) in cells.iter().enumerate() {
        let width = measure_text_width(&cell.text);
        match widths.get_mut(index) {
            Some(widest) => *widest = (*widest).max(width),
            None => widths.push(width),
        }
    }
}

fn padded(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(measure_text_width(text));
    format!("{text}{}", " ".repeat(missing))
}

fn aligned(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(measure_text_width(text));
    format!("{}{text}", " ".repeat(missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Page = Page {
        width: 80,
        colour: false,
    };

    fn table() -> Table {
        let mut table = Table::default();
        table.row(
            "",
            vec!["a".into(), "bcd".into()],
            vec!["ratio".into(), "says".into()],
        );
        table.row(
            "label",
            vec!["1.5".into(), "2".into()],
            vec!["0.75".into(), Cell::new("faster", Paint::Good)],
        );
        table.row(
            "other",
            vec!["1".into(), "2".into()],
            vec!["n/a, because of this".into()],
        );
        table
    }

    #[test]
    fn columns_align_whatever_their_cells() {
        let mut out = String::new();
        table().write(&mut out, &PLAIN);
        assert_eq!(
            out,
            "         a  bcd  ratio  says\nlabel  1.5    2  0.75   faster\nother    1    2  n/a, because of this\n"
        );
    }

    #[test]
    fn words_that_do_not_fit_go_below() {
        let mut out = String::new();
        let page = Page { width: 20, ..PLAIN };
        table().write(&mut out, &page);
        assert!(
            out.contains("label  1.5    2\n    0.75   faster\n"),
            "{out}"
        );
    }

    #[test]
    fn colours_never_move_a_column() {
        let mut plain = String::new();
        table().write(&mut plain, &PLAIN);
        let mut coloured = String::new();
        let page = Page {
            colour: true,
            ..PLAIN
        };
        table().write(&mut coloured, &page);
        assert!(coloured.contains("\x1b[32mfaster\x1b[0m"));
        assert_eq!(console::strip_ansi_codes(&coloured), plain);
    }

    #[test]
    fn paragraphs_break_at_blanks() {
        let mut out = String::new();
        let page = Page { width: 12, ..PLAIN };
        page.paragraph(&mut out, "one two three four", 2, Paint::Plain);
        assert_eq!(out, "one two\n  three four\n");
    }
}
