use std::fmt::Write;

/// What stands in place of a figure that was not measured.
pub(super) const NOT_AVAILABLE: &str = "n/a";

/// Rows of cells that are laid out together, so that their columns align.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A row with one figure per target, and what the comparisons say of it.
    pub(super) fn row(
        &mut self,
        label: &str,
        figures: impl IntoIterator<Item = String>,
        comparisons: Vec<String>,
    ) {
        let mut row = vec![label.to_owned()];
        row.extend(figures);
        row.extend(comparisons);
        self.rows.push(row);
    }

    /// A row that nothing is compared in, left out when no target has the figure.
    pub(super) fn plain_row(&mut self, label: &str, figures: Vec<Option<String>>) {
        if figures.iter().any(Option::is_some) {
            self.row(label, figures.into_iter().map(or_not_available), Vec::new());
        }
    }

    /// Labels and comparisons to the left of their columns, figures to the right.
    pub(super) fn write(&self, out: &mut String, targets: usize) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell: &String| cell.chars().count())
                .max()
        };
        let widths: Vec<usize> = (0..columns)
            .map(|column| width(column).unwrap_or(0))
            .collect();
        for row in &self.rows {
            let mut text = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                if (1..=targets).contains(&column) {
                    text += &format!("  {cell:>width$}");
                } else {
                    text += &format!("  {cell:<width$}");
                }
            }
            line(out, text.trim_end());
        }
    }
}

/// The figure, or the words for one that was not measured.
pub(super) fn or_not_available(figure: Option<String>) -> String {
    figure.unwrap_or_else(|| NOT_AVAILABLE.into())
}

/// Ends `out` with `text` as a line.
pub(super) fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_whatever_their_cells() {
        let mut table = Table::default();
        table.row("", ["a".into(), "bcd".into()], vec!["a / bcd".into()]);
        table.row("label", ["1.5".into(), "2".into()], vec![]);
        let mut out = String::new();
        table.write(&mut out, 2);
        assert_eq!(out, "           a  bcd  a / bcd\n  label  1.5    2\n");
    }
}
