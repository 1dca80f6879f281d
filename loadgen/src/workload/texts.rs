use rand::{RngExt, rngs::Xoshiro256PlusPlus};

/// What synthetic prompts end with: nothing that a model could finish in a few words, because replies have to reach the
/// length that was asked for. By turn, over and over.
const ENDLESS: [&str; 4] = [
    "Tell a very long story about all of this, and do not come to an end:",
    "Go on from here in as much detail as you can, and do not stop:",
    "Now tell all of it once more from another point of view, at even greater length:",
    "List everything that happened so far and explain every single part of it at length:",
];

const CLAUSES: [[&str; 12]; 4] = [
    [
        "the", "a", "every", "no", "this", "that", "one", "another", "our", "their", "the", "some",
    ],
    [
        "old", "quiet", "bright", "small", "careful", "early", "broken", "distant", "warm",
        "heavy", "simple", "busy",
    ],
    [
        "teacher", "engine", "market", "letter", "doctor", "farmer", "river", "student", "machine",
        "painter", "train", "child",
    ],
    [
        "carries",
        "finds",
        "repairs",
        "follows",
        "describes",
        "leaves",
        "watches",
        "needs",
        "reaches",
        "answers",
        "remembers",
        "builds",
    ],
];

/// What turn `turn` of a conversation asks for.
pub(super) fn endless(turn: usize) -> &'static str {
    ENDLESS[turn % ENDLESS.len()]
}

/// A text of `words` words that begins with `nonce`.
pub(super) fn beginning_with(nonce: &[&str], words: usize, rng: &mut Xoshiro256PlusPlus) -> String {
    let rest = sentence(rng, words.saturating_sub(nonce.len()));
    format!("{} {rest}", nonce.join(" ")).trim_end().to_owned()
}

/// A sentence of exactly `words` words: article, adjective, noun, verb, over and over.
fn sentence(rng: &mut Xoshiro256PlusPlus, words: usize) -> String {
    let words: Vec<&str> = (0..words)
        .map(|position| {
            let part = &CLAUSES[position % CLAUSES.len()];
            part[rng.random_range(0..part.len())]
        })
        .collect();
    words.join(" ")
}
