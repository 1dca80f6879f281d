//! What our kernels bring on a whole model, beside llama.cpp's best, in turns:
//!
//! ```sh
//! KERNELS_MODEL=FILE cargo test --release --test it -- kernels::measure --ignored --nocapture
//! ```

use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use chaski::engine::gguf::{self, CacheType, Preference, Spec};
use chaski::inference::Token;
use chaski::inference::generate::{Begin, Engine, Feed, Sampled, Sampling};

/// Most streams at a time.
const SLOTS: u32 = 16;

/// Tokens of the prompt that is measured.
const PROMPT: usize = 512;

/// Tokens that a stream has before it is measured, and tokens that are.
const BEFORE: usize = 16;
const STEPS: usize = 8;

/// Times each figure is taken.
const ROUNDS: usize = 5;

/// What is measured.
#[derive(Clone, Copy)]
enum Work {
    Prompt,
    Streams(u32),
}

const ALL: [Work; 6] = [
    Work::Prompt,
    Work::Streams(1),
    Work::Streams(2),
    Work::Streams(4),
    Work::Streams(8),
    Work::Streams(SLOTS),
];

/// A model on a thread of its own, which has its own choice of kernels.
struct Side {
    work: mpsc::Sender<Work>,
    speed: mpsc::Receiver<f64>,
}

impl Side {
    fn new(model: PathBuf, kernels: Preference) -> Self {
        let (work, orders) = mpsc::channel();
        let (results, speed) = mpsc::channel();
        let spec = Spec {
            model,
            adapter: None,
            projector: None,
            context: 1024,
            slots: SLOTS,
            cells: 1024 * SLOTS,
            batch: 512,
            threads: 0,
            use_mmap: None,
            kernels,
            cache_type: CacheType::F16,
            flash_attention: None,
            gpu_layers: None,
            cache_idle: Duration::from_secs(180),
            guesses: true,
        };
        thread::spawn(move || {
            gguf::with_engine(&spec, |engine, facts| {
                println!("{}", facts.description);
                for work in orders {
                    results.send(measured(engine, work)).unwrap();
                }
            })
            .unwrap();
        });
        Self { work, speed }
    }

    /// Tokens per second.
    fn measure(&self, work: Work) -> f64 {
        self.work.send(work).unwrap();
        self.speed.recv().unwrap()
    }
}

fn token(engine: &dyn Engine, number: usize) -> Token {
    let vocabulary = engine.limits().vocabulary as usize;
    Token::try_from(number * 7919 % vocabulary).unwrap()
}

/// Begins anew with these tokens.
fn feed(engine: &mut dyn Engine, slot: u32, tokens: &[Token]) {
    engine.cut(slot, 0);
    let begin = Begin {
        sampling: &Sampling::default(),
        logprobs: None,
        recent: &[],
        logit_bias: &[],
        rules: None,
    };
    engine.begin(slot, begin).unwrap();
    let most = engine.limits().step_tokens as usize;
    let mut position = 0;
    for tokens in tokens.chunks(most) {
        let feed = Feed {
            slot,
            position,
            tokens,
            sample: false,
            guessed: 0,
        };
        engine.step(&[feed], &mut Vec::new()).unwrap();
        position += u32::try_from(tokens.len()).unwrap();
    }
}

fn measured(engine: &mut dyn Engine, work: Work) -> f64 {
    let tokens: Vec<Token> = (0..PROMPT).map(|n| token(engine, n)).collect();
    match work {
        Work::Prompt => {
            let start = Instant::now();
            feed(engine, 0, &tokens);
            PROMPT as f64 / start.elapsed().as_secs_f64()
        }
        Work::Streams(streams) => {
            for slot in 0..streams {
                feed(engine, slot, &tokens[..BEFORE]);
            }
            let mut sampled: Vec<Sampled> = Vec::new();
            let start = Instant::now();
            for step in 0..STEPS {
                let at = BEFORE + step;
                let feeds: Vec<Feed<'_>> = (0..streams)
                    .map(|slot| Feed {
                        slot,
                        position: u32::try_from(at).unwrap(),
                        tokens: &tokens[at..=at],
                        sample: true,
                        guessed: 0,
                    })
                    .collect();
                sampled.clear();
                engine.step(&feeds, &mut sampled).unwrap();
            }
            f64::from(streams) * STEPS as f64 / start.elapsed().as_secs_f64()
        }
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

#[test]
#[ignore = "prints figures of the model KERNELS_MODEL"]
fn measure() {
    let model = std::env::var_os("KERNELS_MODEL").expect("KERNELS_MODEL names a GGUF file");
    let ours = Side::new(model.clone().into(), Preference::Own);
    let theirs = Side::new(model.into(), Preference::LlamaCpp);
    for work in ALL {
        let name = match work {
            Work::Prompt => format!("prompt of {PROMPT}"),
            Work::Streams(streams) => format!("{streams} streams"),
        };
        let mut all: [Vec<f64>; 3] = Default::default();
        for _ in 0..=ROUNDS {
            let (ours, theirs) = (ours.measure(work), theirs.measure(work));
            for (all, one) in all.iter_mut().zip([ours, theirs, ours / theirs]) {
                all.push(one);
            }
        }
        // The first round warms up.
        let [ours, theirs, ratios] = all.map(|all| all[1..].to_vec());
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = ratios.iter().copied().fold(0.0, f64::max);
        println!(
            "{name}: ours {:.1}, llama.cpp's {:.1} tokens/s; ratio {:.2} (of rounds, {least:.2} to {most:.2})",
            median(ours),
            median(theirs),
            median(ratios),
        );
    }
}
