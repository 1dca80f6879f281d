use serde_json::json;

use super::*;
use crate::prompt::{Tags, ToolFormat};

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
    let constraint = shape.constraint(expectations).unwrap();
    constraint.map(|constraint| constraint.grammar)
}

fn call_of(name: &str, key: &str, schema: &str) -> Grammar {
    Grammar::Sequence(vec![
        Grammar::Text(format!("{{\"name\": \"{name}\", \"{key}\": ")),
        Grammar::JsonSchema(schema.into()),
        Grammar::Text("}".into()),
    ])
}

const ADD: &str = r#"{"properties":{"a":{"type":"integer"}},"type":"object"}"#;

#[test]
fn nothing_asked_is_nothing_enforced() {
    let shape = Shape::default();
    assert_eq!(constraint(&shape, ToolFormat::Hermes, &tools()), None);
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
    let add = Grammar::Choice(vec![call_of("add", "parameters", ADD)]);
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
    assert_eq!((separator.as_str(), most > 1), ("\n", true));
    let both = Grammar::Choice(vec![
        call_of("add", "arguments", ADD),
        call_of("now", "arguments", r#"{"type":"object"}"#),
    ]);
    let expected = Grammar::Sequence(vec![
        Grammar::Text("<tool_call>\n".into()),
        both,
        Grammar::Text("\n</tool_call>".into()),
    ]);
    assert_eq!(*item, expected);
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
