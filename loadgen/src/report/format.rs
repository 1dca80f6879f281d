//! Figures as people read them: three significant digits, a unit, and a word where there is no number.

use super::model::{FitReport, SloReport, Spread, Unit, WorkloadReport};

/// What stands in place of a figure that was not measured.
pub const NOT_AVAILABLE: &str = "n/a";

/// A figure in its unit; `n/a` without one.
pub fn figure(value: Option<f64>, unit: Unit) -> String {
    value.map_or(NOT_AVAILABLE.into(), |value| match unit {
        Unit::Milliseconds => duration(value),
        Unit::PerSecond => digits(value),
        Unit::Bytes => bytes(value),
    })
}

/// Milliseconds as µs, ms, s or min.
pub fn duration(milliseconds: f64) -> String {
    match milliseconds.abs() {
        size if size < 0.9995 => format!("{} µs", digits(milliseconds * 1e3)),
        size if size < 999.5 => format!("{} ms", digits(milliseconds)),
        size if size < 599_500.0 => format!("{} s", digits(milliseconds / 1e3)),
        _ => format!("{} min", digits(milliseconds / 60e3)),
    }
}

/// Bytes as KiB, MiB or GiB.
pub fn bytes(bytes: f64) -> String {
    const KIB: f64 = 1024.0;
    match bytes.abs() {
        size if size < KIB * KIB => format!("{} KiB", digits(bytes / KIB)),
        size if size < 1000.0 * KIB * KIB => format!("{} MiB", digits(bytes / KIB / KIB)),
        _ => format!("{} GiB", digits(bytes / KIB / KIB / KIB)),
    }
}

/// Three significant digits; all digits of larger whole numbers.
pub fn digits(value: f64) -> String {
    let size = value.abs();
    let decimals = match size {
        _ if size == 0.0 || size >= 99.95 => 0,
        _ if size >= 9.995 => 1,
        _ if size >= 0.9995 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// A ratio with two decimals, or two digits where it is small.
pub fn ratio(value: f64) -> String {
    if value.abs() >= 0.095 || value == 0.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    }
}

/// A ratio's interval.
pub fn interval(low: f64, high: f64) -> String {
    format!("[{}, {}]", ratio(low), ratio(high))
}

/// A share as percent.
pub fn percent(share: f64) -> String {
    let digits = digits(share * 100.0);
    let digits = if digits.contains('.') {
        digits.trim_end_matches('0').trim_end_matches('.')
    } else {
        &digits
    };
    format!("{digits} %")
}

/// A count with its noun.
pub fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// The middle of a few values, then the least and the largest, all in milliseconds.
pub fn spread(one: &Spread) -> String {
    format!(
        "{} [{}, {}]",
        duration(one.median),
        duration(one.min),
        duration(one.max)
    )
}

/// The times of a `[slo]`: `ttft 500 ms, tpot 60.0 ms`.
pub fn promises(slo: &SloReport) -> String {
    let limits = [
        ("ttft", slo.ttft_ms),
        ("tpot", slo.tpot_ms),
        ("e2e", slo.e2e_ms),
    ];
    let set = limits
        .into_iter()
        .filter_map(|(name, limit)| Some(format!("{name} {}", duration(limit?))));
    set.collect::<Vec<_>>().join(", ")
}

/// What each token costs, with the standard error of that.
pub fn per_token(fit: &FitReport) -> String {
    let error = fit.per_token_error_ms.map_or(String::new(), |error| {
        format!(" \u{b1} {}", duration(error))
    });
    format!("{}{error}", duration(fit.per_token_ms))
}

/// How often a workload is measured; `how` stands after the number of requests.
pub fn paced(workload: &WorkloadReport, how: &str) -> String {
    if workload.rows.is_empty() && !workload.cold.is_empty() {
        let starts = workload.cold.iter().flatten().map(|one| one.repeats);
        return counted(starts.max().unwrap_or(0), "cold start", "cold starts") + " per target";
    }
    format!(
        "{} of {} per target{how}, {} to warm up before each",
        counted(workload.rounds as usize, "round", "rounds"),
        counted(
            workload.requests_per_target_and_round,
            "request",
            "requests"
        ),
        workload.warmup_per_target_and_round
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits() {
        let written = [0.0421, 0.9999, 1.234, 9.999, 12.34, 99.96, 123.4, 12345.6].map(digits);
        assert_eq!(
            written,
            [
                "0.042", "1.00", "1.23", "10.0", "12.3", "100", "123", "12346"
            ]
        );
    }

    #[test]
    fn units_suit_the_size() {
        let written = [0.0421, 0.9999, 17.12, 999.6, 2410.0, 720_000.0].map(duration);
        assert_eq!(
            written,
            [
                "42.1 µs", "1.00 ms", "17.1 ms", "1.00 s", "2.41 s", "12.0 min"
            ]
        );
        let written = [512.0, 612.4 * 1_048_576.0, 2.5 * 1_073_741_824.0].map(bytes);
        assert_eq!(written, ["0.500 KiB", "612 MiB", "2.50 GiB"]);
    }

    #[test]
    fn shares_have_no_empty_decimals() {
        let written = [0.03, 0.125, 1.0, 0.0].map(percent);
        assert_eq!(written, ["3 %", "12.5 %", "100 %", "0 %"]);
    }

    #[test]
    fn small_ratios_keep_their_digits() {
        assert_eq!(
            [0.812, 0.0834, 1.0, 12.3].map(ratio),
            ["0.81", "0.083", "1.00", "12.30"]
        );
    }
}
