//! The report on a terminal: what may be believed first, then targets side by side with ratios and verdicts.

mod cold;
mod head;
mod memory;
mod rows;
mod table;

use super::model::Report;

pub use table::{Page, Paint};

/// The report as text for `page`.
pub fn render(report: &Report, page: &Page) -> String {
    let mut out = String::new();
    head::head(&mut out, report, page);
    for workload in &report.workloads {
        rows::workload(&mut out, report, workload, page);
    }
    head::foot(&mut out, report, page);
    out
}

/// Ends `out` with `text` as a line.
fn line(out: &mut String, text: &str) {
    out.push_str(text.trim_end());
    out.push('\n');
}
