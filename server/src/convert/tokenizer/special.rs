//! Which words begin, end and separate texts, whether they are added, and the chat template
//! (`SpecialVocab` of llama.cpp's `gguf-py`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::file::TokenizerFile;
use crate::convert::Error;
use crate::convert::config::Config;
use crate::convert::folder::{Folder, MAX_SETTINGS_BYTES};
use crate::convert::gguf::Entries;

/// What a special word is for, and the key of its number in GGUF; one of them is misspelled there.
const PURPOSES: [(&str, &str); 6] = [
    ("bos", "bos"),
    ("eos", "eos"),
    ("unk", "unknown"),
    ("sep", "seperator"),
    ("pad", "padding"),
    ("mask", "mask"),
];

const SETTINGS: &str = "tokenizer_config.json";

/// Whether a blank is put before a text, if the settings tell.
///
/// # Errors
/// When they cannot be read.
pub(super) fn adds_space(folder: Folder<'_>) -> Result<Option<bool>, Error> {
    let settings: Option<Map<String, Value>> = folder.json(SETTINGS, MAX_SETTINGS_BYTES)?;
    Ok(settings.and_then(|settings| settings.get("add_prefix_space")?.as_bool()))
}

/// Puts all that into the metadata of a model with so many words.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn describe(
    folder: Folder<'_>,
    config: &Config,
    file: Option<&TokenizerFile>,
    words: usize,
    entries: &mut Entries,
) -> Result<(), Error> {
    let mut settings: Map<String, Value> = folder
        .json(SETTINGS, MAX_SETTINGS_BYTES)?
        .unwrap_or_default();
    let mut adds = BTreeMap::new();
    if let Some(file) = file {
        stand_in(&mut settings, "bos_token", "cls_token");
        stand_in(&mut settings, "eos_token", "sep_token");
        for processor in steps(&file.post_processor) {
            processed(processor, &mut settings, &mut adds);
        }
        put_normalizer(&file.normalizer, entries);
    }
    for (purpose, key) in PURPOSES {
        let by_text = file.and_then(|file| {
            let content = content(settings.get(&format!("{purpose}_token"))?)?;
            let mut added = file.added_tokens.iter();
            added
                .find(|token| token.content == content)
                .map(|token| token.id)
        });
        let number = match by_text {
            Some(number) => Some(number),
            None => number_in(config, folder, purpose)?,
        };
        if let Some(number) = number.filter(|&number| (number as usize) < words) {
            entries.put(&format!("tokenizer.ggml.{key}_token_id"), number);
        }
        let stated = settings.get(&format!("add_{purpose}_token"));
        let is_added = adds.get(purpose).copied().or_else(|| stated?.as_bool());
        if let (Some(is_added), "bos" | "eos" | "sep") = (is_added, purpose) {
            entries.put(&format!("tokenizer.ggml.add_{purpose}_token"), is_added);
        }
    }
    if let Some(template) = chat_template(folder, &settings)? {
        entries.put("tokenizer.chat_template", template);
    }
    Ok(())
}

/// A number that `config.json` states, or the first of those in `generation_config.json`.
fn number_in(config: &Config, folder: Folder<'_>, purpose: &str) -> Result<Option<u32>, Error> {
    let key = format!("{purpose}_token_id");
    let small = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
    if let Some(number) = config.raw(&key).and_then(small) {
        return Ok(Some(number));
    }
    let generation: Option<Map<String, Value>> =
        folder.json("generation_config.json", MAX_SETTINGS_BYTES)?;
    Ok(generation.and_then(|generation| {
        let value = generation.get(&key)?;
        small(value).or_else(|| small(value.get(0)?))
    }))
}

/// BERT calls its beginning and end otherwise.
fn stand_in(settings: &mut Map<String, Value>, name: &str, other: &str) {
    let is_there = settings.get(name).is_some_and(|value| !value.is_null());
    if let (false, Some(value)) = (is_there, settings.get(other).cloned()) {
        settings.insert(name.to_owned(), value);
    }
}

fn steps(processor: &Value) -> Vec<&Value> {
    match processor.get("processors").and_then(Value::as_array) {
        Some(steps) => steps.iter().collect(),
        None => vec![processor],
    }
}

/// What one step of a post-processor tells of words that are added.
fn processed(
    step: &Value,
    settings: &mut Map<String, Value>,
    adds: &mut BTreeMap<&'static str, bool>,
) {
    match step.get("type").and_then(Value::as_str) {
        Some("ByteLevel") => {
            adds.entry("bos").or_insert(false);
            adds.entry("eos").or_insert(false);
        }
        Some("RobertaProcessing") => {
            for (purpose, name) in [("cls", "cls_token"), ("sep", "sep_token")] {
                let word = step.get(purpose).and_then(|pair| pair.get(0)).cloned();
                if let (None, Some(word)) = (settings.get(name), word) {
                    settings.insert(name.to_owned(), word);
                }
            }
            adds.extend([("bos", true), ("eos", true), ("sep", true)]);
        }
        Some("BertProcessing") => adds.extend([("bos", true), ("eos", true)]),
        Some("TemplateProcessing") => {
            let single = step.get("single").and_then(Value::as_array);
            let Some(single) = single.filter(|single| single.len() > 1) else {
                return;
            };
            let word = |place: Option<&Value>| {
                let word = place?.get("SpecialToken")?.get("id")?.as_str()?;
                Some(word.to_owned())
            };
            for (name, purpose, word) in [
                ("bos_token", "bos", word(single.first())),
                ("eos_token", "eos", word(single.last())),
            ] {
                let Some(word) = word else {
                    continue;
                };
                // What is added is what begins or ends a text, whatever the settings call so.
                let stated = settings.get(name).and_then(content);
                if stated.as_deref() != Some(word.as_str()) {
                    settings.insert(name.to_owned(), word.into());
                }
                adds.insert(purpose, true);
            }
            // One word between two texts ends the first if each text ends so, a second one separates them.
            let ends = word(single.last()).is_some();
            let known = ["sep_token", "eos_token"].map(|name| settings.get(name).and_then(content));
            let between = words_between(step.get("pair").unwrap_or(&Value::Null));
            let separates = between.iter().enumerate().any(|(index, word)| {
                let is_known = known.iter().any(|known| known.as_deref() == Some(word));
                is_known && index >= usize::from(ends)
            });
            adds.insert("sep", separates);
        }
        _ => {}
    }
}

/// Special words between the first text and the second.
fn words_between(pair: &Value) -> Vec<&str> {
    let places = pair.as_array().map(Vec::as_slice).unwrap_or_default();
    let is_text = |place: &&Value| place.get("Sequence").is_some();
    let from_first = places.iter().skip_while(|place| !is_text(place)).skip(1);
    from_first
        .take_while(|place| !is_text(place))
        .filter_map(|place| place.get("SpecialToken")?.get("id")?.as_str())
        .collect()
}

/// A word in either form.
fn content(value: &Value) -> Option<String> {
    let text = value.as_str().or_else(|| value.get("content")?.as_str());
    text.map(str::to_owned)
}

/// What is done to a text first, as far as llama.cpp's WordPiece does it.
fn put_normalizer(normalizer: &Value, entries: &mut Entries) {
    let steps = match normalizer.get("normalizers").and_then(Value::as_array) {
        Some(steps) => steps.iter().collect(),
        None => vec![normalizer],
    };
    for step in steps {
        let mut put = |key: &str, value: Option<bool>| {
            if let Some(value) = value {
                entries.put(&format!("tokenizer.ggml.normalizer.{key}"), value);
            }
        };
        let flag = |name: &str| step.get(name).and_then(Value::as_bool);
        match step.get("type").and_then(Value::as_str) {
            Some("Lowercase") => put("lowercase", Some(true)),
            Some("StripAccents") => put("strip_accents", Some(true)),
            Some("BertNormalizer") => {
                put("lowercase", flag("lowercase"));
                put("strip_accents", flag("strip_accents"));
            }
            _ => {}
        }
    }
}

/// The chat template, which may be in one of three files, and one of several.
fn chat_template(
    folder: Folder<'_>,
    settings: &Map<String, Value>,
) -> Result<Option<String>, Error> {
    let stated = match settings.get("chat_template") {
        Some(template) => Some(template.clone()),
        None => match folder.text("chat_template.jinja")? {
            Some(template) => Some(Value::String(template)),
            None => folder
                .json::<Map<String, Value>>("chat_template.json", MAX_SETTINGS_BYTES)?
                .and_then(|file| file.get("chat_template").cloned()),
        },
    };
    Ok(stated.and_then(|stated| match stated {
        Value::String(template) => Some(template),
        Value::Array(several) => several
            .iter()
            .find(|one| one.get("name").and_then(Value::as_str) == Some("default"))
            .and_then(|one| one.get("template")?.as_str())
            .map(str::to_owned),
        _ => None,
    }))
}
