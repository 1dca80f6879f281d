//! Where the server's settings come from, and whether all of them were understood.

use super::Finding;
use crate::config::layers::Layers;

const SUBJECT: &str = "settings";

/// What was read, or why nothing could be.
pub fn examine(layers: &Layers) -> Vec<Finding> {
    let unread = layers.unreadable.iter().map(|text| {
        Finding::warning(
            SUBJECT,
            text,
            "`chaski serve --print-config` shows what counts",
        )
    });
    let mut findings: Vec<Finding> = unread.collect();
    if findings.is_empty() {
        let says = match layers.changed() {
            0 => "all as they are by default".to_owned(),
            changed => format!("{changed} set; `chaski serve --print-config` shows all"),
        };
        findings.push(Finding::well(SUBJECT, says));
    }
    findings
}

/// A file that cannot be used keeps the server from starting.
pub fn refused(error: &crate::config::file::Error) -> Finding {
    Finding::fault(
        SUBJECT,
        error.to_string(),
        "mend the file, or start without --config and CHASKI_CONFIG",
    )
}
