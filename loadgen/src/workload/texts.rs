use std::ops::RangeInclusive;

use rand::{RngExt, rngs::Xoshiro256PlusPlus};

pub(super) const PROMPTS: [&str; 4] = [
    "Write a detailed essay about climate change:",
    "What is the capital of France?",
    "What is 2 + 2? Answer briefly:",
    "Count from 1 to 5:",
];

pub(super) const OPINIONS: [&str; 12] = [
    "This product exceeded my expectations!",
    "The delivery was late and the box was damaged.",
    "It works, nothing more and nothing less.",
    "I would buy it again without thinking twice.",
    "The screen broke after two days, and nobody answers my letters.",
    "The colour is as shown in the picture.",
    "Absolutely wonderful, my whole family loves it.",
    "A complete waste of money.",
    "The manual is forty pages long and comes in six languages.",
    "Support solved my problem within minutes, thank you!",
    "Loud, slow and far too expensive for what it does.",
    "It arrived on Tuesday as announced.",
];

/// Length of an embedded sentence in words, its four leading ones included.
pub(super) const EMBED_WORDS: RangeInclusive<usize> = 8..=32;

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

/// A sentence of exactly `words` words: article, adjective, noun, verb, over and over.
pub(super) fn sentence(rng: &mut Xoshiro256PlusPlus, words: usize) -> String {
    let words: Vec<&str> = (0..words)
        .map(|position| {
            let part = &CLAUSES[position % CLAUSES.len()];
            part[rng.random_range(0..part.len())]
        })
        .collect();
    words.join(" ")
}
