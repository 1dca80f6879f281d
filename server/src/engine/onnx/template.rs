//! What a `tokenizer.json` puts around texts, looked at before the library does it: of a template that was read from a file, the
//! library takes for granted what it checks only when one is built by hand, and panics where that does not hold.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use tokenizers::PostProcessorWrapper;

/// The part of a post-processor that matters here, as it is in the file.
#[derive(Deserialize)]
#[serde(tag = "type")]
enum Processor {
    TemplateProcessing(Template),
    Sequence {
        processors: Vec<Processor>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Template {
    single: Vec<Part>,
    pair: Vec<Part>,
    special_tokens: HashMap<String, IgnoredAny>,
}

#[derive(Deserialize)]
enum Part {
    Sequence { id: Text },
    SpecialToken { id: String },
}

#[derive(Clone, Copy, Deserialize, Eq, PartialEq)]
enum Text {
    A,
    B,
}

/// Refuses templates that name a special token which they do not have, or a second text where there is one only.
///
/// # Errors
/// In words.
pub fn check(processor: &PostProcessorWrapper) -> Result<(), String> {
    let value = serde_json::to_value(processor).map_err(|error| error.to_string())?;
    let processor = Processor::deserialize(value).map_err(|error| error.to_string())?;
    processor.check()
}

impl Processor {
    fn check(&self) -> Result<(), String> {
        match self {
            Self::TemplateProcessing(template) => template.check(),
            Self::Sequence { processors } => {
                let mut templates = 0;
                for processor in processors {
                    processor.check()?;
                    templates += usize::from(matches!(processor, Self::TemplateProcessing(_)));
                }
                // The second would get the pieces that the first makes as if they were texts.
                match templates {
                    0 | 1 => Ok(()),
                    _ => Err("the post-processor has more than one template".to_owned()),
                }
            }
            Self::Other => Ok(()),
        }
    }
}

impl Template {
    fn check(&self) -> Result<(), String> {
        for part in self.single.iter().chain(&self.pair) {
            if let Part::SpecialToken { id } = part
                && !self.special_tokens.contains_key(id)
            {
                return Err(format!(
                    "the template of the post-processor has no special token {id:?}"
                ));
            }
        }
        let second = |part: &Part| matches!(part, Part::Sequence { id: Text::B });
        if self.single.iter().any(second) {
            return Err("the post-processor's template for one text asks for a second".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(value: Value) -> Result<(), String> {
        check(&serde_json::from_value(value).unwrap())
    }

    fn template(single: &Value, pair: &Value) -> Value {
        json!({
            "type": "TemplateProcessing",
            "single": single,
            "pair": pair,
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [101], "tokens": ["[CLS]"]}},
        })
    }

    fn text(id: &str) -> Value {
        json!({"Sequence": {"id": id, "type_id": 0}})
    }

    fn special(id: &str) -> Value {
        json!({"SpecialToken": {"id": id, "type_id": 0}})
    }

    #[test]
    fn templates_that_the_library_would_panic_on_are_refused() {
        let (first, second, cls) = (text("A"), text("B"), special("[CLS]"));
        let whole = template(&json!([cls, first]), &json!([cls, first, second]));
        assert_eq!(told(whole.clone()), Ok(()));
        let sequence =
            |processors: &[&Value]| json!({"type": "Sequence", "processors": processors});
        assert_eq!(told(sequence(&[&whole])), Ok(()));

        let missing = template(&json!([first, special("[SEP]")]), &json!([first, second]));
        let missing_in_pairs = template(&json!([first]), &json!([first, special("[SEP]"), second]));
        for processor in [&missing, &missing_in_pairs, &sequence(&[&missing])] {
            let error = told(processor.clone()).unwrap_err();
            assert!(error.contains("no special token \"[SEP]\""), "{error}");
        }
        let lonely = template(&json!([second]), &json!([first, second]));
        assert!(told(lonely).unwrap_err().contains("asks for a second"));
        assert!(
            told(sequence(&[&whole, &whole]))
                .unwrap_err()
                .contains("more than one template")
        );
    }

    #[test]
    fn other_processors_are_left_to_the_library() {
        for processor in [
            json!({"type": "BertProcessing", "sep": ["[SEP]", 102], "cls": ["[CLS]", 101]}),
            json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}),
        ] {
            assert_eq!(told(processor), Ok(()));
        }
    }
}
