use proptest::prelude::*;

use super::*;

fn check(text: &str, expected: &[Command]) {
    assert_eq!(
        Modelfile::parse(text.as_bytes()).unwrap().commands,
        expected,
        "{text}"
    );
}

fn check_error(text: &str, expected: &str) {
    assert_eq!(
        Modelfile::parse(text.as_bytes()).unwrap_err().to_string(),
        expected,
        "{text}"
    );
}

fn from(text: &str) -> Command {
    Command::From(text.to_owned())
}

#[test]
fn every_form_of_value_is_read() {
    check("FROM tiny", &[from("tiny")]);
    check(
        "\n# a comment\r\n  from   ./a b.gguf  \r\n",
        &[from("./a b.gguf")],
    );
    check("FROM \"quoted\"\n", &[from("quoted")]);
    let system = |text: &str| [from("x"), Command::System(text.to_owned())];
    check(
        "FROM x\nSYSTEM \"\"\"\none\n\n# two\n\"\"\"\n",
        &system("\none\n\n# two\n"),
    );
    check("FROM x\nSYSTEM \"one\ntwo\"", &system("one\ntwo"));
    check("FROM x\nSYSTEM say \"hi\" now", &system("say \"hi\" now"));
    check(
        "FROM x\nSYSTEM \"\"\"say \"hi\"\"\"\"\n",
        &system("say \"hi\""),
    );
    check("FROM x\nSYSTEM \n", &system(""));
    check(
        "from x\nparameter stop \"<|end|>\"\nMESSAGE user Hi: you\nLicense MIT\n",
        &[
            from("x"),
            Command::Parameter {
                name: "stop".to_owned(),
                value: "<|end|>".to_owned(),
            },
            Command::Message {
                role: "user".to_owned(),
                content: "Hi: you".to_owned(),
            },
            Command::License("MIT".to_owned()),
        ],
    );
}

#[test]
fn byte_order_marks_are_obeyed() {
    let little: Vec<u8> = "\u{feff}FROM é"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let big: Vec<u8> = "\u{feff}FROM é"
        .encode_utf16()
        .flat_map(u16::to_be_bytes)
        .collect();
    for bytes in [
        little.as_slice(),
        big.as_slice(),
        "\u{feff}FROM é".as_bytes(),
    ] {
        assert_eq!(Modelfile::parse(bytes).unwrap().commands, [from("é")]);
    }
}

#[test]
fn errors_are_ollamas() {
    let commands = "command must be one of \"from\", \"license\", \"template\", \"system\", \"adapter\", \
                    \"draft\", \"renderer\", \"parser\", \"parameter\", \"message\", or \"requires\"";
    check_error("", "no FROM line");
    check_error("# only\nSYSTEM x", "no FROM line");
    check_error("FROM x\nFROMM y\n", &format!("(line 2): {commands}"));
    check_error("FROM", &format!("(line 1): {commands}"));
    check_error("FROM x\nFROM\"y\"", &format!("(line 2): {commands}"));
    let roles = "message role must be one of \"system\", \"user\", or \"assistant\"";
    check_error(
        "FROM x\n\nMESSAGE nobody hi\n",
        &format!("(line 3): {roles}"),
    );
    check_error("FROM x\nSYSTEM \"\"\"open", "unexpected EOF");
    check_error("FROM x\nSYSTEM \"open\n", "unexpected EOF");
    check_error("FROM x\nPARAMETER stop", "unexpected EOF");
}

#[test]
fn parameters_are_collected_and_checked() {
    let file = Modelfile::parse(b"FROM x\nPARAMETER stop a\nPARAMETER stop b\nPARAMETER seed 3\n")
        .unwrap();
    let text = "seed                           3\nstop                           \"a\"\n\
                stop                           \"b\"";
    assert_eq!(file.parameters().unwrap().to_string(), text);
    let file = Modelfile::parse(b"FROM x\nPARAMETER colour red\n").unwrap();
    assert_eq!(
        file.parameters().unwrap_err().to_string(),
        "unknown parameter 'colour'"
    );
}

fn any_command() -> impl Strategy<Value = Command> {
    let text = "([a-z #é\t\r\n]|\"|\"\"){0,20}"
        .prop_filter("three quotes in a row cannot be written", |text| {
            !text.contains("\"\"\"")
        });
    let name = "[a-zA-Z0-9_]{1,8}";
    prop_oneof![
        text.clone().prop_map(Command::Template),
        text.clone().prop_map(Command::System),
        text.clone().prop_map(Command::License),
        (name, text.clone()).prop_map(|(name, value)| Command::Parameter { name, value }),
        (
            prop::sample::select(&["system", "user", "assistant"][..]),
            text
        )
            .prop_map(|(role, content)| Command::Message {
                role: role.to_owned(),
                content
            }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(mut commands in prop::collection::vec(any_command(), 0..6)) {
        commands.insert(0, from("x"));
        let file = Modelfile { commands };
        prop_assert_eq!(Modelfile::parse(file.to_string().as_bytes()).unwrap(), file);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Modelfile::parse(&bytes);
    }
}
