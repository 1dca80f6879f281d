//! The encoding loop on an encoder of words: a token is a word's length, a text's output the lengths of its first two
//! words. It is told what reaches the loop while each batch is computed.

use std::collections::VecDeque;
use std::sync::mpsc::{SyncSender, sync_channel};

use super::*;
use crate::inference::{self, Closed, Command, Inbox, Job, JobId, Outbox, Step, Token};

/// A word of this length gives an output that is not a number.
const NAN_WORD: u32 = 9;

/// A word of this length makes the computation fail.
const FAILING_WORD: u32 = 13;

struct Words {
    head: Head,
    frame: Frame,
    /// What arrives during each of the next batches.
    meanwhile: VecDeque<Vec<Command>>,
    sender: SyncSender<Command>,
}

impl Encoder for Words {
    fn head(&self) -> &Head {
        &self.head
    }

    fn max_tokens(&self) -> u32 {
        20
    }

    fn company(&self) -> Company {
        Company::SameWidth
    }

    fn frame(&self) -> &Frame {
        &self.frame
    }

    fn split(&self, text: &str) -> Result<Vec<u32>, Error> {
        Ok(text.split(' ').map(|word| word.len() as u32).collect())
    }

    fn tokens(&mut self, text: &str, _: bool, _: bool) -> Result<Vec<Token>, Error> {
        Ok(text.split(' ').map(|word| word.len() as Token).collect())
    }

    fn detokenize(&self, tokens: &[Token]) -> Result<String, Error> {
        let words: Vec<String> = tokens
            .iter()
            .map(|&token| "x".repeat(token as usize))
            .collect();
        Ok(words.join(" "))
    }

    fn pieces(&self, tokens: &[Token]) -> Result<Vec<Vec<u8>>, Error> {
        let word = |&token: &Token| vec![b'x'; token as usize];
        Ok(tokens.iter().map(word).collect())
    }

    fn encode(&mut self, batch: &[&Tokenized]) -> Result<Vec<Vec<f32>>, Error> {
        for command in self.meanwhile.pop_front().unwrap_or_default() {
            self.sender.send(command).unwrap();
        }
        if batch.iter().any(|text| text.ids.contains(&FAILING_WORD)) {
            return Err(Error::Engine("out of luck".into()));
        }
        Ok(batch
            .iter()
            .map(|text| match text.ids[..] {
                [NAN_WORD, ..] => vec![f32::NAN, 0.0],
                [first, second, ..] => vec![first as f32, second as f32],
                [first] => vec![first as f32, 0.0],
                [] => vec![0.0, 0.0],
            })
            .collect())
    }
}

#[derive(Default)]
struct Delivered {
    events: Vec<(JobId, inference::Event)>,
    steps: Vec<Step>,
    /// The other end hangs up after so many events.
    patience: usize,
}

impl Outbox for Delivered {
    fn push(&mut self, job: JobId, event: inference::Event) {
        self.events.push((job, event));
    }

    fn step(&mut self, step: Step) -> Result<(), Closed> {
        self.steps.push(step);
        if self.events.len() >= self.patience {
            Err(Closed)
        } else {
            Ok(())
        }
    }
}

/// Runs the loop on `commands`, which are there from the start, and `meanwhile`, which arrive during the first batch, until
/// so many events are delivered.
fn check(head: Head, commands: Vec<Command>, meanwhile: Vec<Command>, events: usize) -> Delivered {
    let (sender, receiver) = sync_channel(64);
    for command in commands {
        sender.send(command).unwrap();
    }
    let meanwhile = VecDeque::from([meanwhile]);
    let mut words = Words {
        head,
        frame: frame(),
        meanwhile,
        sender,
    };
    let mut delivered = Delivered {
        patience: events,
        ..Delivered::default()
    };
    run(&mut words, &Inbox::new(receiver), &mut delivered);
    delivered
}

/// Nothing around a text, and a word of seven letters between two.
fn frame() -> Frame {
    Frame {
        pair: [Vec::new(), vec![Special { id: 7, type_id: 0 }], Vec::new()],
        second_type_id: 1,
        ..Frame::default()
    }
}

fn embedder() -> Head {
    Head::Embedding { dimensions: 2 }
}

fn classifier() -> Head {
    Head::Labels {
        names: vec!["first".into(), "second".into()],
        activation: Activation::Softmax,
    }
}

fn inputs(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn embed(texts: &[&str]) -> Embed {
    Embed {
        inputs: inputs(texts),
        overflow: Overflow {
            truncate: true,
            max_tokens: None,
        },
        dimensions: None,
        normalize: false,
    }
}

fn classify(texts: &[&str]) -> Classify {
    Classify {
        inputs: inputs(texts).into_iter().map(Input::Text).collect(),
        overflow: Overflow {
            truncate: true,
            max_tokens: None,
        },
        top_k: None,
        threshold: None,
        raw_scores: true,
    }
}

fn submit(id: JobId, embed: Embed) -> Command {
    Command::Submit(id, Job::Embed(embed))
}

/// The answer to one job.
fn answer(head: Head, job: Job) -> inference::Event {
    let delivered = check(head, vec![Command::Submit(1, job)], Vec::new(), 1);
    let [(1, event)] = &delivered.events[..] else {
        panic!("one event of job 1 expected: {:?}", delivered.events);
    };
    event.clone()
}

fn vectors(event: &inference::Event) -> &[Vec<f32>] {
    match event {
        inference::Event::Encode(Event::Embedded(embedded)) => &embedded.vectors,
        other => panic!("no vectors: {other:?}"),
    }
}

fn failure(event: &inference::Event) -> &Error {
    match event {
        inference::Event::Encode(Event::Failed(error)) => error,
        other => panic!("no failure: {other:?}"),
    }
}

#[test]
fn vectors_come_in_the_order_of_the_inputs_whatever_their_lengths() {
    let event = answer(
        embedder(),
        Job::Embed(embed(&["a bb ccc dddd e f g", "aaa", "aa b"])),
    );
    assert_eq!(vectors(&event), [[1.0, 2.0], [3.0, 0.0], [2.0, 1.0]]);
}

#[test]
fn an_empty_list_gives_an_empty_answer() {
    let event = answer(embedder(), Job::Embed(embed(&[])));
    assert!(vectors(&event).is_empty());
}

#[test]
fn a_list_of_any_length_is_split_inside() {
    let texts: Vec<String> = (0..2_000).map(|n| "x ".repeat(n % 19) + "yy").collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let event = answer(embedder(), Job::Embed(embed(&texts)));
    assert_eq!(vectors(&event).len(), 2_000);
    assert_eq!(vectors(&event)[19], [2.0, 0.0]);
    assert_eq!(vectors(&event)[20], [1.0, 2.0]);
}

#[test]
fn labels_come_best_first() {
    let event = answer(classifier(), Job::Classify(classify(&["a bbb"])));
    let inference::Event::Encode(Event::Classified(classified)) = event else {
        panic!("no labels: {event:?}");
    };
    let labels: Vec<(&str, f32)> = classified.labels[0]
        .iter()
        .map(|label| (label.label.as_str(), label.score))
        .collect();
    assert_eq!(labels, [("second", 3.0), ("first", 1.0)]);
    assert_eq!(classified.usage.prompt_tokens, 2);
}

#[test]
fn what_the_model_cannot_do_is_refused_in_words() {
    let event = answer(classifier(), Job::Embed(embed(&["a"])));
    assert!(
        failure(&event)
            .to_string()
            .contains("does not support embeddings")
    );
    let event = answer(embedder(), Job::Classify(classify(&["a"])));
    assert!(
        failure(&event)
            .to_string()
            .contains("does not support classification")
    );
}

#[test]
fn a_text_that_is_too_long_is_cut_or_refused() {
    let mut job = embed(&["a b c d", "a"]);
    job.overflow.max_tokens = Some(2);
    let event = answer(embedder(), Job::Embed(job.clone()));
    let inference::Event::Encode(Event::Embedded(embedded)) = event else {
        panic!("no vectors: {event:?}");
    };
    assert_eq!(embedded.usage.prompt_tokens, 3);
    assert_eq!(embedded.usage.truncated_inputs, 1);

    job.overflow.max_tokens = Some(0);
    assert_eq!(
        failure(&answer(embedder(), Job::Embed(job.clone()))),
        &Error::NothingLeft
    );
    job.overflow.truncate = false;
    assert_eq!(
        failure(&answer(embedder(), Job::Embed(job.clone()))),
        &Error::InputTooLong
    );
    job.overflow.max_tokens = Some(3);
    assert_eq!(
        failure(&answer(embedder(), Job::Embed(job))),
        &Error::InputTooLong
    );
}

#[test]
fn a_result_that_is_no_number_fails_its_job_alone() {
    let commands = vec![
        submit(1, embed(&["nineteens"])),
        submit(2, embed(&["good"])),
    ];
    let delivered = check(embedder(), commands, Vec::new(), 2);
    let [(1, bad), (2, good)] = &delivered.events[..] else {
        panic!("two events expected: {:?}", delivered.events);
    };
    assert_eq!(
        failure(bad).to_string(),
        "embedding contains NaN or Inf values"
    );
    assert_eq!(vectors(good), [[4.0, 0.0]]);
}

#[test]
fn a_failed_batch_fails_its_jobs_and_the_loop_goes_on() {
    let commands = vec![submit(1, embed(&["x xxxxxxxxxxxxx", "x"]))];
    let delivered = check(embedder(), commands, vec![submit(2, embed(&["good"]))], 2);
    let [(1, bad), (2, good)] = &delivered.events[..] else {
        panic!("two events expected: {:?}", delivered.events);
    };
    assert_eq!(failure(bad), &Error::Engine("out of luck".into()));
    assert_eq!(vectors(good), [[4.0, 0.0]]);
}

#[test]
fn a_cancelled_job_is_dropped_before_the_next_batch() {
    let long = ["x x x x x x x x x x x x x x x x x"; 1_000];
    let meanwhile = vec![Command::Cancel(1), submit(2, embed(&["good"]))];
    let delivered = check(embedder(), vec![submit(1, embed(&long))], meanwhile, 1);
    assert_eq!(delivered.events.len(), 1);
    assert_eq!(delivered.events[0].0, 2);
    let computed: Vec<u32> = delivered
        .steps
        .iter()
        .map(|step| step.prompt_tokens)
        .filter(|tokens| *tokens > 0)
        .collect();
    assert_eq!(computed, [255, 1]);
}

#[test]
fn one_text_overtakes_a_long_list() {
    let long = ["x x x x x x x x x x x x x x x x x"; 1_000];
    let meanwhile = vec![submit(2, embed(&["good"]))];
    let delivered = check(embedder(), vec![submit(1, embed(&long))], meanwhile, 1);
    assert_eq!(delivered.events[0].0, 2);
    assert!(delivered.steps.len() <= 3, "{:?}", delivered.steps);
}

#[test]
fn texts_of_several_jobs_share_a_batch() {
    let commands = (1..=8).map(|id| submit(id, embed(&["a bb"]))).collect();
    let delivered = check(embedder(), commands, Vec::new(), 8);
    assert_eq!(delivered.steps.len(), 1);
    assert_eq!(delivered.steps[0].jobs, 8);
    assert_eq!(delivered.steps[0].prompt_tokens, 16);
}

#[test]
fn tokens_and_texts_are_turned_into_each_other() {
    let tokenize = Job::Tokenize {
        text: "hello you".into(),
        add_special: false,
        parse_special: false,
    };
    assert_eq!(
        answer(embedder(), tokenize),
        inference::Event::Tokenized(Ok(vec![5, 3]))
    );
    let detokenize = Job::Detokenize { tokens: vec![1, 2] };
    assert_eq!(
        answer(embedder(), detokenize),
        inference::Event::Detokenized(Ok("x xx".into()))
    );
}

#[test]
fn the_loop_ends_when_the_inbox_closes() {
    let (sender, receiver) = sync_channel(1);
    let mut words = Words {
        head: embedder(),
        frame: frame(),
        meanwhile: VecDeque::new(),
        sender: sync_channel(1).0,
    };
    drop(sender);
    run(&mut words, &Inbox::new(receiver), &mut Delivered::default());
}
