use std::{path::Path, time::Duration};

use serde::Deserialize;

use super::{Arrival, Load, LoadPoint, Search, SloMetric};
use crate::{
    units,
    workload::{Row, file::Span, jsonl},
};

/// Requests in flight when the file does not say: more than a server of one machine can work on.
const MAX_IN_FLIGHT: usize = 4096;
/// Callers and requests in flight that one client is asked for.
const MOST_IN_FLIGHT: usize = 65_536;
/// Rates per second between which requests can be paced.
const RATES: std::ops::RangeInclusive<f64> = 0.001..=100_000.0;
/// How many times faster or slower than recorded a trace is replayed.
const SPEEDS: std::ops::RangeInclusive<f64> = 0.001..=1000.0;
/// Points of one sweep.
const MOST_STEPS: u32 = 50;
/// How near the bounds of a search have to be.
const PRECISION: f64 = 0.05;

/// A load as typed: which keys it takes depends on its model.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::workload) struct Typed {
    model: String,
    concurrency: Option<OneOrMany<usize>>,
    arrival: Option<String>,
    rate: Option<OneOrMany<f64>>,
    from: Option<f64>,
    to: Option<f64>,
    steps: Option<u32>,
    path: Option<String>,
    speed: Option<f64>,
    metric: Option<String>,
    max: Option<Span>,
    limit: Option<f64>,
    precision: Option<f64>,
    max_in_flight: Option<usize>,
}

/// Several values are several loads.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(value) => vec![value],
            Self::Many(values) => values,
        }
    }
}

/// The keys that each model takes.
const MODELS: [(&str, &[&str]); 6] = [
    ("closed", &["concurrency"]),
    (
        "open",
        &["arrival", "rate", "path", "speed", "max_in_flight"],
    ),
    ("trace", &["path", "speed", "max_in_flight"]),
    ("ramp", &["from", "to", "max_in_flight"]),
    (
        "sweep",
        &["arrival", "from", "to", "steps", "max_in_flight"],
    ),
    (
        "search",
        &[
            "metric",
            "max",
            "arrival",
            "rate",
            "limit",
            "precision",
            "max_in_flight",
        ],
    ),
];

/// The loads of a file; one closed caller when it names none. `rows` are the recorded requests of its prompts, if any.
pub(in crate::workload) fn meant(
    typed: Vec<Typed>,
    folder: Option<&Path>,
    rows: Option<&[Row]>,
) -> Result<Vec<Load>, String> {
    if typed.is_empty() {
        return Ok(vec![Load::Point(LoadPoint::Closed { concurrency: 1 })]);
    }
    let mut loads = Vec::new();
    for load in typed {
        loads.extend(one(load, folder, rows)?);
    }
    if loads.is_empty() {
        return Err("a [[load]] with an empty list measures nothing".into());
    }
    Ok(loads)
}

fn one(typed: Typed, folder: Option<&Path>, rows: Option<&[Row]>) -> Result<Vec<Load>, String> {
    typed.check_keys()?;
    let in_model = |reason: &str| format!("load {:?}: {reason}", typed.model);
    let max_in_flight = typed.max_in_flight.unwrap_or(MAX_IN_FLIGHT);
    if !(1..=MOST_IN_FLIGHT).contains(&max_in_flight) {
        return Err(in_model(&format!(
            "max_in_flight lies between 1 and {MOST_IN_FLIGHT}"
        )));
    }
    let arrival = typed.arrival.as_deref().unwrap_or("poisson");
    let rate = |value: Option<f64>, name: &str| match value {
        Some(value) if RATES.contains(&value) => Ok(value),
        _ => Err(in_model(&format!(
            "{name} is a number of requests per second between {} and {}",
            RATES.start(),
            RATES.end()
        ))),
    };
    let points = match typed.model.as_str() {
        "closed" => {
            let callers = typed
                .concurrency
                .clone()
                .map_or(vec![1], OneOrMany::into_vec);
            if callers
                .iter()
                .any(|one| !(1..=MOST_IN_FLIGHT).contains(one))
            {
                return Err(in_model(&format!(
                    "concurrency lies between 1 and {MOST_IN_FLIGHT}"
                )));
            }
            callers
                .into_iter()
                .map(|concurrency| LoadPoint::Closed { concurrency })
                .collect()
        }
        "open" if !arrival.starts_with("trace:") => {
            let arrival = read_arrival(arrival)?;
            let rates = typed.rate.clone().ok_or_else(|| in_model("needs a rate"))?;
            rates
                .into_vec()
                .into_iter()
                .map(|value| {
                    Ok(LoadPoint::Open {
                        arrival,
                        rate: rate(Some(value), "rate")?,
                        max_in_flight,
                    })
                })
                .collect::<Result<_, String>>()?
        }
        "open" | "trace" => vec![typed.trace(max_in_flight, folder, rows)?],
        "ramp" => vec![LoadPoint::Ramp {
            from: rate(typed.from, "from")?,
            to: rate(typed.to, "to")?,
            max_in_flight,
        }],
        "sweep" => {
            let (from, to) = (rate(typed.from, "from")?, rate(typed.to, "to")?);
            let steps = typed.steps.unwrap_or(5);
            if !(2..=MOST_STEPS).contains(&steps) {
                return Err(in_model(&format!("steps lies between 2 and {MOST_STEPS}")));
            }
            let arrival = read_arrival(arrival)?;
            (0..steps)
                .map(|step| LoadPoint::Open {
                    arrival,
                    rate: three_digits(
                        from * (to / from).powf(f64::from(step) / f64::from(steps - 1)),
                    ),
                    max_in_flight,
                })
                .collect()
        }
        "search" => return Ok(vec![Load::Search(typed.search(arrival, max_in_flight)?)]),
        _ => unreachable!("`check_keys` refused other models"),
    };
    Ok(points.into_iter().map(Load::Point).collect())
}

impl Typed {
    fn check_keys(&self) -> Result<(), String> {
        let model = self.model.as_str();
        let names = MODELS.map(|(name, _)| name);
        let Some((_, takes)) = MODELS.iter().find(|(name, _)| *name == model) else {
            return Err(match units::nearest(model, names) {
                Some(meant) => format!("unknown load model {model:?}; did you mean {meant:?}?"),
                None => format!(
                    "unknown load model {model:?}; there is {}",
                    names.join(", ")
                ),
            });
        };
        let given = [
            ("concurrency", self.concurrency.is_some()),
            ("arrival", self.arrival.is_some()),
            ("rate", self.rate.is_some()),
            ("from", self.from.is_some()),
            ("to", self.to.is_some()),
            ("steps", self.steps.is_some()),
            ("path", self.path.is_some()),
            ("speed", self.speed.is_some()),
            ("metric", self.metric.is_some()),
            ("max", self.max.is_some()),
            ("limit", self.limit.is_some()),
            ("precision", self.precision.is_some()),
            ("max_in_flight", self.max_in_flight.is_some()),
        ];
        match given
            .iter()
            .find(|(key, given)| *given && !takes.contains(key))
        {
            Some((key, _)) => Err(format!(
                "load {model:?} has no {key}; it takes {}",
                takes.join(", ")
            )),
            None => Ok(()),
        }
    }

    fn trace(
        &self,
        max_in_flight: usize,
        folder: Option<&Path>,
        rows: Option<&[Row]>,
    ) -> Result<LoadPoint, String> {
        let in_arrival = self
            .arrival
            .as_deref()
            .and_then(|arrival| arrival.strip_prefix("trace:"));
        let path = Path::new(
            self.path
                .as_deref()
                .or(in_arrival)
                .ok_or("load \"trace\" needs a path")?,
        );
        let path = folder.map_or_else(|| path.to_path_buf(), |folder| folder.join(path));
        let speed = self.speed.unwrap_or(1.0);
        if !SPEEDS.contains(&speed) {
            return Err("load \"trace\": speed lies between 0.001 and 1000".into());
        }
        let read;
        let rows = match rows {
            Some(rows) if rows.iter().all(|row| row.at.is_some()) => rows,
            _ => {
                read = jsonl::read(&path)?;
                &read
            }
        };
        let at: Option<Vec<Duration>> = rows.iter().map(|row| row.at).collect();
        let at = at.ok_or_else(|| format!("{}: every row needs at_ms", path.display()))?;
        if !at.is_sorted() {
            return Err(format!("{}: at_ms must not fall", path.display()));
        }
        let first = at[0];
        Ok(LoadPoint::Trace {
            path,
            speed,
            arrivals: at
                .into_iter()
                .map(|at| at - first)
                .collect::<Vec<_>>()
                .into(),
            max_in_flight,
        })
    }

    fn search(&self, arrival: &str, max_in_flight: usize) -> Result<Search, String> {
        const METRICS: &str =
            "load \"search\": metric is ttft, tpot or e2e with a percentile: \"ttft.p95\"";
        let metric = self.metric.as_deref().unwrap_or("e2e.p95");
        let (name, percentile) = metric.split_once(".p").ok_or(METRICS)?;
        let metric = match name {
            "ttft" => SloMetric::Ttft,
            "tpot" => SloMetric::Tpot,
            "e2e" => SloMetric::E2e,
            _ => return Err(METRICS.into()),
        };
        let quantile = percentile.parse::<f64>().map_err(|_| METRICS)? / 100.0;
        let start = self
            .rate
            .clone()
            .map_or(Some(1.0), |rate| match rate {
                OneOrMany::One(rate) => Some(rate),
                OneOrMany::Many(_) => None,
            })
            .ok_or("load \"search\": rate is the one rate to begin with")?;
        let limit = self.limit.unwrap_or(*RATES.end());
        let precision = self.precision.unwrap_or(PRECISION);
        if !(RATES.contains(&start) && RATES.contains(&limit) && start <= limit) {
            return Err("load \"search\": it begins at rate and ends at limit, both between 0.001 and 100000 per second".into());
        }
        if !(0.5..=0.999).contains(&quantile) || !(0.01..=1.0).contains(&precision) {
            return Err(
                "load \"search\": percentiles go from 50 to 99.9, precision from 0.01 to 1".into(),
            );
        }
        Ok(Search {
            metric,
            quantile,
            max: self
                .max
                .ok_or("load \"search\" needs max, the longest time that keeps the promise")?
                .0,
            arrival: read_arrival(arrival)?,
            start,
            limit,
            precision,
            max_in_flight,
        })
    }
}

fn read_arrival(typed: &str) -> Result<Arrival, String> {
    let shape = typed
        .strip_prefix("gamma(")
        .and_then(|rest| rest.strip_suffix(')'));
    match (typed, shape) {
        ("poisson", _) => Ok(Arrival::Poisson),
        ("constant", _) => Ok(Arrival::Constant),
        (_, Some(shape)) => match shape.trim().parse() {
            Ok(shape) if (0.01..=1000.0).contains(&shape) => Ok(Arrival::Gamma(shape)),
            _ => Err("arrival = \"gamma(K)\": K lies between 0.01 and 1000".into()),
        },
        _ => Err(format!(
            "unknown arrival {typed:?}; there is constant, poisson, gamma(K), trace:PATH"
        )),
    }
}

/// Rates of a sweep are read by people.
fn three_digits(rate: f64) -> f64 {
    let scale = 10f64.powf(2.0 - rate.log10().floor());
    (rate * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn loads(text: &str) -> Result<Vec<Load>, String> {
        let typed: Typed = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        meant(vec![typed], None, None)
    }

    fn labels(text: &str) -> Vec<String> {
        loads(text)
            .unwrap()
            .iter()
            .map(|load| match load {
                Load::Point(point) => point.label(),
                Load::Search(search) => format!("search {}", search.metric.name()),
            })
            .collect()
    }

    #[test]
    fn lists_and_sweeps_are_several_loads() {
        assert_eq!(
            labels("model = \"closed\"\nconcurrency = [1, 8]"),
            ["closed c=1", "closed c=8"]
        );
        assert_eq!(
            labels("model = \"open\"\narrival = \"constant\"\nrate = [0.5, 2]"),
            ["open constant 0.5/s", "open constant 2/s"]
        );
        assert_eq!(
            labels("model = \"sweep\"\nfrom = 1\nto = 16\nsteps = 5"),
            ["1", "2", "4", "8", "16"].map(|rate| format!("open poisson {rate}/s"))
        );
        assert_eq!(
            labels("model = \"ramp\"\nfrom = 1\nto = 10"),
            ["ramp 1 to 10/s"]
        );
    }

    #[test]
    fn a_search_says_what_is_promised() {
        let loads = loads("model = \"search\"\nmetric = \"ttft.p95\"\nmax = \"500ms\"").unwrap();
        let Load::Search(search) = &loads[0] else {
            panic!("no search")
        };
        assert_eq!((search.metric, search.quantile), (SloMetric::Ttft, 0.95));
        assert_eq!(search.max, Duration::from_millis(500));
    }

    #[test]
    fn a_trace_starts_with_its_first_row() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{{\"prompt\":\"a\",\"at_ms\":1000}}").unwrap();
        writeln!(file, "{{\"prompt\":\"b\",\"at_ms\":1250}}").unwrap();
        let path = file.path().display();
        for text in [
            format!("model = \"trace\"\npath = \"{path}\""),
            format!("model = \"open\"\narrival = \"trace:{path}\""),
        ] {
            let loads = loads(&text).unwrap();
            let Load::Point(LoadPoint::Trace { arrivals, .. }) = &loads[0] else {
                panic!("no trace")
            };
            assert_eq!(**arrivals, [0, 250].map(Duration::from_millis));
        }
    }

    #[test]
    fn impossible_loads_are_refused() {
        let check = |text: &str, answer: &str| {
            let error = loads(text).unwrap_err();
            assert!(error.contains(answer), "{error}");
        };
        check("model = \"open\"", "needs a rate");
        check("model = \"open\"\nrate = 1e9", "between 0.001 and 100000");
        check(
            "model = \"open\"\nrate = 1\narrival = \"x\"",
            "unknown arrival",
        );
        check("model = \"closed\"\nconcurrency = 0", "between 1 and 65536");
        check("model = \"closed\"\nconcurrency = []", "measures nothing");
        check("model = \"search\"", "needs max");
        check(
            "model = \"search\"\nmax = \"1s\"\nmetric = \"x.p95\"",
            "metric is ttft",
        );
        check("model = \"trace\"", "needs a path");
        check("model = \"ramp\"\nfrom = 0\nto = 3", "from is a number");
    }
}
