//! What a token costs beside the engine's computation: the scheduler's decisions, choosing it, making text of it, and the frames that carry it
//! from the worker to the server. `cargo bench --bench generation`, or a part of it with `-- sampler`.

#![expect(missing_docs, reason = "criterion's macro makes a public function")]

use std::hint::black_box;

use chaski::engine::gguf::bench::Chooser;
use chaski::inference::generate::scheduler::{Pace, Request, Scheduler};
use chaski::inference::generate::text::Assembler;
use chaski::inference::generate::{Event, Limits, Sampling, Slot, Text};
use chaski::inference::{self, JobId, Step, Token};
use chaski::worker::frame::{self, FromWorker};
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};

const LIMITS: Limits = Limits {
    slots: 8,
    sequences: 32,
    context: 4096,
    cells: 8192,
    step_tokens: 512,
    step_outputs: 40,
    shares: true,
    kept_steps: u32::MAX,
    rewinds: true,
    vocabulary: 32_064,
};

/// A scheduler whose engine takes no time.
struct Streams {
    scheduler: Scheduler,
    pace: Pace,
    jobs: JobId,
    /// The state of numbers without a pattern, so that nothing can be guessed.
    random: u64,
}

impl Streams {
    fn new() -> Self {
        Self {
            scheduler: Scheduler::new(LIMITS),
            pace: Pace::default(),
            jobs: 0,
            random: 1,
        }
    }

    fn token(&mut self) -> Token {
        self.random = (self.random)
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 40) as Token % LIMITS.vocabulary as Token
    }

    fn prompt(&mut self, length: usize) -> Vec<Token> {
        (0..length).map(|_| self.token()).collect()
    }

    fn submit(&mut self, prompt: Vec<Token>, max_tokens: u32) -> JobId {
        self.jobs += 1;
        self.scheduler.submit(Request {
            id: self.jobs,
            scope: 0,
            prompt,
            keep: 0,
            shift: true,
            max_tokens,
        });
        self.jobs
    }

    fn assign(&mut self) {
        while let Some(assigned) = self.scheduler.assign() {
            self.scheduler.cuts();
            (self.scheduler).start(assigned.slot, assigned.cached_tokens);
        }
    }

    /// All that is decided between two engine calls.
    fn step(&mut self) {
        self.assign();
        while let Some(full) = self.scheduler.full() {
            self.scheduler.cuts();
            self.scheduler.shifted(full);
        }
        self.scheduler.decide(&self.pace);
        self.scheduler.cuts();
        let plan = self.scheduler.plan();
        let sampled = plan.feeds.iter().filter(|feed| feed.sample);
        let sampled: Vec<Slot> = sampled.map(|feed| feed.slot).collect();
        for slot in self.scheduler.computed() {
            self.scheduler.finish(slot);
        }
        for slot in sampled {
            let token = self.token();
            if self.scheduler.sampled(slot, token).is_some() {
                self.scheduler.finish(slot);
            }
        }
        self.scheduler.settle();
        self.scheduler.cuts();
    }
}

fn scheduler(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scheduler: a step");
    for streams in [1_u32, 8] {
        let mut world = Streams::new();
        for _ in 0..streams {
            let prompt = world.prompt(64);
            world.submit(prompt, u32::MAX);
        }
        // Until all prompts are computed.
        for _ in 0..4 {
            world.step();
        }
        assert_eq!(world.scheduler.running(), streams as usize);
        group.bench_function(BenchmarkId::new("streams", streams), |bencher| {
            bencher.iter(|| world.step());
        });
    }
    group.finish();

    // Of 24 cached conversations it goes on from one.
    let mut world = Streams::new();
    let mut prompts = Vec::new();
    for _ in 0..24 {
        let prompt = world.prompt(300);
        prompts.push(prompt.clone());
        world.submit(prompt, 0);
        while !world.scheduler.is_idle() {
            world.step();
        }
    }
    criterion.bench_function(
        "scheduler: a prompt of 320 tokens, 300 of them known",
        |bencher| {
            let mut turn = 0;
            bencher.iter(|| {
                turn = (turn + 1) % prompts.len();
                let mut prompt = prompts[turn].clone();
                prompt.extend([1; 20]);
                let id = world.submit(prompt, 8);
                world.assign();
                world.scheduler.cancel(id);
                world.scheduler.cuts();
            });
        },
    );
}

fn sampler(criterion: &mut Criterion) {
    let greedy = Sampling {
        temperature: 0.0,
        ..Sampling::default()
    };
    let default = Sampling {
        seed: Some(1),
        ..Sampling::default()
    };
    let penalties = Sampling {
        repeat_penalty: 1.1,
        ..default
    };
    let mut group = criterion.benchmark_group("sampler: a token");
    for (name, sampling) in [
        ("greedy", greedy),
        ("default", default),
        ("penalties", penalties),
    ] {
        for vocabulary in [32_064, 151_936] {
            let mut chooser = Chooser::new(&sampling, vocabulary);
            group.bench_function(BenchmarkId::new(name, vocabulary), |bencher| {
                bencher.iter(|| chooser.choose());
            });
        }
    }
    group.finish();
}

/// An answer of 64 tokens, and characters of several bytes among them, some cut in two.
const PIECES: [&[u8]; 4] = [b" and", b" so", b" \xc3", b"\xa4on"];

fn text(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("text: 64 tokens");
    let stops = ["\n\n", "<|end|>", "User:", "###"].map(str::to_owned);
    for stops in [&stops[..0], &stops[..]] {
        group.bench_function(BenchmarkId::new("stops", stops.len()), |bencher| {
            bencher.iter_batched_ref(
                || Assembler::new(stops),
                |assembler| {
                    for piece in PIECES.iter().cycle().take(64) {
                        black_box(assembler.push(piece, None));
                    }
                    black_box(assembler.finish());
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// A step of so many streams, each with a piece of text.
fn message(streams: u64) -> FromWorker {
    let event = |id: JobId| {
        let text = Text {
            text: " and so on".into(),
            tokens: 1,
            logprobs: Vec::new(),
        };
        (id, inference::Event::Generate(Event::Text(text)))
    };
    FromWorker::Step(Step::default(), (1..=streams).map(event).collect())
}

fn frames(criterion: &mut Criterion) {
    for streams in [1, 8] {
        let message = message(streams);
        let bytes = frame::encode(&message).expect("it is small");
        let mut group = criterion.benchmark_group("frames: a step");
        group.bench_function(BenchmarkId::new("to bytes", streams), |bencher| {
            bencher.iter(|| black_box(frame::encode(&message)));
        });
        group.bench_function(BenchmarkId::new("from bytes", streams), |bencher| {
            // Behind its length.
            bencher
                .iter(|| frame::decode::<FromWorker>(black_box(&bytes[4..])).expect("it is whole"));
        });
        group.finish();
    }
}

criterion_group!(benches, scheduler, sampler, text, frames);
criterion_main!(benches);
