use std::{fmt, str::FromStr};

use super::quantity::{Dimension, Quantity};

/// One demand, as meant: `subject comparator limit`.
#[derive(Debug, Clone, PartialEq)]
pub struct Assertion {
    /// What it is about.
    pub subject: Subject,
    /// How the two sides shall stand to each other.
    pub comparator: Comparator,
    /// The right side.
    pub limit: Quantity,
    /// How sure it must be; `None` for 95 % on intervals and 99 % where requests are counted.
    pub confidence: Option<f64>,
    /// As typed, for the report.
    typed: String,
}

/// The left side: `[ratio(][target.]metric[.statistic][)]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Whether the candidate's figure is divided by the baseline's.
    pub is_ratio: bool,
    /// The target; for a ratio the candidate. `None` stands for every one.
    pub target: Option<String>,
    /// Such as `e2e`, `ttft`, `mem.peak_rss`, `errors`.
    pub metric: &'static str,
    /// `None` for a metric that is a single figure.
    pub statistic: Option<Statistic>,
}

/// Which of the many values of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistic {
    /// A percentile: 50, 90, 95 or 99.
    Percentile(u8),
    /// The mean.
    Mean,
}

/// How the two sides shall stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparator {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
    /// `==`
    Equal,
}

/// A metric that may be named.
struct Known {
    name: &'static str,
    dimension: Dimension,
    /// Whether `.p95` and the like follow.
    is_distribution: bool,
}

/// Every metric that may be named, in the words of reports.
const METRICS: [Known; 25] = [
    many("e2e", Dimension::Time),
    many("service", Dimension::Time),
    many("ttfb", Dimension::Time),
    many("ttft", Dimension::Time),
    many("tpot", Dimension::Time),
    many("icl", Dimension::Time),
    many("tail", Dimension::Time),
    many("lag", Dimension::Time),
    many("decode_rate", Dimension::Plain),
    one("requests", Dimension::Plain),
    one("output_tokens", Dimension::Plain),
    one("input_tokens", Dimension::Plain),
    one("goodput", Dimension::Plain),
    one("slo_share", Dimension::Plain),
    one("errors", Dimension::Plain),
    one("error_rate", Dimension::Plain),
    one("equal_length", Dimension::Plain),
    one("mem.peak_rss", Dimension::Size),
    one("mem.peak_anon", Dimension::Size),
    one("mem.edge_pss", Dimension::Size),
    one("mem.ratio", Dimension::Plain),
    one("cpu.s_per_1000_tokens", Dimension::Plain),
    one("embed.cosine_min", Dimension::Plain),
    one("classify.agreement", Dimension::Plain),
    one("classify.accuracy", Dimension::Plain),
];

const fn many(name: &'static str, dimension: Dimension) -> Known {
    Known {
        name,
        dimension,
        is_distribution: true,
    }
}

const fn one(name: &'static str, dimension: Dimension) -> Known {
    Known {
        name,
        dimension,
        is_distribution: false,
    }
}

impl Comparator {
    /// In the order in which they must be looked for: `<=` before `<`.
    const ALL: [(&'static str, Self); 5] = [
        ("<=", Self::AtMost),
        (">=", Self::AtLeast),
        ("==", Self::Equal),
        ("<", Self::Less),
        (">", Self::More),
    ];

    /// Whether `left comparator right`.
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::More => left > right,
            Self::AtLeast => left >= right,
            Self::Equal => left == right,
        }
    }
}

impl fmt::Display for Assertion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.typed)
    }
}

impl FromStr for Assertion {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        let wrong = |message: String| format!("assertion {typed:?}: {message}");
        let (at, word, comparator) = Comparator::ALL
            .into_iter()
            .filter_map(|(word, comparator)| Some((typed.find(word)?, word, comparator)))
            .min_by_key(|(at, word, _)| (*at, std::cmp::Reverse(word.len())))
            .ok_or_else(|| wrong("write SUBJECT <= LIMIT, such as ratio(e2e.p95) <= 0.9".into()))?;
        let (subject, known) = subject(typed[..at].trim()).map_err(wrong)?;
        let limit: Quantity = typed[at + word.len()..].parse().map_err(wrong)?;
        let expected = if subject.is_ratio {
            Dimension::Plain
        } else {
            known.dimension
        };
        if limit.dimension() != expected {
            let example = match expected {
                Dimension::Time => "a time such as 200ms",
                Dimension::Size => "a size such as 512MiB",
                Dimension::Plain => "a plain number",
            };
            return Err(wrong(format!("its limit must be {example}")));
        }
        Ok(Self {
            subject,
            comparator,
            limit,
            confidence: None,
            typed: typed.split_whitespace().collect::<Vec<_>>().join(" "),
        })
    }
}

fn subject(typed: &str) -> Result<(Subject, &'static Known), String> {
    let inner = typed
        .strip_prefix("ratio(")
        .map(|rest| {
            rest.strip_suffix(')')
                .ok_or("the bracket of ratio( is not closed")
        })
        .transpose()?;
    let path = inner.unwrap_or(typed).trim();
    // The metric may have a point in its name, and so may a target: try every place where one could end.
    let starts = std::iter::once(0).chain(path.match_indices('.').map(|(at, _)| at + 1));
    for start in starts {
        let target = (start > 0).then(|| path[..start - 1].to_owned());
        for known in &METRICS {
            let Some(rest) = path[start..].strip_prefix(known.name) else {
                continue;
            };
            let statistic = match rest.strip_prefix('.') {
                None if rest.is_empty() => None,
                Some(statistic) => Some(statistic),
                None => continue,
            };
            return Ok((
                Subject {
                    is_ratio: inner.is_some(),
                    target,
                    metric: known.name,
                    statistic: checked(known, statistic)?,
                },
                known,
            ));
        }
    }
    let names: Vec<&str> = METRICS.iter().map(|known| known.name).collect();
    Err(format!(
        "{path:?} is no metric; there is {}",
        names.join(", ")
    ))
}

fn checked(known: &Known, statistic: Option<&str>) -> Result<Option<Statistic>, String> {
    let name = known.name;
    match (known.is_distribution, statistic) {
        (true, Some("p50" | "median")) => Ok(Some(Statistic::Percentile(50))),
        (true, Some("p90")) => Ok(Some(Statistic::Percentile(90))),
        (true, Some("p95")) => Ok(Some(Statistic::Percentile(95))),
        (true, Some("p99")) => Ok(Some(Statistic::Percentile(99))),
        (true, Some("mean")) => Ok(Some(Statistic::Mean)),
        (true, Some(other)) => Err(format!(
            "{name} has no {other:?}; there is p50, p90, p95, p99, mean"
        )),
        (true, None) => Err(format!("which {name}? write {name}.p95")),
        (false, None) => Ok(None),
        (false, Some(other)) => Err(format!("{name} is one figure: leave .{other} out")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(typed: &str) -> Assertion {
        typed.parse().unwrap()
    }

    #[test]
    fn the_examples_of_the_manual_are_read() {
        let ratio = parsed("ratio(e2e.p95) <= 0.8");
        assert!(ratio.subject.is_ratio);
        assert_eq!(ratio.subject.target, None);
        assert_eq!(
            (ratio.subject.metric, ratio.subject.statistic),
            ("e2e", Some(Statistic::Percentile(95)))
        );
        assert_eq!(ratio.comparator, Comparator::AtMost);

        let absolute = parsed("ours.ttft.p95<200ms");
        assert_eq!(absolute.subject.target.as_deref(), Some("ours"));
        assert!((absolute.limit.base() - 200.0).abs() < 1e-9);

        assert_eq!(
            parsed("ratio(mem.peak_anon) <= 1.0").subject.metric,
            "mem.peak_anon"
        );
        assert_eq!(parsed("ours.errors == 0").comparator, Comparator::Equal);
        assert_eq!(
            parsed("ours.embed.cosine_min >= 0.999").subject.metric,
            "embed.cosine_min"
        );
        assert_eq!(
            parsed("ratio(my.server.ttft.p50) < 1")
                .subject
                .target
                .as_deref(),
            Some("my.server")
        );
        assert_eq!(parsed("error_rate <= 1%").subject.target, None);
    }

    #[test]
    fn mistakes_say_what_to_type() {
        let check = |typed: &str, part: &str| {
            let error = typed.parse::<Assertion>().unwrap_err();
            assert!(error.contains(part), "{typed}: {error}");
        };
        check("ratio(e2e.p95)", "write SUBJECT <= LIMIT");
        check("ratio(e2e.p95 <= 0.8", "not closed");
        check("ours.e2e <= 1s", "write e2e.p95");
        check("ours.e2e.p42 <= 1s", "there is p50, p90, p95, p99, mean");
        check("ours.errors.p95 == 0", "leave .p95 out");
        check("ours.speed <= 3", "is no metric");
        check("ours.ttft.p95 <= 200", "a time such as 200ms");
        check("ratio(ttft.p95) <= 200ms", "a plain number");
        check("ours.mem.peak_rss <= 5s", "a size such as 512MiB");
        check("ours.errors == none", "is no number");
    }

    proptest! {
        #[test]
        fn nothing_that_is_typed_brings_the_parser_down(typed in "\\PC{0,40}") {
            let _ = typed.parse::<Assertion>();
        }

        #[test]
        fn what_is_shown_reads_back_the_same(metric in 0usize..METRICS.len(), limit in 0.0..1e6f64, ratio: bool) {
            let known = &METRICS[metric];
            let statistic = if known.is_distribution { ".p95" } else { "" };
            let unit = match (ratio, known.dimension) {
                (true, _) | (_, Dimension::Plain) => "",
                (_, Dimension::Time) => "ms",
                (_, Dimension::Size) => "MiB",
            };
            let path = format!("a.{}{statistic}", known.name);
            let left = if ratio { format!("ratio({path})") } else { path };
            let assertion = parsed(&format!("{left} <=  {limit}{unit}"));
            prop_assert_eq!(assertion.subject.metric, known.name);
            prop_assert_eq!(parsed(&assertion.to_string()), assertion);
        }
    }
}
