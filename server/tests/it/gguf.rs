//! The GGUF engine on the chat model that the repository ships, driven through its port.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chaski::engine::gguf::{self, CacheType, Spec};
use chaski::inference::generate::{Begin, Engine, Feed, Sampled, Sampling, Slot};
use chaski::inference::{Error, Token};

/// Tokens of an answer; more than the model's longest sentence.
const ANSWER: usize = 48;

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tiny/tiny.gguf")
}

fn spec(model: PathBuf, slots: u32) -> Spec {
    Spec {
        model,
        adapter: None,
        projector: None,
        context: 256,
        slots,
        cells: 256 * slots,
        batch: 64,
        // The tests run side by side; threads of one model that wait for each other would not.
        threads: 1,
        use_mmap: None,
        kernels: gguf::Preference::default(),
        cache_type: CacheType::F16,
        flash_attention: None,
        gpu_layers: None,
        cache_idle: Duration::from_secs(180),
        guesses: true,
    }
}

fn with_tiny<T>(slots: u32, body: impl FnOnce(&mut dyn Engine) -> T) -> T {
    gguf::with_engine(&spec(tiny(), slots), |engine, _| body(engine)).unwrap()
}

fn greedy() -> Sampling {
    Sampling {
        temperature: 0.0,
        ..Sampling::default()
    }
}

fn begin(engine: &mut dyn Engine, slot: Slot, sampling: &Sampling) {
    let begin = Begin {
        sampling,
        logprobs: None,
        recent: &[],
        logit_bias: &[],
        rules: None,
    };
    engine.begin(slot, begin).unwrap();
}

fn prompt(engine: &dyn Engine, text: &str) -> Vec<Token> {
    engine.tokenize(text, true, true).unwrap()
}

/// One sequence of a test: what it holds and what it is fed next.
struct Stream {
    slot: Slot,
    position: u32,
    next: Vec<Token>,
    answer: Vec<Token>,
}

impl Stream {
    fn new(slot: Slot, next: Vec<Token>) -> Self {
        Self {
            slot,
            position: 0,
            next,
            answer: Vec::new(),
        }
    }
}

/// Advances all streams together until each has an answer of this many tokens.
fn generate(engine: &mut dyn Engine, streams: &mut [Stream], tokens: usize) {
    let mut sampled: Vec<Sampled> = Vec::new();
    while streams[0].answer.len() < tokens {
        let feeds: Vec<Feed<'_>> = streams
            .iter()
            .map(|stream| Feed {
                slot: stream.slot,
                position: stream.position,
                tokens: &stream.next,
                sample: true,
                guessed: 0,
            })
            .collect();
        sampled.clear();
        engine.step(&feeds, &mut sampled).unwrap();
        assert_eq!(sampled.len(), streams.len());
        for (stream, sampled) in streams.iter_mut().zip(&sampled) {
            assert_eq!(stream.slot, sampled.slot);
            stream.position += u32::try_from(stream.next.len()).unwrap();
            let token = sampled.choice.as_ref().unwrap().token;
            stream.next = vec![token];
            stream.answer.push(token);
        }
    }
}

fn answer(engine: &mut dyn Engine, slot: Slot, text: &str) -> Vec<Token> {
    engine.cut(slot, 0);
    begin(engine, slot, &greedy());
    let mut stream = [Stream::new(slot, prompt(engine, text))];
    generate(engine, &mut stream, ANSWER);
    let [stream] = stream;
    stream.answer
}

fn text(engine: &dyn Engine, tokens: &[Token]) -> String {
    let mut bytes = Vec::new();
    for &token in tokens {
        engine.write_piece(token, &mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn the_facts_say_what_was_loaded() {
    let mut wanted = spec(tiny(), 3);
    wanted.context = 1_000_000;
    let (facts, limits) =
        gguf::with_engine(&wanted, |engine, facts| (facts, engine.limits())).unwrap();
    assert_eq!((facts.slots, limits.slots), (3, 3));
    assert_eq!(facts.context, limits.context);
    assert!(facts.context < 1_000_000, "cut to what it was trained for");
    assert_eq!(facts.threads, 1);
    assert!(limits.step_tokens >= 3 && limits.vocabulary > 256);
    assert!(
        facts.description.contains("llama.cpp"),
        "{}",
        facts.description
    );
}

#[test]
fn text_becomes_tokens_and_text_again() {
    with_tiny(1, |engine| {
        let written = "Hello, Zoë! 1 + 1 = 2\n\t— ¿qué?";
        let tokens = engine.tokenize(written, false, false).unwrap();
        assert_eq!(text(engine, &tokens).trim_start(), written);
        for &token in &tokens {
            assert!(!engine.is_end(token));
        }
        let mut bytes = Vec::new();
        engine.write_piece(-1, &mut bytes);
        engine.write_piece(i32::MAX, &mut bytes);
        assert!(bytes.is_empty(), "ids outside the vocabulary have no text");
        assert!(!engine.is_end(i32::MAX));
    });
}

#[test]
fn the_names_of_control_tokens_are_parsed_only_on_request() {
    with_tiny(1, |engine| {
        let ending = (0..)
            .take(engine.limits().vocabulary as usize)
            .find(|&token| engine.is_end(token))
            .expect("a chat model ends its answers");
        let mut bytes = Vec::new();
        engine.write_piece(ending, &mut bytes);
        assert!(bytes.is_empty(), "a control token shows no text");
        let chat = engine.tokenize("<|im_end|>", false, true).unwrap();
        let plain = engine.tokenize("<|im_end|>", false, false).unwrap();
        assert_eq!(chat.len(), 1);
        assert!(plain.len() > 1);
    });
}

/// With a vocabulary whose texts are split by patterns that recurse for every character.
#[test]
fn thousands_of_equal_characters_do_not_overflow_the_stack() {
    let mut bytes = std::fs::read(tiny()).unwrap();
    let splitter = bytes.windows(5).position(|word| word == b"qwen2").unwrap();
    bytes[splitter..splitter + 5].copy_from_slice(b"youtu");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.gguf");
    std::fs::write(&file, bytes).unwrap();
    gguf::with_engine(&spec(file, 1), |engine, _| {
        for character in [" ", "\n", "a", "(", "é", "中"] {
            let text = character.repeat(40_000);
            let tokens = engine.tokenize(&text, false, false).unwrap();
            let mut bytes = Vec::new();
            for token in tokens {
                engine.write_piece(token, &mut bytes);
            }
            assert!(bytes == text.as_bytes(), "{character:?}");
        }
    })
    .unwrap();
}

#[test]
fn a_greedy_answer_is_the_same_alone_and_beside_seven_others() {
    let question = "What is the capital of France?";
    let others = [
        "Count from 1 to 5:",
        "What is 2 + 2?",
        "Why is the sky blue?",
        "My name is Ada.",
        "What colour is grass?",
        "Reply in JSON.",
        "Hello",
    ];
    with_tiny(8, |engine| {
        let alone = answer(engine, 0, question);
        for slot in 0..8 {
            engine.cut(slot, 0);
            begin(engine, slot, &greedy());
        }
        let prompts = std::iter::once(question).chain(others);
        let mut streams: Vec<_> = (0..)
            .zip(prompts)
            .map(|(slot, text)| Stream::new(slot, prompt(engine, text)))
            .collect();
        generate(engine, &mut streams, ANSWER);
        assert_eq!(streams[0].answer, alone);
        assert!(streams[1..].iter().any(|stream| stream.answer != alone));
    });
}

#[test]
fn a_prompt_in_pieces_and_a_cut_sequence_go_on_as_if_computed_at_once() {
    with_tiny(2, |engine| {
        let question = "What is the capital of France?";
        let whole = answer(engine, 0, question);
        let tokens = prompt(engine, question);

        begin(engine, 1, &greedy());
        let half = tokens.len() / 2;
        let mut sampled = Vec::new();
        let first = Feed {
            slot: 1,
            position: 0,
            tokens: &tokens[..half],
            sample: false,
            guessed: 0,
        };
        engine.step(&[first], &mut sampled).unwrap();
        assert!(sampled.is_empty(), "nothing was to be sampled");
        // A wrong continuation, then back to the half.
        let wrong = Feed {
            slot: 1,
            position: u32::try_from(half).unwrap(),
            tokens: &tokens[..1],
            sample: false,
            guessed: 0,
        };
        engine.step(&[wrong], &mut sampled).unwrap();
        let kept = engine.cut(1, u32::try_from(half).unwrap());
        assert_eq!(kept as usize, half);
        assert_eq!(engine.cut(1, 1000), kept, "there is no more than that");

        let mut rest = [Stream::new(1, tokens[half..].to_vec())];
        rest[0].position = kept;
        generate(engine, &mut rest, ANSWER);
        assert_eq!(rest[0].answer, whole);
    });
}

#[test]
fn a_full_sequence_is_shifted_and_goes_on() {
    with_tiny(1, |engine| {
        begin(engine, 0, &greedy());
        let context = engine.limits().context;
        let mut stream = [Stream::new(0, prompt(engine, "Hello"))];
        let room = context - u32::try_from(stream[0].next.len()).unwrap();
        generate(engine, &mut stream, room as usize);
        let held = stream[0].position;
        assert!(held < context);
        assert!(!engine.shift(0, 1, held), "more than it holds");
        assert!(engine.shift(0, 1, held / 2));
        stream[0].position -= held / 2;
        let before = stream[0].answer.len();
        generate(engine, &mut stream, before + 20);
        assert_eq!(engine.cut(0, context), stream[0].position);
    });
}

#[test]
fn a_seed_repeats_an_answer_and_another_seed_does_not() {
    with_tiny(1, |engine| {
        let mut sampled = |seed| {
            engine.cut(0, 0);
            let sampling = Sampling {
                seed: Some(seed),
                temperature: 1.5,
                ..Sampling::default()
            };
            begin(engine, 0, &sampling);
            let mut stream = [Stream::new(0, prompt(engine, "Once"))];
            generate(engine, &mut stream, ANSWER);
            stream[0].answer.clone()
        };
        let first = sampled(1);
        assert_eq!(sampled(1), first);
        assert_ne!(sampled(2), first);
    });
}

#[test]
fn log_probabilities_belong_to_the_tokens() {
    with_tiny(1, |engine| {
        let sampling = greedy();
        let asked = Begin {
            sampling: &sampling,
            logprobs: Some(5),
            recent: &[],
            logit_bias: &[],
            rules: None,
        };
        engine.begin(0, asked).unwrap();
        let tokens = prompt(engine, "What is the capital of France?");
        let feed = Feed {
            slot: 0,
            position: 0,
            tokens: &tokens,
            sample: true,
            guessed: 0,
        };
        let mut sampled = Vec::new();
        engine.step(&[feed], &mut sampled).unwrap();
        let choice = sampled[0].choice.as_ref().unwrap();
        let logprob = choice.logprob.as_ref().unwrap();
        assert_eq!(logprob.top.len(), 5);
        assert_eq!(logprob.top[0], logprob.chosen, "greedy takes the first");
        assert!(logprob.top.is_sorted_by(|a, b| a.logprob >= b.logprob));
        let together: f32 = logprob.top.iter().map(|top| top.logprob.exp()).sum();
        assert!(together > 0.0 && together <= 1.0001, "{together}");
        let mut bytes = Vec::new();
        engine.write_piece(choice.token, &mut bytes);
        assert_eq!(logprob.chosen.bytes, bytes);
    });
}

#[test]
fn what_llama_cpp_would_abort_on_is_refused() {
    with_tiny(1, |engine| {
        begin(engine, 0, &greedy());
        let mut refused = |slot, tokens: &[Token]| {
            let feed = Feed {
                slot,
                position: 0,
                tokens,
                sample: true,
                guessed: 0,
            };
            engine.step(&[feed], &mut Vec::new()).unwrap_err()
        };
        assert!(matches!(refused(0, &[i32::MAX]), Error::InvalidJob(_)));
        assert!(matches!(refused(0, &[]), Error::Engine(_)));
        assert!(matches!(refused(1, &[1]), Error::Engine(_)));
        assert!(matches!(refused(0, &[1; 1000]), Error::Engine(_)));
        // The place of an image, to a model that sees none, fails its own sequence.
        let image = Feed {
            slot: 0,
            position: 0,
            tokens: &[-1],
            sample: true,
            guessed: 0,
        };
        let mut sampled = Vec::new();
        engine.step(&[image], &mut sampled).unwrap();
        assert!(matches!(sampled[0].choice, Err(Error::Engine(_))));
        let usual = answer(engine, 0, "Hello");
        assert_eq!(usual.len(), ANSWER, "the engine still works");
    });
}

#[test]
fn a_position_that_does_not_follow_is_an_error_that_empties_the_sequence() {
    with_tiny(2, |engine| {
        let usual = answer(engine, 0, "Hello");
        begin(engine, 1, &greedy());
        let gap = Feed {
            slot: 1,
            position: 7,
            tokens: &[1],
            sample: true,
            guessed: 0,
        };
        let start = Feed { position: 0, ..gap };
        engine.step(&[start], &mut Vec::new()).unwrap();
        let result = engine.step(&[gap], &mut Vec::new());
        assert!(matches!(result, Err(Error::Engine(_))), "{result:?}");
        assert_eq!(engine.cut(1, 1000), 0, "the sequence is empty");
        assert_eq!(answer(engine, 0, "Hello"), usual);
    });
}

#[test]
fn a_shared_beginning_goes_on_as_if_computed() {
    with_tiny(3, |engine| {
        let question = "What is the capital of France?";
        let alone = answer(engine, 0, question);
        let tokens = prompt(engine, question);
        let shared = u32::try_from(tokens.len()).unwrap() - 2;
        assert_eq!(engine.share(0, 1, shared), shared);
        // It outlives the sequence that it came from, and nothing is shared into what holds something.
        engine.cut(0, 0);
        assert_eq!(engine.share(1, 1, 1), 0);
        begin(engine, 1, &greedy());
        let mut stream = [Stream {
            position: shared,
            ..Stream::new(1, tokens[shared as usize..].to_vec())
        }];
        generate(engine, &mut stream, ANSWER);
        assert_eq!(stream[0].answer, alone);
    });
}

#[test]
fn guesses_are_taken_as_far_as_they_are_right() {
    with_tiny(1, |engine| {
        let question = "What is the capital of France?";
        let alone = answer(engine, 0, question);
        let tokens = prompt(engine, question);
        for right in 0..4_usize {
            let mut guesses = alone[..5].to_vec();
            guesses[right] = Token::from(guesses[right] == 7) + 7;
            let guessed = u32::try_from(guesses.len()).unwrap();
            engine.cut(0, 0);
            begin(engine, 0, &greedy());
            let feed = Feed {
                slot: 0,
                position: 0,
                tokens: &[&tokens[..], &guesses].concat(),
                sample: true,
                guessed,
            };
            let mut sampled = Vec::new();
            engine.step(&[feed], &mut sampled).unwrap();
            let said: Vec<Token> = (sampled.iter())
                .map(|sampled| sampled.choice.as_ref().unwrap().token)
                .collect();
            assert_eq!(said, alone[..=right]);
            // What was wrong is cut, and the answer goes on.
            let position = u32::try_from(tokens.len() + right).unwrap();
            assert_eq!(engine.cut(0, position), position);
            let mut stream = [Stream {
                position,
                ..Stream::new(0, vec![alone[right]])
            }];
            generate(engine, &mut stream, 20);
            assert_eq!(stream[0].answer, alone[right + 1..][..20]);
        }
    });
}

#[test]
fn a_released_cache_is_filled_again() {
    with_tiny(2, |engine| {
        let first = answer(engine, 0, "Hello");
        engine.release();
        assert_eq!(engine.cut(0, 5), 0, "nothing is left");
        assert_eq!(answer(engine, 1, "Hello"), first);
        assert_eq!(answer(engine, 0, "Hello"), first);
    });
}

#[test]
fn mapped_and_read_weights_and_quantised_caches_answer() {
    for (use_mmap, cache_type) in [
        (Some(true), CacheType::F16),
        (Some(false), CacheType::Q8_0),
        (None, CacheType::Q4_0),
    ] {
        let spec = Spec {
            use_mmap,
            cache_type,
            ..spec(tiny(), 1)
        };
        let answer = gguf::with_engine(&spec, |engine, _| {
            let tokens = answer(engine, 0, "Hello");
            text(engine, &tokens)
        });
        assert!(!answer.unwrap().trim().is_empty());
    }
}

/// Loads a changed copy of the model and returns the refusal.
fn refusal(change: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut bytes = std::fs::read(tiny()).unwrap();
    change(&mut bytes);
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("broken.gguf");
    std::fs::write(&model, bytes).unwrap();
    match gguf::with_engine(&spec(model, 1), |_, _| ()) {
        Err(Error::LoadFailed(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len());
    let at = (bytes.windows(from.len()))
        .position(|window| window == from)
        .unwrap();
    bytes[at..at + to.len()].copy_from_slice(to);
}

#[test]
fn a_model_that_cannot_be_loaded_says_why() {
    let missing = gguf::with_engine(&spec("no/such.gguf".into(), 1), |_, _| ());
    let Err(Error::LoadFailed(reason)) = missing else {
        panic!("{missing:?}");
    };
    assert!(reason.contains("no/such.gguf"), "{reason}");

    let reason = refusal(|bytes| bytes.truncate(bytes.len() / 2));
    assert!(reason.contains("not within the file bounds"), "{reason}");

    let reason = refusal(|bytes| *bytes = b"this is no model".to_vec());
    assert!(reason.contains("failed to load model"), "{reason}");

    let reason = refusal(|bytes| {
        replace(
            bytes,
            b"\x05\0\0\0\0\0\0\0llama",
            b"\x05\0\0\0\0\0\0\0xxxxx",
        )
    });
    assert!(
        reason.contains("unknown model architecture: 'xxxxx'"),
        "{reason}"
    );
}
