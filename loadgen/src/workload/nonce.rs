use rand::{RngExt, rngs::Xoshiro256PlusPlus};

/// Words in front of every text. Four of 64 make 2^24 beginnings, more than a run can use up.
pub(super) const WORDS: usize = 4;

const LEXICON: [&str; 64] = [
    "amber", "anchor", "apple", "arrow", "autumn", "badge", "basin", "beacon", "birch", "bridge",
    "bronze", "cabin", "candle", "canyon", "cedar", "cloud", "copper", "coral", "cotton", "crane",
    "delta", "desert", "eagle", "ember", "falcon", "fern", "forest", "garden", "glacier",
    "granite", "harbor", "hazel", "island", "ivory", "jasper", "kettle", "lantern", "lemon",
    "maple", "marble", "meadow", "mirror", "nectar", "oasis", "olive", "orchid", "paper", "pebble",
    "planet", "prairie", "quartz", "raven", "river", "saddle", "silver", "summit", "thunder",
    "timber", "tulip", "valley", "velvet", "walnut", "willow", "winter",
];

const BITS_PER_WORD: u32 = LEXICON.len().ilog2();
const SPACE: u64 = 1 << (BITS_PER_WORD * WORDS as u32);

/// A seeded walk through every four-word beginning, each exactly once: n -> a·n + b (mod 2^24) with odd a is a
/// permutation, so unlike random words it cannot repeat by chance.
#[derive(Debug)]
pub(super) struct Nonces {
    multiplier: u64,
    offset: u64,
    used: u64,
}

impl Nonces {
    pub(super) fn new(rng: &mut Xoshiro256PlusPlus) -> Self {
        Self {
            multiplier: rng.random_range(0..SPACE) | 1,
            offset: rng.random_range(0..SPACE),
            used: 0,
        }
    }

    pub(super) fn next_words(&mut self) -> [&'static str; WORDS] {
        let value = (self.used * self.multiplier + self.offset) % SPACE;
        self.used = (self.used + 1) % SPACE;
        std::array::from_fn(|word| {
            let index = (value >> (BITS_PER_WORD * word as u32)) as usize % LEXICON.len();
            LEXICON[index]
        })
    }
}
