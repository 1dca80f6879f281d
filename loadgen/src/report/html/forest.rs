//! All ratios of a report on one scale, each with its interval: which differ from 1, and by how much.

use super::{
    chart,
    markup::{add, coordinate, escape},
    scale::Scale,
    words,
};
use crate::report::{
    format,
    model::{Comparison, Report, Verdict},
};

const WIDTH: f64 = 960.0;
/// Where the plot begins: before it stand the names.
const FROM: f64 = 290.0;
/// Where it ends: after it stand numbers and verdicts.
const TO: f64 = 690.0;
const LINE: f64 = 26.0;
const HEAD: f64 = 30.0;
/// Ratios beyond this factor are drawn at the edge: one of them must not flatten all others.
const WIDEST: f64 = 16.0;

/// One line of the plot.
enum Line<'a> {
    Title(String),
    Ratio(&'a Comparison),
}

/// The plot; `None` without a single ratio.
pub(super) fn forest(report: &Report) -> Option<String> {
    let lines = lines(report);
    let ratios = || {
        lines.iter().filter_map(|line| match line {
            Line::Ratio(comparison) => Some(*comparison),
            Line::Title(_) => None,
        })
    };
    let ends = ratios()
        .flat_map(|one| [one.low, one.high, one.ratio])
        .flatten();
    let [least, most] = chart::extent(ends.chain([1.0]))?;
    ratios().next()?;
    // As far to the left of 1 as to the right, so that equal factors are equal lengths to the eye.
    let reach = most.max(1.0 / least.max(1.0 / WIDEST)).clamp(1.1, WIDEST) * 1.05;
    let x = Scale::logarithmic([1.0 / reach, reach], [FROM, TO]);
    let height = HEAD + LINE * lines.len() as f64 + 34.0;
    let bottom = height - 30.0;

    let mut out = String::new();
    add(
        &mut out,
        format_args!(
            "<figure class=\"chart forest\" id=\"forest\"><div class=\"scroll\"><svg viewBox=\"0 0 {} {}\" role=\"img\" \
             aria-labelledby=\"forest-t forest-d\"><title id=\"forest-t\">Ratios with 95 % intervals</title>\
             <desc id=\"forest-d\">One line per figure. The square is the ratio, the bar its interval. The sentences are listed below the plot.</desc>",
            coordinate(WIDTH),
            coordinate(height)
        ),
    );
    let margin = report.settings.margin;
    add(
        &mut out,
        format_args!(
            "<path class=\"margin\" d=\"M{} {HEAD}H{}V{bottom}H{}Z\"/>",
            coordinate(x.at(1.0 / (1.0 + margin))),
            coordinate(x.at(1.0 + margin)),
            coordinate(x.at(1.0 / (1.0 + margin))),
        ),
    );
    out.push_str("<g class=\"axis\">");
    for tick in ticks(reach) {
        add(
            &mut out,
            format_args!(
                "<path class=\"{}\" d=\"M{:.1} {HEAD}V{bottom}\"/><text class=\"mid\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                if tick == 1.0 { "base" } else { "grid" },
                x.at(tick),
                x.at(tick),
                bottom + 18.0,
                escape(&format::ratio(tick)),
            ),
        );
    }
    add(
        &mut out,
        format_args!(
            "<text class=\"small\" x=\"{FROM}\" y=\"18\">\u{2190} candidate has less</text><text class=\"small end\" x=\"{TO}\" y=\"18\">candidate has more \u{2192}</text>\
             <text class=\"small end\" x=\"828\" y=\"18\">ratio [95 % interval]</text><text class=\"small\" x=\"842\" y=\"18\">verdict</text></g>"
        ),
    );
    for (index, line) in lines.iter().enumerate() {
        let middle = HEAD + LINE * (index as f64 + 0.5);
        match line {
            Line::Title(title) => add(
                &mut out,
                format_args!(
                    "<text class=\"strong\" x=\"4\" y=\"{:.1}\">{}</text>",
                    middle + 4.0,
                    escape(&shortened(title, 46))
                ),
            ),
            Line::Ratio(comparison) => ratio(&mut out, comparison, &x, middle),
        }
    }
    out.push_str("</svg></div>");
    add(
        &mut out,
        format_args!(
            "<p class=\"reading\">Left of 1, the candidate has less; right of it, more. A bar that crosses 1 does not decide. The shaded band is the margin of \
             {} within which differences do not matter. For times less is better, for rates more; the verdict says which.</p>",
            escape(&format::percent(margin))
        ),
    );
    out.push_str("<details class=\"data\"><summary>As sentences</summary><ul>");
    for comparison in ratios() {
        if let Some(sentence) = words::sentence(comparison) {
            add(&mut out, format_args!("<li>{}</li>", escape(&sentence)));
        }
    }
    out.push_str("</ul></details></figure>");
    Some(out)
}

fn lines(report: &Report) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    let several = report.targets.len() > 2;
    for workload in &report.workloads {
        for row in &workload.rows {
            let ratios: Vec<&Comparison> = row
                .comparisons
                .iter()
                .filter(|one| one.ratio.is_some())
                .collect();
            let mut candidate = None;
            for comparison in ratios {
                if candidate != Some(&comparison.candidate) {
                    candidate = Some(&comparison.candidate);
                    let pair = if several {
                        format!(", {} / {}", comparison.candidate, comparison.baseline)
                    } else {
                        String::new()
                    };
                    lines.push(Line::Title(format!(
                        "{} · {}{pair}",
                        workload.name, row.label
                    )));
                }
                lines.push(Line::Ratio(comparison));
            }
        }
        let memory: Vec<&Comparison> = workload
            .memory_comparisons
            .iter()
            .filter(|one| one.ratio.is_some())
            .collect();
        if !memory.is_empty() {
            lines.push(Line::Title(format!("{} · memory", workload.name)));
            lines.extend(memory.into_iter().map(Line::Ratio));
        }
    }
    lines
}

fn ratio(out: &mut String, comparison: &Comparison, x: &Scale, middle: f64) {
    let (Some(ratio), Some(low), Some(high)) = (comparison.ratio, comparison.low, comparison.high)
    else {
        return;
    };
    let verdict = comparison.verdict.unwrap_or(Verdict::Inconclusive);
    let class = verdict.word();
    let y = coordinate(middle);
    let size = if comparison.primary { 5.0 } else { 3.5 };
    let at = x.at(ratio);
    add(
        out,
        format_args!(
            "<g class=\"ratio {class}\"><text class=\"{}\" x=\"18\" y=\"{:.1}\">{}</text>\
             <path class=\"bar\" d=\"M{} {y}H{}\"/><path class=\"square\" d=\"M{} {}h{}v{}h-{}z\"/>\
             <text class=\"end\" x=\"828\" y=\"{:.1}\">{} {}</text><text class=\"word\" x=\"842\" y=\"{:.1}\">{}</text></g>",
            if comparison.primary { "strong" } else { "" },
            middle + 4.0,
            escape(&comparison.title()),
            coordinate(x.at(low)),
            coordinate(x.at(high)),
            coordinate(at - size),
            coordinate(middle - size),
            coordinate(2.0 * size),
            coordinate(2.0 * size),
            coordinate(2.0 * size),
            middle + 4.0,
            format::ratio(ratio),
            format::interval(low, high),
            middle + 4.0,
            comparison.verdict_word().unwrap_or_default(),
        ),
    );
}

/// Round ratios, the same on both sides of 1.
fn ticks(reach: f64) -> Vec<f64> {
    let sets: [&[f64]; 3] = [&[2.0, 4.0, 8.0, 16.0], &[1.25, 1.5, 2.0], &[1.05, 1.1, 1.2]];
    let above = sets
        .into_iter()
        .map(|set| {
            set.iter()
                .copied()
                .filter(|tick| *tick <= reach)
                .collect::<Vec<_>>()
        })
        .find(|ticks| ticks.len() >= 2)
        .unwrap_or_default();
    let below = above.iter().rev().map(|tick| 1.0 / tick);
    below.chain([1.0]).chain(above.iter().copied()).collect()
}

/// At most `most` characters.
fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        text.into()
    } else {
        text.chars().take(most - 1).chain(['…']).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_mirror_each_other_around_one() {
        for reach in [1.1, 1.3, 2.1, 5.0, 16.0] {
            let ticks = ticks(reach);
            assert!(ticks.contains(&1.0));
            assert!(ticks.is_sorted());
            for (low, high) in ticks.iter().zip(ticks.iter().rev()) {
                assert!((low * high - 1.0).abs() < 1e-9, "{ticks:?}");
            }
        }
    }
}
