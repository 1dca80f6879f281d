//! The same text lies at the same place in both vector spaces, alone and in a batch.

use super::{Side, item};
use crate::{
    checks::{Check, Outcome},
    routes::Content,
    workload::Input,
};

/// Texts of different length and meaning, so that a batch has to pad and an order can be told.
const TEXTS: [&str; 8] = [
    "A cat sleeps on the warm roof.",
    "Interest rates rose again, and banks tightened their lending to small companies all over the country.",
    "Yes.",
    "How do I bake bread without yeast?",
    "The committee has not decided whether the bridge across the northern river will be repaired before winter.",
    "Ein kurzer Satz auf Deutsch.",
    "def add(a, b): return a + b",
    "Stars are born in clouds of gas and dust that collapse under their own weight.",
];

/// The least cosine between what two targets make of the same text.
pub const ACROSS: f64 = 0.999;
/// The least cosine between a text alone and in a batch at one target.
const IN_BATCH: f64 = 0.9999;
/// How far from 1 a vector's length may be.
const NORM: f64 = 1e-3;

/// What one side made of [`TEXTS`].
#[derive(Debug, Clone, PartialEq)]
struct Space {
    alone: Vec<Vec<f64>>,
    in_batch: Vec<Vec<f64>>,
}

pub(super) async fn compare(pair: &str, candidate: &Side<'_>, baseline: &Side<'_>) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut spaces = Vec::new();
    for side in [candidate, baseline] {
        match space(side).await {
            Ok(space) => {
                checks.extend(sound(&format!("embed: {}", side.name), &space));
                spaces.push(space);
            }
            Err(error) => checks.push(Check {
                id: "sound_vectors",
                title: "vectors are sound",
                outcome: Outcome::Fail,
                detail: format!("embed: {error}"),
                value: None,
            }),
        }
    }
    if let [one, other] = spaces.as_slice() {
        checks.push(same_space(pair, one, other));
    }
    checks
}

async fn space(side: &Side<'_>) -> Result<Space, String> {
    let mut alone = Vec::new();
    for text in TEXTS {
        alone.extend(vectors(side, Input::Text(text.into()), 1).await?);
    }
    let batch = Input::Texts(TEXTS.map(str::to_owned).into());
    let in_batch = vectors(side, batch, TEXTS.len()).await?;
    Ok(Space { alone, in_batch })
}

async fn vectors(side: &Side<'_>, input: Input, expected: usize) -> Result<Vec<Vec<f64>>, String> {
    let answer = side
        .put(&item(input))
        .await
        .map_err(|one| one.to_string())?;
    let Content::Vectors(vectors) = answer.content else {
        return Err(format!("{}: no vectors", side.name));
    };
    if vectors.values.len() != expected {
        return Err(format!(
            "{}: {} vectors for {expected} texts",
            side.name,
            vectors.values.len()
        ));
    }
    let exact = |vector: Vec<f32>| vector.into_iter().map(f64::from).collect();
    Ok(vectors.values.into_iter().map(exact).collect())
}

/// What can be said of one side alone: unit length, the batch agrees with the single texts, and keeps their order.
fn sound(scope: &str, space: &Space) -> Vec<Check> {
    let off = space
        .alone
        .iter()
        .map(|vector| (norm(vector) - 1.0).abs())
        .fold(0.0, f64::max);
    let least = least_cosine(&space.alone, &space.in_batch);
    let check = |id, title, holds, found: String| Check {
        id,
        title,
        outcome: if holds { Outcome::Pass } else { Outcome::Fail },
        detail: format!("{scope}: {found}"),
        value: None,
    };
    vec![
        check(
            "unit_length",
            "vectors have length 1",
            off <= NORM,
            format!("at most {off:.1e} off"),
        ),
        check(
            "batch_agrees",
            "a batch gives what single texts give, in their order",
            least >= IN_BATCH && is_in_order(space),
            if is_in_order(space) {
                format!("least cosine {least:.6}")
            } else {
                "the batch mixes up the order of its texts".into()
            },
        ),
    ]
}

/// Whether each vector of the batch is nearest to its own text alone; vectors that are all alike tell nothing.
fn is_in_order(space: &Space) -> bool {
    space.in_batch.iter().enumerate().all(|(index, vector)| {
        let own = cosine(vector, &space.alone[index]);
        space
            .alone
            .iter()
            .all(|other| cosine(vector, other) <= own + 1e-6)
    })
}

fn same_space(pair: &str, one: &Space, other: &Space) -> Check {
    let dimensions = |space: &Space| space.alone.first().map_or(0, Vec::len);
    let is_comparable = dimensions(one) == dimensions(other);
    let least = least_cosine(&one.alone, &other.alone);
    let (outcome, found) = if is_comparable {
        let outcome = if least >= ACROSS {
            Outcome::Pass
        } else {
            Outcome::Fail
        };
        (
            outcome,
            format!("least cosine {least:.6} of {} texts", TEXTS.len()),
        )
    } else {
        (
            Outcome::Fail,
            format!(
                "vectors of {} and {} numbers: not the same model",
                dimensions(one),
                dimensions(other)
            ),
        )
    };
    Check {
        id: "same_vectors",
        title: "both give the same vectors",
        outcome,
        detail: format!("{pair}: {found}"),
        value: is_comparable.then_some(least),
    }
}

fn least_cosine(one: &[Vec<f64>], other: &[Vec<f64>]) -> f64 {
    one.iter()
        .zip(other)
        .map(|(one, other)| cosine(one, other))
        .fold(1.0, f64::min)
}

/// The cosine between two vectors; 0 for vectors of different or no length.
pub fn cosine(one: &[f64], other: &[f64]) -> f64 {
    if one.len() != other.len() {
        return 0.0;
    }
    let product: f64 = one.iter().zip(other).map(|(one, other)| one * other).sum();
    let lengths = norm(one) * norm(other);
    if lengths > 0.0 {
        product / lengths
    } else {
        0.0
    }
}

fn norm(vector: &[f64]) -> f64 {
    vector
        .iter()
        .map(|number| number * number)
        .sum::<f64>()
        .sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(vectors: &[[f64; 2]]) -> Space {
        let vectors: Vec<Vec<f64>> = vectors.iter().map(|vector| vector.to_vec()).collect();
        Space {
            alone: vectors.clone(),
            in_batch: vectors,
        }
    }

    fn outcomes(checks: &[Check]) -> Vec<Outcome> {
        checks.iter().map(|check| check.outcome).collect()
    }

    #[test]
    fn sound_vectors_pass() {
        let good = space(&[[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]);
        assert_eq!(outcomes(&sound("a", &good)), [Outcome::Pass, Outcome::Pass]);
        assert_eq!(same_space("a and b", &good, &good).outcome, Outcome::Pass);
        let alike = space(&[[1.0, 0.0], [1.0, 0.0]]);
        assert_eq!(
            outcomes(&sound("a", &alike)),
            [Outcome::Pass, Outcome::Pass]
        );
    }

    #[test]
    fn length_order_batch_and_space_are_checked() {
        let long = space(&[[2.0, 0.0], [0.0, 1.0]]);
        assert_eq!(outcomes(&sound("a", &long)), [Outcome::Fail, Outcome::Pass]);

        let mut swapped = space(&[[1.0, 0.0], [0.0, 1.0]]);
        swapped.in_batch.swap(0, 1);
        let checks = sound("a", &swapped);
        assert_eq!(checks[1].outcome, Outcome::Fail);
        assert!(checks[1].detail.contains("order"), "{}", checks[1].detail);

        let mut worse_in_batch = space(&[[1.0, 0.0], [0.0, 1.0]]);
        worse_in_batch.in_batch[0] = vec![0.99, 0.141];
        assert_eq!(sound("a", &worse_in_batch)[1].outcome, Outcome::Fail);

        let good = space(&[[1.0, 0.0], [0.0, 1.0]]);
        let other = space(&[[0.998, 0.0632], [0.0, 1.0]]);
        assert_eq!(
            same_space("p", &good, &other).outcome,
            Outcome::Fail,
            "cosine 0.998 is below"
        );
        let short = Space {
            alone: vec![vec![1.0]],
            in_batch: vec![vec![1.0]],
        };
        assert!(
            same_space("p", &good, &short)
                .detail
                .contains("2 and 1 numbers")
        );
    }
}
