//! Every family of models over HTTP, with real inference: the prompt that the worker gets is the family's, and what a
//! model of the family writes, control tokens and all, comes back as thoughts, content and calls in every dialect.

use serde_json::{Value, json};

use crate::recital::{CONTEXT, Recital};
use crate::server::{Reply, Server};

const PROMPTS: &str = include_str!("../prompt/families/prompts.json");

/// What every model thinks, and says, where it can, before it calls.
const THOUGHT: &str = "I see.";
const SAID: &str = "Hello";

/// A family, and what its model writes.
struct Row {
    renderer: &'static str,
    parser: &'static str,
    /// In the model's file, where it names no renderer.
    template: &'static str,
    /// Texts of its vocabulary that are control tokens.
    marks: &'static [&'static str],
    answer: &'static [&'static str],
}

impl Row {
    fn writes(&self, piece: &str) -> bool {
        self.answer.iter().any(|written| written.contains(piece))
    }

    fn name(&self) -> String {
        format!("{}/{}{}", self.renderer, self.parser, self.template)
    }
}

const HERMES: &str = "\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Lima\"}}\n";
const ELEMENTS: &str =
    "\n<function=get_weather>\n<parameter=city>\nLima\n</parameter>\n</function>\n";
const CITY: &str = "{\"city\": \"Lima\"}";
const LISTED: &str = "[{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Lima\"}}]";

const TAGS: &[&str] = &["<think>", "</think>", "<tool_call>", "</tool_call>"];
const GLM: &[&str] = &[
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<arg_key>",
    "</arg_key>",
    "<arg_value>",
    "</arg_value>",
];
const GEMMA: &[&str] = &[
    "<|channel>",
    "<channel|>",
    "<|tool_call>",
    "<tool_call|>",
    "<|\"|>",
];
const DEEPSEEK: &[&str] = &[
    "<think>",
    "</think>",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁sep｜>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁calls▁end｜>",
];
const HARMONY: &[&str] = &[
    "<|start|>",
    "<|end|>",
    "<|message|>",
    "<|channel|>",
    "<|constrain|>",
    "<|return|>",
    "<|call|>",
];
const COHERE: &[&str] = &[
    "<|START_THINKING|>",
    "<|END_THINKING|>",
    "<|START_TEXT|>",
    "<|END_TEXT|>",
    "<|START_ACTION|>",
    "<|END_ACTION|>",
];
const LFM: &[&str] = &[
    "<think>",
    "</think>",
    "<|tool_call_start|>",
    "<|tool_call_end|>",
];

const SAYS_HERMES: &[&str] = &[SAID, "<tool_call>", HERMES, "</tool_call>"];
const THINKS_HERMES: &[&str] = &[
    "<think>",
    THOUGHT,
    "</think>",
    SAID,
    "<tool_call>",
    HERMES,
    "</tool_call>",
];
const SAYS_ELEMENTS: &[&str] = &[SAID, "<tool_call>", ELEMENTS, "</tool_call>"];
const THINKS_ELEMENTS: &[&str] = &[
    "<think>",
    THOUGHT,
    "</think>",
    SAID,
    "<tool_call>",
    ELEMENTS,
    "</tool_call>",
];
const THINKS_GLM: &[&str] = &[
    "<think>",
    THOUGHT,
    "</think>",
    SAID,
    "<tool_call>",
    "get_weather\n",
    "<arg_key>",
    "city",
    "</arg_key>",
    "\n",
    "<arg_value>",
    "Lima",
    "</arg_value>",
    "\n",
    "</tool_call>",
];
const THINKS_DEEPSEEK: &[&str] = &[
    "<think>",
    THOUGHT,
    "</think>",
    SAID,
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁call▁begin｜>",
    "get_weather",
    "<｜tool▁sep｜>",
    CITY,
    "<｜tool▁call▁end｜>",
    "<｜tool▁calls▁end｜>",
];
const SAYS_GEMMA: &[&str] = &[
    SAID,
    "<|tool_call>",
    "call:get_weather{city:",
    "<|\"|>",
    "Lima",
    "<|\"|>",
    "}",
    "<tool_call|>",
];
const THINKS_GEMMA: &[&str] = &[
    "<|channel>",
    "thought\n",
    THOUGHT,
    "\n",
    "<channel|>",
    SAID,
    "<|tool_call>",
    "call:get_weather{city:",
    "<|\"|>",
    "Lima",
    "<|\"|>",
    "}",
    "<tool_call|>",
];
const SAYS_LFM: &[&str] = &[
    SAID,
    "<|tool_call_start|>",
    "[get_weather(city=\"Lima\")]",
    "<|tool_call_end|>",
];
const THINKS_LFM: &[&str] = &[
    "<think>",
    THOUGHT,
    "</think>",
    SAID,
    "<|tool_call_start|>",
    "[get_weather(city=\"Lima\")]",
    "<|tool_call_end|>",
];
const SAYS_OLMO: &[&str] = &[
    SAID,
    "<function_calls>",
    "get_weather(city=\"Lima\")",
    "</function_calls>",
];
const THINKS: &[&str] = &["<think>", THOUGHT, "</think>", SAID];
const THINKS_COHERE: &[&str] = &[
    "<|START_THINKING|>",
    THOUGHT,
    "<|END_THINKING|>",
    "<|START_TEXT|>",
    SAID,
    "<|END_TEXT|>",
    "<|START_ACTION|>",
    "[\n    {\"tool_call_id\": \"0\", \"tool_name\": \"get_weather\", \"parameters\": {\"city\": \"Lima\"}}\n]",
    "<|END_ACTION|>",
];
const SPEAKS_HARMONY: &[&str] = &[
    "<|channel|>",
    "analysis",
    "<|message|>",
    THOUGHT,
    "<|end|>",
    "<|start|>",
    "assistant",
    "<|channel|>",
    "final",
    "<|message|>",
    SAID,
    "<|end|>",
    "<|start|>",
    "assistant",
    "<|channel|>",
    "commentary to=functions.get_weather ",
    "<|constrain|>",
    "json",
    "<|message|>",
    CITY,
];

/// A model that names a renderer and a parser.
const fn named(
    renderer: &'static str,
    parser: &'static str,
    marks: &'static [&'static str],
    answer: &'static [&'static str],
) -> Row {
    Row {
        renderer,
        parser,
        template: "",
        marks,
        answer,
    }
}

/// A model with a template, which shows how its answers are to be read unless it names a parser.
const fn templated(
    parser: &'static str,
    template: &'static str,
    marks: &'static [&'static str],
    answer: &'static [&'static str],
) -> Row {
    Row {
        renderer: "",
        parser,
        template,
        marks,
        answer,
    }
}

const CHATML: &str = "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}\n\
    {{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n";

const ROWS: &[Row] = &[
    templated("qwen3", CHATML, TAGS, SAYS_HERMES),
    templated("qwen3-thinking", CHATML, TAGS, THINKS_HERMES),
    named("qwen3-coder", "qwen3-coder", TAGS, SAYS_ELEMENTS),
    named("qwen3-vl-instruct", "qwen3-vl-instruct", TAGS, SAYS_HERMES),
    named(
        "qwen3-vl-thinking",
        "qwen3-vl-thinking",
        TAGS,
        THINKS_HERMES,
    ),
    named("qwen3.5", "qwen3.5", TAGS, THINKS_ELEMENTS),
    named("qwen3.8", "qwen3.5", TAGS, THINKS_ELEMENTS),
    named("ornith", "ornith", TAGS, THINKS_ELEMENTS),
    named("gemma4-small", "gemma4", GEMMA, THINKS_GEMMA),
    named("gemma4-large", "gemma4", GEMMA, THINKS_GEMMA),
    named("gemma4-small", "gemma4-no-thinking", GEMMA, SAYS_GEMMA),
    named(
        "functiongemma",
        "functiongemma",
        &["<start_function_call>", "<end_function_call>", "<escape>"],
        &[
            SAID,
            "<start_function_call>",
            "call:get_weather{city:",
            "<escape>",
            "Lima",
            "<escape>",
            "}",
            "<end_function_call>",
        ],
    ),
    named("deepseek3.1", "deepseek3", DEEPSEEK, THINKS_DEEPSEEK),
    named(
        "cogito",
        "cogito",
        DEEPSEEK,
        &[
            "<think>",
            THOUGHT,
            "</think>",
            SAID,
            "<｜tool▁calls▁begin｜>",
            "<｜tool▁call▁begin｜>",
            "function",
            "<｜tool▁sep｜>",
            "get_weather\n```json\n",
            CITY,
            "\n```",
            "<｜tool▁call▁end｜>",
            "<｜tool▁calls▁end｜>",
        ],
    ),
    named("cohere", "cohere", COHERE, THINKS_COHERE),
    named("lfm2", "lfm2", LFM, SAYS_LFM),
    named("lfm2-thinking", "lfm2-thinking", LFM, THINKS_LFM),
    named("glm-4.7", "glm-4.7", GLM, THINKS_GLM),
    named("glm-ocr", "glm-ocr", GLM, THINKS_GLM),
    named("laguna", "laguna", GLM, THINKS_GLM),
    named("poolside-v1", "poolside-v1", GLM, THINKS_GLM),
    named("nemotron-3-nano", "nemotron-3-nano", TAGS, THINKS_ELEMENTS),
    named(
        "nemotron-3.5-nano",
        "nemotron-3.5-nano",
        TAGS,
        THINKS_ELEMENTS,
    ),
    named(
        "olmo3",
        "olmo3",
        &["<function_calls>", "</function_calls>"],
        SAYS_OLMO,
    ),
    named(
        "olmo3.1",
        "olmo3",
        &["<function_calls>", "</function_calls>"],
        SAYS_OLMO,
    ),
    named("olmo3-think", "olmo3-think", TAGS, THINKS),
    named("olmo3-32b-think", "olmo3-think", TAGS, THINKS),
    named(
        "glimmer",
        "glimmer",
        &["<|start|>", "<|message|>", "<|eom|>", "<|eot|>"],
        &[
            " to=self",
            "<|message|>",
            THOUGHT,
            "<|eom|>",
            "<|start|>",
            "assistant to=user",
            "<|message|>",
            SAID,
            "<|eom|>",
            "<|start|>",
            "assistant to=get_weather",
            "<|message|>",
            "<atem:function_calls>\n<atem:invoke name=\"get_weather\">\n<atem:parameter name=\"city\">Lima</atem:parameter>\n\
             </atem:invoke>\n</atem:function_calls>",
        ],
    ),
    templated(
        "ministral",
        "{% if tools %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}[INST]{{ messages[-1].content }}[/INST]",
        &["[TOOL_CALLS]", "[ARGS]"],
        &[SAID, "[TOOL_CALLS]", "get_weather", "[ARGS]", CITY],
    ),
    templated(
        "harmony",
        "{% if tools %}{{ tools | tojson }}{% endif %}<|start|>user<|message|>{{ messages[-1].content }}<|end|><|start|>assistant",
        HARMONY,
        SPEAKS_HARMONY,
    ),
    // From here on what the templates show is all that is known.
    templated(
        "",
        "{% if tools %}{{ tools | tojson }}{% endif %}<|start|>user<|message|>{{ messages[-1].content }}<|end|>\
         {% if false %}<|channel|>final<|message|>{% endif %}<|start|>assistant",
        HARMONY,
        SPEAKS_HARMONY,
    ),
    // Qwen 3
    templated(
        "",
        "{% if tools %}{{ tools | tojson }}<tool_call>{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}\n\
         {{ m.content.split('</think>')[-1] }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n<think>\n",
        TAGS,
        THINKS_HERMES,
    ),
    // Llama 3
    templated(
        "",
        "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n\
         {{ m.content }}<|eot_id|>{% endfor %}<|start_header_id|>assistant<|end_header_id|>\n\n",
        &[
            "<|start_header_id|>",
            "<|end_header_id|>",
            "<|eot_id|>",
            "<|python_tag|>",
        ],
        &["{\"name\": \"get_weather\", \"parameters\": ", CITY, "}"],
    ),
    templated(
        "",
        "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}{% if m.tool_calls %}<|python_tag|>{% endif %}\
         <|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content }}<|eot_id|>{% endfor %}\
         <|start_header_id|>assistant<|end_header_id|>\n\n",
        &[
            "<|start_header_id|>",
            "<|end_header_id|>",
            "<|eot_id|>",
            "<|python_tag|>",
        ],
        &[
            "<|python_tag|>",
            "{\"name\": \"get_weather\", \"parameters\": ",
            CITY,
            "}",
        ],
    ),
    // Phi 4 mini, Phi 4 and the one that reasons
    templated(
        "",
        "{% if tools %}<|tool|>{{ tools | tojson }}<|/tool|>{% endif %}{% for m in messages %}{% if m.tool_calls %}<|tool_call|>\
         {{ m.tool_calls | tojson }}<|/tool_call|>{% endif %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}<|assistant|>",
        &["<|tool_call|>", "<|/tool_call|>"],
        &["<|tool_call|>", LISTED, "<|/tool_call|>"],
    ),
    templated(
        "",
        "{% if tools %}{{ tools | tojson }}Call them with functools[{...}]{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}\
         <|im_sep|>{{ m.content }}<|im_end|>{% endfor %}<|im_start|>assistant<|im_sep|>",
        &["<|im_start|>", "<|im_sep|>"],
        &["functools", LISTED],
    ),
    templated(
        "",
        "Think in <think> and </think>.{% for m in messages %}<|im_start|>{{ m.role }}<|im_sep|>{{ m.content }}<|im_end|>{% endfor %}\
         <|im_start|>assistant<|im_sep|>",
        TAGS,
        THINKS,
    ),
    // Granite 3 and 4
    templated(
        "",
        "{% if tools %}{{ tools | tojson }}<|tool_call|>{% endif %}<think></think>{% for m in messages %}<|start_of_role|>{{ m.role }}\
         <|end_of_role|>{{ m.content }}<|end_of_text|>\n{% endfor %}<|start_of_role|>assistant<|end_of_role|>",
        &["<|tool_call|>", "<|start_of_role|>", "<|end_of_role|>"],
        &["<think>", THOUGHT, "</think>", "<|tool_call|>", LISTED],
    ),
    templated(
        "",
        "{% if tools %}{{ tools | tojson }}<tool_call>{% endif %}{% for m in messages %}<|start_of_role|>{{ m.role }}<|end_of_role|>\
         {{ m.content }}<|end_of_text|>\n{% endfor %}<|start_of_role|>assistant<|end_of_role|>",
        TAGS,
        SAYS_HERMES,
    ),
    // Mistral, and Magistral, which thinks
    templated(
        "",
        "{% if tools %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}[INST]{{ messages[-1].content }}[/INST]\
         {% if false %}[TOOL_CALLS]{% endif %}",
        &["[TOOL_CALLS]", "[INST]", "[/INST]"],
        &["[TOOL_CALLS]", LISTED],
    ),
    templated(
        "",
        "{% if tools %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}[INST]{{ messages[-1].content }}[/INST]\
         {% if false %}[THINK][/THINK][TOOL_CALLS][ARGS]{% endif %}",
        &[
            "[TOOL_CALLS]",
            "[ARGS]",
            "[INST]",
            "[/INST]",
            "[THINK]",
            "[/THINK]",
        ],
        &[
            "[THINK]",
            THOUGHT,
            "[/THINK]",
            SAID,
            "[TOOL_CALLS]",
            "get_weather",
            "[ARGS]",
            CITY,
        ],
    ),
    // Command R7B
    templated(
        "",
        "{% if tools %}{{ tools | tojson }}<|START_ACTION|>{% endif %}<|START_THINKING|><|END_THINKING|>{{ messages[-1].content }}\
         <|CHATBOT_TOKEN|>",
        COHERE,
        THINKS_COHERE,
    ),
    // DeepSeek R1 and V3, GLM 4.5, Kimi K2, LFM2
    templated(
        "",
        "{% if tools %}{{ tools | tojson }}{% endif %}<｜User｜>{{ messages[-1].content }}{% if false %}</think><｜tool▁call▁begin｜>\
         {% endif %}<｜Assistant｜><think>\n",
        DEEPSEEK,
        THINKS_DEEPSEEK,
    ),
    templated(
        "",
        "{% if tools %}{{ tools | tojson }}<tool_call><arg_key>{% endif %}<|user|>{{ messages[-1].content }}{% if false %}<think></think>\
         {% endif %}<|assistant|>",
        GLM,
        THINKS_GLM,
    ),
    templated(
        "",
        "{% if tools %}{{ tools | tojson }}{% endif %}{% if false %}<|tool_call_argument_begin|>{% endif %}<|im_user|>user<|im_middle|>\
         {{ messages[-1].content }}<|im_end|><|im_assistant|>assistant<|im_middle|>",
        &[
            "<|tool_calls_section_begin|>",
            "<|tool_call_begin|>",
            "<|tool_call_argument_begin|>",
            "<|tool_call_end|>",
            "<|tool_calls_section_end|>",
        ],
        &[
            SAID,
            "<|tool_calls_section_begin|>",
            "<|tool_call_begin|>",
            "functions.get_weather:0",
            "<|tool_call_argument_begin|>",
            CITY,
            "<|tool_call_end|>",
            "<|tool_calls_section_end|>",
        ],
    ),
    templated(
        "",
        "{% if tools %}{{ tools | tojson }}<|tool_call_start|>{% endif %}<|im_start|>user\n{{ messages[-1].content }}<|im_end|>\n\
         <|im_start|>assistant\n",
        LFM,
        SAYS_LFM,
    ),
    // Gemma 3 calls nothing.
    templated(
        "",
        "{% for m in messages %}<start_of_turn>{{ m.role }}\n{{ m.content }}<end_of_turn>\n{% endfor %}<start_of_turn>model\n",
        &["<start_of_turn>", "<end_of_turn>"],
        &[SAID],
    ),
];

/// What came of an answer.
#[derive(Debug, Default, PartialEq)]
struct Came {
    thinking: String,
    content: String,
    calls: Vec<(String, Value)>,
}

impl Came {
    fn add(&mut self, field: fn(&mut Self) -> &mut String, text: &Value) {
        field(self).push_str(text.as_str().unwrap_or_default());
    }

    fn of_row(row: &Row) -> Self {
        let if_written = |piece: &str| match row.writes(piece) {
            true => piece.to_owned(),
            false => String::new(),
        };
        let calls = match row.writes("get_weather") {
            true => vec![("get_weather".to_owned(), json!({"city": "Lima"}))],
            false => Vec::new(),
        };
        Self {
            thinking: if_written(THOUGHT),
            content: if_written(SAID),
            calls,
        }
    }

    /// Of the messages of Ollama's own route.
    fn of_native(lines: &[Value]) -> Self {
        let mut came = Self::default();
        for line in lines {
            let message = &line["message"];
            came.add(|came| &mut came.thinking, &message["thinking"]);
            came.add(|came| &mut came.content, &message["content"]);
            for call in message["tool_calls"].as_array().into_iter().flatten() {
                let function = &call["function"];
                let name = function["name"].as_str().unwrap().to_owned();
                came.calls.push((name, function["arguments"].clone()));
            }
        }
        came
    }

    /// Of messages or deltas of OpenAI's.
    fn of_openai(messages: &[&Value]) -> Self {
        let mut came = Self::default();
        let mut calls: Vec<(String, String)> = Vec::new();
        for message in messages {
            came.add(|came| &mut came.thinking, &message["reasoning"]);
            came.add(|came| &mut came.content, &message["content"]);
            for call in message["tool_calls"].as_array().into_iter().flatten() {
                let text = |key: &str| call["function"][key].as_str().unwrap_or_default();
                match calls.last_mut() {
                    Some((_, arguments)) if text("name").is_empty() => {
                        arguments.push_str(text("arguments"));
                    }
                    _ => calls.push((text("name").into(), text("arguments").into())),
                }
            }
        }
        let parsed = |(name, arguments): (String, String)| {
            let arguments = serde_json::from_str(&arguments);
            (name, arguments.unwrap())
        };
        came.calls = calls.into_iter().map(parsed).collect();
        came
    }

    /// Of the blocks of Anthropic's.
    fn of_blocks(blocks: &[Value]) -> Self {
        let mut came = Self::default();
        for block in blocks {
            came.add(|came| &mut came.thinking, &block["thinking"]);
            came.add(|came| &mut came.content, &block["text"]);
            if block["type"] == "tool_use" {
                let name = block["name"].as_str().unwrap().to_owned();
                came.calls.push((name, block["input"].clone()));
            }
        }
        came
    }

    /// Of Anthropic's events.
    fn of_events(reply: &Reply) -> Self {
        let mut blocks: Vec<Value> = Vec::new();
        let mut inputs: Vec<String> = Vec::new();
        for (_, event) in reply.events() {
            if event["type"] == "content_block_start" {
                blocks.push(event["content_block"].clone());
                inputs.push(String::new());
            }
            let delta = &event["delta"];
            for key in ["thinking", "text"] {
                if let Some(text) = delta[key].as_str() {
                    let block = blocks.last_mut().unwrap();
                    let before = block[key].as_str().unwrap_or_default();
                    block[key] = format!("{before}{text}").into();
                }
            }
            if let Some(text) = delta["partial_json"].as_str() {
                inputs.last_mut().unwrap().push_str(text);
            }
        }
        for (block, input) in blocks.iter_mut().zip(inputs) {
            if !input.is_empty() {
                block["input"] = serde_json::from_str(&input).unwrap();
            }
        }
        Self::of_blocks(&blocks)
    }
}

fn parameters() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
}

/// What is asked on Ollama's own route and on OpenAI's.
fn question(row: &Row, model: &str) -> Value {
    let mut body = json!({"model": model, "messages": [{"role": "user", "content": "Weather?"}], "stream": false});
    if row.writes("get_weather") {
        let function =
            json!({"name": "get_weather", "description": "Now", "parameters": parameters()});
        body["tools"] = json!([{"type": "function", "function": function}]);
    }
    body
}

/// The same on Anthropic's.
fn question_of_anthropic(row: &Row, model: &str) -> Value {
    let mut body = json!({"model": model, "messages": [{"role": "user", "content": "Weather?"}], "max_tokens": 2000});
    if row.writes(THOUGHT) {
        body["thinking"] = json!({"type": "enabled", "budget_tokens": 1024});
    }
    if row.writes("get_weather") {
        body["tools"] =
            json!([{"name": "get_weather", "description": "Now", "input_schema": parameters()}]);
    }
    body
}

/// Makes the row's model, which says its answer after so many tokens.
async fn make(server: &Server, row: &Row, answer: &[&str], prompt_tokens: usize) -> &'static str {
    let recital = Recital {
        name: &row.name(),
        template: row.template,
        marks: row.marks,
        answer,
        prompt_tokens,
    };
    let base = format!("weights:{prompt_tokens}");
    server
        .create(&base, &[("model.gguf", recital.build())])
        .await;
    let body = json!({
        "model": "recital", "from": base, "renderer": row.renderer, "parser": row.parser, "stream": false,
        "parameters": {"num_ctx": CONTEXT, "temperature": 0},
    });
    let reply = server.post("/api/create", body).await.json();
    assert_eq!(reply["status"], "success", "{reply}");
    "recital"
}

async fn prompt(server: &Server, mut body: Value) -> String {
    body["_debug_render_only"] = true.into();
    let reply = server.post("/api/chat", body).await.json();
    let prompt = reply["_debug_info"]["rendered_template"].as_str();
    prompt.unwrap().to_owned()
}

/// The prompt for a short conversation, without today's date, is the one that Ollama's renderer printed.
async fn check_prompt(server: &Server, row: &Row, model: &str, golden: &Value) {
    let prompts = &golden["renderers"][row.renderer]["system"];
    let word = match row.writes(THOUGHT) {
        true => "on",
        false => "unset",
    };
    let mut prompts = prompts.as_array().unwrap().iter();
    let expected =
        prompts.find(|prompt| prompt[0].as_str().unwrap().split(' ').any(|it| it == word));
    let messages = &golden["conversations"]["system"]["messages"];
    let found = prompt(server, json!({"model": model, "messages": messages})).await;
    assert_eq!(
        found,
        expected.unwrap()[1].as_str().unwrap(),
        "{}",
        row.name()
    );
}

async fn check(server: &Server, row: &Row, golden: &Value) {
    let model = make(server, row, row.answer, 1).await;
    if !row.renderer.is_empty() {
        check_prompt(server, row, model, golden).await;
    }
    let prompt = prompt(server, question(row, model)).await;
    // Where the prompt has begun the thoughts, the model goes on with them.
    let is_open = prompt.trim_end().ends_with(row.answer[0]);
    let answer = &row.answer[usize::from(is_open)..];
    // The model is made anew because it must know how long the prompt is.
    let body = json!({"model": model, "content": prompt});
    let tokens = server.post("/api/tokenize", body).await.json();
    let tokens = tokens["tokens"].as_array().unwrap().len();
    let model = make(server, row, answer, tokens).await;

    let expected = Came::of_row(row);
    let check = |dialect: &str, found: Came| {
        assert_eq!(found, expected, "{dialect}: {}", row.name());
    };
    let mut body = question(row, model);
    let whole = server.post("/api/chat", body.clone()).await.json();
    assert_eq!(whole["prompt_eval_count"], tokens, "{whole}");
    check("native", Came::of_native(&[whole]));
    let path = "/v1/chat/completions";
    let whole = server.post(path, body.clone()).await.plain_json();
    check(
        "OpenAI",
        Came::of_openai(&[&whole["choices"][0]["message"]]),
    );
    body["stream"] = true.into();
    let lines = server.post("/api/chat", body.clone()).await.lines();
    check("native, streamed", Came::of_native(&lines));
    let events = server.post(path, body).await.events();
    let deltas: Vec<&Value> = events
        .iter()
        .map(|(_, chunk)| &chunk["choices"][0]["delta"])
        .collect();
    check("OpenAI, streamed", Came::of_openai(&deltas));
    let mut body = question_of_anthropic(row, model);
    let whole = server.post("/v1/messages", body.clone()).await.plain_json();
    let blocks = whole["content"].as_array().unwrap();
    check("Anthropic", Came::of_blocks(blocks));
    body["stream"] = true.into();
    let reply = server.post("/v1/messages", body).await;
    check("Anthropic, streamed", Came::of_events(&reply));
}

#[tokio::test]
async fn every_family_is_prompted_and_read_in_every_dialect() {
    let server = Server::start().await;
    let golden: Value = serde_json::from_str(PROMPTS).unwrap();
    for row in ROWS {
        check(&server, row, &golden).await;
    }
}

/// A control token has text only where the job names it: without a parser that asks for them there is none.
#[tokio::test]
async fn control_tokens_are_told_only_to_those_who_ask() {
    let server = Server::start().await;
    let recital = Recital {
        name: "recital",
        template: "{{ messages[-1].content }}",
        marks: &["[TOOL_CALLS]", "[ARGS]", "<unseen>"],
        answer: &["a", "[TOOL_CALLS]", "add", "[ARGS]", "{}", "<unseen>"],
        prompt_tokens: 1,
    };
    server
        .create("plain", &[("model.gguf", recital.build())])
        .await;
    let body = json!({"model": "read", "from": "plain", "parser": "ministral", "stream": false});
    server.post("/api/create", body).await.json();
    let body =
        json!({"model": "passed", "from": "plain", "parser": "passthrough", "stream": false});
    server.post("/api/create", body).await.json();
    let messages = json!([{"role": "user", "content": "x"}]);
    let ask = async |model: &str| {
        let body = json!({"model": model, "messages": messages, "stream": false});
        server.post("/api/chat", body).await.json()["message"].clone()
    };
    for model in ["plain", "passed"] {
        assert_eq!(ask(model).await["content"], "aadd{}", "{model}");
    }
    let read = ask("read").await;
    assert_eq!(read["content"], "a");
    assert_eq!(read["tool_calls"][0]["function"]["name"], "add");

    // The shipped model says no control token by itself; forced to, it has no text for it either.
    let body = json!({"model": "tiny", "content": "<|im_start|>"});
    let token = server.post("/api/tokenize", body).await.json()["tokens"][0].to_string();
    let body = json!({
        "model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "reasoning_effort": "none",
        "max_tokens": 3, "temperature": 0, "logit_bias": {&token: 100},
    });
    let reply = server.post("/v1/chat/completions", body).await.plain_json();
    assert_eq!(reply["choices"][0]["message"]["content"], "", "{reply}");
    assert_eq!(reply["usage"]["completion_tokens"], 3);
}
