//! Trying a model on two short texts as it is loaded, so that what cannot work fails then and not at the first request.

use super::{Encoder, Tokenized};
use crate::inference::Error;

/// How far a number of a result may move, relative to the largest, when a text gets batch mates. Floating-point sums in
/// another order move it by 1e-6; activations quantised per tensor by 1e-2.
const MATES_TOLERANCE: f32 = 1e-4;

/// Texts of different lengths.
const TEXTS: [&str; 2] = [
    "A short text.",
    "A rather longer text, so that the two of them in one batch need padding.",
];

/// What was found out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Trial {
    /// Numbers of a result.
    pub width: usize,
    /// Tokens of the text that had it.
    pub tokens: usize,
    /// Whether company left a text's result as it was, beyond rounding.
    pub bears_company: bool,
}

/// Computes two texts alone and together.
///
/// # Errors
/// Those of the encoder.
pub fn try_out(encoder: &mut dyn Encoder) -> Result<Trial, Error> {
    let mut texts = Vec::new();
    for text in TEXTS {
        let tokens = encoder.split(text)?;
        texts.push(encoder.frame().single(&tokens, encoder.max_tokens())?);
    }
    let texts: Vec<&Tokenized> = texts.iter().collect();
    let mut alone = Vec::new();
    for text in &texts {
        alone.append(&mut encoder.encode(&[text])?);
    }
    let bears_company = encoder.encode(&texts).is_ok_and(|together| {
        alone
            .iter()
            .zip(&together)
            .all(|(alone, together)| is_close(alone, together))
    });
    let width = alone.first().map_or(0, Vec::len);
    Ok(Trial {
        width,
        tokens: texts[0].ids.len(),
        bears_company,
    })
}

/// Whether two results are the same beyond rounding.
fn is_close(a: &[f32], b: &[f32]) -> bool {
    let largest = a.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(a, b)| (a - b).abs() <= MATES_TOLERANCE * largest)
}
