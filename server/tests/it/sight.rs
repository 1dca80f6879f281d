//! Images on every route that takes them: the same answer whichever way a client sends them, and what is wrong with one
//! said with a 400 in the route's own shape before an answer begins.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::seeing::pictures::{blue, bomb, red};
use crate::seeing::qwen::Family;
use crate::seeing::{Eyes, server};
use crate::server::{Reply, Server};

const QUESTION: &str = "What is this?";

/// Tokens of an answer.
const ANSWER: u32 = 8;

/// A way to send images.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    Chat,
    Generate,
    Completions,
    /// With the address itself where others have an object around it.
    CompletionsShort,
    Responses,
    Messages,
    /// In the result of a tool.
    MessagesTool,
}

impl Way {
    /// Those in which a question with images is the same conversation.
    const ALIKE: [Self; 6] = [
        Self::Chat,
        Self::Generate,
        Self::Completions,
        Self::CompletionsShort,
        Self::Responses,
        Self::Messages,
    ];

    const ALL: [Self; 7] = [
        Self::Chat,
        Self::Generate,
        Self::Completions,
        Self::CompletionsShort,
        Self::Responses,
        Self::Messages,
        Self::MessagesTool,
    ];

    fn path(self) -> &'static str {
        match self {
            Self::Chat => "/api/chat",
            Self::Generate => "/api/generate",
            Self::Completions | Self::CompletionsShort => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
            Self::Messages | Self::MessagesTool => "/v1/messages",
        }
    }

    /// A question about images, which are written in base64 or meant to be.
    fn ask(self, model: &str, images: &[String]) -> Value {
        let address = |image: &String| format!("data:image/png;base64,{image}");
        let parts = |part: &dyn Fn(&String) -> Value, text: &str| {
            let shown = images.iter().map(part);
            shown
                .chain([json!({"type": text, "text": QUESTION})])
                .collect::<Vec<_>>()
        };
        let options = json!({"temperature": 0, "num_predict": ANSWER});
        let block = |image: &String| json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": image}});
        match self {
            Self::Chat => json!({
                "model": model, "stream": false, "think": false, "options": options,
                "messages": [{"role": "user", "content": QUESTION, "images": images}],
            }),
            Self::Generate => json!({
                "model": model, "stream": false, "think": false, "options": options,
                "prompt": QUESTION, "images": images,
            }),
            Self::Completions | Self::CompletionsShort => {
                let part = |image: &String| match self {
                    Self::Completions => {
                        json!({"type": "image_url", "image_url": {"url": address(image), "detail": "low"}})
                    }
                    _ => json!({"type": "image_url", "image_url": address(image)}),
                };
                json!({
                    "model": model, "temperature": 0, "max_tokens": ANSWER, "reasoning_effort": "none",
                    "messages": [{"role": "user", "content": parts(&part, "text")}],
                })
            }
            Self::Responses => {
                let part = |image: &String| json!({"type": "input_image", "detail": "auto", "image_url": address(image)});
                json!({
                    "model": model, "temperature": 0, "max_output_tokens": ANSWER, "reasoning": {"effort": "none"},
                    "input": [{"role": "user", "content": parts(&part, "input_text")}],
                })
            }
            Self::Messages => json!({
                "model": model, "temperature": 0, "max_tokens": ANSWER, "thinking": {"type": "disabled"},
                "messages": [{"role": "user", "content": parts(&block, "text")}],
            }),
            Self::MessagesTool => json!({
                "model": model, "temperature": 0, "max_tokens": ANSWER, "thinking": {"type": "disabled"},
                "messages": [
                    {"role": "user", "content": "Look."},
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}]},
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": parts(&block, "text")}]},
                ],
            }),
        }
    }

    /// What was answered.
    fn answer(self, reply: &Reply) -> String {
        let body = match self {
            Self::Chat | Self::Generate => reply.json(),
            _ => reply.plain_json(),
        };
        let text = match self {
            Self::Chat => &body["message"]["content"],
            Self::Generate => &body["response"],
            Self::Completions | Self::CompletionsShort => &body["choices"][0]["message"]["content"],
            Self::Responses => &body["output"][0]["content"][0]["text"],
            Self::Messages | Self::MessagesTool => &body["content"][0]["text"],
        };
        let text = text.as_str().unwrap_or_else(|| panic!("{self:?}: {body}"));
        text.to_owned()
    }

    /// Status and text of a refusal, which must have the shape that this route's clients read.
    fn refusal(self, reply: &Reply) -> (u16, String) {
        if let Self::Chat | Self::Generate = self {
            return reply.error();
        }
        let (status, body) = reply.plain_error();
        let (error, kind) = (&body["error"], "invalid_request_error");
        assert_eq!(error["type"], kind, "{self:?}: {body}");
        if let Self::Messages | Self::MessagesTool = self {
            assert_eq!(body["type"], "error", "{body}");
        }
        (status, error["message"].as_str().unwrap().to_owned())
    }

    /// What is said of base64 that is none.
    fn no_base64(self) -> &'static str {
        match self {
            Self::Chat | Self::Generate => "illegal base64 data at input byte 2",
            Self::Completions | Self::CompletionsShort | Self::Responses => "invalid image input",
            Self::Messages => "invalid base64 image data",
            Self::MessagesTool => "invalid base64 image data",
        }
    }
}

async fn ask(server: &Server, way: Way, images: &[String]) -> Reply {
    server.post(way.path(), way.ask("sees", images)).await
}

#[tokio::test]
async fn the_same_image_is_the_same_on_every_route() {
    let server = server(Eyes::Qwen(Family::Qwen2)).await;
    let [red, blue] = [red(), blue()].map(|file| STANDARD.encode(file));
    let mut said = Vec::new();
    for images in [
        vec![red.clone()],
        vec![blue.clone()],
        vec![red, blue],
        vec![],
    ] {
        let expected = Way::Chat.answer(&ask(&server, Way::Chat, &images).await);
        assert!(!expected.is_empty());
        for way in Way::ALIKE {
            let answer = way.answer(&ask(&server, way, &images).await);
            assert_eq!(answer, expected, "{way:?}, {} images", images.len());
        }
        said.push(expected);
    }
    said.sort();
    said.dedup();
    assert_eq!(said.len(), 4, "what is shown is seen: {said:?}");
}

#[tokio::test]
async fn the_result_of_a_tool_may_be_an_image() {
    let server = server(Eyes::Qwen(Family::Qwen3)).await;
    let way = Way::MessagesTool;
    let [red, blue] = [red(), blue()].map(|file| vec![STANDARD.encode(file)]);
    let said = way.answer(&ask(&server, way, &red).await);
    assert_eq!(way.answer(&ask(&server, way, &red).await), said);
    assert_ne!(way.answer(&ask(&server, way, &blue).await), said);
}

#[tokio::test]
async fn what_is_wrong_with_an_image_is_said_on_every_route() {
    let server = server(Eyes::Qwen(Family::Qwen25)).await;
    let whole = red();
    let encode = |file: &[u8]| STANDARD.encode(file);
    for way in Way::ALL {
        let check = async |model: &str, images: &[String], expected: &str| {
            let reply = server.post(way.path(), way.ask(model, images)).await;
            let (status, text) = way.refusal(&reply);
            assert_eq!(status, 400, "{way:?}: {text}");
            assert!(text.contains(expected), "{way:?}: {text}");
        };
        check("sees", &["no base64!".into()], way.no_base64()).await;
        check(
            "sees",
            &[encode(b"no image")],
            "expected PNG, JPEG, WebP, GIF or BMP",
        )
        .await;
        check(
            "sees",
            &[encode(&whole[..whole.len() / 2])],
            "invalid image",
        )
        .await;
        check("sees", &[encode(&bomb(20_000))], "20000x20000 pixels").await;
        check("sees", &vec![encode(&whole); 65], "at most 64").await;
        check("tiny", &[encode(&whole)], "vision").await;
        // The second is as bad as if it were the first.
        check(
            "sees",
            &[encode(&whole), encode(b"GIF89a")],
            "invalid image",
        )
        .await;
    }
    // The worker is there as before.
    Way::Chat.answer(&ask(&server, Way::Chat, &[encode(&whole)]).await);
}

#[tokio::test]
async fn images_elsewhere_are_not_fetched() {
    let server = server(Eyes::Qwen(Family::Qwen2)).await;
    let check = async |way: Way, part: Value, expected: &str| {
        let mut body = way.ask("sees", &[]);
        let list = match way {
            Way::Responses => &mut body["input"][0]["content"],
            _ => &mut body["messages"][0]["content"],
        };
        list.as_array_mut().unwrap().insert(0, part);
        let (status, text) = way.refusal(&server.post(way.path(), body).await);
        assert_eq!(status, 400, "{text}");
        assert!(text.contains(expected), "{text}");
    };
    for address in ["http://example.com/a.png", "https://example.com/a.png"] {
        let refusal = "image URLs are not currently supported";
        let part = json!({"type": "image_url", "image_url": {"url": address}});
        check(Way::Completions, part, refusal).await;
        let part = json!({"type": "input_image", "image_url": address});
        check(Way::Responses, part, refusal).await;
        let part = json!({"type": "image", "source": {"type": "url", "url": address}});
        check(Way::Messages, part, "Only base64 images are supported").await;
        let native = server
            .post("/api/chat", Way::Chat.ask("sees", &[address.into()]))
            .await;
        let (status, text) = native.error();
        assert_eq!(status, 400, "{text}");
        assert!(text.contains("illegal base64 data"), "{text}");
    }
}
