//! What a model can be asked to do, told from its files by Ollama's rules.

use std::fmt;

use super::gguf::{Gguf, Value};
use crate::prompt::{self, families};

/// Something a model can do; the text is what `/api/show` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Capability {
    /// Goes on with a text.
    Completion,
    /// Turns texts into vectors.
    Embedding,
    /// Calls functions.
    Tools,
    /// Fills in between two texts.
    Insert,
    /// Sees images.
    Vision,
    /// Hears sounds.
    Audio,
    /// Thinks before it answers.
    Thinking,
    /// Makes images.
    Image,
    /// Chooses among labels: ours.
    Classify,
    /// Finds the parts of a text that have labels: ours.
    TokenClassify,
    /// Scores how well texts answer a question: ours.
    Rerank,
}

/// llama.cpp's `LLAMA_POOLING_TYPE_RANK`: what comes out of the model are scores.
const POOLING_RANK: u64 = 4;

const ALL: [Capability; 11] = [
    Capability::Completion,
    Capability::Embedding,
    Capability::Tools,
    Capability::Insert,
    Capability::Vision,
    Capability::Audio,
    Capability::Thinking,
    Capability::Image,
    Capability::Classify,
    Capability::TokenClassify,
    Capability::Rerank,
];

impl Capability {
    /// Reads what a configuration blob says.
    pub(super) fn parse(text: &str) -> Option<Self> {
        ALL.into_iter()
            .find(|capability| capability.as_str() == text)
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completion => "completion",
            Self::Embedding => "embedding",
            Self::Tools => "tools",
            Self::Insert => "insert",
            Self::Vision => "vision",
            Self::Audio => "audio",
            Self::Thinking => "thinking",
            Self::Image => "image",
            Self::Classify => "classify",
            Self::TokenClassify => "token_classify",
            Self::Rerank => "rerank",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What a GGUF model can do. What its template lets it do has been judged already.
pub(super) fn of_gguf(
    gguf: &Gguf,
    template: prompt::Capabilities,
    has_projector: bool,
) -> Vec<Capability> {
    let pooling = gguf.of_architecture("pooling_type");
    let scores = pooling.and_then(Value::as_unsigned) == Some(POOLING_RANK);
    let labels = match gguf.of_architecture("classifier.output_labels") {
        Some(Value::Array { length, .. }) => *length,
        _ => 1,
    };
    // A reranker that was made from a language model chooses between "yes" and "no".
    let reranks = labels == 1 || gguf.architecture().starts_with("qwen3");
    let prompt::Capabilities {
        tools,
        thinking,
        insert,
    } = template;
    let possible = [
        (Capability::Completion, pooling.is_none()),
        (Capability::Embedding, pooling.is_some() && !scores),
        (Capability::Classify, scores && !reranks),
        (Capability::Rerank, scores && reranks),
        (
            Capability::Vision,
            has_projector || gguf.of_architecture("vision.block_count").is_some(),
        ),
        (
            Capability::Audio,
            gguf.of_architecture("audio.block_count").is_some(),
        ),
        (Capability::Tools, tools),
        (Capability::Insert, insert),
        // gpt-oss thinks in channels of its own, whatever its template says.
        (
            Capability::Thinking,
            thinking || matches!(gguf.architecture(), "gptoss" | "gpt-oss"),
        ),
    ];
    possible
        .into_iter()
        .filter_map(|(capability, is_there)| is_there.then_some(capability))
        .collect()
}

/// Whether Ollama's old route for vectors never scaled those of this model to length 1 (`legacyEmbeddingsWereRaw` in its
/// `llm/llama_server.go`). Clients have stored what they got.
pub(super) fn embeds_raw(gguf: &Gguf) -> bool {
    let normalizes = |default| match gguf.of_architecture("normalize_embeddings") {
        Some(Value::Bool(normalizes)) => *normalizes,
        _ => default,
    };
    let is_embedding = gguf.of_architecture("pooling_type").is_some();
    is_embedding
        && match gguf.architecture() {
            "bert" => {
                let tokenizer = gguf.text("tokenizer.ggml.model").unwrap_or("bert");
                tokenizer != "bert" || !normalizes(true)
            }
            "nomic-bert" | "nomic-bert-moe" => !normalizes(false),
            _ => false,
        }
}

/// What the parser that a model names can read, it can write.
pub(super) fn add_of_parser(capabilities: &mut Vec<Capability>, parser: &str) {
    let Some(parser) = families::parser(parser) else {
        return;
    };
    let abilities = [
        (Capability::Tools, parser.tools),
        (Capability::Thinking, parser.thinking),
    ];
    for (capability, is_able) in abilities {
        if is_able && !capabilities.contains(&capability) {
            capabilities.push(capability);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::store::gguf::Arrays;
    use crate::store::testing::{GgufBuilder, Kv};

    fn check(builder: GgufBuilder, template: prompt::Capabilities, expected: &[&str]) {
        let gguf = Gguf::read(Cursor::new(builder.build()), Arrays::Skip).unwrap();
        let found: Vec<_> = of_gguf(&gguf, template, false)
            .into_iter()
            .map(Capability::as_str)
            .collect();
        assert_eq!(found, expected, "{template:?}");
    }

    #[test]
    fn templates_tell_what_a_model_was_taught() {
        let nothing = prompt::Capabilities::default();
        check(GgufBuilder::llama(), nothing, &["completion"]);
        let everything = prompt::Capabilities {
            tools: true,
            thinking: true,
            insert: true,
        };
        check(
            GgufBuilder::llama(),
            everything,
            &["completion", "tools", "insert", "thinking"],
        );
    }

    #[test]
    fn metadata_tells_what_a_model_was_built_for() {
        let nothing = prompt::Capabilities::default();
        let pooling = GgufBuilder::llama().with("llama.pooling_type", Kv::U32(1));
        check(pooling, nothing, &["embedding"]);
        let vision = GgufBuilder::llama().with("llama.vision.block_count", Kv::U32(3));
        check(vision, nothing, &["completion", "vision"]);
    }

    #[test]
    fn scores_in_place_of_a_vector_are_labels_or_a_rank() {
        let rank = GgufBuilder::llama().with("llama.pooling_type", Kv::U32(4));
        let nothing = prompt::Capabilities::default();
        check(rank.clone(), nothing, &["rerank"]);
        let labels = rank.with(
            "llama.classifier.output_labels",
            Kv::Texts(&["bad", "good"]),
        );
        check(labels, nothing, &["classify"]);
    }

    #[test]
    fn old_vectors_are_raw_where_ollama_s_were() {
        let check = |entries: &[(&str, Kv)], expected: bool| {
            let builder = entries
                .iter()
                .fold(GgufBuilder::llama(), |builder, (key, value)| {
                    builder.with(key, value.clone())
                });
            let gguf = Gguf::read(Cursor::new(builder.build()), Arrays::Skip).unwrap();
            assert_eq!(embeds_raw(&gguf), expected);
        };
        let architecture = |name| ("general.architecture", Kv::Text(name));
        let tokenizer = |name| ("tokenizer.ggml.model", Kv::Text(name));
        let (yes, no) = (Kv::Raw(7, vec![1]), Kv::Raw(7, vec![0]));
        let bert = ("bert.pooling_type", Kv::U32(1));
        let nomic = ("nomic-bert.pooling_type", Kv::U32(1));
        check(&[architecture("llama")], false);
        check(&[architecture("bert"), bert.clone()], false);
        check(&[architecture("bert"), bert.clone(), tokenizer("t5")], true);
        let told = ("bert.normalize_embeddings", no);
        check(&[architecture("bert"), bert, told], true);
        check(&[architecture("nomic-bert"), nomic.clone()], true);
        let told = ("nomic-bert.normalize_embeddings", yes);
        check(&[architecture("nomic-bert"), nomic, told], false);
    }

    #[test]
    fn every_capability_reads_its_own_word() {
        for capability in ALL {
            assert_eq!(Capability::parse(&capability.to_string()), Some(capability));
        }
        assert_eq!(Capability::parse("flying"), None);
    }
}
