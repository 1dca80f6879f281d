//! Models with Go templates: prompts are those that real Go and Ollama make (`tests/prompt/go`).

use serde_json::{Value, json};

use crate::server::Server;

const MODELS: &str = include_str!("../prompt/go/models.jsonl");
const CONVERSATIONS: &str = include_str!("../prompt/go/conversations.json");

const CHATML: &str = "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}{{ if .Prompt }}\
    <|im_start|>user\n{{ .Prompt }}<|im_end|>\n{{ end }}<|im_start|>assistant\n{{ .Response }}<|im_end|>\n";

async fn create(server: &Server, name: &str, template: &str) {
    let body = json!({"model": name, "from": "tiny", "template": template, "stream": false});
    let reply = server.post("/api/create", body).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
}

/// What a request is shown instead of an answer, or the error it gets.
async fn prompt(server: &Server, path: &str, mut body: Value) -> String {
    body["_debug_render_only"] = true.into();
    let reply = server.post(path, body).await;
    if reply.status == 200 {
        reply.json()["_debug_info"]["rendered_template"]
            .as_str()
            .unwrap()
            .to_owned()
    } else {
        let (status, text) = reply.error();
        assert_eq!(status, 500, "{text}");
        format!("error: {text}")
    }
}

/// What Ollama would be asked for the conversation, if this model can be asked it with the same meaning: the server
/// tells a model to think that can, which the recorded prompts were made without.
fn request(conversation: &Value, names: &[Value], thinks: bool) -> Option<(&'static str, Value)> {
    let has = |name: &str| names.contains(&name.into());
    let is_told = conversation.get("think").is_some();
    if is_told != thinks || conversation.get("tools").is_some() && !has("tools") {
        return None;
    }
    let mut body = conversation.clone();
    if let Some(think @ ("true" | "false")) = conversation["think"].as_str() {
        body["think"] = (think == "true").into();
    }
    match conversation.get("suffix") {
        Some(_) if has("suffix") => Some(("/api/generate", body)),
        Some(_) => None,
        None => Some(("/api/chat", body)),
    }
}

#[tokio::test]
async fn prompts_are_those_of_ollama() {
    let server = Server::start_with([("OLLAMA_GO_TEMPLATE", "1")]).await;
    let conversations: Vec<Value> = serde_json::from_str(CONVERSATIONS).unwrap();
    let mut compared = 0;
    for line in MODELS.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let Some(traits) = case.get("traits") else {
            continue;
        };
        let template = case["template"].as_str().unwrap();
        create(&server, "golden", template).await;
        let names = traits["vars"].as_array().unwrap();
        let thinks = traits["open"] != "" && traits["close"] != "";
        for (conversation, expected) in conversations
            .iter()
            .zip(case["results"].as_array().unwrap())
        {
            let Some((path, mut body)) = request(conversation, names, thinks) else {
                continue;
            };
            body["model"] = "golden".into();
            let found = prompt(&server, path, body).await;
            assert_eq!(
                found,
                expected.as_str().unwrap(),
                "{template}\n{conversation}"
            );
            compared += 1;
        }
    }
    assert!(compared > 150, "{compared}");
}

#[tokio::test]
async fn a_go_template_answers_and_tells_what_the_model_can() {
    let server = Server::start_with([("OLLAMA_GO_TEMPLATE", "1")]).await;
    create(&server, "old", CHATML).await;
    let show = server
        .post("/api/show", json!({"model": "old"}))
        .await
        .json();
    assert_eq!(show["template"], CHATML);
    assert_eq!(show["capabilities"], json!(["completion"]));
    let body = json!({
        "model": "old", "stream": false, "options": {"temperature": 0, "num_predict": 20},
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
    });
    let reply = server.post("/api/chat", body).await.json();
    assert_eq!(reply["done"], true, "{reply}");
    assert!(reply["eval_count"].as_u64().unwrap() > 0, "{reply}");

    create(&server, "filling", "{{ if .Tools }}T{{ end }}{{ if .Suffix }}<P>{{ .Prompt }}<S>{{ .Suffix }}<M>{{ else }}{{ .Prompt }}{{ end }}").await;
    let show = server
        .post("/api/show", json!({"model": "filling"}))
        .await
        .json();
    assert_eq!(
        show["capabilities"],
        json!(["completion", "tools", "insert"])
    );
    let asked = json!({"model": "filling", "prompt": "a", "suffix": "b"});
    assert_eq!(prompt(&server, "/api/generate", asked).await, "<P>a<S>b<M>");
    let refused = json!({"model": "old", "prompt": "a", "suffix": "b"});
    let (status, text) = server.post("/api/generate", refused).await.error();
    let lacks = "registry.ollama.ai/library/old:latest does not support insert";
    assert_eq!((status, text.as_str()), (400, lacks));
}

#[tokio::test]
async fn the_better_of_two_templates_is_used() {
    // The file's own template takes tools and thoughts.
    let server = Server::start().await;
    create(&server, "plain", CHATML).await;
    let of_tiny = server
        .post("/api/show", json!({"model": "tiny"}))
        .await
        .json();
    let show = server
        .post("/api/show", json!({"model": "plain"}))
        .await
        .json();
    assert_eq!(show["template"], of_tiny["template"]);
    assert_eq!(show["capabilities"], of_tiny["capabilities"]);
    let modelfile = show["modelfile"].as_str().unwrap();
    assert!(modelfile.contains("<|im_start|>user"), "{modelfile}");
}

#[tokio::test]
async fn a_request_brings_its_own_template() {
    let server = Server::start().await;
    let check = async |body: Value, expected: &str| {
        let mut body = body;
        body["model"] = "tiny".into();
        assert_eq!(prompt(&server, "/api/generate", body).await, expected);
    };
    let template = "[{{ .System }}] {{ .Prompt }} ->";
    check(
        json!({"prompt": "hi", "template": template, "system": "S"}),
        "[S] hi ->",
    )
    .await;
    check(json!({"prompt": "hi", "template": "{{ range .Messages }}{{ .Role }}={{ .Content }};{{ end }}"}), "user=hi;").await;
    check(
        json!({"prompt": "hi", "template": "{{ .Prompt "}),
        "error: template: :1: unclosed action",
    )
    .await;
    check(json!({"prompt": "hi", "template": "{{ .Prompt.X }}"}), "error: template: :1:10: executing \"\" at <.Prompt.X>: can't evaluate field X in type interface {}").await;
    let body = json!({"model": "broken", "from": "tiny", "template": "{{ if .Prompt }}"});
    let (status, text) = server.post("/api/create", body).await.error();
    assert_eq!(
        (status, text.as_str()),
        (400, "template error: template: :1: unexpected EOF")
    );
}

/// As the template of Qwen 2.5 writes calls.
const CALLING: &str = "{{ if .Tools }}<|im_start|>system\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n\
    You are provided with function signatures within <tools></tools> XML tags:\n<tools>{{ range .Tools }}\n{{ . }}{{ end }}\n</tools>\n\n\
    For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n\
    {\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call><|im_end|>\n{{ end }}{{ range .Messages }}<|im_start|>{{ .Role }}\n\
    {{ .Content }}{{ if .ToolCalls }}{{ range .ToolCalls }}PREFIX{\"name\": \"{{ .Function.Name }}\", \"arguments\": {{ .Function.Arguments }}}{{ end }}{{ end }}\
    <|im_end|>\n{{ end }}<|im_start|>assistant\n";

#[tokio::test]
async fn calls_are_held_to_the_tools_behind_the_prefix_of_a_go_template() {
    let server = Server::start_with([("OLLAMA_GO_TEMPLATE", "1")]).await;
    let tool = json!({"type": "function", "function": {"name": "weather-get_weather", "description": "Get the current weather in a city", "parameters": {
        "type": "object", "properties": {"city": {"enum": ["Paris", "Lima"]}}, "required": ["city"], "additionalProperties": false,
    }}});
    for (prefix, choices) in [
        ("<tool_call>\n", &["auto", "required"][..]),
        ("[TOOL_CALLS] [", &["required"][..]),
        ("Action: ", &["required"][..]),
    ] {
        create(&server, "calling", &CALLING.replace("PREFIX", prefix)).await;
        for choice in choices {
            let body = json!({
                "model": "calling", "stream": false, "tools": [tool], "tool_choice": choice,
                "messages": [{"role": "user", "content": "What is the weather in Paris?"}],
                "options": {"temperature": 0, "num_predict": 200},
            });
            let reply = server.post("/api/chat", body).await.json();
            let call = &reply["message"]["tool_calls"][0]["function"];
            assert_eq!(
                call["name"], "weather-get_weather",
                "{prefix} {choice}: {reply}"
            );
            assert!(call["arguments"]["city"].is_string(), "{reply}");
        }
    }
}
