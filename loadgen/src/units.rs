//! How people write times, for the command line and for workload files alike.

use std::time::Duration;

/// Parses `500ms`, `30s`, `2m`.
///
/// # Errors
/// What to write instead.
pub fn duration(typed: &str) -> Result<Duration, String> {
    let parsed = typed
        .parse::<jiff::SignedDuration>()
        .map_err(|_| "write a duration such as 500ms, 30s or 2m")?;
    Duration::try_from(parsed).map_err(|_| "a duration cannot be negative".into())
}

/// The known word most like `typed`, if any is near enough to have been meant.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let nearest = known
        .into_iter()
        .map(|word| (edits(&typed.to_lowercase(), word), word))
        .min()?;
    let tolerated = typed.chars().count().div_ceil(3).min(3);
    (nearest.0 <= tolerated).then_some(nearest.1)
}

/// Insertions, deletions and replacements that turn one word into the other (Levenshtein 1966), one row at a time.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (position, have) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = position + 1;
        for (column, want) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(have != *want);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("soon").is_err());
        assert!(duration("-1s").is_err());
    }

    #[test]
    fn a_slip_finds_the_word_that_was_meant_and_nonsense_finds_none() {
        let known = ["generate", "embed", "classify"];
        assert_eq!(nearest("generat", known), Some("generate"));
        assert_eq!(nearest("Embd", known), Some("embed"));
        assert_eq!(nearest("clasify", known), Some("classify"));
        assert_eq!(nearest("bananas", known), None);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
