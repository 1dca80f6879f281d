//! Calls in free answers, token by token.

use super::*;
use crate::inference::Token;
use crate::inference::generate::{Compiler as _, Opening, Thoughts};

const END: Token = 0;
/// After the end and the bytes.
const FIRST_WORD: usize = 257;

/// The control token `[CALL]`, one of no text at all, and tokens that straddle a mark's end.
const WORDS: [&[u8]; 7] = [
    b"\xff[CALL]",
    b"\xff<pad>",
    b">{\"",
    b">!",
    b"a<call>",
    b"}.",
    b"</call>",
];

fn compiler() -> Compiler {
    let mut words: Vec<Vec<u8>> = vec![b"<end>".to_vec()];
    words.extend((0..=255).map(|byte| vec![byte]));
    words.extend(WORDS.map(<[u8]>::to_vec));
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    Compiler::new(Lexicon::of_words(&words))
}

fn word(text: &[u8]) -> Token {
    let index = WORDS.iter().position(|word| *word == text).unwrap();
    Token::try_from(FIRST_WORD + index).unwrap()
}

fn bytes(text: &str) -> Vec<Token> {
    text.bytes().map(|byte| Token::from(byte) + 1).collect()
}

const SCHEMA: &str = r#"{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":false}"#;

fn text(text: &str) -> Grammar {
    Grammar::Text(text.into())
}

/// `{"name": "add", "arguments": …}</call>` of one tool.
fn call(schema: &str) -> Grammar {
    Grammar::Sequence(vec![
        Grammar::Space,
        text("{\"name\":"),
        Grammar::Space,
        text("\"add\","),
        Grammar::Space,
        text("\"arguments\":"),
        Grammar::Space,
        Grammar::JsonSchema(schema.into()),
        Grammar::Marks("}</call>".into()),
    ])
}

fn opening(mark: &str, grammar: Grammar) -> Opening {
    Opening {
        mark: mark.into(),
        grammar,
        close: None,
        is_last: false,
    }
}

fn calls(openings: Vec<Opening>) -> Calls {
    Calls {
        before: String::new(),
        thoughts: None,
        openings,
    }
}

fn rules(calls: Calls) -> Box<dyn Rules> {
    compiler().compile(&Constraint::Calls(calls)).unwrap()
}

/// How many of the tokens may follow one another, and whether the answer is over with the last. Both ways of asking agree.
fn follow(rules: &mut dyn Rules, tokens: &[Token]) -> (usize, bool) {
    for (index, &token) in tokens.iter().enumerate() {
        let is_allowed = rules.allows(token).unwrap();
        let mut logits = vec![0.0; FIRST_WORD + WORDS.len()];
        rules.restrict(&mut logits).unwrap();
        let is_left = logits[usize::try_from(token).unwrap()] == 0.0;
        assert_eq!(is_allowed, is_left, "token {token} at {index}");
        if !is_allowed {
            return (index, false);
        }
        if rules.accept(token).unwrap() {
            return (index + 1, true);
        }
    }
    (tokens.len(), false)
}

#[track_caller]
fn check(calls: &Calls, answer: &str, expected: usize) {
    let followed = follow(rules(calls.clone()).as_mut(), &bytes(answer));
    assert_eq!(followed, (expected, false), "{answer}");
}

#[track_caller]
fn is_free(calls: &Calls, answer: &str) {
    check(calls, answer, answer.len());
}

#[test]
fn free_text_is_free_and_calls_are_held_to_the_tools() {
    let calls = calls(vec![opening("<call>", call(SCHEMA))]);
    is_free(&calls, "Hello {\"name\": \"sub\"} <cal <call");
    is_free(
        &calls,
        "So: <call>\n{\"name\": \"add\", \"arguments\": {\"a\": 12}}</call>",
    );
    is_free(
        &calls,
        "<call>{\"name\":\"add\",\"arguments\":{\"a\":1}}</call> and <call>\n{\"name\":\"add\",\"arguments\":{\"a\":2}}</call> done",
    );
    check(&calls, "<call>{\"name\": \"sub\"", 16);
    check(&calls, "a <call>?", 8);
    check(
        &calls,
        "<call>{\"name\": \"add\", \"arguments\": {\"b\"",
        37,
    );
    let second = "<call>{\"name\":\"add\",\"arguments\":{\"a\":1}}</call>\n<call>x";
    check(&calls, second, second.len() - 1);
}

#[test]
fn an_answer_ends_anywhere_but_in_a_call() {
    let calls = calls(vec![opening("<call>", call(SCHEMA))]);
    let may_end = |answer: &str| {
        let mut rules = rules(calls.clone());
        follow(rules.as_mut(), &bytes(answer));
        rules.allows(END).unwrap()
    };
    assert!(may_end(""));
    assert!(may_end("Hello <call"));
    assert!(!may_end("<call>"));
    assert!(!may_end("<call>{\"name\": \"add\""));
    assert!(may_end(
        "<call>{\"name\":\"add\",\"arguments\":{\"a\":1}}</call>"
    ));
}

#[test]
fn tokens_that_no_grammar_could_allow_are_free_outside_of_calls() {
    let calls = calls(vec![opening("<call>", call(SCHEMA))]);
    let mut rules = rules(calls);
    // A control token and half a character.
    let odd = [word(b"\xff<pad>"), Token::from(0xc3_u8) + 1];
    assert_eq!(follow(rules.as_mut(), &odd), (2, false));
    let begun: Vec<Token> = bytes("<call>").into_iter().chain(odd).collect();
    assert_eq!(follow(rules.as_mut(), &begun).0, 6);
}

#[test]
fn a_token_may_end_the_mark_and_begin_the_call() {
    let calls = calls(vec![opening("<call>", call(SCHEMA))]);
    let straddling = |token: &[u8]| {
        let mut rules = rules(calls.clone());
        let tokens: Vec<Token> = bytes("<call").into_iter().chain([word(token)]).collect();
        let followed = follow(rules.as_mut(), &tokens);
        (followed.0, follow(rules.as_mut(), &bytes("name\": \"a")).0)
    };
    assert_eq!(straddling(b">{\""), (6, 9));
    // No call goes on with this.
    assert_eq!(straddling(b">!").0, 5);
    let mut rules = rules(calls.clone());
    assert_eq!(follow(rules.as_mut(), &[word(b"a<call>")]), (1, false));
    assert_eq!(follow(rules.as_mut(), &bytes("x")).0, 0);
}

#[test]
fn a_call_s_last_token_has_nothing_else_in_it() {
    let grammar = Grammar::JsonSchema(SCHEMA.into());
    let mut rules = rules(calls(vec![opening("<call>", grammar)]));
    assert_eq!(follow(rules.as_mut(), &bytes("<call>{\"a\":1")).0, 12);
    assert!(!rules.allows(word(b"}.")).unwrap());
    assert_eq!(
        follow(rules.as_mut(), &bytes("}. <call>{\"a\":2} b")),
        (18, false)
    );
}

#[test]
fn marks_may_be_control_tokens() {
    let grammar = Grammar::Sequence(vec![
        text("add"),
        Grammar::Marks("[CALL]".into()),
        Grammar::JsonSchema(SCHEMA.into()),
    ]);
    let calls = calls(vec![opening("[CALL]", grammar)]);
    let mark = word(b"\xff[CALL]");
    let mut answer = bytes("Well. ");
    answer.push(mark);
    answer.extend(bytes("add"));
    answer.push(mark);
    answer.extend(bytes("{\"a\":1}"));
    answer.push(mark);
    answer.extend(bytes("sub"));
    let followed = follow(rules(calls).as_mut(), &answer);
    assert_eq!(followed, (answer.len() - 3, false));
}

#[test]
fn what_a_model_thinks_is_no_call() {
    let thoughts = |are_begun| Calls {
        thoughts: Some(Thoughts {
            open: "<think>".into(),
            close: "</think>".into(),
            are_begun,
            come_again: false,
        }),
        ..calls(vec![opening("<call>", call(SCHEMA))])
    };
    is_free(&thoughts(true), "maybe <call>x</think>");
    check(&thoughts(true), "maybe <call>x</think><call>x", 27);
    is_free(&thoughts(false), "\n<think><call>x</think>");
    check(&thoughts(false), "<call>x", 6);
}

#[test]
fn arguments_of_a_notation_of_its_own_are_free_up_to_their_end() {
    let own = Opening {
        close: Some("</call>".into()),
        ..opening(
            "<call>",
            Grammar::Sequence(vec![
                Grammar::Choice(vec![text("add"), text("add_all")]),
                text(">"),
            ]),
        )
    };
    let calls = calls(vec![own]);
    is_free(&calls, "<call>add><call>sub</call> <call>add_all>a</call>");
    check(&calls, "<call>add><call>sub</call><call>sub", 32);
}

#[test]
fn a_last_call_ends_the_answer() {
    let last = Opening {
        is_last: true,
        ..opening("<call>", Grammar::JsonSchema(SCHEMA.into()))
    };
    let answer = "<call>{\"a\":1} and";
    let followed = follow(rules(calls(vec![last])).as_mut(), &bytes(answer));
    assert_eq!(followed, (13, true));
}

#[test]
fn schemas_that_cannot_be_compiled_cost_nobody_the_answer() {
    let either = |schemas: [&str; 2]| {
        let [first, second] = schemas.map(|schema| Grammar::JsonSchema(schema.into()));
        let first = Grammar::Sequence(vec![text("f"), first]);
        let second = Grammar::Sequence(vec![text("g"), second]);
        calls(vec![opening(
            "<call>",
            Grammar::Choice(vec![first, second]),
        )])
    };
    let broken = either([SCHEMA, r##"{"$ref":"#/$defs/none"}"##]);
    // The one that can be compiled is kept to, and of the other what is known.
    check(&broken, "<call>f{\"b\"", 9);
    is_free(&broken, "<call>g{\"b\":2}");
    check(&broken, "<call>h", 6);
    check(&broken, "<call>g[", 7);
}

/// However an answer goes on, a call that is begun can be finished, and only calls of the tools are written.
#[test]
fn whatever_is_chosen_every_call_that_ends_is_one_of_the_tools() {
    let grammar = Grammar::Choice(vec![
        call(SCHEMA),
        Grammar::Sequence(vec![text("now"), Grammar::Digits, text("</call>")]),
    ]);
    let calls = calls(vec![opening("<call>", grammar)]);
    let compiler = compiler();
    let mut ended = 0;
    for seed in 1..200_u64 {
        let mut random = seed;
        let mut draw = |limit: usize| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(random >> 33).unwrap() % limit
        };
        let mut rules = compiler.compile(&Constraint::Calls(calls.clone())).unwrap();
        let mut answer = Vec::new();
        for token in bytes("So <call>") {
            rules.accept(token).unwrap();
        }
        while !answer.ends_with(b"</call>") && answer.len() < 400 {
            let mut logits = vec![0.0; FIRST_WORD + WORDS.len()];
            rules.restrict(&mut logits).unwrap();
            let left: Vec<usize> = (0..logits.len())
                .filter(|&token| logits[token] == 0.0)
                .collect();
            assert!(!left.is_empty(), "{}", String::from_utf8_lossy(&answer));
            let token = left[draw(left.len())];
            match token {
                1..FIRST_WORD => answer.push(u8::try_from(token - 1).unwrap()),
                _ => answer.extend(WORDS[token - FIRST_WORD]),
            }
            rules.accept(Token::try_from(token).unwrap()).unwrap();
        }
        let answer = String::from_utf8(answer).unwrap();
        if let Some(written) = answer.strip_suffix("</call>") {
            ended += 1;
            let digits = written.trim_start().strip_prefix("now");
            let is_now =
                digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
            let is_add = || {
                let call: serde_json::Value = serde_json::from_str(written.trim_start()).unwrap();
                call["name"] == "add" && call["arguments"]["a"].is_number()
            };
            assert!(is_now || is_add(), "{answer}");
            assert!(rules.allows(END).unwrap());
        }
    }
    assert!(ended > 100, "{ended} calls came to an end");
}

/// The marks of Harmony as gpt-oss has them: all but the end are text for llama.cpp.
fn harmony() -> (Compiler, impl Fn(&str) -> Vec<Token>) {
    const MARKS: [&str; 5] = [
        "<|end|>",
        "<|start|>",
        "<|channel|>",
        "<|message|>",
        "<|constrain|>",
    ];
    let mut words: Vec<Vec<u8>> = vec![b"<|return|>".to_vec()];
    words.extend((0..=255).map(|byte| vec![byte]));
    words.push(b"\xff<|end|>".to_vec());
    words.extend(MARKS[1..].iter().map(|mark| mark.as_bytes().to_vec()));
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let compiler = Compiler::new(Lexicon::of_words(&words));
    let tokens = |text: &str| {
        let mut tokens = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let mark = MARKS.iter().position(|mark| rest.starts_with(mark));
            let (token, length) = match mark {
                Some(mark) => (FIRST_WORD + mark, MARKS[mark].len()),
                None => (usize::from(rest.as_bytes()[0]) + 1, 1),
            };
            tokens.push(Token::try_from(token).unwrap());
            rest = &rest[length..];
        }
        tokens
    };
    (compiler, tokens)
}

/// Whether these texts, token by token, are whole answers under a constraint, or how many tokens of them may be.
#[track_caller]
fn judge(constraint: &Constraint, answer: &str, expected: Result<(), &str>) {
    let (compiler, tokens) = harmony();
    let mut rules = compiler.compile(constraint).unwrap();
    let answer = tokens(answer);
    for (index, token) in answer.iter().enumerate() {
        let is_allowed = rules.allows(*token).unwrap();
        if let Err(begun) = expected
            && index == tokens(begun).len()
        {
            assert!(!is_allowed, "{begun} may go on");
            return;
        }
        assert!(is_allowed, "token {index}");
        let is_over = rules.accept(*token).unwrap();
        assert!(!is_over || index + 1 == answer.len(), "over after {index}");
    }
    assert!(rules.allows(END).unwrap());
}

fn thoughts_of_harmony() -> Option<Preface> {
    Some(Preface {
        open: Some("<|channel|>analysis<|message|>".into()),
        close: "<|end|><|start|>assistant".into(),
    })
}

#[test]
fn harmony_s_answer_has_its_shape_in_the_final_channel() {
    let constraint = Constraint::Whole {
        grammar: Grammar::Sequence(vec![
            Grammar::Marks("<|channel|>final<|message|>".into()),
            Grammar::JsonSchema(SCHEMA.into()),
        ]),
        preface: thoughts_of_harmony(),
    };
    let thought = "<|channel|>analysis<|message|>Is it {\"b\"? No.<|end|><|start|>assistant";
    let answer = "<|channel|>final<|message|>{\"a\":1}";
    judge(&constraint, answer, Ok(()));
    judge(&constraint, &format!("{thought}{answer}"), Ok(()));
    judge(&constraint, "Well", Err(""));
    judge(
        &constraint,
        "<|channel|>final<|message|>Well",
        Err("<|channel|>final<|message|>"),
    );
    judge(
        &constraint,
        &format!("{thought}<|channel|>commentary"),
        Err(&format!("{thought}<|channel|>")),
    );
}

/// A call of `add` behind its recipient's first letters.
fn call_in_harmony(channel: &str) -> Grammar {
    Grammar::Sequence(vec![
        Grammar::Text("add".into()),
        Grammar::Marks(channel.into()),
        Grammar::Space,
        Grammar::Marks("<|constrain|>json<|message|>".into()),
        Grammar::JsonSchema(SCHEMA.into()),
    ])
}

#[test]
fn harmony_s_demanded_call_is_in_the_commentary() {
    let constraint = Constraint::Whole {
        grammar: Grammar::Sequence(vec![
            Grammar::Marks("<|channel|>commentary to=functions.".into()),
            call_in_harmony(""),
        ]),
        preface: thoughts_of_harmony(),
    };
    let thought = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant";
    let call = "<|channel|>commentary to=functions.add <|constrain|>json<|message|>{\"a\":1}";
    judge(&constraint, call, Ok(()));
    judge(&constraint, &format!("{thought}{call}"), Ok(()));
    judge(&constraint, "<|channel|>final", Err("<|channel|>"));
}

#[test]
fn harmony_s_calls_are_held_to_the_tools_and_end_the_answer() {
    let opening = |mark: &str, before: &str| Opening {
        is_last: true,
        ..opening(mark, call_in_harmony(before))
    };
    let constraint = Constraint::Calls(Calls {
        before: "<|start|>assistant".into(),
        ..calls(vec![
            opening("<|channel|>commentary to=functions.", ""),
            opening("<|start|>assistant to=functions.", "<|channel|>commentary"),
        ])
    });
    let thought = "<|channel|>analysis<|message|>I call to=functions.sub<|end|><|start|>assistant";
    let call = "<|channel|>commentary to=functions.add <|constrain|>json<|message|>{\"a\":1}";
    judge(
        &constraint,
        &format!("{thought}<|channel|>final<|message|>Hello"),
        Ok(()),
    );
    judge(&constraint, &format!("{thought}{call}"), Ok(()));
    let begun = format!("{thought}<|channel|>commentary to=functions.");
    judge(&constraint, &format!("{begun}sub"), Err(&begun));
    // The recipient may stand before the channel, where the prompt has begun the header.
    let early = " to=functions.add<|channel|>commentary <|constrain|>json<|message|>{\"a\":1}";
    judge(&constraint, early, Ok(()));
    judge(&constraint, &format!("{thought}{early}"), Ok(()));
    judge(&constraint, " to=functions.sub", Err(" to=functions."));
}
