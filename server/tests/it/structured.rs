//! Answers with a shape, from the chat model that the repository ships: it knows little of JSON, so what keeps the shape
//! is the grammar.

use futures::stream::{self, StreamExt};
use serde_json::{Value, json};

use crate::server::{Server, redacted};

/// Requests under way at the same time.
const TOGETHER: usize = 8;

/// A schema, and what its instances must be. The check is written by hand, so that it owes nothing to what is tested.
struct Case {
    schema: Value,
    holds: fn(&Value) -> bool,
}

fn cases() -> Vec<Case> {
    let case = |schema, holds| Case { schema, holds };
    vec![
        case(
            json!({
                "type": "object",
                "properties": {
                    "name": {"type": "string", "minLength": 1, "maxLength": 12},
                    "age": {"type": "integer", "minimum": 0, "maximum": 120},
                    "tags": {"type": "array", "items": {"type": "string", "maxLength": 6}, "minItems": 1, "maxItems": 3},
                },
                "required": ["name", "age", "tags"],
                "additionalProperties": false,
            }),
            |value| {
                let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
                let name = value["name"].as_str().unwrap().chars().count();
                let tags = value["tags"].as_array().unwrap();
                keys == ["name", "age", "tags"]
                    && (1..=12).contains(&name)
                    && value["age"].as_u64().unwrap() <= 120
                    && (1..=3).contains(&tags.len())
                    && tags
                        .iter()
                        .all(|tag| tag.as_str().unwrap().chars().count() <= 6)
            },
        ),
        case(
            json!({"type": "array", "items": {"enum": ["red", "ñandú", 3, null]}, "minItems": 2, "maxItems": 4}),
            |value| {
                let items = value.as_array().unwrap();
                let known = [json!("red"), json!("ñandú"), json!(3), Value::Null];
                (2..=4).contains(&items.len()) && items.iter().all(|item| known.contains(item))
            },
        ),
        case(
            json!({
                "oneOf": [
                    {"type": "object", "properties": {"kind": {"const": "circle"}, "radius": {"type": "integer", "minimum": 1, "maximum": 9}}, "required": ["kind", "radius"], "additionalProperties": false},
                    {"type": "object", "properties": {"kind": {"const": "square"}, "side": {"type": "boolean"}}, "required": ["kind", "side"], "additionalProperties": false},
                ],
            }),
            |value| match value["kind"].as_str().unwrap() {
                "circle" => (1..=9).contains(&value["radius"].as_u64().unwrap()),
                "square" => value["side"].is_boolean(),
                _ => false,
            },
        ),
        case(
            json!({
                "$ref": "#/$defs/node",
                "$defs": {"node": {
                    "type": "object",
                    "properties": {
                        "date": {"type": "string", "format": "date"},
                        "code": {"type": "string", "pattern": "^[A-Z]{2}[0-9]{1,3}$"},
                        "next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/leaf"}]},
                    },
                    "required": ["date", "code", "next"],
                    "additionalProperties": false,
                }, "leaf": {"type": "object", "properties": {"on": {"type": "boolean"}}, "additionalProperties": false}},
            }),
            |value| {
                let date = value["date"].as_str().unwrap();
                let code = value["code"].as_str().unwrap();
                let (letters, digits) = code.split_at(2);
                date.len() == 10
                    && date.parse::<jiff::civil::Date>().is_ok()
                    && letters.chars().all(|letter| letter.is_ascii_uppercase())
                    && (1..=3).contains(&digits.len())
                    && digits.chars().all(|digit| digit.is_ascii_digit())
                    && (value["next"].is_null() || value["next"].is_object())
            },
        ),
    ]
}

#[tokio::test]
async fn two_hundred_answers_keep_their_schemas() {
    let server = Server::start().await;
    let cases = cases();
    let asked = (0..200).map(|number| {
        let case = &cases[number % cases.len()];
        let server = &server;
        async move {
            let body = json!({
                "model": "tiny", "stream": false, "think": false, "format": case.schema,
                "messages": [{"role": "user", "content": format!("Describe number {number}.")}],
                "options": {"temperature": 1, "top_k": 0, "top_p": 1, "seed": number, "num_predict": 400},
            });
            let reply = server.post("/api/chat", body).await.json();
            // Every one of the schemas has an end that the budget reaches.
            assert_eq!(reply["done_reason"], "stop", "{reply}");
            let content = reply["message"]["content"].as_str().unwrap();
            let value: Value = serde_json::from_str(content).unwrap();
            assert!((case.holds)(&value), "{content} under {}", case.schema);
        }
    });
    let answered = stream::iter(asked).buffer_unordered(TOGETHER).count().await;
    assert_eq!(answered, 200);
}

#[tokio::test]
async fn json_is_an_object_also_in_pieces() {
    let server = Server::start().await;
    let body = json!({
        "model": "tiny", "prompt": "Two numbers as JSON", "think": false, "format": "json",
        "options": {"temperature": 1, "seed": 1, "num_predict": 300},
    });
    let lines = server.post("/api/generate", body).await.lines();
    let text: String = (lines.iter())
        .filter_map(|line| line["response"].as_str())
        .collect();
    match lines.last().unwrap()["done_reason"].as_str().unwrap() {
        "stop" => assert!(
            serde_json::from_str::<Value>(&text).unwrap().is_object(),
            "{text}"
        ),
        _ => assert!(text.starts_with('{'), "{text}"),
    }
}

#[tokio::test]
async fn a_model_that_thinks_does_so_before_the_shape() {
    let server = Server::start().await;
    let body = json!({
        "model": "tiny", "stream": false, "think": true,
        "messages": [{"role": "user", "content": "What is 3 + 4?"}],
        "format": {"type": "object", "properties": {"result": {"type": "integer", "minimum": 0, "maximum": 99}}, "required": ["result"], "additionalProperties": false},
        "options": {"temperature": 0, "num_predict": 300},
    });
    let reply = server.post("/api/chat", body).await.json();
    assert_eq!(reply["done_reason"], "stop", "{reply}");
    assert!(
        !reply["message"]["thinking"].as_str().unwrap().is_empty(),
        "{reply}"
    );
    let content = reply["message"]["content"].as_str().unwrap();
    let value: Value = serde_json::from_str(content).unwrap();
    assert!(value["result"].is_u64(), "{reply}");
}

#[tokio::test]
async fn a_grammar_may_be_given_in_three_notations() {
    let server = Server::start().await;
    let grammars = [
        json!({"regex": "(yes|no), [a-z]{3}"}),
        json!({"gbnf": "root ::= answer \", \" [a-z]{3}\nanswer ::= \"yes\" | \"no\""}),
        json!({"lark": "start: (\"yes\" | \"no\") \", \" /[a-z]{3}/"}),
    ];
    for grammar in grammars {
        let body = json!({
            "model": "tiny", "prompt": "Is it so?", "raw": true, "stream": false, "grammar": grammar,
            "options": {"temperature": 1, "num_predict": 50},
        });
        let reply = server.post("/api/generate", body).await.json();
        let response = reply["response"].as_str().unwrap();
        let (answer, letters) = response.split_once(", ").unwrap();
        assert!(["yes", "no"].contains(&answer), "{response}");
        assert!(
            letters.len() == 3 && letters.bytes().all(|byte| byte.is_ascii_lowercase()),
            "{response}"
        );
        assert_eq!(reply["done_reason"], "stop");
    }
}

fn tools() -> Value {
    let tool = |name: &str, parameters: Value| json!({"type": "function", "function": {"name": name, "description": "", "parameters": parameters}});
    json!([
        tool(
            "paint",
            json!({
                "type": "object",
                "properties": {"colour": {"$ref": "#/$defs/colour"}, "coats": {"type": "integer", "minimum": 1, "maximum": 3}},
                "required": ["colour", "coats"], "additionalProperties": false,
                "$defs": {"colour": {"enum": ["red", "blue"]}},
            })
        ),
        tool(
            "rest",
            json!({"type": "object", "properties": {}, "additionalProperties": false})
        ),
    ])
}

#[tokio::test]
async fn a_tool_is_called_where_that_is_demanded() {
    let server = Server::start().await;
    let ask = async |tool_choice: Value, seed: u32| {
        let body = json!({
            "model": "tiny", "stream": false, "think": false, "tools": tools(), "tool_choice": tool_choice,
            "messages": [{"role": "user", "content": "What is the capital of France?"}],
            "options": {"temperature": 1, "seed": seed, "num_predict": 400},
        });
        server.post("/api/chat", body).await.json()
    };
    for seed in 0..5 {
        let named = json!({"type": "function", "function": {"name": "paint"}});
        for (choice, names) in [
            (named, &["paint"][..]),
            (json!("required"), &["paint", "rest"][..]),
        ] {
            let reply = ask(choice, seed).await;
            let calls = reply["message"]["tool_calls"].as_array().unwrap();
            for call in calls {
                let arguments = &call["function"]["arguments"];
                let name = call["function"]["name"].as_str().unwrap();
                assert!(names.contains(&name), "{reply}");
                if name == "paint" {
                    assert!(
                        ["red", "blue"].contains(&arguments["colour"].as_str().unwrap()),
                        "{reply}"
                    );
                    assert!(
                        (1..=3).contains(&arguments["coats"].as_u64().unwrap()),
                        "{reply}"
                    );
                } else {
                    assert_eq!(arguments, &json!({}), "{reply}");
                }
            }
        }
    }
    let never = ask(json!("none"), 0).await;
    assert!(never["message"]["tool_calls"].is_null(), "{never}");
}

#[tokio::test]
async fn shapes_that_cannot_be_kept_are_refused_before_the_answer_begins() {
    let server = Server::start().await;
    let check = async |field: &str, value: Value, expected: &str| {
        let mut body = json!({"model": "tiny", "prompt": "x"});
        body[field] = value;
        let (status, text) = server.post("/api/generate", body).await.error();
        assert_eq!(status, 400, "{text}");
        assert!(text.contains(expected), "{text}");
    };
    let invalid = "expected \"json\" or a valid JSON Schema object";
    check("format", json!("yaml"), invalid).await;
    check("format", json!([1]), invalid).await;
    check("format", json!({"type": "nothing"}), "invalid format: ").await;
    check(
        "format",
        json!({"type": "string", "pattern": "("}),
        "invalid format: ",
    )
    .await;
    check("grammar", json!({"regex": "("}), "unclosed group").await;
    check(
        "grammar",
        json!({"gbnf": "root ::= a"}),
        "\"a\" is used and not defined",
    )
    .await;
    check("grammar", json!({"lark": "a: \"b\""}), "no start rule").await;
    check(
        "grammar",
        json!({"regex": "a".repeat(300_000)}),
        "at most 262144",
    )
    .await;
    // A stream that went on meanwhile and one that comes after are not touched.
    let body =
        json!({"model": "tiny", "prompt": "x", "stream": false, "options": {"num_predict": 1}});
    let reply = redacted(&server.post("/api/generate", body).await.json(), &[]);
    assert_eq!(reply["done"], true);
}
