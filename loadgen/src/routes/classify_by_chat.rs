use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Asker, Content, Expected, Failure, Labelled, classify::text, malformed};
use crate::workload::Item;

#[derive(Debug, Deserialize)]
struct Reply {
    message: Message,
    #[serde(default)]
    done: bool,
    prompt_eval_count: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Message {
    content: String,
}

/// The object that the schema allows the model to write.
#[derive(Debug, Deserialize)]
struct Choice {
    label: String,
}

/// Tokens enough to close `{"label":"..."}` around any label of ordinary length.
pub(super) const LONGEST_TOKENS: u32 = 64;

pub(super) fn body(asker: &Asker, item: &Item) -> Value {
    let (question, schema) = question(asker, text(item));
    json!({
        "model": asker.model,
        "messages": [{ "role": "user", "content": question }],
        "stream": false,
        "think": false,
        "keep_alive": format!("{}s", asker.keep_alive_s),
        "format": schema,
        "options": { "temperature": 0, "num_predict": LONGEST_TOKENS, "seed": item.seed },
    })
}

/// What the model is asked about `text`, and the schema that allows only the labels as its answer.
pub(super) fn question(asker: &Asker, text: &str) -> (String, Value) {
    let labels: Vec<&String> = asker.expected.labels.iter().flatten().collect();
    let names = labels
        .iter()
        .map(|label| label.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    let schema = json!({
        "type": "object",
        "properties": { "label": { "type": "string", "enum": labels } },
        "required": ["label"],
    });
    let question = format!("{text}\n\nWhich one describes the text above: {names}?");
    (question, schema)
}

/// The label that a reply chose.
pub(super) fn label(content: &str, expected: &Expected) -> Result<String, Failure> {
    if content.is_empty() {
        return Err(Failure::Empty);
    }
    let choice: Choice = serde_json::from_str(content).map_err(|error| malformed(&error))?;
    let known = expected.labels.as_ref();
    if known.is_some_and(|labels| labels.contains(&choice.label)) {
        Ok(choice.label)
    } else {
        Err(Failure::Label(choice.label))
    }
}

pub(super) fn check(body: &[u8], expected: &Expected) -> Result<Answer, Failure> {
    let reply: Reply = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    if !reply.done {
        return Err(Failure::Truncated);
    }
    let best = label(&reply.message.content, expected)?;
    Ok(Answer {
        input_tokens: reply.prompt_eval_count,
        cached_tokens: None,
        content: Content::Label(Labelled {
            best,
            scores: Vec::new(),
            right: None,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::{Route, testing};

    fn expected() -> Expected {
        Expected {
            dimensions: None,
            labels: Some(["bad".to_owned(), "good".to_owned()].into()),
        }
    }

    fn reply(content: &str) -> Vec<u8> {
        json!({ "message": { "role": "assistant", "content": content }, "done": true })
            .to_string()
            .into_bytes()
    }

    #[test]
    fn the_schema_allows_only_the_labels() {
        let asker = Asker {
            expected: expected(),
            ..testing::asker(Route::ClassifyByChat)
        };
        let body = body(&asker, &testing::item("Fine."));
        assert_eq!(
            body["format"]["properties"]["label"]["enum"],
            json!(["bad", "good"])
        );
        assert_eq!(
            body["messages"][0]["content"],
            "Fine.\n\nWhich one describes the text above: bad, good?"
        );
    }

    #[test]
    fn the_answer_is_the_label_inside_the_message() {
        let answer = check(&reply(r#"{"label":"good"}"#), &expected()).unwrap();
        let Content::Label(labelled) = answer.content else {
            panic!("no label")
        };
        assert_eq!(labelled.best, "good");
    }

    #[test]
    fn every_way_to_be_wrong_has_its_name() {
        let check = |body: &[u8], category: &str| {
            let failure = check(body, &expected()).unwrap_err();
            assert_eq!(failure.category(), category, "{failure}");
        };
        check(&reply(""), "empty");
        check(&reply("good"), "malformed");
        check(&reply(r#"{"label":"ugly"}"#), "label");
        check(br#"{"message":{"content":"{}"}}"#, "truncated");
    }
}
