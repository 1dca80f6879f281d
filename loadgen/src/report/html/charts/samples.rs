use crate::report::model::{Row, Samples};

/// A column of a target's samples, over all rounds; failures are infinite.
pub(super) fn column(row: &Row, target: usize, of: fn(&Samples) -> &[Option<f64>]) -> Vec<f64> {
    slots(row, target)
        .flat_map(of)
        .map(|value| value.unwrap_or(f64::INFINITY))
        .collect()
}

/// The samples of a target, round by round.
pub(super) fn slots(row: &Row, target: usize) -> impl Iterator<Item = &Samples> {
    row.rounds
        .iter()
        .filter_map(move |round| round.slots.get(target)?.as_ref())
        .map(|slot| &slot.samples)
}

/// At most `most` of `items`, evenly spread.
pub(super) fn thinned<T: Clone>(items: &[T], most: usize) -> Vec<T> {
    let step = items.len().div_ceil(most).max(1);
    items.iter().step_by(step).cloned().collect()
}
