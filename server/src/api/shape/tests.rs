use serde_json::json;

use super::*;
use crate::inference::generate::Calls;
use crate::prompt::{CallPrefix, Tags, ToolFormat};

fn tools() -> Vec<Tool> {
    let tool = |name: &str, parameters| Tool {
        name: name.into(),
        description: String::new(),
        parameters,
    };
    vec![
        tool("add", json!({"properties": {"a": {"type": "integer"}}})),
        tool("now", Value::Null),
    ]
}

fn traits(tools: Option<ToolFormat>) -> Traits {
    let thinking = Some(Tags {
        open: "<think>".into(),
        close: "</think>".into(),
    });
    Traits {
        thinking,
        tools,
        ..Traits::default()
    }
}

fn constraint(shape: &Shape, format: ToolFormat, tools: &[Tool]) -> Option<Grammar> {
    let expectations = Expectations {
        traits: &traits(Some(format)),
        prompt_end: "",
        think: Think::Off,
        tools,
    };
    match shape.constraint(expectations).unwrap().map(|boxed| *boxed) {
        None => None,
        Some(Constraint::Whole { grammar, .. }) => Some(grammar),
        Some(Constraint::Calls(calls)) => panic!("only calls are held to anything: {calls:?}"),
    }
}

fn marks(text: &str) -> Grammar {
    Grammar::Marks(text.into())
}

fn call_of(before: &str, name: &str, key: &str, schema: &str, after: &str) -> Grammar {
    Grammar::Sequence(vec![
        marks(&format!("{before}{{\"name\": \"")),
        Grammar::Text(name.into()),
        marks(&format!("\", \"{key}\": ")),
        Grammar::JsonSchema(schema.into()),
        marks(&format!("}}{after}")),
    ])
}

const ADD: &str = r#"{"properties":{"a":{"type":"integer"}},"type":"object"}"#;

#[test]
fn nothing_asked_is_nothing_enforced() {
    let shape = Shape::default();
    assert_eq!(constraint(&shape, ToolFormat::Hermes, &[]), None);
    // A call of this format looks like any other answer.
    assert_eq!(constraint(&shape, ToolFormat::Llama, &tools()), None);
    assert_eq!(shape.offered(tools()).len(), 2);
}

#[test]
fn a_model_is_not_told_of_tools_that_it_must_not_call() {
    let shape = Shape {
        tool_choice: ToolChoice::None,
        ..Shape::default()
    };
    assert!(shape.offered(tools()).is_empty());
    assert_eq!(constraint(&shape, ToolFormat::Hermes, &[]), None);
}

#[test]
fn a_demanded_call_is_one_of_the_tools_in_the_model_s_own_format() {
    let named = Shape {
        tool_choice: ToolChoice::Named("add".into()),
        one_call: true,
        ..Shape::default()
    };
    let add = Grammar::Choice(vec![call_of("", "add", "parameters", ADD, "")]);
    assert_eq!(constraint(&named, ToolFormat::Llama, &tools()), Some(add));

    let required = Shape {
        tool_choice: ToolChoice::Required,
        ..Shape::default()
    };
    let Some(Grammar::Repeat {
        item,
        separator,
        least: 1,
        most,
    }) = constraint(&required, ToolFormat::Hermes, &tools())
    else {
        panic!("Hermes repeats its calls");
    };
    assert_eq!((*separator, most > 1), (marks("\n"), true));
    let (before, after) = ("<tool_call>\n", "\n</tool_call>");
    let both = Grammar::Choice(vec![
        call_of(before, "add", "arguments", ADD, after),
        call_of(before, "now", "arguments", r#"{"type":"object"}"#, after),
    ]);
    assert_eq!(*item, both);
}

fn offered(format: ToolFormat, think: Think, prompt_end: &str, tools: &[Tool]) -> Option<Calls> {
    let expectations = Expectations {
        traits: &traits(Some(format)),
        prompt_end,
        think,
        tools,
    };
    let constraint = Shape::default().constraint(expectations).unwrap();
    constraint.map(|constraint| match *constraint {
        Constraint::Calls(calls) => calls,
        Constraint::Whole { .. } => panic!("nothing was demanded"),
    })
}

#[test]
fn calls_of_tools_on_offer_are_held_to_them() {
    let calls = offered(ToolFormat::Hermes, Think::Off, "", &tools()).unwrap();
    assert_eq!((calls.before.as_str(), calls.thoughts), ("", None));
    let [opening] = &calls.openings[..] else {
        panic!("there is one mark: {:?}", calls.openings);
    };
    assert_eq!(opening.mark, "<tool_call>");
    let Grammar::Sequence(parts) = &opening.grammar else {
        panic!("{opening:?}");
    };
    assert_eq!(parts[0], Grammar::Space);
    let text = format!("{:?}", parts[1]);
    assert!(
        text.contains("integer") && text.contains(r#"Text("now")"#),
        "{text}"
    );
}

#[test]
fn thoughts_are_no_calls_unless_the_model_was_told_not_to_think() {
    let check = |think, prompt_end: &str, are_begun: Option<bool>| {
        let calls = offered(ToolFormat::Hermes, think, prompt_end, &tools()).unwrap();
        let thoughts = calls.thoughts.map(|thoughts| thoughts.are_begun);
        assert_eq!(thoughts, are_begun, "{think:?} {prompt_end}");
    };
    check(Think::On, "<|im_start|>assistant\n<think>\n", Some(true));
    check(Think::On, "<|im_start|>assistant\n", Some(false));
    check(Think::Off, "<think>\n\n</think>\n\n", None);
}

#[test]
fn the_first_header_of_messages_is_begun_by_the_prompt() {
    let prompt = "ñ".repeat(1000) + "<|start|>assistant";
    let calls = offered(ToolFormat::Harmony, Think::On, &prompt, &tools()).unwrap();
    assert!(calls.before.ends_with("<|start|>assistant") && calls.before.len() < 200);
    assert!(calls.openings.iter().all(|opening| opening.is_last));
    assert_eq!(calls.thoughts, None);
}

#[test]
fn schemas_and_tools_without_measure_are_not_held_to() {
    let many = vec![tools().remove(0); 600];
    assert_eq!(offered(ToolFormat::Hermes, Think::Off, "", &many), None);
    let mut huge = tools();
    huge[0].parameters["description"] = "x".repeat(MAX_GRAMMAR_BYTES).into();
    let calls = offered(ToolFormat::Hermes, Think::Off, "", &huge).unwrap();
    let text = format!("{calls:?}");
    assert!(text.contains("Json") && !text.contains("JsonSchema"));
}

#[test]
fn a_shape_with_tools_leaves_the_model_the_choice_between_both() {
    let shape = Shape {
        format: Format::Json,
        ..Shape::default()
    };
    assert_eq!(
        constraint(&shape, ToolFormat::Bare, &[]),
        Some(Grammar::Json)
    );
    let Some(Grammar::Choice(choices)) = constraint(&shape, ToolFormat::Bare, &tools()) else {
        panic!("there is a choice");
    };
    assert_eq!(choices.last(), Some(&Grammar::Json));
}

#[test]
fn impossible_choices_and_huge_schemas_are_refused() {
    let check = |shape: Shape, tools: &[Tool], expected: &str| {
        let refused = shape.check(tools).unwrap_err();
        assert_eq!(refused.status(), 400);
        assert!(refused.to_string().contains(expected), "{refused}");
    };
    let choose = |tool_choice| Shape {
        tool_choice,
        ..Shape::default()
    };
    check(choose(ToolChoice::Required), &[], "there are no tools");
    check(
        choose(ToolChoice::Named("sub".into())),
        &tools(),
        "\"sub\", which is not among the tools",
    );
    let huge = Format::Grammar(Grammar::Regex("a".repeat(MAX_GRAMMAR_BYTES + 1)));
    let shape = Shape {
        format: huge,
        ..Shape::default()
    };
    check(shape, &[], "bytes");
}

#[test]
fn the_shape_begins_behind_the_thinking() {
    let traits = traits(None);
    let check = |think, prompt_end, expected| {
        assert_eq!(preface(&traits, think, prompt_end), expected);
    };
    let close = "</think>".to_owned();
    let may_open = Preface {
        open: Some("<think>".into()),
        close: close.clone(),
    };
    check(Think::On, "<|im_start|>assistant\n", Some(may_open));
    let is_open = Preface { open: None, close };
    check(Think::On, "<|im_start|>assistant\n<think>\n", Some(is_open));
    check(Think::Off, "<think>\n", None);
}

fn whole(traits: &Traits, shape: &Shape, prompt_end: &str) -> (Grammar, Option<Preface>) {
    let expectations = Expectations {
        traits,
        prompt_end,
        think: Think::On,
        tools: &tools(),
    };
    match *shape.constraint(expectations).unwrap().unwrap() {
        Constraint::Whole { grammar, preface } => (grammar, preface),
        Constraint::Calls(calls) => panic!("only calls are held to anything: {calls:?}"),
    }
}

#[test]
fn a_shape_of_messages_binds_behind_the_header_of_the_answer() {
    let traits = traits(Some(ToolFormat::Harmony));
    let json = Shape {
        format: Format::Json,
        ..Shape::default()
    };
    let (grammar, thought) = whole(&traits, &json, "<|start|>assistant");
    let thoughts = Preface {
        open: Some("<|channel|>analysis<|message|>".into()),
        close: "<|end|><|start|>assistant".into(),
    };
    assert_eq!(thought, Some(thoughts.clone()));
    let answer = Grammar::Sequence(vec![marks("<|channel|>final<|message|>"), Grammar::Json]);
    let Grammar::Choice(choices) = grammar else {
        panic!("{grammar:?}");
    };
    assert_eq!(choices[1], answer);

    let begun = "<|start|>assistant<|channel|>final<|message|>So";
    let (grammar, thought) = whole(&traits, &json, begun);
    let Grammar::Choice(choices) = grammar else {
        panic!("{grammar:?}");
    };
    assert_eq!((&choices[1], thought), (&Grammar::Json, None));

    let required = Shape {
        tool_choice: ToolChoice::Named("add".into()),
        ..Shape::default()
    };
    let (grammar, thought) = whole(&traits, &required, "<|start|>assistant");
    assert_eq!(thought, Some(thoughts));
    let Grammar::Choice(choices) = grammar else {
        panic!("{grammar:?}");
    };
    let call = Grammar::Sequence(vec![
        marks("<|channel|>commentary to=functions."),
        Grammar::Text("add".into()),
        marks(" <|constrain|>json<|message|>"),
        Grammar::JsonSchema(ADD.into()),
    ]);
    assert_eq!(choices, [call]);
}

fn prefixed(text: &str, arguments: Option<&'static str>) -> Traits {
    Traits {
        call_prefix: Some(CallPrefix {
            text: text.into(),
            arguments,
        }),
        ..Traits::default()
    }
}

#[test]
fn calls_behind_a_prefix_are_demanded_as_its_template_writes_them() {
    let named = Shape {
        tool_choice: ToolChoice::Named("add".into()),
        one_call: true,
        ..Shape::default()
    };
    let check = |text: &str, key: Option<&'static str>, expected: &[Grammar]| {
        let (grammar, _) = whole(&prefixed(text, key), &named, "");
        let mut parts = Vec::new();
        flatten(&grammar, &mut parts);
        assert_eq!(parts, expected, "{text}");
    };
    let call = |open: &str, key: &str, close: &str| {
        vec![
            marks(open),
            Grammar::Text("add".into()),
            marks(&format!("\", \"{key}\": ")),
            Grammar::JsonSchema(ADD.into()),
            marks(close),
        ]
    };
    let in_tags = call("<tool_call>\n{\"name\": \"", "arguments", "}\n</tool_call>");
    check("<tool_call>", Some("arguments"), &in_tags);
    let mut list = call("{\"name\": \"", "parameters", "}");
    list.insert(0, marks("[TOOL_CALLS] ["));
    list.push(marks("]"));
    check("[TOOL_CALLS] [", Some("parameters"), &list);
    check("{", None, &call("{\"name\": \"", "arguments", "}"));
    check(
        "Action:",
        None,
        &call("Action:\n{\"name\": \"", "arguments", "}"),
    );
}

/// The parts of a grammar with one sentence, in their order.
fn flatten(grammar: &Grammar, parts: &mut Vec<Grammar>) {
    match grammar {
        Grammar::Sequence(inner) | Grammar::Choice(inner) => {
            inner.iter().for_each(|part| flatten(part, parts));
        }
        Grammar::Repeat { item, most: 1, .. } => flatten(item, parts),
        part => parts.push(part.clone()),
    }
}

#[test]
fn calls_behind_a_prefix_are_held_to_the_tools_where_it_is_known_how_they_are_written() {
    let offered = |text: &str, arguments| {
        let traits = prefixed(text, arguments);
        let expectations = Expectations {
            traits: &traits,
            prompt_end: "",
            think: Think::Unset,
            tools: &tools(),
        };
        calls::offered(expectations).map(|calls| calls.openings[0].mark.clone())
    };
    let mark = |text: &str| Some(text.to_owned());
    assert_eq!(
        offered("<tool_call>", Some("arguments")),
        mark("<tool_call>")
    );
    assert_eq!(
        offered("[TOOL_CALLS] [", Some("arguments")),
        mark("[TOOL_CALLS] [")
    );
    assert_eq!(offered("<tool_call>", None), None);
    assert_eq!(offered("{", Some("arguments")), None);
    assert_eq!(offered("[", Some("arguments")), None);
}
