use super::{Page, Paint, line};
use crate::report::{
    format::{NOT_AVAILABLE, bytes, counted},
    model::{Check, Gate, Outcome, Report, TargetReport},
};

/// Who measured what, where, and whether it may be believed. Nothing that is doubtful comes after the results.
pub(super) fn head(out: &mut String, report: &Report, page: &Page) {
    page.paragraph(
        out,
        &format!(
            "{} {}: {}{}, seed {}",
            report.tool.name,
            report.tool.version,
            counted(report.targets.len(), "target", "targets"),
            if report.targets.len() > 1 {
                " in alternating order"
            } else {
                ""
            },
            report.settings.seed,
        ),
        2,
        Paint::Plain,
    );
    let host = &report.host;
    page.paragraph(
        out,
        &format!(
            "on {} CPUs ({}), {}, Linux {}, {}",
            host.cpus
                .map_or(NOT_AVAILABLE.into(), |cpus| cpus.to_string()),
            host.cpu.as_deref().unwrap_or(NOT_AVAILABLE),
            host.memory_bytes
                .map_or(NOT_AVAILABLE.into(), |size| bytes(size as f64)),
            host.kernel.as_deref().unwrap_or(NOT_AVAILABLE),
            report.started_at,
        ),
        2,
        Paint::Faint,
    );
    for target in &report.targets {
        page.paragraph(out, &target_line(target), 6, Paint::Plain);
    }
    validity(out, report, page);
}

fn target_line(target: &TargetReport) -> String {
    let pids: Vec<String> = target.pids.iter().map(ToString::to_string).collect();
    let process = match (&target.process, &target.memory_unavailable) {
        (Some(process), _) => format!(
            "{process}, pid {}{}",
            pids.join(", "),
            target
                .start_to_ready_ms
                .map_or(String::new(), |time| format!(
                    ", ready {} after its start",
                    crate::report::format::duration(time)
                ))
        ),
        (None, reason) => format!("memory n/a: {}", reason.as_deref().unwrap_or_default()),
    };
    format!(
        "  {}  {}  version {}  ({process})",
        target.name,
        target.url,
        target.version.as_deref().unwrap_or(NOT_AVAILABLE),
    )
}

fn validity(out: &mut String, report: &Report, page: &Page) {
    let validity = &report.validity;
    let passed = validity
        .gates
        .iter()
        .filter(|gate| gate.outcome == Outcome::Pass)
        .count();
    let failed = validity
        .gates
        .iter()
        .map(|gate| gate.outcome)
        .chain(validity.checks.iter().map(|check| check.outcome))
        .any(|outcome| outcome == Outcome::Fail);
    let (word, paint) = if !validity.not_comparable.is_empty() {
        ("NOT COMPARABLE", Paint::Bad)
    } else if failed {
        ("NOT VALID", Paint::Bad)
    } else if report.interrupted {
        ("INTERRUPTED: whole rounds only", Paint::Unsure)
    } else if validity.gates.is_empty() {
        ("", Paint::Plain)
    } else {
        ("VALID", Paint::Good)
    };
    if !word.is_empty() {
        let gates = if validity.gates.is_empty() {
            String::new()
        } else {
            format!("  {passed}/{} gates hold", validity.gates.len())
        };
        line(out, &format!("{}{gates}", page.paint(word, paint)));
    }
    for objection in &validity.not_comparable {
        page.paragraph(out, &format!("NOT COMPARABLE  {objection}"), 16, Paint::Bad);
    }
    for gate in &validity.gates {
        if let Some((text, paint)) = gate_line(gate) {
            page.paragraph(out, &text, 8, paint);
        }
    }
    for check in &validity.checks {
        if let Some((text, paint)) = check_line(check) {
            page.paragraph(out, &text, 8, paint);
        }
    }
    if let Some(calibration) = &validity.calibration {
        page.paragraph(
            out,
            &format!(
                "noise floor of this client: P50 {}, P99 {} ({})",
                crate::report::format::duration(calibration.noise_p50_ms),
                crate::report::format::duration(calibration.noise_p99_ms),
                calibration.method
            ),
            2,
            Paint::Faint,
        );
    }
}

/// Gates that hold are only counted.
fn gate_line(gate: &Gate) -> Option<(String, Paint)> {
    let (word, paint) = mark(gate.outcome)?;
    let scope = if gate.scope.is_empty() {
        String::new()
    } else {
        format!(" ({})", gate.scope)
    };
    let text = format!(
        "{word}  {}{scope}: {}, allowed {}",
        gate.title, gate.measured, gate.limit
    );
    Some((text, paint))
}

fn check_line(check: &Check) -> Option<(String, Paint)> {
    let (word, paint) = mark(check.outcome)?;
    Some((format!("{word}  {}: {}", check.title, check.detail), paint))
}

fn mark(outcome: Outcome) -> Option<(&'static str, Paint)> {
    match outcome {
        Outcome::Pass => None,
        Outcome::Warn => Some(("NOTE  ", Paint::Unsure)),
        Outcome::Fail => Some(("FAILED", Paint::Bad)),
        Outcome::Unknown => Some(("UNSURE", Paint::Unsure)),
    }
}

/// What the user demanded, and what the process returns.
pub(super) fn foot(out: &mut String, report: &Report, page: &Page) {
    if !report.asserts.is_empty() {
        line(out, "");
    }
    for assert in &report.asserts {
        let (word, paint) = match assert.outcome {
            Outcome::Pass | Outcome::Warn => ("PASS", Paint::Good),
            Outcome::Fail => ("FAIL", Paint::Bad),
            Outcome::Unknown => ("INCONCLUSIVE", Paint::Unsure),
        };
        let scope = if assert.scope.is_empty() {
            String::new()
        } else {
            format!("  {}", assert.scope)
        };
        line(
            out,
            &format!(
                "ASSERT {}{scope}  {} ({})",
                assert.expression,
                page.paint(word, paint),
                assert.detail
            ),
        );
    }
    if report.exit_code != 0 {
        line(
            out,
            &format!("exit {}: {}", report.exit_code, report.exit_meaning),
        );
    }
}
