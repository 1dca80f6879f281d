//! What steps cost on a model of real size: the figures of `docs/decisions/0006-shared-cells.md`.
//!
//! ```sh
//! GGUF_MODEL=FILE cargo test --release --test it costs:: -- --ignored --nocapture
//! ```
//!
//! One thread, and its time on the processor instead of the clock's, so that others on the machine disturb little.

use std::path::PathBuf;
use std::time::Duration;

use chaski::engine::gguf::{self, CacheType, Spec};
use chaski::inference::Token;
use chaski::inference::generate::{Begin, Engine, Feed, Sampling, Slot};

/// Tokens that several prompts begin with.
const SHARED: u32 = 1500;

/// Steps of which the mean is told.
const STEPS: u32 = 4;

/// A sequence that nothing is shared with.
const OWN: Slot = 1;

/// Nanoseconds that this thread has computed.
fn computed() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

fn milliseconds(body: impl FnOnce()) -> f64 {
    let before = computed();
    body();
    Duration::from_nanos(computed() - before).as_secs_f64() * 1e3
}

/// Feeds tokens of no meaning, the last ones as guesses, and says how long that took.
fn feed(engine: &mut dyn Engine, slot: Slot, from: u32, count: u32, guessed: u32) -> f64 {
    let words = engine.limits().vocabulary;
    let tokens: Vec<Token> = (from..from + count)
        .map(|position| (position.wrapping_mul(7919) % words).cast_signed())
        .collect();
    let most = engine.limits().step_tokens as usize;
    milliseconds(|| {
        let mut position = from;
        for part in tokens.chunks(most) {
            let end = position + u32::try_from(part.len()).unwrap();
            let feed = Feed {
                slot,
                position,
                tokens: part,
                sample: end == from + count,
                guessed,
            };
            engine.step(&[feed], &mut Vec::new()).unwrap();
            position = end;
        }
    })
}

fn begin(engine: &mut dyn Engine, slot: Slot) {
    let begin = Begin {
        sampling: &Sampling {
            temperature: 0.0,
            ..Sampling::default()
        },
        logprobs: None,
        recent: &[],
        logit_bias: &[],
        rules: None,
    };
    engine.begin(slot, begin).unwrap();
}

/// Mean of steps of one token and so many guesses, after so many tokens.
fn decode(engine: &mut dyn Engine, slot: Slot, after: u32, guessed: u32) -> f64 {
    let all: f64 = (0..STEPS)
        .map(|_| {
            let took = feed(engine, slot, after, 1 + guessed, guessed);
            engine.cut(slot, after);
            took
        })
        .sum();
    all / f64::from(STEPS)
}

fn measure(engine: &mut dyn Engine) {
    for slot in 0..engine.limits().sequences {
        begin(engine, slot);
    }
    let cold = feed(engine, 0, 0, SHARED + 60, 0);
    println!("  prompt of {} tokens: {cold:.0} ms", SHARED + 60);
    for more in [20, 60] {
        engine.cut(OWN, 0);
        assert_eq!(engine.share(0, OWN, SHARED), SHARED);
        let hit = feed(engine, OWN, SHARED, more, 0);
        let ratio = cold / hit;
        println!(
            "  {more} tokens after {SHARED} shared ones: {hit:.0} ms, {ratio:.1} times faster"
        );
    }
    engine.cut(OWN, SHARED);
    for guessed in [0, 3, 15] {
        let took = decode(engine, OWN, SHARED, guessed);
        println!("  one token and {guessed} guesses after {SHARED}: {took:.1} ms");
    }
    engine.release();
    let mut others = 0;
    for wanted in [0, 1] {
        while others < wanted {
            feed(engine, 2 + others, 0, SHARED, 0);
            others += 1;
        }
        engine.cut(OWN, 0);
        feed(engine, OWN, 0, 20, 0);
        for guessed in [0, 15] {
            let took = decode(engine, OWN, 20, guessed);
            println!(
                "  one token and {guessed} guesses after 20, {} cells of others: {took:.1} ms",
                others * SHARED
            );
        }
    }
}

#[test]
#[ignore = "a measurement of a model that the repository does not ship"]
fn what_steps_cost() {
    let model = PathBuf::from(std::env::var_os("GGUF_MODEL").expect("GGUF_MODEL names a file"));
    for flash_attention in [true, false] {
        println!("flash attention: {flash_attention}");
        let spec = Spec {
            model: model.clone(),
            adapter: None,
            projector: None,
            context: 4096,
            slots: 4,
            cells: 8192,
            batch: 512,
            threads: 1,
            use_mmap: None,
            kernels: gguf::Preference::default(),
            cache_type: CacheType::F16,
            flash_attention: Some(flash_attention),
            gpu_layers: None,
            cache_idle: Duration::from_secs(180),
            guesses: true,
        };
        gguf::with_engine(&spec, |engine, _| measure(engine)).unwrap();
    }
}
