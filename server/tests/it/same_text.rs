//! The same text in every way of computing it: alone, in company, after others left, going on from a cache, from another's
//! cache, and guessed. On the chat model that the repository ships, through the loop that workers run.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use chaski::engine::gguf::{self, CacheType, Spec};
use chaski::inference::generate::{
    self, Engine, Finished, Generate, Guesses, Overflow, Piece, Policy, Sampling, TokenLogprob,
};
use chaski::inference::{Closed, Command, Event, Inbox, Job, JobId, Outbox, Step};

const SLOTS: u32 = 4;

/// So few that not all jobs have room together.
const CELLS: u32 = 640;

const PLAIN: Policy = Policy {
    cache_idle: Duration::from_secs(180),
    guesses: Guesses::Never,
};

const GUESSING: Policy = Policy {
    guesses: Guesses::Always,
    ..PLAIN
};

fn with_tiny<T>(body: impl FnOnce(&mut dyn Engine) -> T) -> T {
    let spec = Spec {
        model: Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tiny/tiny.gguf"),
        adapter: None,
        projector: None,
        context: 512,
        slots: SLOTS,
        cells: CELLS,
        batch: 64,
        threads: 1,
        use_mmap: None,
        kernels: gguf::Preference::default(),
        cache_type: CacheType::F16,
        flash_attention: None,
        gpu_layers: None,
        cache_idle: Duration::from_secs(180),
        guesses: true,
    };
    gguf::with_engine(&spec, |engine, _| body(engine)).unwrap()
}

fn chat(user: &str) -> Generate {
    let prompt = format!(
        "<|im_start|>system\nYou are Ada's assistant. You answer in short sentences and know the names of colours, \
         numbers, capitals and days.<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"
    );
    Generate {
        prompt: vec![Piece::Text(prompt)],
        sampling: Sampling {
            temperature: 0.0,
            ..Sampling::default()
        },
        stop: Vec::new(),
        max_tokens: Some(64),
        overflow: Overflow {
            truncate: true,
            shift: true,
            keep: 4,
        },
        logprobs: Some(1),
        visible: Vec::new(),
        constraint: None,
        logit_bias: Vec::new(),
        caller: 0,
    }
}

fn questions() -> Vec<Generate> {
    [
        "What is the capital of France?",
        "Count from 1 to 5:",
        "Repeat this: one two three one two three one two three one two three",
        "Write red red blue red red blue red red blue six times.",
        "What is 2 + 2?",
        "Why is the sky blue?",
        "What is the capital of Japan?",
        "Count from 1 to 5:",
    ]
    .map(chat)
    .to_vec()
}

#[derive(Debug, Default)]
struct Answer {
    text: String,
    logprobs: Vec<TokenLogprob>,
    finished: Option<Finished>,
}

/// Collects answers until so many are over.
struct Answers {
    answers: BTreeMap<JobId, Answer>,
    left: usize,
    /// Who leaves at its third piece.
    leaves: Option<JobId>,
    commands: Sender<Command>,
    guessed: u32,
    right: u32,
}

impl Outbox for Answers {
    fn push(&mut self, job: JobId, event: Event) {
        let answer = self.answers.entry(job).or_default();
        match event {
            Event::Generate(generate::Event::Admitted(_)) => {}
            Event::Generate(generate::Event::Text(text)) => {
                answer.text += &text.text;
                answer.logprobs.extend(text.logprobs);
                if self.leaves == Some(job) && answer.logprobs.len() == 3 {
                    self.commands.send(Command::Cancel(job)).unwrap();
                }
            }
            Event::Generate(generate::Event::Finished(finished)) => {
                answer.finished = Some(finished);
                self.left -= 1;
            }
            other => panic!("job {job}: {other:?}"),
        }
    }

    fn step(&mut self, step: Step) -> Result<(), Closed> {
        self.guessed += step.guessed_tokens;
        self.right += step.right_tokens;
        if self.left == 0 { Err(Closed) } else { Ok(()) }
    }
}

/// Asks all at once.
fn ask(
    engine: &mut dyn Engine,
    policy: Policy,
    jobs: Vec<Generate>,
    leaves: Option<JobId>,
) -> Answers {
    let (commands, inbox) = channel();
    let left = jobs.len() - usize::from(leaves.is_some());
    for (id, job) in (0..).zip(jobs) {
        commands
            .send(Command::Submit(id, Job::Generate(job)))
            .unwrap();
    }
    let mut answers = Answers {
        answers: BTreeMap::new(),
        left,
        leaves,
        commands,
        guessed: 0,
        right: 0,
    };
    generate::run(engine, policy, &Inbox::new(inbox), &mut answers);
    // The next loop knows nothing of what this one left in the caches.
    engine.release();
    answers
}

fn assert_same(answers: &Answers, expected: &[Answer]) {
    for (id, expected) in (0..).zip(expected) {
        if answers.leaves == Some(id) {
            continue;
        }
        let answer = &answers.answers[&id];
        assert_eq!(answer.text, expected.text, "job {id}");
        let tokens = |answer: &Answer| -> Vec<Vec<u8>> {
            let logprobs = answer.logprobs.iter();
            logprobs.map(|token| token.chosen.bytes.clone()).collect()
        };
        assert_eq!(tokens(answer), tokens(expected), "job {id}");
        for (one, other) in answer.logprobs.iter().zip(&expected.logprobs) {
            // Sums in another order differ in their last digits.
            assert!(
                (one.chosen.logprob - other.chosen.logprob).abs() < 0.05,
                "job {id}"
            );
        }
        let [one, other] = [answer, expected].map(|answer| answer.finished.as_ref().unwrap());
        assert_eq!((one.reason, &one.context), (other.reason, &other.context));
        assert_eq!(one.usage.generated_tokens, other.usage.generated_tokens);
    }
}

#[test]
fn every_way_of_computing_says_the_same() {
    with_tiny(|engine| {
        let alone: Vec<Answer> = questions()
            .into_iter()
            .map(|job| {
                let mut answers = ask(engine, PLAIN, vec![job], None).answers;
                answers.remove(&0).unwrap()
            })
            .collect();
        assert!(alone.iter().all(|answer| !answer.text.is_empty()));
        let together = ask(engine, PLAIN, questions(), None);
        assert_eq!(together.guessed, 0);
        assert_same(&together, &alone);
        let cached = |answers: &Answers| -> u32 {
            let answers = answers.answers.values();
            answers
                .filter_map(|answer| Some(answer.finished.as_ref()?.usage.cached_tokens))
                .sum()
        };
        assert!(cached(&together) > 0, "the beginning is shared");
        assert_same(&ask(engine, PLAIN, questions(), Some(2)), &alone);
        let guessed = ask(engine, GUESSING, questions(), None);
        assert!(guessed.right > 0, "{} guessed", guessed.guessed);
        assert_same(&guessed, &alone);
        assert_same(&ask(engine, GUESSING, questions(), Some(3)), &alone);
        for (job, expected) in questions().into_iter().zip(&alone) {
            let answers = ask(engine, GUESSING, vec![job], None);
            assert_same(&answers, std::slice::from_ref(expected));
        }
    });
}
