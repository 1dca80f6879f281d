use crate::report::{
    format,
    html::markup::{add, escape},
    model::{Outcome, Report},
};

/// Whether the results may be believed: before them, so that nobody reads a number that does not count.
pub(super) fn section(out: &mut String, report: &Report) {
    let validity = &report.validity;
    let failed = validity.has_failed();
    let passed = validity
        .gates
        .iter()
        .filter(|gate| gate.outcome == Outcome::Pass)
        .count();
    let (class, word, text) = if !validity.not_comparable.is_empty() {
        (
            "fail",
            "Not comparable",
            "The targets did not do the same work. Read no ratio below as a comparison.".to_owned(),
        )
    } else if failed {
        ("fail", "Not valid", "A condition of a trustworthy measurement does not hold. The figures below are what was seen, not evidence.".into())
    } else if report.interrupted {
        (
            "warn",
            "Interrupted",
            "The run was stopped early; only whole rounds are in this report.".into(),
        )
    } else if validity.gates.is_empty() {
        (
            "unknown",
            "No gates",
            "No validity gates were checked in this run.".into(),
        )
    } else {
        (
            "pass",
            "Valid",
            format!("{passed} of {} validity gates hold.", validity.gates.len()),
        )
    };
    add(
        out,
        format_args!(
            "<section id=\"validity\" class=\"banner {class}\" aria-label=\"Validity\"><p><strong>{word}.</strong> {}</p>",
            escape(&text)
        ),
    );
    if !validity.not_comparable.is_empty() {
        out.push_str("<ul>");
        for objection in &validity.not_comparable {
            add(out, format_args!("<li>{}</li>", escape(objection)));
        }
        out.push_str("</ul>");
    }
    gates(out, report);
    asserts(out, report);
    out.push_str("</section>");
}

fn gates(out: &mut String, report: &Report) {
    let validity = &report.validity;
    if validity.gates.is_empty() && validity.checks.is_empty() && validity.calibration.is_none() {
        return;
    }
    let lines: Vec<(Outcome, String)> = validity
        .gates
        .iter()
        .map(|gate| {
            let scope = if gate.scope.is_empty() {
                String::new()
            } else {
                format!(" ({})", gate.scope)
            };
            let text = format!(
                "{}{scope}: {}; allowed {}",
                gate.title, gate.measured, gate.limit
            );
            (gate.outcome, text)
        })
        .chain(
            validity
                .checks
                .iter()
                .map(|check| (check.outcome, format!("{}: {}", check.title, check.detail))),
        )
        .collect();
    let (held, doubtful): (Vec<_>, Vec<_>) = lines
        .into_iter()
        .partition(|(outcome, _)| *outcome == Outcome::Pass);
    // What holds is only counted at first: dozens of lines that say "as it should be" hide the one that does not.
    list(out, &doubtful);
    add(
        out,
        format_args!(
            "<details id=\"gates\"><summary>{}</summary>",
            escape(&format!(
                "{} as they should be",
                format::counted(held.len(), "gate and check", "gates and checks")
            ))
        ),
    );
    list(out, &held);
    if let Some(calibration) = &validity.calibration {
        let text = format!(
            "Noise floor of the client: median {}, P99 {} ({}).",
            format::duration(calibration.noise_p50_ms),
            format::duration(calibration.noise_p99_ms),
            calibration.method
        );
        add(out, format_args!("<p>{}</p>", escape(&text)));
    }
    out.push_str("</details>");
}

fn list(out: &mut String, lines: &[(Outcome, String)]) {
    if lines.is_empty() {
        return;
    }
    out.push_str("<ul class=\"outcomes\">");
    for (found, text) in lines {
        outcome(out, *found, text);
    }
    out.push_str("</ul>");
}

fn asserts(out: &mut String, report: &Report) {
    if report.asserts.is_empty() {
        return;
    }
    out.push_str("<ul class=\"outcomes\" id=\"asserts\">");
    for assert in &report.asserts {
        let scope = if assert.scope.is_empty() {
            String::new()
        } else {
            format!(" ({})", assert.scope)
        };
        let text = format!("assert {}{scope}: {}", assert.expression, assert.detail);
        outcome(out, assert.outcome, &text);
    }
    out.push_str("</ul>");
}

fn outcome(out: &mut String, outcome: Outcome, text: &str) {
    let (class, mark, word) = match outcome {
        Outcome::Pass => ("pass", "\u{2713}", "holds"),
        Outcome::Warn => ("warn", "!", "note"),
        Outcome::Fail => ("fail", "\u{2717}", "fails"),
        Outcome::Unknown => ("unknown", "?", "unknown"),
    };
    add(
        out,
        format_args!(
            "<li class=\"{class}\"><span class=\"mark\" aria-hidden=\"true\">{mark}</span><span class=\"unseen\">{word}: </span>{}</li>",
            escape(text)
        ),
    );
}
