//! What is asked of the targets: seeded prompts and texts, the same for every target of a round.
//!
//! This folder is pure: a seed in, texts out. It knows neither HTTP nor which target will read a text.

mod nonce;
mod texts;

use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

use nonce::Nonces;

/// One kind of work, with a request and a reply of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// Streamed text from a prompt: `POST /api/generate`.
    Generate,
    /// The vector of one sentence: `POST /api/embed`.
    Embed,
    /// The labels of one text: `POST /classify`.
    Classify,
}

impl Workload {
    /// Every workload, in the order in which they run.
    pub const ALL: [Self; 3] = [Self::Generate, Self::Embed, Self::Classify];

    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Generate => "generate",
            Self::Embed => "embed",
            Self::Classify => "classify",
        }
    }

    /// The workload of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|workload| workload.name() == name)
    }

    /// What the texts are, in words for a reader of the report.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Generate => "four words that never repeat, then one of 4 prompts of 5 to 7 words",
            Self::Embed => "sentences of 8 to 32 words, the first four never repeat",
            Self::Classify => {
                "four words that never repeat, then one of 12 opinions of 5 to 11 words"
            }
        }
    }
}

/// An endless, seeded supply of texts for one workload. No two texts of one supply are equal, nor begin alike, so that
/// no prompt cache and no reply cache can shorten the work. The same seed gives the same texts.
#[derive(Debug)]
pub struct Inputs {
    workload: Workload,
    nonces: Nonces,
    rng: Xoshiro256PlusPlus,
}

impl Inputs {
    /// The supply of `workload` for `seed`.
    pub fn new(workload: Workload, seed: u64) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ ((workload as u64 + 1) << 56));
        Self {
            workload,
            nonces: Nonces::new(&mut rng),
            rng,
        }
    }

    /// The next `count` texts.
    pub fn take(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.next_text()).collect()
    }

    fn next_text(&mut self) -> String {
        let nonce = self.nonces.next_words();
        match self.workload {
            Workload::Generate => format!(
                "{}. {}",
                nonce.join(" "),
                pick(&mut self.rng, &texts::PROMPTS)
            ),
            Workload::Embed => {
                let words = self.rng.random_range(texts::EMBED_WORDS);
                let rest = texts::sentence(&mut self.rng, words - nonce.len());
                format!("{} {rest}", nonce.join(" "))
            }
            Workload::Classify => format!(
                "{}: {}",
                nonce.join(" "),
                pick(&mut self.rng, &texts::OPINIONS)
            ),
        }
    }
}

fn pick(rng: &mut Xoshiro256PlusPlus, texts: &[&'static str]) -> &'static str {
    texts[rng.random_range(0..texts.len())]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_texts_and_another_seed_others() {
        for workload in Workload::ALL {
            let texts = Inputs::new(workload, 42).take(50);
            assert_eq!(texts, Inputs::new(workload, 42).take(50));
            assert_ne!(texts, Inputs::new(workload, 43).take(50));
        }
    }

    #[test]
    fn no_two_texts_begin_alike() {
        for workload in Workload::ALL {
            let texts = Inputs::new(workload, 1).take(20_000);
            let beginnings: HashSet<Vec<&str>> = texts
                .iter()
                .map(|text| text.split([' ', '.', ':']).take(nonce::WORDS).collect())
                .collect();
            assert_eq!(beginnings.len(), texts.len(), "{workload:?}");
        }
    }

    #[test]
    fn texts_have_the_lengths_that_the_report_states() {
        let lengths = |workload, nonce: usize| {
            let texts = Inputs::new(workload, 5).take(2_000);
            let words: Vec<usize> = texts
                .iter()
                .map(|text| text.split(' ').count() - nonce)
                .collect();
            (*words.iter().min().unwrap(), *words.iter().max().unwrap())
        };
        assert_eq!(lengths(Workload::Generate, nonce::WORDS), (5, 7));
        assert_eq!(lengths(Workload::Embed, 0), (8, 32));
        assert_eq!(lengths(Workload::Classify, nonce::WORDS), (5, 11));
    }
}
