//! What two readings of the metrics say together: rates, percentiles, and the lines that show them.

use super::scrape::Scrape;
use crate::cli::format::human_bytes;

/// Two readings of one server.
pub struct View<'a> {
    /// The earlier one.
    pub before: &'a Scrape,
    /// The later one.
    pub now: &'a Scrape,
    /// Between them.
    pub seconds: f64,
}

type Labels<'a> = [(&'a str, &'a str)];

impl View<'_> {
    /// Two lines on the whole server. `clock` is the time now, in seconds since 1970.
    pub fn server(&self, clock: f64) -> [String; 2] {
        let gauge = |name: &str| self.now.sum(name, &[]).unwrap_or(0.0);
        let version = self.now.values_of("version");
        let started = self.now.sum("process_start_time_seconds", &[]);
        let machine = format!(
            "chaski {}  up {}  {:.2} processors  {} and {} in workers  {} left for models",
            version.first().unwrap_or(&"?"),
            started.map_or("?".into(), |started| elapsed(clock - started)),
            self.rate("process_cpu_seconds_total", &[]),
            bytes(gauge("process_resident_memory_bytes")),
            bytes(gauge("llm_worker_proportional_memory_bytes")),
            bytes(gauge("llm_memory_available_bytes")),
        );
        let failed = self.rate("llm_requests_total", &[("status", "error")]);
        let work = format!(
            "{} models  {} running  {} waiting  {} waiting for room  {} requests/s  {} failed/s  {} refused for load/s",
            gauge("llm_models_loaded"),
            gauge("llm_requests_running"),
            gauge("llm_requests_waiting"),
            gauge("llm_requests_waiting_for_room"),
            number(self.rate("llm_requests_total", &[])),
            number(failed),
            number(self.rate("llm_rejected_total", &[])),
        );
        [machine, work]
    }

    /// A table with a line for each model that is loaded or has just been used; its header first.
    pub fn models(&self) -> Vec<Vec<String>> {
        const HEADER: [&str; 12] = [
            "MODEL",
            "RUNNING",
            "WAITING",
            "REQ/S",
            "TOK/S",
            "PROMPT/S",
            "CACHED",
            "FIRST P50",
            "P95",
            "BATCH",
            "MEMORY",
            "CACHE",
        ];
        let mut rows = vec![HEADER.map(str::to_owned).to_vec()];
        for model in self.now.values_of("model") {
            let labels: &Labels = &[("model", model)];
            let gauge = |name: &str| self.now.sum(name, labels).unwrap_or(0.0);
            let is_loaded = gauge("llm_slots") > 0.0;
            if is_loaded || self.growth("llm_requests_total", labels) > 0.0 {
                rows.push(self.model(model, labels));
            }
        }
        rows
    }

    fn model(&self, model: &str, labels: &Labels) -> Vec<String> {
        let gauge = |name: &str| self.now.sum(name, labels).unwrap_or(0.0);
        let prompt = self.growth("llm_prompt_tokens_total", labels);
        let cached = self.growth("llm_cached_prompt_tokens_total", labels);
        let steps = self.growth("llm_batch_size_count", labels);
        let first = |quantile| {
            let found = self.quantile("llm_time_to_first_token_seconds", labels, quantile);
            found.map_or("-".into(), milliseconds)
        };
        let or_dash = |is_known: bool, text: String| if is_known { text } else { "-".into() };
        vec![
            model.to_owned(),
            format!("{}/{}", gauge("llm_requests_running"), gauge("llm_slots")),
            gauge("llm_requests_waiting").to_string(),
            number(self.rate("llm_requests_total", labels)),
            number(self.rate("llm_generated_tokens_total", labels)),
            number(prompt / self.seconds),
            or_dash(prompt > 0.0, format!("{:.0}%", 100.0 * cached / prompt)),
            first(0.5),
            first(0.95),
            or_dash(
                steps > 0.0,
                format!("{:.1}", self.growth("llm_batch_size_sum", labels) / steps),
            ),
            bytes(gauge("llm_worker_proportional_memory_bytes")),
            bytes(gauge("llm_cache_bytes")),
        ]
    }

    /// How much a counter grew. A server that was started anew counts from zero.
    fn growth(&self, counter: &str, labels: &Labels) -> f64 {
        let now = self.now.sum(counter, labels).unwrap_or(0.0);
        let before = self.before.sum(counter, labels).unwrap_or(0.0);
        if before > now { now } else { now - before }
    }

    fn rate(&self, counter: &str, labels: &Labels) -> f64 {
        self.growth(counter, labels) / self.seconds
    }

    /// A quantile of what was recorded between the readings, as `histogram_quantile` of Prometheus has it: linear within its
    /// bucket. `None` if nothing was recorded.
    fn quantile(&self, histogram: &str, labels: &Labels, quantile: f64) -> Option<f64> {
        let before = self.before.buckets(histogram, labels);
        let earlier = |bound: f64| {
            let found = before
                .iter()
                .find(|(known, _)| known.total_cmp(&bound).is_eq());
            found.map_or(0.0, |(_, count)| *count)
        };
        let buckets = self.now.buckets(histogram, labels).into_iter();
        let buckets: Vec<_> = buckets
            .map(|(bound, count)| (bound, (count - earlier(bound)).max(0.0)))
            .collect();
        let total = buckets
            .last()
            .map(|(_, count)| *count)
            .filter(|total| *total > 0.0)?;
        let rank = quantile * total;
        let (mut lower, mut below) = (0.0, 0.0);
        for (bound, count) in buckets {
            if count >= rank && count > below {
                if bound.is_infinite() {
                    break;
                }
                return Some(lower + (bound - lower) * (rank - below) / (count - below));
            }
            (lower, below) = (bound, count);
        }
        // Above the last bound: at least that.
        Some(lower)
    }
}

/// Three digits are enough to see a change.
fn number(value: f64) -> String {
    match value {
        0.0 => "0".into(),
        value if value < 10.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

fn milliseconds(seconds: f64) -> String {
    let milliseconds = seconds * 1000.0;
    match milliseconds {
        few if few < 10.0 => format!("{few:.1} ms"),
        some if some < 10_000.0 => format!("{some:.0} ms"),
        _ => format!("{seconds:.1} s"),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a gauge of bytes, shown with two digits; what is below zero is shown as nothing"
)]
fn bytes(value: f64) -> String {
    if value > 0.0 {
        human_bytes(value as u64)
    } else {
        "-".into()
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "seconds since a start; clocks that disagree show none"
)]
fn elapsed(seconds: f64) -> String {
    let minutes = (seconds / 60.0) as u64;
    match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, 0) => format!("{} s", seconds as u64),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = r#"
llm_build_info{version="1.2.3"} 1
process_start_time_seconds 1000
process_cpu_seconds_total 10
llm_requests_total{model="a",operation="chat",status="ok"} 5
llm_requests_total{model="c",operation="chat",status="ok"} 5
llm_generated_tokens_total{model="a"} 100
llm_prompt_tokens_total{model="a"} 100
llm_cached_prompt_tokens_total{model="a"} 0
llm_time_to_first_token_seconds_bucket{model="a",operation="chat",le="0.01"} 5
llm_time_to_first_token_seconds_bucket{model="a",operation="chat",le="0.02"} 5
llm_time_to_first_token_seconds_bucket{model="a",operation="chat",le="+Inf"} 5
"#;

    const NOW: &str = r#"
llm_build_info{version="1.2.3"} 1
process_start_time_seconds 1000
process_cpu_seconds_total 13
process_resident_memory_bytes 47000000
llm_memory_available_bytes 9000000000
llm_models_loaded 2
llm_slots{model="a"} 8
llm_slots{model="b"} 4
llm_slots{model="c"} 0
llm_requests_running{model="a"} 3
llm_requests_waiting{model="a"} 1
llm_requests_total{model="a",operation="chat",status="ok"} 9
llm_requests_total{model="a",operation="chat",status="error"} 2
llm_requests_total{model="c",operation="chat",status="ok"} 5
llm_generated_tokens_total{model="a"} 600
llm_prompt_tokens_total{model="a"} 140
llm_cached_prompt_tokens_total{model="a"} 30
llm_batch_size_sum{model="a"} 30
llm_batch_size_count{model="a"} 12
llm_worker_proportional_memory_bytes{model="a"} 25000000
llm_cache_bytes{model="a"} 65536
llm_time_to_first_token_seconds_bucket{model="a",operation="chat",le="0.01"} 5
llm_time_to_first_token_seconds_bucket{model="a",operation="chat",le="0.02"} 9
llm_time_to_first_token_seconds_bucket{model="a",operation="chat",le="+Inf"} 9
"#;

    fn view<R>(before: &str, now: &str, look: impl FnOnce(&View<'_>) -> R) -> R {
        let (before, now) = (Scrape::parse(before), Scrape::parse(now));
        look(&View {
            before: &before,
            now: &now,
            seconds: 2.0,
        })
    }

    #[test]
    fn rates_and_percentiles_are_those_between_the_readings() {
        view(BEFORE, NOW, |view| {
            let [machine, work] = view.server(1000.0 + 7_500.0);
            assert_eq!(
                machine,
                "chaski 1.2.3  up 2 h 5 min  1.50 processors  47.0 MB and 25.0 MB in workers  9.0 GB left for models"
            );
            assert_eq!(
                work,
                "2 models  3 running  1 waiting  0 waiting for room  3.0 requests/s  1.0 failed/s  0 refused for load/s"
            );
            let rows = view.models();
            let cells = |row: usize| rows[row].join("|");
            // Four answers began between 10 and 20 ms: half of them by 15 ms.
            assert_eq!(
                cells(1),
                "a|3/8|1|3.0|250|20|75%|15 ms|20 ms|2.5|25.0 MB|65.5 KB"
            );
            assert_eq!(cells(2), "b|0/4|0|0|0|0|-|-|-|-|-|-");
            assert_eq!(rows.len(), 3, "a model that has left is not shown");
        });
    }

    #[test]
    fn a_server_that_was_started_anew_counts_from_zero() {
        let now = "llm_generated_tokens_total{model=\"a\"} 20\n";
        view(BEFORE, now, |view| {
            assert_eq!(view.rate("llm_generated_tokens_total", &[]), 10.0);
        });
    }

    #[test]
    fn what_lies_above_the_last_bound_is_at_least_that() {
        let now = "h_bucket{le=\"1\"} 0\nh_bucket{le=\"+Inf\"} 4\n";
        view("", now, |view| {
            assert_eq!(view.quantile("h", &[], 0.5), Some(1.0));
            assert_eq!(view.quantile("other", &[], 0.5), None);
        });
    }
}
