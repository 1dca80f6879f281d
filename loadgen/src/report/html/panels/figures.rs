use crate::report::{
    format::{self, NOT_AVAILABLE},
    html::markup::table,
    model::{Distribution, Quantile, Report, Row, Served, Unit, WorkloadReport},
};

/// Takes one figure of a row.
type Figure = fn(&Served) -> Option<f64>;

/// Every figure of a row as a table: a line per metric and target.
pub(super) fn row(workload: &WorkloadReport, row: &Row) -> String {
    let head = [
        "metric",
        "target",
        "P50",
        "P90",
        "P95",
        "95 % interval of P95",
        "P99",
        "mean",
        "longest",
        "n",
        "failed",
    ];
    let mut lines = Vec::new();
    for report in &row.metrics {
        for (lane, distribution) in workload.lanes.iter().zip(&report.targets) {
            let Some(distribution) = distribution else {
                continue;
            };
            lines.push(line(
                report.metric.title(),
                &lane.target,
                report.unit,
                distribution,
            ));
        }
    }
    format!("{}{}", table(&head, &lines), totals(workload, row))
}

fn line(title: &str, target: &str, unit: Unit, one: &Distribution) -> Vec<String> {
    let quantile = |quantile: &Quantile| match quantile.value {
        None if one.failed > 0 => "failed".into(),
        value => format::figure(value, unit),
    };
    let interval = match (one.p95.low, one.p95.high) {
        (Some(low), Some(high)) => format!(
            "{} to {}",
            format::figure(Some(low), unit),
            format::figure(Some(high), unit)
        ),
        _ => format!(
            "n/a, {}",
            one.p95.unavailable.as_deref().unwrap_or_default()
        ),
    };
    vec![
        title.into(),
        target.into(),
        quantile(&one.p50),
        quantile(&one.p90),
        quantile(&one.p95),
        interval,
        quantile(&one.p99),
        format::figure(one.mean, unit),
        format::figure(one.max, unit),
        one.n.to_string(),
        one.failed.to_string(),
    ]
}

fn totals(workload: &WorkloadReport, row: &Row) -> String {
    let lines: [(&str, Figure); 7] = [
        ("requests/s", |one| one.requests_per_s),
        ("goodput/s", |one| one.goodput_per_s),
        ("output tokens/s", |one| one.output_tokens_per_s),
        ("input tokens/s", |one| one.input_tokens_per_s),
        ("output tokens, mean", |one| one.mean_output_tokens),
        ("input tokens, mean", |one| one.mean_input_tokens),
        ("pieces per token", |one| one.pieces_per_token),
    ];
    let mut head = vec!["whole row"];
    head.extend(workload.lanes.iter().map(|lane| lane.target.as_str()));
    let mut rows: Vec<Vec<String>> = lines
        .into_iter()
        .map(|(label, of)| {
            let mut cells = vec![label.to_owned()];
            cells.extend(row.served.iter().map(|served| {
                let value = served.as_ref().and_then(of);
                value.map_or(NOT_AVAILABLE.into(), format::digits)
            }));
            cells
        })
        .filter(|cells| cells[1..].iter().any(|cell| cell != NOT_AVAILABLE))
        .collect();
    if let Some(slo) = &workload.slo {
        let mut cells = vec![format!("within {}", format::promises(slo))];
        cells.extend(row.served.iter().map(|served| {
            let share = served.as_ref().and_then(Served::in_time_share);
            share.map_or(NOT_AVAILABLE.into(), format::percent)
        }));
        rows.push(cells);
    }
    if row.fits.iter().any(Option::is_some) {
        let mut cells = vec!["end to end = fixed + per token".to_owned()];
        cells.extend(row.fits.iter().map(|fit| {
            fit.as_ref().map_or(NOT_AVAILABLE.into(), |fit| {
                format!(
                    "{} + {} per token",
                    format::duration(fit.fixed_ms),
                    format::per_token(fit)
                )
            })
        }));
        rows.push(cells);
    }
    let resent = |served: &Option<Served>| served.as_ref().map_or(0, |one| one.resent);
    if row.served.iter().any(|served| resent(served) > 0) {
        let mut cells = vec!["sent twice, a kept connection being closed".to_owned()];
        cells.extend(row.served.iter().map(|served| resent(served).to_string()));
        rows.push(cells);
    }
    let mut failures = vec!["failed".to_owned()];
    failures.extend(row.served.iter().map(|served| match served {
        None => NOT_AVAILABLE.into(),
        Some(served) => {
            let kinds: Vec<String> = served
                .failures
                .iter()
                .map(|(kind, count)| format!("{kind} {count}"))
                .collect();
            format!(
                "{} of {} {}",
                served.failed,
                served.requests,
                kinds.join(", ")
            )
            .trim_end()
            .to_owned()
        }
    }));
    rows.push(failures);
    table(&head, &rows)
}

/// The ratios that are missing, and why.
pub(super) fn missing(report: &Report, row: &Row) -> Vec<String> {
    let several = report.targets.len() > 2;
    row.comparisons
        .iter()
        .filter(|one| one.ratio.is_none())
        .map(|one| {
            let pair = if several {
                format!(" ({} / {})", one.candidate, one.baseline)
            } else {
                String::new()
            };
            format!(
                "{}{pair}: no ratio, {}",
                one.title(),
                one.unavailable.as_deref().unwrap_or_default()
            )
        })
        .collect()
}
