//! Constraints on a vocabulary of bytes and a few longer tokens.

use std::time::{Duration, Instant};

use super::*;
use crate::inference::Token;
use crate::inference::generate::{Compiler as _, Grammar, Preface};

/// The end, all bytes, and some tokens that straddle the parts of JSON.
fn compiler() -> Compiler {
    let mut words: Vec<Vec<u8>> = vec![b"<end>".to_vec()];
    words.extend((0..=255).map(|byte| vec![byte]));
    let longer: [&[u8]; 6] = [
        b"{\"",
        b"\": ",
        b"\",",
        b"tr",
        b"</think>\n\n{",
        "né".as_bytes(),
    ];
    words.extend(longer.map(<[u8]>::to_vec));
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    Compiler::new(Lexicon::of_words(&words))
}

const END: Token = 0;

fn of_byte(byte: u8) -> Token {
    Token::from(byte) + 1
}

/// What becomes of a text under a constraint.
#[derive(Debug, Eq, PartialEq)]
enum Fate {
    /// It is a whole sentence.
    Sentence,
    /// It is the beginning of one.
    Begun,
    /// So many of its bytes are.
    Refused(usize),
}

fn fate(rules: &mut dyn Rules, text: &str) -> Fate {
    for (index, byte) in text.bytes().enumerate() {
        let token = of_byte(byte);
        let mut logits = vec![0.0; 263];
        let is_allowed = rules.allows(token).unwrap();
        rules.restrict(&mut logits).unwrap();
        let is_left = logits[usize::try_from(token).unwrap()] == 0.0;
        assert_eq!(
            is_allowed, is_left,
            "byte {index} of {text:?}: both ways of asking agree"
        );
        if !is_allowed {
            return Fate::Refused(index);
        }
        if rules.accept(token).unwrap() {
            let end = index + 1 == text.len();
            return if end {
                Fate::Sentence
            } else {
                Fate::Refused(index + 1)
            };
        }
    }
    if rules.allows(END).unwrap() {
        Fate::Sentence
    } else {
        Fate::Begun
    }
}

struct Judge(Compiler);

impl Judge {
    fn compile(&self, grammar: &Grammar) -> Result<Box<dyn Rules>, Error> {
        self.0.compile(&Constraint::Whole {
            grammar: grammar.clone(),
            preface: None,
        })
    }

    #[track_caller]
    fn check(&self, grammar: &Grammar, sentences: &[&str], others: &[&str]) {
        for text in sentences {
            let mut rules = self.compile(grammar).unwrap();
            assert_eq!(
                fate(rules.as_mut(), text),
                Fate::Sentence,
                "{text} of {grammar:?}"
            );
        }
        for text in others {
            let mut rules = self.compile(grammar).unwrap();
            assert_ne!(
                fate(rules.as_mut(), text),
                Fate::Sentence,
                "{text} of {grammar:?}"
            );
        }
    }

    #[track_caller]
    fn schema(&self, schema: &str, sentences: &[&str], others: &[&str]) {
        self.check(&Grammar::JsonSchema(schema.into()), sentences, others);
    }

    #[track_caller]
    fn refused(&self, grammar: Grammar, expected: &str) {
        let refused = self.compile(&grammar).map(|_| ());
        let Err(Error::InvalidJob(text)) = &refused else {
            panic!("{grammar:?} is {refused:?}");
        };
        assert!(
            text.starts_with("invalid format: ") && text.contains(expected),
            "{text}"
        );
    }
}

#[test]
fn any_json_object() {
    let judge = Judge(compiler());
    let sentences = [
        "{}",
        r#"{"a": [1, -2.5e3, true, null], "b": {"c": "d\n"}}"#,
        "{\n  \"ñandú\": \"🦙\"\n}",
    ];
    judge.check(
        &Grammar::Json,
        &sentences,
        &["[]", "1", "{", "{} ", " {}", r#"{"a":}"#],
    );
}

#[test]
fn blanks_are_bounded() {
    let judge = Judge(compiler());
    let spaced = format!("{{{}}}", " ".repeat(30));
    let lines = format!("{{{}}}", "\n".repeat(5));
    judge.check(&Grammar::Json, &["{ }"], &[&spaced, &lines]);
}

#[test]
fn objects() {
    let judge = Judge(compiler());
    judge.schema(
        r#"{"type":"object","properties":{"z":{"type":"integer"},"a":{"type":"string"}},"required":["z"],"additionalProperties":false}"#,
        &[r#"{"z": 1}"#, r#"{"z":1,"a":"b"}"#],
        // The schema's order is the answer's.
        &["{}", r#"{"a":"b","z":1}"#, r#"{"z":1,"b":2}"#, r#"{"z":"1"}"#],
    );
    judge.schema(
        r#"{"type":"object","properties":{"a":{"type":"null"}},"additionalProperties":{"type":"boolean"}}"#,
        &["{}", r#"{"a":null,"b":true}"#, r#"{"b":false}"#],
        &[r#"{"b":1}"#, r#"{"a":1}"#],
    );
}

#[test]
fn arrays() {
    let judge = Judge(compiler());
    judge.schema(
        r#"{"type":"array","items":{"type":"integer"},"minItems":2,"maxItems":3}"#,
        &["[1, 2]", "[1,2,3]"],
        &["[]", "[1]", "[1,2,3,4]", "[1,\"2\"]"],
    );
    judge.schema(
        r#"{"type":"array","prefixItems":[{"const":"a"},{"type":"boolean"}],"items":false}"#,
        &[r#"["a", true]"#],
        &[r#"["b", true]"#, r#"["a", true, 1]"#],
    );
}

#[test]
fn choices() {
    let judge = Judge(compiler());
    judge.schema(
        r#"{"enum":["red", 7, null, {"a": [1]}]}"#,
        &[r#""red""#, "7", "null", r#"{"a":[1]}"#],
        &[r#""blue""#, "8", "{}"],
    );
    judge.schema(r#"{"const":"ñandú"}"#, &[r#""ñandú""#], &[r#""nandu""#]);
    judge.schema(
        r#"{"anyOf":[{"type":"integer"},{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}]}"#,
        &["12", r#"{"a":1}"#],
        &["{}", "\"a\""],
    );
    judge.schema(
        r#"{"oneOf":[{"type":"object","properties":{"k":{"const":"x"}},"required":["k"]},{"type":"object","properties":{"k":{"const":"y"},"v":{"type":"integer"}},"required":["k","v"]}]}"#,
        &[r#"{"k":"x"}"#, r#"{"k":"y","v":1}"#],
        &[r#"{"k":"y"}"#, r#"{"k":"z"}"#],
    );
    judge.schema(r#"{"type":["string","null"]}"#, &["null", "\"a\""], &["1"]);
}

#[test]
fn definitions_may_be_recursive() {
    let judge = Judge(compiler());
    judge.schema(
        r##"{"$ref":"#/$defs/node","$defs":{"node":{"type":"object","properties":{"v":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}},"required":["v","next"],"additionalProperties":false}}}"##,
        &[r#"{"v":1,"next":null}"#, r#"{"v":1,"next":{"v":2,"next":null}}"#],
        &[r#"{"v":1}"#, r#"{"v":1,"next":{}}"#],
    );
}

#[test]
fn strings() {
    let judge = Judge(compiler());
    judge.schema(
        r#"{"type":"string","minLength":2,"maxLength":3}"#,
        &[r#""ab""#, r#""ñañ""#, r#""🦙🦙🦙""#, r#""a\n""#],
        &[r#""a""#, r#""abcd""#],
    );
    judge.schema(
        r#"{"type":"string","pattern":"^[A-Z]{2}-\\d+$"}"#,
        &[r#""AB-12""#],
        &[r#""AB-""#, r#""ab-1""#, r#""xAB-1""#],
    );
    judge.schema(
        r#"{"type":"string","format":"date"}"#,
        &[r#""2024-02-29""#],
        &[r#""2024-2-29""#, r#""today""#],
    );
    judge.schema(
        r#"{"type":"string","format":"uuid"}"#,
        &[r#""123e4567-e89b-12d3-a456-426614174000""#],
        &[r#""123e4567""#],
    );
}

#[test]
fn numbers() {
    let judge = Judge(compiler());
    judge.schema(
        r#"{"type":"integer","minimum":-5,"maximum":120}"#,
        &["-5", "0", "99", "120"],
        &["-6", "121", "1.5", "01", "-"],
    );
    judge.schema(
        r#"{"type":"number","exclusiveMinimum":0,"maximum":1}"#,
        &["0.5", "1"],
        &["-0.1", "1.1", "2"],
    );
    judge.schema(
        r#"{"type":"integer","multipleOf":7}"#,
        &["14", "0"],
        &["15"],
    );
}

#[test]
fn keywords_that_are_no_grammar_s_matter_are_passed_over() {
    Judge(compiler()).schema(
        r#"{"title":"T","type":"array","items":{"type":"integer"},"uniqueItems":true,"x-order":1,"maxItems":2}"#,
        &["[1, 2]", "[1, 1]"],
        &["[1,2,3]"],
    );
}

#[test]
fn regular_expressions() {
    let judge = Judge(compiler());
    let regex = |text: &str| Grammar::Regex(text.into());
    judge.check(
        &regex(r"(yes|no)/\d{2}"),
        &["yes/12"],
        &["yes", "maybe", "yes/123"],
    );
    judge.check(&regex(r"^a+$"), &["aaa"], &["", "b"]);
    judge.check(&regex(r"[^ñ]ñ\.?"), &["eñ", "eñ."], &["ññ"]);
}

#[test]
fn lark_and_gbnf() {
    let judge = Judge(compiler());
    let lark = Grammar::Lark("start: \"a\" inner \"c\"\ninner: /b+/ | \"(\" inner \")\"\n".into());
    judge.check(&lark, &["abbc", "a((b))c"], &["ac", "a((b)c"]);

    // llama.cpp's own example, shortened.
    let arithmetic = r#"
root  ::= (expr "=" ws term "\n")+
expr  ::= term ([-+*/] term)*
term  ::= num | "(" ws expr ")" ws
num   ::= [0-9]+ ws
ws    ::= [ \t\n]*
"#;
    let gbnf = Grammar::Gbnf(arithmetic.into());
    judge.check(
        &gbnf,
        &["1+2=3\n", "(1 +2 )*3 = 9\n\n"],
        &["1+=3\n", "(1+2=3\n", "1+2="],
    );
    let regular = Grammar::Gbnf("root ::= [a-z]+ \"end\" .?".into());
    judge.check(&regular, &["abend", "endend", "xend!"], &["end", "xen"]);
}

#[test]
fn sequences_choices_and_repetitions() {
    let judge = Judge(compiler());
    let call = Grammar::Sequence(vec![
        Grammar::Text("<call>\n".into()),
        Grammar::JsonSchema(r#"{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":false}"#.into()),
        Grammar::Text("\n</call>".into()),
    ]);
    let calls = Grammar::Repeat {
        item: Box::new(call),
        separator: Box::new(Grammar::Text("\n".into())),
        least: 1,
        most: 2,
    };
    let alone = Grammar::Repeat {
        item: Box::new(Grammar::Text("x".into())),
        separator: Box::new(Grammar::Text(" ".into())),
        least: 1,
        most: 1,
    };
    judge.check(&alone, &["x"], &["", "x x"]);
    let either = Grammar::Choice(vec![calls, Grammar::Text("none \"at\" all".into())]);
    let one = "<call>\n{\"a\": 1}\n</call>";
    let two = format!("{one}\n{one}");
    let three = format!("{two}\n{one}");
    judge.check(
        &either,
        &[one, &two, "none \"at\" all"],
        &[&three, "<call>\n{}\n</call>", "none", &one[..8]],
    );
}

fn prefaced(open: Option<&str>, text: &str) -> Fate {
    let constraint = Constraint::Whole {
        grammar: Grammar::Json,
        preface: Some(Preface {
            open: open.map(str::to_owned),
            close: "</think>".into(),
        }),
    };
    let mut rules = compiler().compile(&constraint).unwrap();
    fate(rules.as_mut(), text)
}

#[test]
fn a_preface_comes_first_and_is_free() {
    assert_eq!(prefaced(None, "I {think</thin</think>{}"), Fate::Sentence);
    assert_eq!(prefaced(None, "I\nthink</think>\n\n{}"), Fate::Sentence);
    assert_eq!(prefaced(None, "{}"), Fate::Begun);
    assert_eq!(prefaced(None, "I think</think>No."), Fate::Refused(15));
}

#[test]
fn a_preface_that_may_be_opened_may_be_left_out() {
    let open = Some("<think>");
    assert_eq!(prefaced(open, "<think>\nnow</think>\n{}"), Fate::Sentence);
    assert_eq!(prefaced(open, "\n<think>now</think>{}"), Fate::Sentence);
    assert_eq!(prefaced(open, "{}"), Fate::Sentence);
    assert_eq!(prefaced(open, "<think>{}"), Fate::Begun);
    assert_eq!(prefaced(open, "Well"), Fate::Refused(0));
}

#[test]
fn a_token_may_end_the_preface_and_begin_the_answer() {
    let constraint = Constraint::Whole {
        grammar: Grammar::Json,
        preface: Some(Preface {
            open: None,
            close: "</think>".into(),
        }),
    };
    let mut rules = compiler().compile(&constraint).unwrap();
    // "</think>\n\n{", after the end and the bytes.
    let straddling = 257 + 4;
    assert!(rules.allows(straddling).unwrap());
    assert!(!rules.accept(straddling).unwrap());
    assert!(rules.accept(of_byte(b'}')).unwrap());
}

#[test]
fn mistakes_are_told() {
    let judge = Judge(compiler());
    let schema = |text: &str| Grammar::JsonSchema(text.into());
    judge.refused(schema("{"), "no JSON");
    judge.refused(schema(r#"{"type":"strin"}"#), "strin");
    judge.refused(
        schema(r#"{"type":"integer","minimum":2,"maximum":1}"#),
        "Unsatisfiable",
    );
    judge.refused(schema(r##"{"$ref":"#/$defs/none"}"##), "none");
    judge.refused(schema(r#"{"$ref":"http://localhost/x.json"}"#), "localhost");
    judge.refused(Grammar::Regex("(a".into()), "unclosed group");
    judge.refused(Grammar::Lark("begin: \"a\"".into()), "no start rule");
    judge.refused(Grammar::Gbnf("root ::= x".into()), "not defined");
    judge.refused(Grammar::Choice(Vec::new()), "empty");
}

/// What a stranger may send to keep the worker busy, to fill its memory or to overflow its stack.
fn attacks() -> Vec<(&'static str, Grammar)> {
    let nested = |depth: usize| {
        let schema = r#"{"type":"array","items":"#.repeat(depth) + "true" + &"}".repeat(depth);
        Grammar::JsonSchema(schema)
    };
    let chain = |link: fn(usize) -> String, last: &str| {
        let links: String = (0..4000).map(link).collect();
        Grammar::JsonSchema(format!(
            r##"{{"$ref":"#/$defs/d0","$defs":{{{links}"d4000":{last}}}}}"##
        ))
    };
    let product = (0..18)
        .map(|i| {
            format!(
                r#"{{"anyOf":[{{"minLength":{i}}},{{"maxLength":{}}}]}}"#,
                99 + i
            )
        })
        .collect::<Vec<_>>()
        .join(",");
    let properties = (0..1000)
        .map(|i| format!(r#""p{i}":{{"type":"string","maxLength":{i}}}"#))
        .collect::<Vec<_>>()
        .join(",");
    vec![
        ("deep", nested(120)),
        ("too deep", nested(10_000)),
        (
            "a chain of references",
            chain(
                |i| format!(r##""d{i}":{{"$ref":"#/$defs/d{}"}},"##, i + 1),
                "true",
            ),
        ),
        (
            "a chain of intersections",
            chain(
                |i| {
                    format!(
                        r##""d{i}":{{"allOf":[{{"$ref":"#/$defs/d{}"}},{{"minLength":1}}]}},"##,
                        i + 1
                    )
                },
                r#"{"type":"string"}"#,
            ),
        ),
        (
            "a product",
            Grammar::JsonSchema(format!(r#"{{"type":"string","allOf":[{product}]}}"#)),
        ),
        (
            "many properties",
            Grammar::JsonSchema(format!(
                r#"{{"type":"object","properties":{{{properties}}}}}"#
            )),
        ),
        (
            "a long string",
            Grammar::JsonSchema(
                r#"{"type":"string","minLength":1000000,"maxLength":2000000}"#.into(),
            ),
        ),
        (
            "many items",
            Grammar::JsonSchema(
                r#"{"type":"array","minItems":1000000,"items":{"type":"string"}}"#.into(),
            ),
        ),
        (
            "a pattern",
            Grammar::JsonSchema(
                r#"{"type":"string","pattern":"(a|aa)*(b|a){500}c{0,500}$"}"#.into(),
            ),
        ),
        (
            "repetitions",
            Grammar::Regex("((((a{100}){100}){100}){100}){100}".into()),
        ),
        ("a blow-up", Grammar::Regex("[ab]*a[ab]{400}".into())),
        (
            "groups",
            Grammar::Regex("(".repeat(50_000) + &")".repeat(50_000)),
        ),
        (
            "brackets",
            Grammar::Lark(format!(
                "start: {}\"a\"{}",
                "(".repeat(50_000),
                ")".repeat(50_000)
            )),
        ),
        (
            "a chain of terminals",
            Grammar::Lark(
                (0..20_000)
                    .map(|i| format!("A{i}: A{}\n", i + 1))
                    .collect::<String>()
                    + "A20000: \"a\"\nstart: A0\n",
            ),
        ),
        (
            "a chain of rules",
            Grammar::Lark(
                (0..20_000)
                    .map(|i| format!("a{i}: a{}\n", i + 1))
                    .collect::<String>()
                    + "a20000: \"a\"\nstart: a0\n",
            ),
        ),
        (
            "an ambiguous grammar",
            Grammar::Lark("start: a a a a a a\na: a a | \"x\" | \"\"\n".into()),
        ),
        ("itself", Grammar::Lark("start: start\n".into())),
        (
            "a chain of GBNF",
            Grammar::Gbnf(
                (0..3900)
                    .map(|i| format!("a{i} ::= a{}\n", i + 1))
                    .collect::<String>()
                    + "a1900 ::= \"a\"\nroot ::= a0\n",
            ),
        ),
    ]
}

/// However it ends, it ends soon, and every mask after it comes soon too.
#[test]
fn attacks_are_bounded() {
    let compiler = Arc::new(compiler());
    for (what, grammar) in attacks() {
        let compiler = Arc::clone(&compiler);
        // With the stack that the loop gives to a compilation.
        let attack = std::thread::Builder::new()
            .stack_size(64 << 20)
            .spawn(move || {
                let began = Instant::now();
                let compiled = compiler.compile(&Constraint::Whole {
                    grammar,
                    preface: None,
                });
                let compilation = began.elapsed();
                let mut slowest = Duration::ZERO;
                if let Ok(mut rules) = compiled {
                    for _ in 0..40 {
                        let began = Instant::now();
                        let mut logits = vec![0.0; 263];
                        let restricted = rules.restrict(&mut logits);
                        let first = logits.iter().rposition(|logit| *logit == 0.0);
                        let accepted = restricted.map(|()| {
                            first.map(|token| rules.accept(Token::try_from(token).unwrap()))
                        });
                        slowest = slowest.max(began.elapsed());
                        if !matches!(accepted, Ok(Some(Ok(false)))) {
                            break;
                        }
                    }
                }
                (compilation, slowest)
            });
        let (compilation, slowest) = attack.unwrap().join().unwrap();
        println!("{what}: compiled in {compilation:?}, slowest mask {slowest:?}");
        assert!(
            compilation < Duration::from_secs(20),
            "{what}: {compilation:?}"
        );
        assert!(slowest < Duration::from_secs(2), "{what}: {slowest:?}");
    }
}
