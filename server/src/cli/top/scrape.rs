//! One reading of `/metrics`: Prometheus' text format, as far as a server of ours writes it.

/// More than any server of ours has; what a stranger sends beyond is not kept.
const MAX_SAMPLES: usize = 200_000;

/// All samples of one moment.
#[derive(Debug, Default)]
pub struct Scrape(Vec<Sample>);

#[derive(Debug, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Scrape {
    /// Reads what it understands and passes over the rest.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(lines.filter_map(sample).take(MAX_SAMPLES).collect())
    }

    /// The sum of all samples of this name that have these labels; `None` if there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut values = self
            .matching(name, labels)
            .map(|sample| sample.value)
            .peekable();
        values.peek()?;
        Some(values.sum())
    }

    /// The values of a label, each once, in order.
    pub fn values_of(&self, label: &str) -> Vec<&str> {
        let mut values: Vec<&str> = self
            .0
            .iter()
            .filter_map(|sample| sample.label(label))
            .collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    /// The upper bounds and counts of a histogram's buckets, summed over all series with these labels, by bound.
    pub fn buckets(&self, histogram: &str, labels: &[(&str, &str)]) -> Vec<(f64, f64)> {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for sample in self.matching(&format!("{histogram}_bucket"), labels) {
            let Some(bound) = sample
                .label("le")
                .and_then(|bound| bound.parse::<f64>().ok())
            else {
                continue;
            };
            match buckets
                .iter_mut()
                .find(|(known, _)| known.total_cmp(&bound).is_eq())
            {
                Some((_, count)) => *count += sample.value,
                None => buckets.push((bound, sample.value)),
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        buckets
    }

    fn matching<'a>(
        &'a self,
        name: &str,
        labels: &[(&str, &str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.0.iter().filter(move |sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(label, value)| sample.label(label) == Some(*value))
        })
    }
}

impl Sample {
    fn label(&self, name: &str) -> Option<&str> {
        let (_, value) = self.labels.iter().find(|(label, _)| label == name)?;
        Some(value)
    }
}

/// `name{label="value",…} number`
fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.push((label.to_owned(), value));
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    Some(Sample {
        name: name.to_owned(),
        labels,
        value: rest.split_ascii_whitespace().next()?.parse().ok()?,
    })
}

/// A label's value up to its closing quotation mark, and what follows that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_with_their_labels() {
        type Read<'a> = (&'a str, &'a [(&'a str, &'a str)], f64);
        let check = |line: &str, expected: Option<Read<'_>>| {
            let expected = expected.map(|(name, labels, value)| Sample {
                name: name.into(),
                labels: labels
                    .iter()
                    .map(|(a, b)| ((*a).into(), (*b).into()))
                    .collect(),
                value,
            });
            assert_eq!(sample(line), expected, "{line}");
        };
        check("up 1", Some(("up", &[], 1.0)));
        check("up 1.5e3 1700000000", Some(("up", &[], 1500.0)));
        check("a{} 0", Some(("a", &[], 0.0)));
        check(
            r#"a{b="c",d="e f, {\"g\"}\\"} 2"#,
            Some(("a", &[("b", "c"), ("d", r#"e f, {"g"}\"#)], 2.0)),
        );
        for nonsense in [
            "",
            "a",
            "a ",
            "a b",
            "a{",
            "a{b}",
            "a{b=\"c} 1",
            "a{b=\"c\\",
        ] {
            check(nonsense, None);
        }
    }

    #[test]
    fn series_are_summed_and_buckets_put_in_order() {
        let text = "# TYPE h histogram\n\
            h_bucket{model=\"a\",operation=\"x\",le=\"+Inf\"} 3\n\
            h_bucket{model=\"a\",operation=\"x\",le=\"0.5\"} 1\n\
            h_bucket{model=\"a\",operation=\"y\",le=\"0.5\"} 2\n\
            h_bucket{model=\"b\",operation=\"y\",le=\"0.5\"} 7\n\
            c{model=\"a\"} 4\nc{model=\"b\"} 5\n";
        let scrape = Scrape::parse(text);
        assert_eq!(
            scrape.buckets("h", &[("model", "a")]),
            [(0.5, 3.0), (f64::INFINITY, 3.0)]
        );
        assert_eq!(scrape.sum("c", &[]), Some(9.0));
        assert_eq!(scrape.sum("c", &[("model", "b")]), Some(5.0));
        assert_eq!(scrape.sum("c", &[("model", "d")]), None);
        assert_eq!(scrape.values_of("model"), ["a", "b"]);
    }
}
