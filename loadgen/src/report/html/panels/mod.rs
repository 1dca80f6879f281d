//! The sections of the page, in reading order: may it be believed, what came of it, the charts, every figure, and how to do
//! it again.

mod cards;
mod environment;
mod figures;
mod promised;
mod validity;
mod workload;

use super::{
    forest,
    markup::{add, escape},
    words,
};
use crate::report::model::Report;

/// Everything between the body's tags.
pub(super) fn body(report: &Report) -> String {
    let mut out = String::new();
    header(&mut out, report);
    out.push_str("<main>");
    validity::section(&mut out, report);
    cards::section(&mut out, report);
    if let Some(forest) = forest::forest(report) {
        add(
            &mut out,
            format_args!("<section id=\"ratios\"><h2>All ratios</h2>{forest}</section>"),
        );
    }
    for (index, workload) in report.workloads.iter().enumerate() {
        workload::section(&mut out, report, workload, index);
    }
    environment::section(&mut out, report);
    environment::method(&mut out, report);
    out.push_str("</main>");
    add(
        &mut out,
        format_args!(
            "<footer>{} {} \u{b7} {} \u{b7} exit {}: {}</footer>",
            escape(&report.tool.name),
            escape(&report.tool.version),
            escape(&report.schema),
            report.exit_code,
            escape(&report.exit_meaning)
        ),
    );
    out
}

fn header(out: &mut String, report: &Report) {
    let host = report.host.cpu.as_deref().unwrap_or("unknown processor");
    add(
        out,
        format_args!(
            "<header class=\"top\"><div><h1>{}</h1><p class=\"sub\">{} \u{b7} seed {} \u{b7} {}</p></div>\
             <div class=\"controls\"><button type=\"button\" id=\"theme\" hidden>Theme: <span>auto</span></button>\
             <button type=\"button\" id=\"unfold\" hidden aria-pressed=\"false\">Open all</button></div></header>",
            escape(&words::title(report)),
            escape(&report.started_at),
            report.settings.seed,
            escape(host),
        ),
    );
}
