//! The encoding loop on an encoder of words: a token is a word's length, a text's output the lengths of its first two
//! words. It is told what reaches the loop while each batch is computed.

use std::collections::VecDeque;
use std::sync::mpsc::{SyncSender, sync_channel};

use super::excerpt::MOST_SPLIT_BYTES;
use super::*;
use crate::inference::{self, Closed, Command, Error, Inbox, Job, JobId, Outbox, Step, Token};

/// A word of this length gives an output that is not a number.
const NAN_WORD: u32 = 9;

/// A word of this length makes the computation fail.
const FAILING_WORD: u32 = 13;

struct Words {
    prompts: Prompts,
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

    fn prompts(&self) -> &Prompts {
        &self.prompts
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

    fn spell(&self, text: &str) -> Result<Vec<Piece>, Error> {
        let mut start = 0;
        let mut piece = |word: &str| {
            let place = Place {
                start,
                end: start + word.len() as u32,
                start_byte: start,
                end_byte: start + word.len() as u32,
            };
            start = place.end + 1;
            Piece {
                id: word.len() as u32,
                name: word.to_owned(),
                special: false,
                continues: word.starts_with('-'),
                place: Some(place),
            }
        };
        Ok(text.split(' ').map(&mut piece).collect())
    }

    fn is_special(&self, id: u32) -> bool {
        id == 7
    }

    fn join(&self, names: Vec<String>) -> Result<String, Error> {
        Ok(names.join(" "))
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
        if let Head::TokenLabels { names } = &self.head {
            // A token's label is its length, as far as there are labels.
            let logit =
                |&id: &u32| (0..names.len() as u32).map(move |label| f32::from(label == id) * 9.0);
            let logits = |text: &&Tokenized| text.ids.iter().flat_map(logit).collect();
            return Ok(batch.iter().map(logits).collect());
        }
        Ok(batch
            .iter()
            .map(|text| match text.ids[text.passed_over as usize..] {
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
        prompts: prompts(),
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

fn prompts() -> Prompts {
    Prompts {
        texts: [("query".to_owned(), "four ".to_owned())].into(),
        default: None,
        pooled: false,
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

const CUT: Overflow = Overflow {
    too_long: TooLong::Cut(None),
    max_tokens: None,
};

fn embed(texts: &[&str]) -> Embed {
    Embed {
        inputs: inputs(texts).into_iter().map(Input::Text).collect(),
        prompt: Prompt::Default,
        overflow: CUT,
        dimensions: None,
        normalize: false,
    }
}

fn classify(texts: &[&str]) -> Classify {
    Classify {
        inputs: inputs(texts).into_iter().map(Input::Text).collect(),
        head: None,
        overflow: CUT,
        top_k: None,
        threshold: None,
        scale: Scale::Raw,
    }
}

fn submit(id: JobId, embed: Embed) -> Command {
    Command::Submit(id, Job::Encode(embed.into()))
}

/// The answer to one job.
fn answer(head: Head, job: impl Into<super::Job>) -> inference::Event {
    let job = Job::Encode(job.into());
    let delivered = check(head, vec![Command::Submit(1, job)], Vec::new(), 1);
    let [(1, event)] = &delivered.events[..] else {
        panic!("one event of job 1 expected: {:?}", delivered.events);
    };
    event.clone()
}

fn vectors(event: &inference::Event) -> &[Vec<f32>] {
    match event {
        inference::Event::Encode(Event::Embedded(embedded)) => &embedded.results,
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
    let event = answer(embedder(), embed(&["a bb ccc dddd e f g", "aaa", "aa b"]));
    assert_eq!(vectors(&event), [[1.0, 2.0], [3.0, 0.0], [2.0, 1.0]]);
}

#[test]
fn an_empty_list_gives_an_empty_answer() {
    let event = answer(embedder(), embed(&[]));
    assert!(vectors(&event).is_empty());
}

#[test]
fn a_list_of_any_length_is_split_inside() {
    let texts: Vec<String> = (0..2_000).map(|n| "x ".repeat(n % 19) + "yy").collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let event = answer(embedder(), embed(&texts));
    assert_eq!(vectors(&event).len(), 2_000);
    assert_eq!(vectors(&event)[19], [2.0, 0.0]);
    assert_eq!(vectors(&event)[20], [1.0, 2.0]);
}

#[test]
fn labels_come_best_first() {
    let event = answer(classifier(), classify(&["a bbb"]));
    let inference::Event::Encode(Event::Labelled(classified)) = event else {
        panic!("no labels: {event:?}");
    };
    let labels: Vec<(&str, f32)> = classified.results[0]
        .iter()
        .map(|label| (label.label.as_str(), label.score))
        .collect();
    assert_eq!(labels, [("second", 3.0), ("first", 1.0)]);
    assert_eq!(classified.usage.prompt_tokens, 2);
}

#[test]
fn what_the_model_cannot_do_is_refused_in_words() {
    let event = answer(classifier(), embed(&["a"]));
    assert!(
        failure(&event)
            .to_string()
            .contains("does not support embeddings")
    );
    let event = answer(embedder(), classify(&["a"]));
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
    let event = answer(embedder(), job.clone());
    let inference::Event::Encode(Event::Embedded(embedded)) = event else {
        panic!("no vectors: {event:?}");
    };
    assert_eq!(embedded.usage.prompt_tokens, 3);
    assert_eq!(embedded.usage.truncated_inputs, 1);

    job.overflow.max_tokens = Some(0);
    assert_eq!(
        failure(&answer(embedder(), job.clone())),
        &Error::NothingLeft
    );
    job.overflow.too_long = TooLong::Refuse;
    assert_eq!(
        failure(&answer(embedder(), job.clone())),
        &Error::InputTooLong
    );
    job.overflow.max_tokens = Some(3);
    assert_eq!(failure(&answer(embedder(), job)), &Error::InputTooLong);
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
    let detokenize = Job::Detokenize { tokens: vec![1, 2] };
    let commands = vec![Command::Submit(1, tokenize), Command::Submit(2, detokenize)];
    let delivered = check(embedder(), commands, Vec::new(), 2);
    let expected = [
        (1, inference::Event::Tokenized(Ok(vec![5, 3]))),
        (2, inference::Event::Detokenized(Ok("x xx".into()))),
    ];
    assert_eq!(delivered.events, expected);
}

#[test]
fn a_text_that_would_hold_up_everything_else_is_not_turned_into_tokens() {
    let tokenize = |text: String| Job::Tokenize {
        text,
        add_special: false,
        parse_special: false,
    };
    let most = MOST_SPLIT_BYTES;
    let jobs = [tokenize("x".repeat(most)), tokenize("x".repeat(most + 1))];
    let commands = (1..).zip(jobs).map(|(id, job)| Command::Submit(id, job));
    let delivered = check(embedder(), commands.collect(), Vec::new(), 2);
    let refused = Error::InvalidJob(
        "the text has 1048577 bytes, and at most 1048576 are turned into tokens at a time".into(),
    );
    let expected = [
        (1, inference::Event::Tokenized(Ok(vec![most as Token]))),
        (2, inference::Event::Tokenized(Err(refused))),
    ];
    assert_eq!(delivered.events, expected);
}

#[test]
fn of_very_long_texts_only_what_counts_is_turned_into_tokens() {
    let long = "xx xxx ".repeat(MOST_SPLIT_BYTES);
    let failed = |job: super::Job| failure(&answer(embedder(), job)).clone();

    let event = answer(embedder(), embed(&[&long]));
    assert_eq!(vectors(&event), [[2.0, 3.0]]);
    let overflow = |too_long| Overflow {
        too_long,
        max_tokens: None,
    };
    let with = |too_long| Embed {
        overflow: overflow(too_long),
        ..embed(&[&long])
    };
    let event = answer(embedder(), with(TooLong::Cut(Some(Side::Start))));
    assert_eq!(vectors(&event).len(), 1);
    assert_eq!(failed(with(TooLong::Refuse).into()), Error::InputTooLong);

    // Where all of it would be needed, it is refused.
    let bytes = long.len();
    let refused = Error::InvalidJob(format!(
        "the text has {bytes} bytes, and at most {MOST_SPLIT_BYTES} are turned into tokens at a time"
    ));
    assert_eq!(failed(with(TooLong::Split).into()), refused);
    let spell = Spell {
        inputs: vec![long.clone()],
        prompt: Prompt::Default,
        add_special: false,
    };
    assert_eq!(failed(spell.into()), refused);
    let prompt = Embed {
        prompt: Prompt::Text(long),
        ..embed(&["x"])
    };
    assert_eq!(failed(prompt.into()), refused);
}

#[test]
fn the_loop_ends_when_the_inbox_closes() {
    let (sender, receiver) = sync_channel(1);
    let mut words = Words {
        prompts: prompts(),
        head: embedder(),
        frame: frame(),
        meanwhile: VecDeque::new(),
        sender: sync_channel(1).0,
    };
    drop(sender);
    run(&mut words, &Inbox::new(receiver), &mut Delivered::default());
}

#[test]
fn a_long_text_is_computed_in_parts_that_count_by_their_tokens() {
    let mut job = embed(&["a bb ccc dddd eeeee"]);
    job.overflow = Overflow {
        too_long: TooLong::Split,
        max_tokens: Some(3),
    };
    // Three tokens of the vector (1, 2), two of (4, 5).
    let event = answer(embedder(), job.clone());
    assert_eq!(vectors(&event), [[11.0 / 5.0, 16.0 / 5.0]]);
    let inference::Event::Encode(Event::Embedded(embedded)) = &event else {
        panic!("no vectors: {event:?}");
    };
    assert_eq!(
        (
            embedded.usage.prompt_tokens,
            embedded.usage.truncated_inputs
        ),
        (5, 0)
    );
    // One that fits is as it would be without the rule.
    job.inputs = vec![Input::Text("a bb ccc".into())];
    assert_eq!(vectors(&answer(embedder(), job)), [[1.0, 2.0]]);
}

#[test]
fn a_text_may_be_cut_at_its_start() {
    let mut job = embed(&["a bb ccc dddd eeeee"]);
    job.overflow = Overflow {
        too_long: TooLong::Cut(Some(Side::Start)),
        max_tokens: Some(2),
    };
    assert_eq!(vectors(&answer(embedder(), job)), [[4.0, 5.0]]);
}

#[test]
fn tokens_are_computed_as_they_are() {
    let mut job = embed(&[]);
    job.inputs = vec![Input::Tokens(vec![3, 8]), Input::Text("a".into())];
    assert_eq!(vectors(&answer(embedder(), job)), [[3.0, 8.0], [1.0, 0.0]]);
}

#[test]
fn prompts_stand_before_texts_and_have_no_part_in_vectors_unless_the_model_wants_it() {
    let check = |prompt: Prompt, tokens: u32, expected: [f32; 2]| {
        let mut job = embed(&["a bb"]);
        job.prompt = prompt;
        let event = answer(embedder(), job);
        assert_eq!(vectors(&event), [expected]);
        let inference::Event::Encode(Event::Embedded(embedded)) = event else {
            panic!("no vectors: {event:?}");
        };
        assert_eq!(embedded.usage.prompt_tokens, tokens);
    };
    check(Prompt::Default, 2, [1.0, 2.0]);
    check(Prompt::Text("ccc ".into()), 3, [2.0, 0.0]);
    let mut job = embed(&["a"]);
    job.prompt = Prompt::Named("document".into());
    let words = failure(&answer(embedder(), job)).to_string();
    assert_eq!(
        words,
        "this model has no prompt \"document\"; its prompts are: query"
    );
}

#[test]
fn candidate_labels_become_hypotheses() {
    let job = |labels: &[&str], multi_label: bool| ZeroShot {
        inputs: inputs(&["a bb", "ccc"]),
        labels: inputs(labels),
        template: "is {}".into(),
        multi_label,
        overflow: CUT,
    };
    // The model sees the text first, so that each of its texts gives the same logits to every label: 1 and 2, or 3 and 7.
    let event = answer(classifier(), job(&["x", "yyyy"], false));
    let inference::Event::Encode(Event::Labelled(labelled)) = event else {
        panic!("no labels: {event:?}");
    };
    let found = |text: usize| -> Vec<(&str, f32)> {
        let labels = labelled.results[text].iter();
        labels
            .map(|label| (label.label.as_str(), label.score))
            .collect()
    };
    assert_eq!(found(0), [("x", 0.5), ("yyyy", 0.5)]);
    assert_eq!(found(1), [("x", 0.5), ("yyyy", 0.5)]);
    // "bb" and "aa" are 2 and 1 long: what the last label gets against the first.
    let event = answer(classifier(), job(&["x"], true));
    let inference::Event::Encode(Event::Labelled(labelled)) = event else {
        panic!("no labels: {event:?}");
    };
    let expected = 1.0 / (1.0 + (-1.0f32).exp());
    assert!((labelled.results[0][0].score - expected).abs() < 1e-6);
    for (wrong, words) in [
        (job(&[], false), "at least one label"),
        (
            ZeroShot {
                template: "is".into(),
                ..job(&["x"], false)
            },
            "has no {}",
        ),
    ] {
        let error = failure(&answer(classifier(), wrong)).to_string();
        assert!(error.contains(words), "{error}");
    }
    let error = failure(&answer(embedder(), job(&["x"], false))).to_string();
    assert!(error.contains("follows from another"), "{error}");
}

fn tags(texts: &[&str], aggregation: Aggregation) -> Tag {
    Tag {
        inputs: inputs(texts),
        head: None,
        aggregation,
        ignored: vec!["O".into()],
        threshold: None,
        overflow: CUT,
    }
}

/// Words without letters are outside, of one letter begin a name, of two go on with it, of three begin a place.
fn tagger() -> Head {
    let names = ["O", "B-NAME", "I-NAME", "B-PLACE"];
    Head::TokenLabels {
        names: names.map(str::to_owned).to_vec(),
    }
}

fn spans(event: inference::Event) -> Vec<Vec<(String, String, u32, u32)>> {
    let inference::Event::Encode(Event::Tagged(tagged)) = event else {
        panic!("no spans: {event:?}");
    };
    let span = |span: &Span| {
        let Place { start, end, .. } = span.place;
        (span.label.clone(), span.word.clone(), start, end)
    };
    tagged
        .results
        .iter()
        .map(|spans| spans.iter().map(span).collect())
        .collect()
}

#[test]
fn neighbours_of_one_label_are_a_part() {
    let own = |label: &str, word: &str, start, end| (label.to_owned(), word.to_owned(), start, end);
    let event = answer(tagger(), tags(&["a bb cc  a ddd", ""], Aggregation::Simple));
    let expected = [
        own("NAME", "a bb cc", 0, 7),
        own("NAME", "a", 9, 10),
        own("PLACE", "ddd", 11, 14),
    ];
    assert_eq!(spans(event)[0], expected);
    let event = answer(tagger(), tags(&["a bb"], Aggregation::None));
    assert_eq!(
        spans(event)[0],
        [own("B-NAME", "a", 0, 1), own("I-NAME", "bb", 2, 4)]
    );
    // "-b" belongs to the word before it, and so gets its label.
    let event = answer(tagger(), tags(&["ddd -b a"], Aggregation::First));
    assert_eq!(
        spans(event)[0],
        [own("PLACE", "ddd -b", 0, 6), own("NAME", "a", 7, 8)]
    );
}

#[test]
fn a_long_text_is_tagged_in_parts() {
    let text = "a bb ddd ".repeat(30) + "a";
    let mut job = tags(&[&text], Aggregation::Simple);
    job.overflow.too_long = TooLong::Split;
    let found = spans(answer(tagger(), job.clone())).remove(0);
    assert_eq!(found.len(), 61);
    assert_eq!(found[60], ("NAME".to_owned(), "a".to_owned(), 270, 271));
    // What is cut at the start leaves what stands at the end, where it stands.
    job.overflow.too_long = TooLong::Cut(Some(Side::Start));
    job.overflow.max_tokens = Some(2);
    let found = spans(answer(tagger(), job)).remove(0);
    let expected = [("PLACE", "ddd", 266, 269), ("NAME", "a", 270, 271)];
    let expected =
        expected.map(|(label, word, start, end)| (label.into(), word.into(), start, end));
    assert_eq!(found, expected);
}

#[test]
fn tokens_are_told_with_their_places_and_written_again() {
    let spell = Spell {
        inputs: inputs(&["aa b"]),
        prompt: Prompt::Named("query".into()),
        add_special: true,
    };
    let inference::Event::Encode(Event::Spelled(spelled)) = answer(embedder(), spell) else {
        panic!("no tokens");
    };
    let ids: Vec<u32> = spelled.results[0].iter().map(|piece| piece.id).collect();
    assert_eq!(ids, [4, 2, 1]);
    for (skip_special, expected) in [(true, "xx"), (false, "xx xxxxxxx")] {
        let write = Write {
            inputs: vec![vec![2, 7], Vec::new()],
            skip_special,
        };
        let inference::Event::Encode(Event::Written(written)) = answer(embedder(), write) else {
            panic!("no texts");
        };
        assert_eq!(written.results, [expected, ""]);
    }
}

#[test]
fn an_answer_that_no_message_would_hold_is_refused_before_it_is_computed() {
    let job = Embed {
        inputs: vec![Input::Text(String::new()); 8 << 20],
        ..embed(&[])
    };
    let error = failure(&answer(embedder(), job)).to_string();
    assert!(error.contains("too large"), "{error}");
}
