//! Whole answers, and that it does not matter how they are cut.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::prompt::{Tags, ToolFormat};

/// Parts without the random ids, neighbours of a kind joined: `(kind, text)`.
type Seen = Vec<(&'static str, String)>;

struct Setting {
    format: Option<ToolFormat>,
    prompt_end: &'static str,
    think: Think,
    with_tools: bool,
}

const PLAIN: Setting = Setting {
    format: None,
    prompt_end: "",
    think: Think::On,
    with_tools: true,
};

const HERMES: Setting = Setting {
    format: Some(ToolFormat::Hermes),
    ..PLAIN
};

const LLAMA: Setting = Setting {
    format: Some(ToolFormat::Llama),
    ..PLAIN
};

const MISTRAL: Setting = Setting {
    format: Some(ToolFormat::Mistral),
    ..PLAIN
};

const BARE: Setting = Setting {
    format: Some(ToolFormat::Bare),
    ..PLAIN
};

fn parser(setting: &Setting) -> OutputParser {
    let traits = Traits {
        thinking: Some(Tags {
            open: "<think>".into(),
            close: "</think>".into(),
        }),
        tools: setting.format,
        ..Traits::default()
    };
    let tools: &[Tool] = &["get_weather", "add"].map(|name| Tool {
        name: name.into(),
        description: String::new(),
        parameters: json!({"type": "object"}),
    });
    OutputParser::new(Expectations {
        traits: &traits,
        prompt_end: setting.prompt_end,
        think: setting.think,
        tools: if setting.with_tools { tools } else { &[] },
    })
}

fn read<'a>(setting: &Setting, pieces: impl IntoIterator<Item = &'a str>) -> Seen {
    let mut parser = parser(setting);
    let mut parts = Vec::new();
    for piece in pieces {
        parts.extend(parser.push(piece));
    }
    parts.extend(parser.finish());
    let mut seen: Seen = Vec::new();
    let mut calls = 0;
    for part in parts {
        let (kind, text) = match part {
            Part::Thinking(text) => ("thinking", text),
            Part::Content(text) => ("content", text),
            Part::ToolCall(call) => {
                let (prefix, random) = call.id.split_at("call_".len());
                assert_eq!((prefix, random.len(), call.index), ("call_", 8, calls));
                assert!(
                    random
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
                );
                calls += 1;
                ("call", format!("{}{}", call.name, call.arguments))
            }
        };
        assert!(!text.is_empty(), "an empty {kind}");
        match seen.last_mut() {
            Some((last, joined)) if *last == kind && kind != "call" => joined.push_str(&text),
            _ => seen.push((kind, text)),
        }
    }
    seen
}

/// Reads an answer whole and character by character.
#[track_caller]
fn check(setting: &Setting, answer: &str, expected: &[(&'static str, &str)]) {
    let expected: Seen = expected
        .iter()
        .map(|&(kind, text)| (kind, text.to_owned()))
        .collect();
    assert_eq!(read(setting, [answer]), expected);
    let characters = answer
        .char_indices()
        .map(|(at, c)| &answer[at..at + c.len_utf8()]);
    assert_eq!(
        read(setting, characters),
        expected,
        "character by character"
    );
}

#[test]
fn thinking_is_told_from_content() {
    check(
        &PLAIN,
        "<think>\nTwo.\n</think>\n\n2",
        &[("thinking", "Two.\n"), ("content", "2")],
    );
    check(
        &PLAIN,
        " \n<think>a</think>b</think>",
        &[("thinking", "a"), ("content", "b</think>")],
    );
    check(&PLAIN, "<think></think>b", &[("content", "b")]);
    check(&PLAIN, "<think> \n</think>b", &[("content", "b")]);
    check(
        &PLAIN,
        "  no <think>a</think>",
        &[("content", "  no <think>a</think>")],
    );
    check(&PLAIN, "<thin air", &[("content", "<thin air")]);
    check(&PLAIN, "  <th", &[("content", "  <th")]);
    check(&PLAIN, "<think>a </thin", &[("thinking", "a </thin")]);
    check(
        &PLAIN,
        "<think>é</think>è ",
        &[("thinking", "é"), ("content", "è ")],
    );
    check(&PLAIN, "", &[]);
}

#[test]
fn the_prompt_may_have_begun_the_thinking() {
    let opened = Setting {
        prompt_end: "<|im_start|>assistant\n<think>\n",
        ..PLAIN
    };
    check(
        &opened,
        "\nTwo.</think>2",
        &[("thinking", "Two."), ("content", "2")],
    );
    let closed = Setting {
        prompt_end: "<think>\n\n</think>\n\n",
        ..PLAIN
    };
    check(&closed, "2", &[("content", "2")]);
}

#[test]
fn a_model_told_not_to_think_only_speaks() {
    let off = Setting {
        think: Think::Off,
        ..PLAIN
    };
    check(
        &off,
        "<think>a</think>b",
        &[("content", "<think>a</think>b")],
    );
}

#[test]
fn without_tools_everything_is_content() {
    let call = "<tool_call>{\"name\":\"add\",\"arguments\":{}}</tool_call>";
    let none = Setting {
        with_tools: false,
        ..HERMES
    };
    check(&none, call, &[("content", call)]);
    check(&PLAIN, call, &[("content", call)]);
}

#[test]
fn hermes_calls() {
    check(
        &HERMES,
        "<think>hm</think>\n\nLet me see.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Lima\"}}\n</tool_call>\n<tool_call>{\"name\":\"add\",\"arguments\":{\"a\":1,\"b\":2}}</tool_call>\n done ",
        &[
            ("thinking", "hm"),
            ("content", "Let me see."),
            ("call", r#"get_weather{"city":"Lima"}"#),
            ("call", r#"add{"a":1,"b":2}"#),
            ("content", "done "),
        ],
    );
    check(
        &HERMES,
        "<tool_call>{\"name\":\"new_one\",\"arguments\":{\"t\":\"</tool_call>\"}}",
        &[("call", r#"new_one{"t":"</tool_call>"}"#)],
    );
    check(
        &HERMES,
        "<think>I call <tool_call>{\"name\":\"add\"}</tool_call>",
        &[("thinking", "I call "), ("call", "add{}")],
    );
}

#[test]
fn broken_hermes_calls_are_content() {
    for answer in [
        "<tool_call>{'name': 'add'}</tool_call>",
        "<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": 1}</tool_call>",
        "<tool_call>{\"name\": \"add\", \"arg",
        "<tool_call>\n",
        "<tool_call>add</tool_call>",
        "<tool_call>{\"answer\": 1}</tool_call>",
        "a < b <tool",
        "a\n\n",
    ] {
        check(&HERMES, answer, &[("content", answer)]);
    }
    check(
        &HERMES,
        "<tool_call>{x}</tool_call>\n<tool_call>{\"name\":\"add\"}</tool_call>",
        &[("content", "<tool_call>{x}</tool_call>"), ("call", "add{}")],
    );
}

#[test]
fn llama_calls() {
    check(
        &LLAMA,
        "\n{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Lima\"}}; {\"name\":\"add\",\"parameters\":{}}",
        &[("call", r#"get_weather{"city":"Lima"}"#), ("call", "add{}")],
    );
    check(
        &LLAMA,
        "Sure. <|python_tag|>{\"name\": \"other\", \"parameters\": {}}",
        &[("content", "Sure."), ("call", "other{}")],
    );
    check(
        &LLAMA,
        "<|python_tag|>print(1)",
        &[("content", "<|python_tag|>print(1)")],
    );
    check(
        &LLAMA,
        "{\"name\": <|python_tag|>{\"name\":\"add\"}",
        &[("content", "{\"name\":"), ("call", "add{}")],
    );
}

#[test]
fn mistral_calls() {
    check(
        &MISTRAL,
        "[TOOL_CALLS] [{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Lima\"}, \"id\": \"x\"}, {\"name\": \"add\", \"arguments\": {}}]",
        &[("call", r#"get_weather{"city":"Lima"}"#), ("call", "add{}")],
    );
    check(
        &MISTRAL,
        "Well.[TOOL_CALLS]get_weather[ARGS]{\"city\": \"Lima\"}[TOOL_CALLS]add[CALL_ID]a1b2c3d4e[ARGS]{\"a\":1}[TOOL_CALLS]add{\"b\":2}",
        &[
            ("content", "Well."),
            ("call", r#"get_weather{"city":"Lima"}"#),
            ("call", r#"add{"a":1}"#),
            ("call", r#"add{"b":2}"#),
        ],
    );
    for answer in [
        "[TOOL_CALLS]",
        "[TOOL_CALLS] what I said",
        "[TOOL_CALLS]add[ARGS][1]",
        "[TOOL_CALLS]add[ARG",
        "[TOOL_CALLS]add[CALL_ID]",
        "[TOOL_CALLS][{\"name\": \"add\"}",
        "[TOOL_CALLS][{\"name\": \"add\"}, 3]",
    ] {
        check(&MISTRAL, answer, &[("content", answer)]);
    }
    let long = format!("[TOOL_CALLS]{}{{}}", "n".repeat(300));
    check(&MISTRAL, &long, &[("content", &long)]);
}

#[test]
fn bare_calls_are_those_of_offered_tools() {
    check(
        &BARE,
        "{\"name\":\"add\",\"arguments\":{\"a\":1}}",
        &[("call", r#"add{"a":1}"#)],
    );
    check(
        &BARE,
        "[{\"name\":\"add\",\"arguments\":{}},{\"name\":\"add\",\"arguments\":{}}]",
        &[("call", "add{}"), ("call", "add{}")],
    );
    for answer in [
        "{\"name\":\"Ada\",\"arguments\":{}}",
        "{\"answer\": 42}",
        "  {\"name\": \"add\"",
        "I would {\"name\":\"add\",\"arguments\":{}}",
        "{}",
        "[1, 2]",
    ] {
        check(&BARE, answer, &[("content", answer)]);
    }
}

#[test]
fn json_that_is_no_call_streams_from_its_first_key_on() {
    let mut parser = parser(&BARE);
    assert_eq!(parser.push("{\"n"), []);
    assert_eq!(
        parser.push("umber\": "),
        [Part::Content("{\"number\":".into())]
    );
    assert_eq!(parser.push("7"), [Part::Content(" 7".into())]);
}

#[test]
fn a_call_is_there_as_soon_as_its_json_is() {
    let mut parser = parser(&HERMES);
    assert_eq!(parser.push("<tool_call>{\"name\":\"add\""), []);
    assert!(matches!(&parser.push("}")[..], [Part::ToolCall(call)] if call.name == "add"));
}

#[test]
fn what_is_held_back_is_bounded() {
    let mut parser = parser(&HERMES);
    let mut pieces = vec!["a".repeat(1 << 16); 100];
    pieces.insert(0, "<tool_call>{\"name\":\"".into());
    pieces.push("\"} <tool_call>{\"name\":\"add\"}".into());
    let mut content = String::new();
    for part in pieces.iter().flat_map(|piece| parser.push(piece)) {
        match part {
            Part::Content(text) => content.push_str(&text),
            other => panic!("{other:?}"),
        }
    }
    assert!(content == pieces.concat());
}

/// Answers made of the pieces that matter to the parsers.
fn answer() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "<think>",
        "</think>",
        "<tool_call>",
        "</tool_call>",
        "<|python_tag|>",
        "[TOOL_CALLS]",
        "[ARGS]",
        "[CALL_ID]",
        "{\"name\":\"add\",\"arguments\":{\"a\":\"}\"}}",
        "{\"name\": \"add\", \"parameters\": {}}",
        "{\"name\":\"x\"}",
        "{\"a\": [1]}",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "\\",
        "add",
        "<",
        "</",
        "<t",
        "[TOOL",
        ";",
        ",",
        " ",
        "\n",
        "é",
        "word",
        "'",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn setting() -> impl Strategy<Value = Setting> {
    let format = prop::sample::select(vec![
        None,
        Some(ToolFormat::Hermes),
        Some(ToolFormat::Llama),
        Some(ToolFormat::Mistral),
        Some(ToolFormat::Bare),
    ]);
    let think = prop::sample::select(vec![Think::Off, Think::On]);
    let end = prop::sample::select(vec!["", "<think>\n"]);
    (format, think, end).prop_map(|(format, think, prompt_end)| Setting {
        format,
        think,
        prompt_end,
        with_tools: true,
    })
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?} {:?} {:?}",
            self.format, self.think, self.prompt_end
        )
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn cuts_do_not_matter(setting in setting(), answer in answer(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let whole = read(&setting, [answer.as_str()]);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(answer.len() + 1)).filter(|&cut| answer.is_char_boundary(cut)).collect();
        cuts.extend([0, answer.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &answer[pair[0]..pair[1]]);
        prop_assert_eq!(read(&setting, pieces), whole);
    }

    #[test]
    fn an_answer_without_marks_arrives_as_it_is(setting in setting(), answer in "[a-zA-Z0-9é .,\n<>|/]{0,60}") {
        // A prompt that began the thinking makes an unmarked answer thinking, less its leading whitespace.
        let text: String = read(&setting, [answer.as_str()]).into_iter().map(|(_, text)| text).collect();
        let opened = setting.think == Think::On && !setting.prompt_end.is_empty();
        prop_assert_eq!(text, if opened { answer.trim_start().to_owned() } else { answer });
    }
}
