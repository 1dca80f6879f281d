//! One vector of a text out of the vectors of its tokens.

/// How.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Pooling {
    /// The mean over all tokens, special tokens included, as sentence-transformers computes it.
    #[default]
    Mean,
    /// The first token's vector (`[CLS]`).
    First,
    /// The last token's vector.
    Last,
}

impl Pooling {
    /// Pools a text's token vectors, one after another in `tokens`, which has no padding.
    pub fn pool(self, tokens: &[f32], dimensions: usize) -> Vec<f32> {
        match self {
            Self::First => tokens[..dimensions].to_vec(),
            Self::Last => tokens[tokens.len() - dimensions..].to_vec(),
            Self::Mean => {
                let mut sum = vec![0.0f32; dimensions];
                for token in tokens.chunks_exact(dimensions) {
                    for (sum, x) in sum.iter_mut().zip(token) {
                        *sum += x;
                    }
                }
                let count = (tokens.len() / dimensions) as f32;
                sum.iter().map(|sum| sum / count).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooling_three_tokens_of_two_dimensions() {
        let tokens = [1.0, 2.0, 3.0, 4.0, 8.0, 0.0];
        assert_eq!(Pooling::Mean.pool(&tokens, 2), [4.0, 2.0]);
        assert_eq!(Pooling::First.pool(&tokens, 2), [1.0, 2.0]);
        assert_eq!(Pooling::Last.pool(&tokens, 2), [8.0, 0.0]);
    }
}
