//! Ratios in words, for readers who do not think in ratios.

use crate::report::{
    format,
    model::{Comparison, Report},
};

/// The title of the page.
pub(super) fn title(report: &Report) -> String {
    let names: Vec<&str> = report
        .targets
        .iter()
        .map(|target| target.name.as_str())
        .collect();
    match names.as_slice() {
        [] => "loadgen report".into(),
        [one] => format!("{one}, measured by loadgen"),
        [others @ .., last] => format!("{} against {last}, measured by loadgen", others.join(", ")),
    }
}

/// A ratio as a difference: `19 % less`.
pub(super) fn difference(ratio: f64) -> String {
    let change = ratio - 1.0;
    let share = format::digits(change.abs() * 100.0);
    if change.abs() < 0.0005 {
        "the same".into()
    } else if ratio >= 2.0 {
        format!("{} times", format::digits(ratio))
    } else {
        format!("{share} % {}", if change < 0.0 { "less" } else { "more" })
    }
}

/// An interval of ratios as differences: `between 14.0 and 23.0 % less`.
pub(super) fn span(low: f64, high: f64) -> String {
    let percents = |ratio: f64| format::digits((ratio - 1.0).abs() * 100.0);
    if high < 1.0 {
        format!("between {} and {} % less", percents(high), percents(low))
    } else if low > 1.0 && high < 2.0 {
        format!("between {} and {} % more", percents(low), percents(high))
    } else {
        format!("between {} and {}", difference(low), difference(high))
    }
}

/// What a comparison says, in one sentence; `None` without a ratio.
pub(super) fn sentence(comparison: &Comparison) -> Option<String> {
    let (ratio, low, high) = (comparison.ratio?, comparison.low?, comparison.high?);
    Some(
        format!(
            "{}: {} has {} than {}; with 95 % confidence between {} and {}.",
            comparison.title(),
            comparison.candidate,
            difference(ratio),
            comparison.baseline,
            difference(low),
            difference(high),
        )
        .replace("the same than", "the same as")
        .replace("times than", "times as much as"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_read_as_people_say_them() {
        assert_eq!(span(0.77, 0.86), "between 14.0 and 23.0 % less");
        assert_eq!(span(0.95, 1.1), "between 5.00 % less and 10.0 % more");
        let said = [0.81, 1.0, 1.024, 2.5].map(difference);
        assert_eq!(
            said,
            ["19.0 % less", "the same", "2.40 % more", "2.50 times"]
        );
    }
}
