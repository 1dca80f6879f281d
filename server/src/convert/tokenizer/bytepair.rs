//! Byte-pair encoding over bytes, as GPT-2 began it.

use serde_json::Value;

use super::file::TokenizerFile;
use super::{Error, Kind, Vocabulary, Word, added, unused};
use crate::convert::config::Config;

/// Ways of cutting text before merging, by their pattern: llama.cpp has each built in under a name
/// (`llm_tokenizer_bpe` of `llama-vocab.cpp`). The second column is whether whole words are looked up first.
const PATTERNS: [(&str, bool, &str); 9] = [
    (LLAMA_3, true, "llama-bpe"),
    // The same cuts, and merging always.
    (LLAMA_3, false, "dbrx"),
    (QWEN_2, false, "qwen2"),
    (QWEN_2, true, "qwen2"),
    (QWEN_35, false, "qwen35"),
    (TEKKEN, true, "tekken"),
    (TEKKEN, false, "tekken"),
    (GPT_4O, false, "gpt-4o"),
    (GPT_4O, true, "gpt-4o"),
];

const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN_2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN_35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT_4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The vocabulary of such a tokenizer.
///
/// # Errors
/// When it is of another kind, or cuts text in a way that llama.cpp has no name for.
pub(super) fn read(file: &TokenizerFile, config: &Config) -> Result<Vocabulary, Error> {
    let kind = file.model.kind.as_deref().unwrap_or("BPE");
    if kind != "BPE" {
        let text = format!("a tokenizer of the kind {kind} is not supported for this family");
        return Err(Error::refused(text));
    }
    let pre = pre_tokenizer(file)?;
    let words = numbered_words(file, config)?;
    let merges = file.model.merges.iter().map(|merge| {
        let (left, right) = merge
            .parts()
            .ok_or_else(|| Error::refused("tokenizer.json has a merge of one part"))?;
        // A blank separates the two, so one inside is written as bytes are.
        let written = |part: &str| part.replace(' ', "\u{120}");
        Ok(format!("{} {}", written(left), written(right)))
    });
    Ok(Vocabulary {
        model: "gpt2",
        pre: pre.to_owned(),
        words,
        has_scores: false,
        merges: merges.collect::<Result<_, Error>>()?,
        more: Vec::new(),
    })
}

/// The words of a file by their numbers; numbers that the model has and the file does not stay unused.
pub(super) fn numbered_words(file: &TokenizerFile, config: &Config) -> Result<Vec<Word>, Error> {
    let vocabulary = file.words()?;
    let numbers = vocabulary
        .values()
        .copied()
        .chain(file.added_tokens.iter().map(|token| token.id));
    let needed = numbers.max().map_or(0, |last| last.saturating_add(1));
    let count = config.count(&["vocab_size"])?.unwrap_or(needed);
    if needed > count {
        return Err(Error::refused(format!(
            "tokenizer.json has {needed} words, and the model of config.json only {count}"
        )));
    }
    let mut words = unused(count)?;
    for (text, &number) in vocabulary {
        words[number as usize] = Word {
            text: text.clone().into_bytes(),
            score: 0.0,
            kind: Kind::Normal,
        };
    }
    for token in &file.added_tokens {
        let (text, kind) = added(&token.content, token.special);
        words[token.id as usize] = Word {
            text,
            score: 0.0,
            kind,
        };
    }
    Ok(words)
}

/// llama.cpp's name for the way text is cut.
fn pre_tokenizer(file: &TokenizerFile) -> Result<&'static str, Error> {
    let mut patterns = Vec::new();
    let mut cuts_digits = false;
    let mut has_own_pattern = false;
    visit(&file.pre_tokenizer, &mut |step| {
        let flag = |name: &str| step.get(name).and_then(Value::as_bool);
        match step.get("type").and_then(Value::as_str) {
            Some("Split") => {
                let pattern = step.get("pattern").and_then(|pattern| pattern.get("Regex"));
                patterns.push(pattern.and_then(Value::as_str).unwrap_or_default());
            }
            Some("Digits") => cuts_digits = flag("individual_digits").unwrap_or(false),
            Some("ByteLevel") => has_own_pattern |= flag("use_regex").unwrap_or(true),
            _ => {}
        }
    });
    match (patterns.as_slice(), cuts_digits, has_own_pattern) {
        ([], false, true) if is_roberta(file) => Ok("roberta-bpe"),
        ([], false, true) => Ok("gpt-2"),
        ([], true, true) => Ok("smollm"),
        ([pattern], _, _) => {
            let merges_always = file.model.ignore_merges;
            PATTERNS
                .iter()
                .find(|(known, ignores, _)| known == pattern && *ignores == merges_always)
                .map(|(_, _, name)| *name)
                .ok_or_else(|| unknown(pattern))
        }
        (several, _, _) => Err(unknown(&several.join(" then "))),
    }
}

/// Whether pairs of texts are put together as RoBERTa does it.
fn is_roberta(file: &TokenizerFile) -> bool {
    file.post_processor.get("type").and_then(Value::as_str) == Some("RobertaProcessing")
}

fn unknown(pattern: &str) -> Error {
    let pattern: String = pattern.chars().take(200).collect();
    Error::refused(format!(
        "the tokenizer cuts text in a way that is not known: {pattern:?}"
    ))
}

/// Calls `look` with every step of a pre-tokenizer that may be a sequence of them.
fn visit<'a>(step: &'a Value, look: &mut impl FnMut(&'a Value)) {
    match step.get("pretokenizers").and_then(Value::as_array) {
        Some(steps) => steps.iter().for_each(look),
        None => look(step),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(pre_tokenizer: Value, ignore_merges: bool, expected: Result<&str, &str>) {
        let file: TokenizerFile = serde_json::from_value(json!({
            "model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "ignore_merges": ignore_merges},
            "pre_tokenizer": pre_tokenizer,
        }))
        .unwrap();
        match (pre_tokenizer_text(&file), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
            (found, expected) => panic!("{found:?} is not {expected:?}"),
        }
    }

    fn pre_tokenizer_text(file: &TokenizerFile) -> Result<&'static str, String> {
        pre_tokenizer(file).map_err(|error| error.to_string())
    }

    fn split(pattern: &str) -> Value {
        let split = json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"});
        json!({"type": "Sequence", "pretokenizers": [split, {"type": "ByteLevel", "use_regex": false}]})
    }

    #[test]
    fn the_way_text_is_cut_is_told_by_its_pattern() {
        check(split(LLAMA_3), true, Ok("llama-bpe"));
        check(split(LLAMA_3), false, Ok("dbrx"));
        check(split(QWEN_2), false, Ok("qwen2"));
        check(split(TEKKEN), true, Ok("tekken"));
        check(json!({"type": "ByteLevel"}), false, Ok("gpt-2"));
        let digits = json!({"type": "Digits", "individual_digits": true});
        let both = json!({"type": "Sequence", "pretokenizers": [digits, {"type": "ByteLevel"}]});
        check(both, false, Ok("smollm"));
        check(
            split("."),
            false,
            Err("cuts text in a way that is not known: \".\""),
        );
        check(Value::Null, false, Err("not known"));
    }

    #[test]
    fn merges_of_both_forms_are_read() {
        let file: TokenizerFile = serde_json::from_value(json!({
            "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b", ["a b", "c"]]},
        }))
        .unwrap();
        let parts: Vec<_> = file
            .model
            .merges
            .iter()
            .map(|merge| merge.parts())
            .collect();
        assert_eq!(parts, [Some(("a", "b")), Some(("a b", "c"))]);
    }
}
