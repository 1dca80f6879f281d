//! One vector of a text out of the vectors of its tokens.

/// How: sentence-transformers' modes of pooling.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Pooling {
    /// The first token's vector (`[CLS]`).
    First,
    /// Of each number the largest of all tokens.
    Max,
    /// The mean over all tokens, special tokens included.
    #[default]
    Mean,
    /// The sum over all tokens, divided by the square root of their count.
    MeanBySquareRoot,
    /// The mean over all tokens, each counting as much as its place from 1 on.
    WeightedMean,
    /// The last token's vector.
    Last,
}

impl Pooling {
    /// By the name that `1_Pooling/config.json` has for it, alone or behind `pooling_mode_`.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "cls" | "cls_token" => Self::First,
            "max" | "max_tokens" => Self::Max,
            "mean" | "mean_tokens" => Self::Mean,
            "mean_sqrt_len" | "mean_sqrt_len_tokens" => Self::MeanBySquareRoot,
            "weightedmean" | "weightedmean_tokens" => Self::WeightedMean,
            "lasttoken" | "last_token" | "last" => Self::Last,
            _ => return None,
        })
    }

    /// Pools a text's token vectors, one after another in `tokens`, which has no padding.
    pub fn pool(self, tokens: &[f32], dimensions: usize) -> Vec<f32> {
        let count = (tokens.len() / dimensions) as f32;
        match self {
            Self::First => tokens[..dimensions].to_vec(),
            Self::Last => tokens[tokens.len() - dimensions..].to_vec(),
            Self::Max => {
                let mut largest = tokens[..dimensions].to_vec();
                for token in tokens[dimensions..].chunks_exact(dimensions) {
                    for (largest, x) in largest.iter_mut().zip(token) {
                        *largest = largest.max(*x);
                    }
                }
                largest
            }
            Self::Mean => sum(tokens, dimensions, |_| 1.0, count),
            Self::MeanBySquareRoot => sum(tokens, dimensions, |_| 1.0, count.sqrt()),
            Self::WeightedMean => {
                let weight = |index: usize| (index + 1) as f32;
                sum(tokens, dimensions, weight, count * (count + 1.0) / 2.0)
            }
        }
    }
}

/// The sum of token vectors, each times its weight, divided by `divisor`.
fn sum(tokens: &[f32], dimensions: usize, weight: impl Fn(usize) -> f32, divisor: f32) -> Vec<f32> {
    let mut sum = vec![0.0f32; dimensions];
    for (index, token) in tokens.chunks_exact(dimensions).enumerate() {
        let weight = weight(index);
        for (sum, x) in sum.iter_mut().zip(token) {
            *sum += weight * x;
        }
    }
    sum.iter().map(|sum| sum / divisor).collect()
}

/// SPLADE's pooling (arXiv 2109.10086): of a logit per word of the vocabulary and token, the weight of each word.
pub(super) fn splade(tokens: &[f32], words: usize) -> Vec<f32> {
    let largest = Pooling::Max.pool(tokens, words);
    // The logarithm and the cut at 0 keep the order, so that they can be taken of the largest alone.
    largest.iter().map(|x| x.max(0.0).ln_1p()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooling_three_tokens_of_two_dimensions() {
        let check = |name: &str, expected: [f32; 2]| {
            let tokens = [1.0, 2.0, 3.0, 4.0, 8.0, 0.0];
            let pooled = Pooling::named(name).unwrap().pool(&tokens, 2);
            let near = pooled
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-6);
            assert!(near, "{name}: {pooled:?}");
        };
        check("mean", [4.0, 2.0]);
        check("cls_token", [1.0, 2.0]);
        check("lasttoken", [8.0, 0.0]);
        check("max_tokens", [8.0, 4.0]);
        check(
            "mean_sqrt_len_tokens",
            [12.0 / 3f32.sqrt(), 6.0 / 3f32.sqrt()],
        );
        check("weightedmean", [31.0 / 6.0, 10.0 / 6.0]);
        assert_eq!(Pooling::named("median"), None);
    }

    #[test]
    fn words_weigh_what_their_best_token_says() {
        let weights = splade(&[-1.0, 0.0, 1.0, -3.0, 0.0, 0.5], 3);
        assert_eq!(weights, [0.0, 0.0, 2f32.ln()]);
    }
}
