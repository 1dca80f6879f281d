//! What strangers send, read as the server reads it: each function takes any bytes and may refuse them, but neither panic nor hang.
//!
//! `fuzz_targets/` gives these to libFuzzer; the integration test `corpora` of the server compiles this file too, and reads `corpus/`.

use std::io::Cursor;
use std::sync::LazyLock;
use std::thread;

use chaski::engine::gguf::bench::Grammars;
use chaski::engine::onnx::bench::Splitter;
use chaski::inference::generate::Grammar;
use chaski::prompt::{
    Conversation, Expectations, Message, OutputParser, Part, Tags, Template, Think, Tool, ToolCall,
    ToolFormat, Traits,
};
use chaski::store::gguf::{Arrays, Gguf};
use chaski::store::onnx::Onnx;
use chaski::store::{Config, Digest, Manifest, Modelfile, Name, RelativeName};
use chaski::worker::frame::{FromWorker, Reader, ToWorker};

/// A target's name and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 10] = [
    ("answers", answers),
    ("frames", frames),
    ("gguf", gguf),
    ("grammars", grammars),
    ("manifests", manifests),
    ("modelfiles", modelfiles),
    ("names", names),
    ("onnx", onnx),
    ("templates", templates),
    ("tokenizers", tokenizers),
];

/// Stack of a thread that compiles a grammar, as in a worker.
const GRAMMAR_STACK_BYTES: usize = 64 << 20;

/// Names of models, digests, and names of files within a model: what is accepted reads the same when it is read again.
pub fn names(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(name) = text.parse::<Name>() {
        assert_eq!(name.full().parse::<Name>().ok(), Some(name));
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string().parse::<Digest>().ok(), Some(digest));
    }
    if let Ok(name) = text.parse::<RelativeName>() {
        let written = name.to_string();
        assert!(!written.starts_with('/') && !written.split('/').any(|part| part == ".."));
    }
}

/// Manifests and configurations of a registry: sizes of layers may add up to anything, and what is written is what was read.
pub fn manifests(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::parse(bytes) {
        let _ = (manifest.size(), manifest.digests().count());
        let written = manifest.to_bytes();
        let again = Manifest::parse(&written).expect("it was written by us");
        assert_eq!(again.to_bytes(), written);
    }
    let _ = serde_json::from_slice::<Config>(bytes);
}

/// Modelfiles.
pub fn modelfiles(bytes: &[u8]) {
    if let Ok(file) = Modelfile::parse(bytes) {
        let _ = file.parameters();
    }
}

/// GGUF files.
pub fn gguf(bytes: &[u8]) {
    let _ = Gguf::read(Cursor::new(bytes), Arrays::Keep);
}

/// ONNX graphs.
pub fn onnx(bytes: &[u8]) {
    let _ = Onnx::read(Cursor::new(bytes));
}

/// Tokenizers, as JSON, and then a few texts for them.
pub fn tokenizers(bytes: &[u8]) {
    if let Ok(splitter) = Splitter::new(bytes) {
        for text in [
            "",
            "A small boat, on the lake!",
            "\0 e\u{301} \u{1f6a3}",
            "   ",
        ] {
            let _ = splitter.count(text);
        }
    }
}

/// Chat templates, in Jinja and in Go's language, that render a conversation.
pub fn templates(bytes: &[u8]) {
    let source = String::from_utf8_lossy(bytes);
    let said = [
        ("system", "Be brief."),
        ("user", "Hello"),
        ("assistant", "Hi"),
        ("user", "What?"),
    ];
    let messages = said.map(|(role, content)| Message {
        role: role.to_owned(),
        content: content.to_owned(),
        ..Message::default()
    });
    let conversation = Conversation {
        messages: &messages,
        tools: &[tool()],
        think: Think::Unset,
        add_generation_prompt: true,
        bos_token: "<s>",
        eos_token: "</s>",
        now: jiff::Timestamp::UNIX_EPOCH.to_zoned(jiff::tz::TimeZone::UTC),
    };
    for read in [Template::jinja, Template::go] {
        if let Ok(template) = read(&source) {
            let _ = template.render(&conversation);
        }
    }
}

/// Answers of models, whose first byte says how these write tool calls: however an answer is cut, it says the same.
pub fn answers(bytes: &[u8]) {
    let Some((&kind, answer)) = bytes.split_first() else {
        return;
    };
    let answer = String::from_utf8_lossy(answer);
    let traits = Traits {
        tools: ToolFormat::ALL.get(usize::from(kind & 31)).copied(),
        thinking: Some(Tags {
            open: "<think>".to_owned(),
            close: "</think>".to_owned(),
        }),
        reopens_thinking: kind & 32 != 0,
        ..Traits::default()
    };
    let think = if kind & 64 == 0 {
        Think::On
    } else {
        Think::Off
    };
    let prompt_end = if kind & 128 == 0 { "" } else { "<think>\n" };
    let read = |pieces: &mut dyn Iterator<Item = &str>| {
        let mut parser = OutputParser::new(Expectations {
            traits: &traits,
            prompt_end,
            think,
            tools: &[tool()],
        });
        let mut parts: Vec<Part> = pieces.flat_map(|piece| parser.push(piece)).collect();
        parts.extend(parser.finish());
        joined(parts)
    };
    let whole = read(&mut std::iter::once(&*answer));
    let characters = read(&mut answer.split_inclusive(|_: char| true));
    assert_eq!(characters, whole, "{kind} {answer:?}");
}

/// Messages between the server and a worker, in both directions.
pub fn frames(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    while reader.read::<FromWorker>().is_ok() {}
    let mut reader = Reader::new(bytes);
    while reader.read::<ToWorker>().is_ok() {}
}

/// What an answer is held to: schemas, and grammars in three notations, of which the first byte chooses one.
pub fn grammars(bytes: &[u8]) {
    static GRAMMARS: LazyLock<Grammars> = LazyLock::new(Grammars::new);
    let Some((kind, text)) = bytes.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(text).into_owned();
    let grammar = match kind % 4 {
        0 => Grammar::JsonSchema(text),
        1 => Grammar::Gbnf(text),
        2 => Grammar::Lark(text),
        _ => Grammar::Regex(text),
    };
    let thread = thread::Builder::new().stack_size(GRAMMAR_STACK_BYTES);
    let compiled = thread.spawn(|| GRAMMARS.compile(grammar));
    let compiled = compiled.expect("a thread can be started").join();
    let _ = compiled.expect("it does not panic");
}

fn tool() -> Tool {
    Tool {
        name: "add".to_owned(),
        description: "Adds two numbers".to_owned(),
        parameters: serde_json::json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}),
    }
}

/// Neighbours of a kind are one part.
fn joined(parts: Vec<Part>) -> Vec<Part> {
    let mut joined: Vec<Part> = Vec::new();
    for part in parts {
        match (joined.last_mut(), part) {
            (Some(Part::Thinking(before)), Part::Thinking(text))
            | (Some(Part::Content(before)), Part::Content(text)) => before.push_str(&text),
            (_, Part::Thinking(text) | Part::Content(text)) if text.is_empty() => {}
            (_, Part::ToolCall(call)) => {
                // What names a call is drawn.
                let id = String::new();
                joined.push(Part::ToolCall(ToolCall { id, ..call }));
            }
            (_, part) => joined.push(part),
        }
    }
    joined
}
