//! Renderings compared with Python's (`tests/prompt/golden.py` made the file), and the bounds on what a template may do.

use std::path::Path;
use std::time::Instant;

use jiff::civil::date;
use jiff::tz::TimeZone;
use serde_json::Value as Json;

use super::*;
use crate::prompt::{Effort, Message, Think, Tool, ToolCall};

fn text(json: &Json, key: &str) -> String {
    json[key].as_str().unwrap_or_default().to_owned()
}

fn list(json: &Json) -> impl Iterator<Item = &Json> {
    json.as_array().into_iter().flatten()
}

fn messages(json: &Json) -> Vec<Message> {
    let call = |(index, call): (usize, &Json)| ToolCall {
        id: text(call, "id"),
        index,
        name: text(call, "name"),
        arguments: call["arguments"].clone(),
    };
    list(json)
        .map(|message| Message {
            role: text(message, "role"),
            content: text(message, "content"),
            thinking: text(message, "thinking"),
            images: message["images"].as_u64().unwrap_or(0) as usize,
            image_files: Vec::new(),
            tool_calls: list(&message["tool_calls"]).enumerate().map(call).collect(),
            tool_name: text(message, "tool_name"),
            tool_call_id: text(message, "tool_call_id"),
        })
        .collect()
}

fn tools(json: &Json) -> Vec<Tool> {
    list(json)
        .map(|tool| Tool {
            name: text(tool, "name"),
            description: text(tool, "description"),
            parameters: tool["parameters"].clone(),
        })
        .collect()
}

fn conversation<'a>(messages: &'a [Message], tools: &'a [Tool]) -> Conversation<'a> {
    Conversation {
        messages,
        tools,
        think: Think::Unset,
        add_generation_prompt: true,
        bos_token: "<bos>",
        eos_token: "<eos>",
        now: date(2026, 7, 6)
            .at(9, 5, 3, 0)
            .to_zoned(TimeZone::UTC)
            .unwrap(),
    }
}

fn user(content: &str) -> Vec<Message> {
    vec![Message {
        role: "user".into(),
        content: content.into(),
        ..Message::default()
    }]
}

fn render(source: &str) -> Result<String, PromptError> {
    Template::parse(source)?.render(&conversation(&user("Hi"), &[]))
}

#[test]
fn prompts_are_those_of_transformers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/prompt");
    let (different, compared) = differences(&folder);
    assert!(different.is_empty(), "{}", different.join("\n"));
    assert!(compared >= 180, "{compared} cases");
}

/// Templates of others that are not rendered as Python renders them, and why.
const KNOWN: &[(&str, &str)] = &[(
    "meetkai-functionary-medium-v3.1.jinja",
    "it adds to texts that it calls safe, which in Python escapes what is added",
)];

/// `make templates FOLDER=...` makes the file for a folder of templates from elsewhere and runs this.
#[test]
#[ignore = "needs CHASKI_TEMPLATES, a folder with templates and their golden.json"]
fn prompts_of_other_templates_are_those_of_transformers() {
    let folder = std::env::var("CHASKI_TEMPLATES").unwrap();
    let (mut different, compared) = differences(Path::new(&folder));
    let equal = compared - different.len();
    println!("{equal} of {compared} renderings are equal");
    different.retain(|line| !KNOWN.iter().any(|(file, _)| line.starts_with(file)));
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// Each line of the file is a template for a construct of the language alone. Those that differ say why, and must differ.
#[test]
fn the_language_is_that_of_python() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/prompt");
    let lines = std::fs::read_to_string(folder.join("language.jsonl")).unwrap();
    let golden = std::fs::read_to_string(folder.join("golden.json")).unwrap();
    let golden: Json = serde_json::from_str(&golden).unwrap();
    let given = &golden["conversations"]["language"];
    let mut wrong = Vec::new();
    let mut compared = 0;
    for line in lines.lines() {
        let case: Json = serde_json::from_str(line).unwrap();
        let found = outcome(case["template"].as_str().unwrap(), given);
        compared += 1;
        if is_same(&found, &case) == case["differs"].is_string() {
            wrong.push(format!("{found:?}\n    {line}"));
        }
    }
    let count = wrong.len();
    assert!(
        wrong.is_empty(),
        "{count} of {compared}\n{}",
        wrong.join("\n")
    );
    assert!(compared >= 850, "{compared} templates");
}

/// What becomes of a template with a conversation of `golden.json`.
fn outcome(source: &str, given: &Json) -> Result<String, PromptError> {
    let (messages, tools) = (messages(&given["messages"]), tools(&given["tools"]));
    let think = match given["think"].as_str() {
        None => Think::Unset,
        Some("off") => Think::Off,
        Some("on") => Think::On,
        Some("high") => Think::Level(Effort::High),
        Some(other) => panic!("think {other}"),
    };
    Template::parse(source)?.render(&Conversation {
        think,
        add_generation_prompt: given["add_generation_prompt"].as_bool().unwrap_or(true),
        ..conversation(&messages, &tools)
    })
}

/// The same text, a refusal in the same words, or a failure, whatever its words.
fn is_same(found: &Result<String, PromptError>, expected: &Json) -> bool {
    match found {
        Ok(prompt) => expected["text"] == prompt.as_str(),
        Err(PromptError::Refused(words)) => expected["refused"] == words.as_str(),
        Err(_) => expected["fails"].is_string(),
    }
}

/// Where our renderings differ from those in `golden.json`, and how many were compared.
fn differences(folder: &Path) -> (Vec<String>, usize) {
    let golden = std::fs::read_to_string(folder.join("golden.json")).unwrap();
    let golden: Json = serde_json::from_str(&golden).unwrap();
    let mut different = Vec::new();
    let mut compared = 0;
    for case in list(&golden["cases"]) {
        let (file, name) = (text(case, "template"), text(case, "conversation"));
        let source = std::fs::read_to_string(folder.join(&file)).unwrap();
        let found = outcome(&source, &golden["conversations"][&name]);
        compared += 1;
        if !is_same(&found, case) {
            let found = found.unwrap_or_else(|error| format!("{error:?}"));
            let expected = ["text", "refused", "fails"];
            let expected = expected.iter().find_map(|key| case[key].as_str());
            let expected = expected.unwrap_or_default();
            let lines = found.lines().zip(expected.lines());
            let line = lines.enumerate().find(|(_, (ours, theirs))| ours != theirs);
            let ends = (found.len(), expected.len());
            different.push(format!("{file}, {name}: (ours, theirs) {line:?} {ends:?}"));
        }
    }
    (different, compared)
}

#[test]
fn a_template_that_is_none_is_told_where() {
    let Err(PromptError::Parse(words)) = Template::parse("a\n{% if %}") else {
        panic!("it parsed");
    };
    assert!(words.contains("line 2"), "{words}");
    assert!(matches!(
        render(&"a".repeat(MAX_TEMPLATE_BYTES + 1)),
        Err(PromptError::TooLarge { .. })
    ));
}

#[test]
fn failures_say_what_and_where() {
    assert_eq!(
        render("{{ raise_exception('Not \"that\".') }}"),
        Err(PromptError::Refused("Not \"that\".".into()))
    );
    assert_eq!(
        render("{% macro m() %}{{ raise_exception('no') }}{% endmacro %}{{ m() }}"),
        Err(PromptError::Refused("no".into()))
    );
    let Err(PromptError::Render(words)) = render("\n\n{{ nothing.at.all }}") else {
        panic!("it rendered");
    };
    assert!(words.contains("line 3"), "{words}");
    assert!(matches!(
        render("{{ strftime_now('%') }}"),
        Err(PromptError::Render(_))
    ));
}

#[test]
fn work_memory_and_nesting_are_bounded() {
    let too_much = |source: &str| {
        let error = render(source).expect_err(source);
        assert!(
            matches!(
                error,
                PromptError::TooMuchWork | PromptError::TooLarge { .. } | PromptError::Render(_)
            ),
            "{source}: {error:?}"
        );
    };
    let forever =
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}";
    assert_eq!(render(forever), Err(PromptError::TooMuchWork));
    let itself = "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}";
    assert!(matches!(render(itself), Err(PromptError::Parse(_))));
    let long = "{{ messages[0].content }}".repeat(10);
    let messages = user(&"x".repeat(MAX_PROMPT_BYTES / 8));
    assert_eq!(
        Template::parse(&long)
            .unwrap()
            .render(&conversation(&messages, &[])),
        Err(PromptError::TooLarge {
            limit: MAX_PROMPT_BYTES
        })
    );
    too_much("{{ 'x' * 1000000000000 }}");
    too_much(
        "{% set ns = namespace(x='xxxxxxxx') %}{% for i in range(64) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
    );
    too_much(
        "{% set ns = namespace(x=[1]) %}{% for i in range(64) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x | tojson }}",
    );
    too_much(
        "{% set ns = namespace(x=[1]) %}{% for i in range(64) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
    );
    too_much(
        "{% set ns = namespace(x=[]) %}{% for i in range(1000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x | tojson }}",
    );
    too_much("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}");
    too_much("{{ [1] | tojson(indent=1000000000000) | length / 0 }}");
    too_much("{{ '%999999999d' | format(1) }}");
    too_much("{{ range(1000000000) | list }}");
    for uses in [
        "{{ x }}",
        "{{ [x, x, x] }}",
        "{{ x ~ 'a' }}",
        "{{ [[x, x], x] ~ 'a' }}",
        "{{ x | tojson }}",
        "{{ x | string | length }}",
        "{{ x | join(',') }}",
        "{{ [x, x] | join(',') }}",
        "{{ ','.join(x) }}",
        "{{ x | list | length }}",
        "{{ x == x + [1] }}",
        "{{ x.index(1) }}",
        "{{ 1 in x }}",
        "{{ x | unique | list }}",
        "{{ x[99999990:] }}",
        "{{ x[-1] == 2 and x[99999998] == 2 }}",
    ] {
        for made in [
            "[[]] * 99999999",
            "99999999 * [[]]",
            "[[]] * 9999 * 9999",
            "99999 * ([[]] * 999)",
            "([[]] + [[]]) * 49999999",
            "[{}][:1] * 99999999",
        ] {
            let source = format!("{{% set x = {made} %}}{uses}");
            let begun = Instant::now();
            let _ = render(&source);
            let seconds = begun.elapsed().as_secs();
            assert!(seconds < 10, "{source}: {seconds} s");
        }
    }
}

/// Lists within lists are as deep as the allowance permits, and what is done with them nests as deeply in calls.
#[test]
fn values_of_any_depth_leave_the_process_alone() {
    let deep = "[".repeat(40) + "ns.x" + &"]".repeat(40);
    for (wrap, uses) in [
        (
            deep.as_str(),
            [
                "",
                "{{ ns.x }}",
                "{{ ns.x == [ns.x] }}",
                "{{ ns.x | tojson }}",
                "{{ [ns.x, ns.x] | unique | list }}",
            ],
        ),
        (
            "{'a': ns.x}",
            [
                "",
                "{{ ns.x }}",
                "{{ ns.x == {'a': ns.x} }}",
                "{{ ns.x | tojson }}",
                "{{ ns.x | string | length }}",
            ],
        ),
        (
            "ns.x | batch(1)",
            [
                "",
                "{{ ns.x }}",
                "{{ ns.x | list }}",
                "{{ ns.x | tojson }}",
                "{{ [ns.x, ns.x] | sort }}",
            ],
        ),
        (
            "[ns.x] | reverse",
            [
                "",
                "{{ ns.x }}",
                "{{ ns.x | list }}",
                "{{ ns.x | tojson }}",
                "{{ ns.x | first }}",
            ],
        ),
    ] {
        for uses in uses {
            for (steps, length) in [
                (50, 2),
                (150, 2),
                (1500, 2),
                (100_000, 2),
                (2000, 2 << 20),
                (50_000, 2 << 20),
            ] {
                let source = format!(
                    "{{% set ns = namespace(x=[]) %}}{{% for i in range({steps}) %}}{{% set ns.x = {wrap} %}}{{% endfor %}}{uses}"
                );
                let messages = user(&"x".repeat(length));
                // The outcome differs; that there is one is what counts.
                let _ = Template::parse(&source)
                    .unwrap()
                    .render(&conversation(&messages, &[]));
            }
        }
    }
}

#[test]
fn long_chains_of_operators_leave_the_process_alone() {
    let chain = |piece: &str| format!("{{{{ 1{} }}}}", piece.repeat(900));
    for piece in [
        "+1",
        "~1",
        ".b",
        "|e",
        "(1)",
        "[0]",
        "**1",
        " and 1",
        " if 1",
        " is odd",
        "<1",
        " not in a",
    ] {
        let _ = render(&chain(piece));
    }
    for (open, close) in [
        ("{% if 1 %}", "{% endif %}"),
        ("{% for i in [1] %}", "{% endfor %}"),
        ("{% if 0 %}{% elif 1 %}", ""),
        ("{{ ((", ""),
        ("{{ [[", ""),
        ("{{ - -", ""),
        ("{{ not not ", ""),
    ] {
        let _ = render(&(open.repeat(4_000) + &close.repeat(4_000)));
    }
}

#[test]
fn a_template_sees_nothing_but_the_conversation() {
    assert!(matches!(
        render("{% include '/etc/hostname' %}"),
        Err(PromptError::Parse(_))
    ));
    assert!(matches!(
        render("{% import 'chat_template' as x %}"),
        Err(PromptError::Parse(_))
    ));
    assert_eq!(
        render("{{ messages.__class__ }}{{ debug is defined }}").unwrap(),
        "False"
    );
}

#[test]
fn a_thousand_messages_are_far_from_the_bounds() {
    let mut messages = Vec::new();
    for _ in 0..500 {
        messages.extend(user(&"How are you? ".repeat(100)));
        messages.push(Message {
            role: "assistant".into(),
            content: "Fine. ".repeat(100),
            ..Message::default()
        });
    }
    let source = include_str!("../../../tests/prompt/templates/chatml_thinking.jinja");
    let prompt = Template::parse(source)
        .unwrap()
        .render(&conversation(&messages, &[]));
    assert!(prompt.unwrap().len() > 900_000);
}
