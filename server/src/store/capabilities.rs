//! What a model can be asked to do, told from its files by Ollama's rules.

use std::fmt;

use super::gguf::{Gguf, Value};
use crate::prompt::families;

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
    /// Scores how well texts answer a question: ours.
    Rerank,
}

/// llama.cpp's `LLAMA_POOLING_TYPE_RANK`: what comes out of the model are scores.
const POOLING_RANK: u64 = 4;

const ALL: [Capability; 10] = [
    Capability::Completion,
    Capability::Embedding,
    Capability::Tools,
    Capability::Insert,
    Capability::Vision,
    Capability::Audio,
    Capability::Thinking,
    Capability::Image,
    Capability::Classify,
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
            Self::Rerank => "rerank",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What a GGUF model can do. A Go `template` given with the model counts instead of the Jinja one inside the file.
pub(super) fn of_gguf(gguf: &Gguf, template: Option<&str>, has_projector: bool) -> Vec<Capability> {
    let pooling = gguf.of_architecture("pooling_type");
    let scores = pooling.and_then(Value::as_unsigned) == Some(POOLING_RANK);
    let labels = match gguf.of_architecture("classifier.output_labels") {
        Some(Value::Array { length, .. }) => *length,
        _ => 1,
    };
    // A reranker that was made from a language model chooses between "yes" and "no".
    let reranks = labels == 1 || gguf.architecture().starts_with("qwen3");
    let (tools, insert, thinking) = match (template, gguf.chat_template()) {
        (Some(go), _) => (
            mentions(go, ".Tools"),
            mentions(go, ".Suffix"),
            mentions(go, ".Thinking") || has_thinking_tags(go),
        ),
        (None, Some(jinja)) => (mentions(jinja, "tools"), false, has_thinking_tags(jinja)),
        (None, None) => (false, false, false),
    };
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

fn has_thinking_tags(template: &str) -> bool {
    template.contains("<think>") && template.contains("</think>")
}

/// Whether `variable` is named inside `{{ }}` or `{% %}`, as a word of its own.
fn mentions(template: &str, variable: &str) -> bool {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    template
        .split("{{")
        .flat_map(|part| part.split("{%"))
        .skip(1)
        .any(|part| {
            let action = part
                .split("}}")
                .next()
                .and_then(|action| action.split("%}").next())
                .unwrap_or_default();
            action.match_indices(variable).any(|(start, _)| {
                let before = action[..start].chars().next_back();
                let after = action[start + variable.len()..].chars().next();
                !before.is_some_and(|letter| is_word(letter) || matches!(letter, '.' | '"' | '\''))
                    && !after.is_some_and(is_word)
            })
        })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::store::gguf::Arrays;
    use crate::store::testing::{GgufBuilder, Kv};

    fn check(builder: GgufBuilder, template: Option<&str>, expected: &[&str]) {
        let gguf = Gguf::read(Cursor::new(builder.build()), Arrays::Skip).unwrap();
        let found: Vec<_> = of_gguf(&gguf, template, false)
            .into_iter()
            .map(Capability::as_str)
            .collect();
        assert_eq!(found, expected, "{template:?}");
    }

    fn with_jinja(template: &'static str) -> GgufBuilder {
        GgufBuilder::llama().with("tokenizer.chat_template", Kv::Text(template))
    }

    #[test]
    fn templates_tell_what_a_model_was_taught() {
        check(
            GgufBuilder::llama().without("tokenizer.chat_template"),
            None,
            &["completion"],
        );
        check(
            with_jinja("{% if tools %}{{ tools | tojson }}{% endif %}"),
            None,
            &["completion", "tools"],
        );
        check(
            with_jinja("no tools here {{ message.tools_used }}{{ 'tools' }}"),
            None,
            &["completion"],
        );
        check(
            with_jinja("<think>{{ x }}</think>"),
            None,
            &["completion", "thinking"],
        );
        let go =
            "{{ if .Tools }}x{{ end }}{{ .Prompt }}{{ .Suffix }}<think>{{ .Thinking }}</think>";
        check(
            GgufBuilder::llama(),
            Some(go),
            &["completion", "tools", "insert", "thinking"],
        );
        check(
            GgufBuilder::llama(),
            Some("{{ range $.Tools }}{{ end }}"),
            &["completion", "tools"],
        );
        check(
            with_jinja("{{ tools }}"),
            Some("{{ .Prompt }} .Tools {{ .ToolsX }}"),
            &["completion"],
        );
    }

    #[test]
    fn metadata_tells_what_a_model_was_built_for() {
        let pooling = GgufBuilder::llama().with("llama.pooling_type", Kv::U32(1));
        check(pooling, None, &["embedding"]);
        let vision = GgufBuilder::llama().with("llama.vision.block_count", Kv::U32(3));
        check(vision, None, &["completion", "vision"]);
    }

    #[test]
    fn scores_in_place_of_a_vector_are_labels_or_a_rank() {
        let rank = GgufBuilder::llama().with("llama.pooling_type", Kv::U32(4));
        check(rank.clone(), None, &["rerank"]);
        let labels = rank.with(
            "llama.classifier.output_labels",
            Kv::Texts(&["bad", "good"]),
        );
        check(labels, None, &["classify"]);
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
