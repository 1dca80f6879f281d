//! The report as one web page that needs nothing else: no network, no fonts, no libraries.
//!
//! Charts are SVG made here, so the page is whole without its script; the script adds the theme switch, values under the
//! pointer and the copy button. The page's own policy forbids it to load anything. Everything that came from a server or
//! from the command line is escaped.

mod chart;
mod charts;
mod forest;
mod markup;
mod panels;
mod scale;
mod words;

use std::{io, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};

use super::model::Report;
use markup::escape;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Writes `report` as a page to `path`.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, report: &Report) -> io::Result<()> {
    std::fs::write(path, page(report))
}

/// The page.
fn page(report: &Report) -> String {
    // The policy names the one script by its hash: markup that slipped through could still not run.
    let script_hash = BASE64_STANDARD.encode(Sha256::digest(SCRIPT));
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'sha256-{script_hash}'; base-uri 'none'; form-action 'none'\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><meta name=\"generator\" content=\"{}\">\
         <title>{}</title><style>{STYLE}</style></head><body>\
         <a class=\"skip\" href=\"#results\">Skip to the results</a>{}<script>{SCRIPT}</script></body></html>\n",
        escape(&format!("{} {}", report.tool.name, report.tool.version)),
        escape(&words::title(report)),
        panels::body(report),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_small_and_cannot_end_early() {
        assert!(SCRIPT.len() <= 30 * 1024, "{} bytes", SCRIPT.len());
        assert!(!SCRIPT.contains("</script") && !STYLE.contains("</style"));
    }
}
