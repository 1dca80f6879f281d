//! What real Go made of the same templates (`tests/prompt/go/README.md`), and the bounds on hostile ones.

use serde::Deserialize;
use serde_json::Value as Json;

use super::execute::{Allowance, Failure, Run};
use super::functions::Clock;
use super::{MAX_PROMPT_BYTES, Template, parse};
use crate::prompt::{Conversation, Effort, Message, Think, Tool, ToolCall};

/// A template of the language alone, on the data that all of these share.
#[derive(Deserialize)]
struct LanguageCase {
    template: String,
    output: Option<String>,
    #[serde(default)]
    error: String,
}

fn allowance() -> Allowance {
    Allowance {
        steps: 2_000_000,
        bytes: MAX_PROMPT_BYTES,
    }
}

fn run(template: &str, data: &Json) -> Result<String, String> {
    let templates = parse::parse(template)?;
    let clock = Clock {
        today: "2006-01-02".into(),
        yesterday: "2006-01-01".into(),
    };
    let root = &templates.by_name[""];
    let out = Run::execute(
        template,
        &templates,
        root,
        data.into(),
        &clock,
        &mut allowance(),
    );
    match out {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(Failure::Wrong(what)) => Err(what),
        Err(other) => Err(format!("{other:?}")),
    }
}

#[test]
fn the_language_is_that_of_go() {
    let data: Json =
        serde_json::from_str(include_str!("../../../tests/prompt/go/data.json")).unwrap();
    let mut faults = Vec::new();
    for line in include_str!("../../../tests/prompt/go/language.jsonl").lines() {
        let case: LanguageCase = serde_json::from_str(line).unwrap();
        let expected = case.output.ok_or(case.error);
        let found = run(&case.template, &data);
        if found != expected {
            faults.push(format!(
                "{}\n   go: {expected:?}\n  own: {found:?}",
                case.template
            ));
        }
    }
    assert!(
        faults.is_empty(),
        "{}\n{} faults",
        faults.join("\n\n"),
        faults.len()
    );
}

/// A model's template on every conversation, and what Ollama reads off it.
#[derive(Deserialize)]
struct ModelCase {
    template: String,
    traits: Option<TraitsCase>,
    results: Option<Vec<String>>,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
struct TraitsCase {
    vars: Vec<String>,
    open: String,
    close: String,
    tag: String,
}

/// As `/api/chat` and `/api/generate` are asked for it.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct ConversationCase {
    messages: Vec<MessageCase>,
    tools: Vec<ToolCase>,
    think: String,
    prompt: String,
    suffix: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct MessageCase {
    role: String,
    content: String,
    thinking: String,
    tool_calls: Vec<CallCase>,
    tool_name: String,
    tool_call_id: String,
}

#[derive(Deserialize)]
struct CallCase {
    function: CalledCase,
}

#[derive(Deserialize)]
struct CalledCase {
    #[serde(default)]
    index: usize,
    name: String,
    arguments: Json,
}

#[derive(Deserialize)]
struct ToolCase {
    function: FunctionCase,
}

#[derive(Deserialize)]
struct FunctionCase {
    name: String,
    description: String,
    parameters: Json,
}

impl From<MessageCase> for Message {
    fn from(case: MessageCase) -> Self {
        Self {
            role: case.role,
            content: case.content,
            thinking: case.thinking,
            tool_calls: case
                .tool_calls
                .into_iter()
                .map(|CallCase { function }| ToolCall {
                    id: String::new(),
                    index: function.index,
                    name: function.name,
                    arguments: function.arguments,
                })
                .collect(),
            tool_name: case.tool_name,
            tool_call_id: case.tool_call_id,
            ..Self::default()
        }
    }
}

impl From<ToolCase> for Tool {
    fn from(ToolCase { function }: ToolCase) -> Self {
        Self {
            name: function.name,
            description: function.description,
            parameters: function.parameters,
        }
    }
}

fn conversations() -> Vec<ConversationCase> {
    serde_json::from_str(include_str!("../../../tests/prompt/go/conversations.json")).unwrap()
}

fn think(word: &str) -> Think {
    match word {
        "" => Think::Unset,
        "false" => Think::Off,
        "true" => Think::On,
        "high" => Think::Level(Effort::High),
        other => panic!("no case thinks {other}"),
    }
}

fn prompt(template: &Template, case: ConversationCase) -> String {
    let think = think(&case.think);
    let now = jiff::Zoned::now();
    let result = if case.suffix.is_empty() {
        let messages: Vec<Message> = case.messages.into_iter().map(Message::from).collect();
        let tools: Vec<Tool> = case.tools.into_iter().map(Tool::from).collect();
        template.render(&Conversation {
            messages: &messages,
            tools: &tools,
            think,
            add_generation_prompt: true,
            bos_token: "",
            eos_token: "",
            now,
        })
    } else {
        template.insert(&case.prompt, &case.suffix, think, &now)
    };
    result.unwrap_or_else(|error| format!("error: {error}"))
}

#[test]
fn models_are_asked_as_ollama_asks_them() {
    let mut faults = Vec::new();
    for line in include_str!("../../../tests/prompt/go/models.jsonl").lines() {
        let case: ModelCase = serde_json::from_str(line).unwrap();
        let mut fault = |what: &str, go: &str, own: &str| {
            if go != own {
                faults.push(format!(
                    "{}\n{what}\n   go: {go:?}\n  own: {own:?}",
                    case.template
                ));
            }
        };
        let template = match Template::parse(&case.template) {
            Ok(template) => template,
            Err(error) => {
                fault("parsing", &case.error, &error.to_string());
                continue;
            }
        };
        fault("parsing", &case.error, "");
        let traits = case.traits.expect("what Go parses has traits");
        let names: Vec<&str> = template.names.iter().map(String::as_str).collect();
        let missing_response =
            if template.root.nodes.len() > template.templates.by_name[""].nodes.len() {
                ["response"].as_slice()
            } else {
                &[]
            };
        let mut names = [names.as_slice(), missing_response].concat();
        names.sort_unstable();
        fault("names", &traits.vars.join(" "), &names.join(" "));
        let tags = template.thinking_tags();
        let go = (!traits.open.is_empty() && !traits.close.is_empty())
            .then(|| format!("{} {}", traits.open, traits.close));
        fault(
            "tags",
            &go.unwrap_or_default(),
            &tags
                .map(|tags| format!("{} {}", tags.open, tags.close))
                .unwrap_or_default(),
        );
        fault("tool prefix", &traits.tag, &template.tool_prefix());
        for (index, (expected, conversation)) in case
            .results
            .unwrap()
            .into_iter()
            .zip(conversations())
            .enumerate()
        {
            fault(
                &format!("conversation {index}"),
                &expected,
                &prompt(&template, conversation),
            );
        }
    }
    assert!(
        faults.is_empty(),
        "{}\n{} faults",
        faults.join("\n\n"),
        faults.len()
    );
}

#[test]
fn hostile_templates_come_to_an_end() {
    let check = |template: &str, expected: &str| {
        let template = Template::parse(template).unwrap();
        let case = ConversationCase {
            messages: vec![MessageCase {
                role: "user".into(),
                content: "x".repeat(1000),
                ..MessageCase::default()
            }],
            ..ConversationCase::default()
        };
        let found = prompt(&template, case);
        assert!(
            found.ends_with(expected),
            "{}",
            &found[..found.len().min(300)]
        );
    };
    const TOO_MUCH: &str = "it takes too long to render";
    check("{{ range 9223372036854775807 }}{{ end }}", TOO_MUCH);
    check("{{ range 9223372036854775807 }}x{{ end }}", TOO_MUCH);
    check(
        "{{ define \"a\" }}{{ range 99 }}{{ template \"b\" . }}{{ end }}{{ end }}{{ define \"b\" }}{{ range 9999 }}{{ end }}{{ end }}{{ template \"a\" . }}",
        TOO_MUCH,
    );
    check(
        "{{ $s := .Prompt }}{{ range 40 }}{{ $s = print $s $s }}{{ end }}",
        TOO_MUCH,
    );
    check("{{ printf \"%400000d%400000d\" 1 2 | len }}", "800000");
    let wide = format!("{{{{ printf \"{}\" }}}}", "%1000000[1]d".repeat(40));
    check(
        &wide.replace("\" }}", "\" 1 }}"),
        "more than 16777216 bytes",
    );
    check(
        "{{ define \"a\" }}{{ template \"a\" . }}{{ end }}{{ template \"a\" . }}",
        "exceeded maximum template depth (1000)",
    );
}

#[test]
fn what_is_too_deep_or_too_long_is_no_template() {
    let check = |template: &str, expected: &str| {
        let error = Template::parse(template).unwrap_err().to_string();
        assert_eq!(error, expected);
    };
    let deep = format!("{{{{ {}1{} }}}}", "(".repeat(1000), ")".repeat(1000));
    check(&deep, "template: :1: max expression depth exceeded");
    let blocks = "{{ if 1 }}".repeat(1000) + &"{{ end }}".repeat(1000);
    check(&blocks, "template: :1: max expression depth exceeded");
    let chain = "{{ if 1 }}".to_owned() + &"{{ else if 1 }}".repeat(1000) + "{{ end }}";
    check(&chain, "template: :1: max expression depth exceeded");
    check(
        &"{{ $a := 1 }}".repeat(1001),
        "template: :1: too many variables",
    );
    check(
        &"x".repeat(200_000),
        "template error: more than 131072 bytes",
    );
}

#[test]
fn images_are_named_where_the_text_says_so_or_in_front() {
    let template = Template::parse("{{ range .Messages }}{{ .Content }};{{ end }}").unwrap();
    let message = |content: &str, images| Message {
        role: "tool".into(),
        content: content.into(),
        images,
        ..Message::default()
    };
    let messages = [
        message("look", 2),
        message("at [img] and", 2),
        message("none", 0),
    ];
    let prompt = template.render(&Conversation {
        messages: &messages,
        tools: &[],
        think: Think::Unset,
        add_generation_prompt: true,
        bos_token: "",
        eos_token: "",
        now: jiff::Zoned::now(),
    });
    assert_eq!(
        prompt.unwrap(),
        "[img-0][img-1]look;[img-3]at [img-2] and;none;"
    );
}

#[test]
fn dates_are_those_of_the_conversation() {
    let template =
        Template::parse("{{ currentDate }} {{ yesterdayDate \"2006\" }}{{ .Suffix }}").unwrap();
    let now = "2024-03-01T00:30:00[UTC]".parse().unwrap();
    let prompt = template.insert("p", "s", Think::Unset, &now);
    assert_eq!(prompt.unwrap(), "2024-03-01 2024-02-29s");
}

#[test]
fn the_key_of_a_call_s_arguments_is_that_of_its_text() {
    let check = |calls: &str, expected| {
        let template = format!("{{{{ if .ToolCalls }}}}{calls}{{{{ end }}}}{{{{ .Content }}}}");
        let template = Template::parse(&template).unwrap();
        assert_eq!(template.arguments_key(), expected, "{calls}");
    };
    let name = "{{ .Function.Name }}";
    let arguments = "{{ .Function.Arguments }}";
    check(
        &format!("<a>\n{{\"name\": \"{name}\", \"arguments\": {arguments}}}"),
        Some("arguments"),
    );
    let ranged = format!(
        "[{{{{ range .ToolCalls }}}}{{\n  \"name\":\"{name}\",\n  \"parameters\": {arguments}}}{{{{ end }}}}]"
    );
    check(&ranged, Some("parameters"));
    check(
        &format!("{{\"tool_name\": \"{name}\", \"parameters\": {arguments}}}"),
        None,
    );
    check(&format!("<a>{name}{arguments}"), None);
    check("{{ .ToolCalls }}", None);
    let none = Template::parse("{{ .Content }}").unwrap();
    assert_eq!(none.arguments_key(), None);
}
