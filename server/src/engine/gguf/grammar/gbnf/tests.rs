use super::to_lark;

fn check(gbnf: &str, expected: &str) {
    assert_eq!(to_lark(gbnf).unwrap(), expected, "{gbnf}");
}

#[track_caller]
fn refused(gbnf: &str, expected: &str) {
    assert_eq!(to_lark(gbnf).unwrap_err(), expected, "{gbnf}");
}

#[test]
fn a_regular_grammar_is_one_terminal() {
    check(
        "root ::= \"a\" [0-9]+ ws # a comment\nws ::= [ \\t]*",
        "start: R0\nR0: \"a\" /[\\u{30}-\\u{39}]/+ R1\nR1: /[\\u{20}-\\u{20}\\u{9}-\\u{9}]/*\n",
    );
}

#[test]
fn a_recursive_rule_keeps_its_regular_runs_together() {
    check(
        "root ::= \"(\" ws root? \")\" ws | \"\"\nws ::= \" \"*",
        "start: r0\nRUN0: \"(\" R1\nRUN1: \")\" R1\nr0: RUN0 r0? RUN1 | \"\"\nR1: \" \"*\n",
    );
}

#[test]
fn what_could_go_on_into_the_next_part_is_no_terminal() {
    // The blanks may be line ends, so the line end after them would never be reached.
    check(
        "root ::= n (\"\\n\" root)?\nn ::= [0-9]+ ws\nws ::= [ \\n]*",
        "start: r0\nr0: r1 r2?\nRUN0: /[\\u{30}-\\u{39}]/+\nr1: RUN0 r3\nr2: \"\\n\" r0\nr3: /[\\u{20}-\\u{20}\\u{a}-\\u{a}]/*\n",
    );
}

#[test]
fn groups_become_rules_and_may_span_lines() {
    check(
        "root ::= (\n  \"a\" |\n  \"b\"\n){2,3} .",
        "start: R0\nR0: R1{2,3} /(?s:.)/\nR1: \"a\" | \"b\"\n",
    );
}

#[test]
fn repetitions_of_repetitions() {
    check(
        "root ::= \"a\"+? [^\\]\"\\x41-\\u005A]{2,} \"\\\\\"{3}",
        "start: R0\nR0: R1? /[^\\u{5d}-\\u{5d}\\u{22}-\\u{22}\\u{41}-\\u{5a}]/{2,} \"\\\\\"{3,3}\nR1: \"a\"+\n",
    );
}

#[test]
fn a_line_may_go_on_after_a_bar_only() {
    check("root ::= \"a\" |\n \"b\"", "start: R0\nR0: \"a\" | \"b\"\n");
    refused(
        "root ::= \"a\"\n | \"b\"",
        "GBNF, line 2: expected the name of a rule",
    );
}

#[test]
fn mistakes_are_told_with_their_lines() {
    refused("", "GBNF: there is no rule \"root\"");
    refused("root ::= a", "GBNF: the rule \"a\" is used and not defined");
    refused(
        "root ::= \"a\"\nroot ::= \"b\"",
        "GBNF: the rule \"root\" is defined twice",
    );
    refused("root ::= \"a", "GBNF, line 1: the string does not end");
    refused(
        "a ::= \"a\"\nroot ::= [z-a]",
        "GBNF, line 2: a range of characters that runs backwards",
    );
    refused("root ::= *", "GBNF, line 1: nothing to repeat");
    refused(
        "root ::= \"a\"{3,2}",
        "GBNF, line 1: fewer repetitions at most than at least",
    );
    refused(
        "root ::= \"a\"{3000}",
        "GBNF, line 1: more than 2000 repetitions",
    );
    refused("root ::= (\"a\"", "GBNF, line 1: expected )");
    refused(
        "root ::= <[1]>",
        "GBNF, line 1: tokens in grammars are not supported, only text",
    );
    refused("root ::= \"\\q\"", "GBNF, line 1: unknown escape \\q");
    refused(
        "root ::= \"\\UFFFFFFFF\"",
        "GBNF, line 1: no Unicode character has this number",
    );
    let deep = format!("root ::= {}", "(".repeat(200));
    refused(&deep, "GBNF, line 1: too many brackets inside one another");
    let many: String = (0..5000).map(|i| format!("r{i} ::= \"a\"\n")).collect();
    refused(&many, "GBNF: more than 2000 rules and groups");
}
