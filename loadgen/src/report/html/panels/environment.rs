use crate::report::{
    format::{self, NOT_AVAILABLE},
    html::markup::{add, escape, table},
    model::{Report, TargetReport, WorkloadReport},
};

/// Everything one must know to do it again.
pub(super) fn section(out: &mut String, report: &Report) {
    out.push_str("<section id=\"environment\"><h2>Environment</h2>");
    let command: Vec<String> = report
        .command
        .iter()
        .map(|word| shell_quoted(word))
        .collect();
    add(
        out,
        format_args!(
            "<h3>Do it again</h3><div class=\"command\"><pre id=\"command\"><code>{}</code></pre><button type=\"button\" id=\"copy\" hidden>Copy</button></div>",
            escape(&command.join(" "))
        ),
    );
    let host = &report.host;
    let rows = [
        ("processor", host.cpu.clone()),
        (
            "processors for this tool",
            host.cpus.map(|cpus| cpus.to_string()),
        ),
        (
            "memory",
            host.memory_bytes.map(|bytes| format::bytes(bytes as f64)),
        ),
        (
            "kernel",
            host.kernel.as_ref().map(|kernel| format!("Linux {kernel}")),
        ),
        ("begun", Some(report.started_at.clone())),
        ("ended", Some(report.finished_at.clone())),
        (
            "keep-alive asked for",
            Some(format::duration(report.settings.keep_alive_s as f64 * 1e3)),
        ),
        (
            "timeout per request",
            Some(format::duration(report.settings.timeout_s * 1e3)),
        ),
    ];
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|(name, value)| {
            vec![
                name.to_owned(),
                value.unwrap_or_else(|| NOT_AVAILABLE.into()),
            ]
        })
        .collect();
    add(
        out,
        format_args!("<h3>Machine</h3>{}", table(&["", ""], &rows)),
    );
    out.push_str("<h3>Targets</h3>");
    let rows: Vec<Vec<String>> = report.targets.iter().map(target).collect();
    out.push_str(&table(
        &["target", "address", "version", "api", "process", "memory"],
        &rows,
    ));
    for target in &report.targets {
        started(out, target);
    }
    out.push_str("<h3>Models</h3>");
    let rows: Vec<Vec<String>> = report.workloads.iter().flat_map(models).collect();
    out.push_str(&table(
        &["workload", "target", "model", "files", "digest", "inputs"],
        &rows,
    ));
    out.push_str("</section>");
}

fn target(target: &TargetReport) -> Vec<String> {
    let pids: Vec<String> = target.pids.iter().map(ToString::to_string).collect();
    vec![
        target.name.clone(),
        target.url.clone(),
        target
            .version
            .clone()
            .unwrap_or_else(|| NOT_AVAILABLE.into()),
        target.api.clone(),
        match &target.process {
            Some(process) => format!(
                "{process}, pid {}{}",
                pids.join(", "),
                target.start_to_ready_ms.map_or(String::new(), |time| {
                    format!(", ready {} after its start", format::duration(time))
                })
            ),
            None => NOT_AVAILABLE.into(),
        },
        target
            .memory_unavailable
            .clone()
            .unwrap_or_else(|| "watched".into()),
    ]
}

fn started(out: &mut String, target: &TargetReport) {
    let Some(environment) = &target.environment else {
        return;
    };
    let mut text = environment.command_lines.join("\n");
    for (name, value) in &environment.variables {
        text += &format!("\n{name}={value}");
    }
    add(
        out,
        format_args!(
            "<details class=\"data\"><summary>How {} was started</summary><pre><code>{}</code></pre></details>",
            escape(&target.name),
            escape(text.trim_start())
        ),
    );
}

fn models(workload: &WorkloadReport) -> Vec<Vec<String>> {
    workload
        .lanes
        .iter()
        .map(|lane| {
            vec![
                workload.name.clone(),
                lane.target.clone(),
                lane.model.clone(),
                lane.model_bytes
                    .map_or(NOT_AVAILABLE.into(), |bytes| format::bytes(bytes as f64)),
                lane.model_digest
                    .clone()
                    .unwrap_or_else(|| NOT_AVAILABLE.into()),
                format!("sha256 {}", workload.inputs_sha256),
            ]
        })
        .collect()
}

/// A word as a shell would need it.
fn shell_quoted(word: &str) -> String {
    let is_plain =
        |character: char| character.is_ascii_alphanumeric() || "-_=:/.,+@%".contains(character);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// What the words mean.
pub(super) fn method(out: &mut String, report: &Report) {
    let entries = [
        (
            "end to end",
            "From the moment a request should have been sent to the last byte of its reply. If the client or the server was late, the delay counts.",
        ),
        (
            "first text",
            "From the same moment to the first piece of text or thinking.",
        ),
        (
            "per token",
            "Between the first and the last token, per token after the first; tokens are counted by the server.",
        ),
        (
            "P50, P95, P99",
            "Half, 95 %, 99 % of requests took at most so long (nearest rank over all of them). A failed request counts as infinitely slow.",
        ),
        (
            "95 % interval of a percentile",
            "From order statistics, for as many independent samples as the measured ones are worth. P95 needs 72 of them.",
        ),
        (
            "ratio",
            "The candidate's figure divided by the baseline's, over all requests pooled. Its interval comes from drawing whole rounds again and again: what a round's moment did to both targets cancels.",
        ),
        (
            "verdict",
            "Faster or slower: the interval excludes 1 and the difference is at least the margin. Equivalent: the whole interval lies within the margin. Else inconclusive: measure more rounds.",
        ),
        (
            "rounds",
            "In each, every target gets the same requests, one target at a time, forwards then backwards (AB, BA, \u{2026}), so that a machine that slows down slows both.",
        ),
        (
            "memory",
            "Resident memory of the process that listens and of all its children, ten readings a second.",
        ),
    ];
    out.push_str("<section id=\"method\"><h2>How to read this</h2><dl class=\"terms\">");
    for (term, meaning) in entries {
        add(
            out,
            format_args!("<div><dt>{term}</dt><dd>{meaning}</dd></div>"),
        );
    }
    add(
        out,
        format_args!(
            "</dl><p class=\"reading\">Differences below {} are taken as of no matter in practice. Curves and clouds of many samples show a part of them; every \
             percentile is of all.</p></section>",
            escape(&format::percent(report.settings.margin))
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_pasted_into_a_shell() {
        let quoted = [
            "--target",
            "a=http://h:1/",
            "ratio(e2e.p95) <= 0.8",
            "it's",
            "",
        ]
        .map(shell_quoted);
        assert_eq!(
            quoted,
            [
                "--target",
                "a=http://h:1/",
                "'ratio(e2e.p95) <= 0.8'",
                "'it'\\''s'",
                "''"
            ]
        );
    }
}
