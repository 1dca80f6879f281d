//! What the lines that are typed mean: messages, perhaps over several lines, and commands.

use super::session::Think;

const QUOTES: &str = "\"\"\"";

/// Something complete that was typed.
#[derive(Debug, Eq, PartialEq)]
pub enum Entry {
    /// To the model.
    Message(String),
    /// `/set system`.
    System(String),
    /// Another line with a slash.
    Command(Command),
}

/// A line with a slash.
#[derive(Debug, Eq, PartialEq)]
pub enum Command {
    /// `/bye`
    Bye,
    /// `/clear`
    Clear,
    /// `/list`
    List(String),
    /// `/load MODEL`
    Load(String),
    /// `/save MODEL`
    Save(String),
    /// `/set …`
    Set(Setting),
    /// `/show …`
    Show(Part),
    /// `/?`, or a command that lacks a word.
    Help(Topic),
    /// None of ours.
    Unknown(String),
}

/// What `/set` changes.
#[derive(Debug, Eq, PartialEq)]
pub enum Setting {
    /// `parameter NAME VALUE…`
    Parameter(String, Vec<String>),
    /// `verbose`, `quiet`
    Verbose(bool),
    /// `wordwrap`, `nowordwrap`
    WordWrap(bool),
    /// `format json`, `noformat`
    Json(bool),
    /// `think [LEVEL]`, `nothink`
    Think(Think),
    /// `format` with something else.
    WrongFormat,
    /// `think` with something else.
    WrongThink(String),
}

/// What `/show` shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// The overview.
    Info,
    /// The licences.
    License,
    /// The Modelfile.
    Modelfile,
    /// The model's parameters and those set here.
    Parameters,
    /// The system message.
    System,
    /// The prompt template.
    Template,
}

/// What help is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Topic {
    /// All commands.
    Commands,
    /// `/set`
    Set,
    /// `/set parameter`
    Parameters,
    /// `/show`
    Show,
    /// Keys.
    Shortcuts,
    /// `/load` and `/save`, which need a name.
    Load,
    /// As above.
    Save,
}

/// Puts lines together.
#[derive(Debug, Default)]
pub struct Composer {
    open: Option<Open>,
}

/// A text whose closing quotes are still to come.
#[derive(Debug)]
struct Open {
    is_system: bool,
    text: String,
}

impl Composer {
    /// What stands before the next line.
    #[must_use]
    pub fn prompt(&self) -> &'static str {
        if self.open.is_some() { "... " } else { ">>> " }
    }

    /// Forgets a text that has been begun.
    pub fn abandon(&mut self) {
        self.open = None;
    }

    /// Takes the next line, without its end. `None` if it says nothing yet.
    pub fn enter(&mut self, line: &str) -> Option<Entry> {
        if let Some(open) = self.open.take() {
            return self.go_on(open, line);
        }
        let mut words = line.split_whitespace();
        let is_system = words.next() == Some("/set") && words.next() == Some("system");
        if is_system {
            let (_, text) = line.split_once("system").expect("the word was just seen");
            return match text.trim() {
                "" => Some(Entry::Command(Command::Help(Topic::Set))),
                text => self.begin(is_system, text),
            };
        }
        if line.starts_with('/') {
            return Some(Entry::Command(Command::parse(line)));
        }
        self.begin(is_system, line)
    }

    fn begin(&mut self, is_system: bool, text: &str) -> Option<Entry> {
        let whole = |text: &str| Self::entry(is_system, text.to_owned());
        let Some(rest) = text.strip_prefix(QUOTES) else {
            return whole(text);
        };
        if let Some(inner) = rest.strip_suffix(QUOTES) {
            return whole(inner);
        }
        let text = format!("{rest}\n");
        self.open = Some(Open { is_system, text });
        None
    }

    fn go_on(&mut self, mut open: Open, line: &str) -> Option<Entry> {
        if let Some(last) = line.strip_suffix(QUOTES) {
            open.text.push_str(last);
            return Self::entry(open.is_system, open.text);
        }
        open.text.push_str(line);
        open.text.push('\n');
        self.open = Some(open);
        None
    }

    fn entry(is_system: bool, text: String) -> Option<Entry> {
        if is_system {
            Some(Entry::System(text))
        } else {
            // An empty message would only load the model.
            (!text.trim().is_empty()).then_some(Entry::Message(text))
        }
    }
}

impl Command {
    fn parse(line: &str) -> Self {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["/bye" | "/exit", ..] => Self::Bye,
            ["/clear", ..] => Self::Clear,
            ["/list", rest @ ..] => Self::List(rest.first().unwrap_or(&"").to_string()),
            ["/load", model] => Self::Load((*model).to_owned()),
            ["/load", ..] => Self::Help(Topic::Load),
            ["/save", model] => Self::Save((*model).to_owned()),
            ["/save", ..] => Self::Help(Topic::Save),
            ["/set", rest @ ..] => Self::set(rest),
            ["/show", rest @ ..] => Self::show(rest),
            ["/?" | "/help", rest @ ..] => Self::Help(match rest {
                ["set" | "/set", ..] => Topic::Set,
                ["show" | "/show", ..] => Topic::Show,
                ["shortcut" | "shortcuts", ..] => Topic::Shortcuts,
                _ => Topic::Commands,
            }),
            [first, ..] => Self::Unknown((*first).to_owned()),
            [] => Self::Unknown(line.to_owned()),
        }
    }

    fn set(words: &[&str]) -> Self {
        Self::Set(match words {
            ["parameter", name, values @ ..] if !values.is_empty() => {
                let values = values.iter().map(|value| (*value).to_owned());
                Setting::Parameter((*name).to_owned(), values.collect())
            }
            ["parameter", ..] => return Self::Help(Topic::Parameters),
            ["verbose"] => Setting::Verbose(true),
            ["quiet"] => Setting::Verbose(false),
            ["wordwrap"] => Setting::WordWrap(true),
            ["nowordwrap"] => Setting::WordWrap(false),
            ["format", "json"] => Setting::Json(true),
            ["format", ..] => Setting::WrongFormat,
            ["noformat"] => Setting::Json(false),
            ["think"] => Setting::Think(Think::Switch(true)),
            ["think", level] => match level.parse() {
                Ok(think) => Setting::Think(think),
                Err(reason) => Setting::WrongThink(reason),
            },
            ["nothink"] => Setting::Think(Think::Switch(false)),
            [] => return Self::Help(Topic::Set),
            [other, ..] => return Self::Unknown(format!("/set {other}")),
        })
    }

    fn show(words: &[&str]) -> Self {
        Self::Show(match words {
            ["info"] => Part::Info,
            ["license"] => Part::License,
            ["modelfile"] => Part::Modelfile,
            ["parameters"] => Part::Parameters,
            ["system"] => Part::System,
            ["template"] => Part::Template,
            [] => return Self::Help(Topic::Show),
            [other, ..] => return Self::Unknown(format!("/show {other}")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&str], expected: Option<Entry>) {
        let mut composer = Composer::default();
        let (last, before) = lines.split_last().unwrap();
        for line in before {
            assert_eq!(composer.enter(line), None, "{lines:?}");
            assert_eq!(composer.prompt(), "... ");
        }
        assert_eq!(composer.enter(last), expected, "{lines:?}");
        assert_eq!(composer.prompt(), ">>> ");
    }

    #[test]
    fn messages_go_over_lines_in_quotes() {
        let message = |text: &str| Some(Entry::Message(text.into()));
        check(&["hello there"], message("hello there"));
        check(&["\"\"\"one line\"\"\""], message("one line"));
        check(
            &["\"\"\"first", "/bye", "last\"\"\""],
            message("first\n/bye\nlast"),
        );
        check(&["\"\"\"", "a", "\"\"\""], message("\na\n"));
        check(&[""], None);
        check(&["  "], None);
        check(&["\"\"\"\"\"\""], None);
    }

    #[test]
    fn a_system_message_goes_over_lines_too() {
        let system = |text: &str| Some(Entry::System(text.into()));
        check(&["/set system Be  brief."], system("Be  brief."));
        check(
            &["/set  system \"\"\"Be", "brief.\"\"\""],
            system("Be\nbrief."),
        );
        check(
            &["/set system"],
            Some(Entry::Command(Command::Help(Topic::Set))),
        );
    }

    #[test]
    fn a_begun_text_can_be_abandoned() {
        let mut composer = Composer::default();
        assert_eq!(composer.enter("\"\"\"one"), None);
        composer.abandon();
        assert_eq!(composer.enter("two"), Some(Entry::Message("two".into())));
    }

    #[test]
    fn commands_are_told_from_their_words() {
        let check = |line: &str, command| check(&[line], Some(Entry::Command(command)));
        let parameter = |name: &str, values: &[&str]| {
            let values = values.iter().map(|value| (*value).to_owned());
            Command::Set(Setting::Parameter(name.into(), values.collect()))
        };
        check("/bye", Command::Bye);
        check("/exit ", Command::Bye);
        check("/clear", Command::Clear);
        check("/list ti", Command::List("ti".into()));
        check("/load tiny", Command::Load("tiny".into()));
        check("/load", Command::Help(Topic::Load));
        check("/save a b", Command::Help(Topic::Save));
        check("/set parameter stop a b", parameter("stop", &["a", "b"]));
        check("/set parameter seed", Command::Help(Topic::Parameters));
        check("/set", Command::Help(Topic::Set));
        check("/set colour", Command::Unknown("/set colour".into()));
        check(
            "/set think",
            Command::Set(Setting::Think(Think::Switch(true))),
        );
        check(
            "/set think low",
            Command::Set(Setting::Think(Think::Level("low".into()))),
        );
        check(
            "/set nothink",
            Command::Set(Setting::Think(Think::Switch(false))),
        );
        check("/set format json", Command::Set(Setting::Json(true)));
        check("/set format xml", Command::Set(Setting::WrongFormat));
        check("/show info", Command::Show(Part::Info));
        check("/show", Command::Help(Topic::Show));
        check("/show all", Command::Unknown("/show all".into()));
        check("/?", Command::Help(Topic::Commands));
        check("/help /set", Command::Help(Topic::Set));
        check("/home/me", Command::Unknown("/home/me".into()));
    }
}
