//! A conversation at the terminal, line by line.

use std::io::{self, BufRead};

use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::chat::{Answer, chat_into};
use super::entry::{Command, Composer, Entry, Part, Setting};
use super::help;
use super::session::{Session, Think};
use crate::cli::client::Client;
use crate::cli::console::Console;
use crate::cli::error::Error;
use crate::cli::{list, show};
use crate::store::Parameters;

/// Lines that are typed while the model still answers; the terminal itself keeps further ones.
const MAX_WAITING_LINES: usize = 1;

/// What comes from the person at the terminal.
pub struct Terminal {
    /// Lines without their ends; closed at the end of the input.
    pub lines: mpsc::Receiver<io::Result<String>>,
    /// One for each Ctrl+C that has not been seen yet.
    pub interrupts: mpsc::Receiver<()>,
}

impl Terminal {
    /// Reads standard input and listens to Ctrl+C from now on, until the process ends.
    ///
    /// # Errors
    /// When signals cannot be listened to.
    pub fn open() -> io::Result<Self> {
        let (line_sender, lines) = mpsc::channel(MAX_WAITING_LINES);
        // A thread of its own, for a read of a terminal cannot be called off.
        std::thread::spawn(move || {
            let mut input = io::stdin().lock();
            loop {
                let line = match read_line(&mut input) {
                    Ok(None) => return,
                    Ok(Some(line)) => Ok(line),
                    Err(error) => Err(error),
                };
                let is_last = line.is_err();
                if line_sender.blocking_send(line).is_err() || is_last {
                    return;
                }
            }
        });
        let mut signals = signal(SignalKind::interrupt())?;
        let (interrupt_sender, interrupts) = mpsc::channel(1);
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                // One that waits already says the same.
                let _ = interrupt_sender.try_send(());
            }
        });
        Ok(Self { lines, interrupts })
    }
}

fn read_line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    if input.read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    let line = String::from_utf8_lossy(&bytes);
    Ok(Some(line.trim_end_matches(['\n', '\r']).to_owned()))
}

/// Talks until the person leaves.
///
/// # Errors
/// When the terminal cannot be read or written any more. Whatever else goes wrong is told there.
pub async fn talk(
    session: Session,
    mut terminal: Terminal,
    client: &Client,
    console: &mut Console<'_>,
) -> Result<(), Error> {
    let mut talk = Talk {
        session,
        client,
        console,
    };
    let mut composer = Composer::default();
    loop {
        write!(talk.console.out, "{}", composer.prompt())?;
        talk.console.out.flush()?;
        let line = tokio::select! {
            biased;
            Some(()) = terminal.interrupts.recv() => {
                composer.abandon();
                writeln!(talk.console.out, "\nUse Ctrl + d or /bye to exit.")?;
                continue;
            }
            line = terminal.lines.recv() => line,
        };
        let Some(line) = line else {
            writeln!(talk.console.out)?;
            return Ok(());
        };
        let done = match composer.enter(&line?) {
            None => Ok(()),
            Some(Entry::Command(Command::Bye)) => return Ok(()),
            Some(Entry::Message(text)) => talk.answer(text, &mut terminal.interrupts).await,
            Some(Entry::System(text)) => talk.set_system(text),
            Some(Entry::Command(command)) => talk.run(command).await,
        };
        match done {
            Err(error @ Error::Terminal(_)) => return Err(error),
            Err(error) => talk.console.fail(&error),
            Ok(()) => {}
        }
    }
}

struct Talk<'t, 'c> {
    session: Session,
    client: &'t Client,
    console: &'t mut Console<'c>,
}

impl Talk<'_, '_> {
    /// Shows the answer to a message, as far as it comes before Ctrl+C.
    async fn answer(
        &mut self,
        text: String,
        interrupts: &mut mpsc::Receiver<()>,
    ) -> Result<(), Error> {
        self.session.ask(text);
        let mut answer = Answer::default();
        let ended = tokio::select! {
            biased;
            Some(()) = interrupts.recv() => None,
            ended = chat_into(&mut answer, &self.session, self.client, self.console) => Some(ended),
        };
        let is_unanswered = match &ended {
            Some(Ok(())) => false,
            Some(Err(_)) => true,
            None => answer.content.is_empty(),
        };
        if is_unanswered {
            // Two questions in a row would not be a conversation.
            self.session.messages.pop();
        } else {
            self.session.answer(answer.content);
        }
        ended.unwrap_or(Ok(()))?;
        if self.session.verbose {
            answer.timings.write(self.console.err)?;
        }
        Ok(())
    }

    async fn run(&mut self, command: Command) -> Result<(), Error> {
        match command {
            // Seen by the loop.
            Command::Bye => Ok(()),
            Command::Clear => {
                self.session.messages.clear();
                self.tell("Cleared session context")
            }
            Command::List(prefix) => list::list(&prefix, self.client, self.console).await,
            Command::Load(model) => self.load(model).await,
            Command::Save(model) => self.save(&model).await,
            Command::Set(setting) => self.set(setting).await,
            Command::Show(part) => self.show(part).await,
            Command::Help(topic) => Ok(write!(self.console.err, "{}", help::text(topic))?),
            Command::Unknown(word) => {
                self.tell(&format!("Unknown command '{word}'. Type /? for help"))
            }
        }
    }

    fn set_system(&mut self, text: String) -> Result<(), Error> {
        self.session.system = text;
        self.tell("Set system message.")
    }

    async fn set(&mut self, setting: Setting) -> Result<(), Error> {
        let session = &mut self.session;
        let told = match setting {
            Setting::Parameter(name, values) => return self.set_parameter(&name, &values),
            Setting::Verbose(is_verbose) => {
                session.verbose = is_verbose;
                if is_verbose {
                    "Set 'verbose' mode."
                } else {
                    "Set 'quiet' mode."
                }
            }
            Setting::WordWrap(wraps) => {
                session.wraps_words = wraps;
                if wraps {
                    "Set 'wordwrap' mode."
                } else {
                    "Set 'nowordwrap' mode."
                }
            }
            Setting::Json(true) => {
                session.format = Some(Value::from("json"));
                "Set format to 'json' mode."
            }
            Setting::Json(false) => {
                session.format = None;
                "Disabled format."
            }
            Setting::WrongFormat => {
                "Invalid or missing format. For 'json' mode use '/set format json'"
            }
            Setting::Think(think) => return self.set_think(think).await,
            Setting::WrongThink(reason) => &format!("invalid value for think: {reason}"),
        };
        self.tell(told)
    }

    async fn set_think(&mut self, think: Think) -> Result<(), Error> {
        let told = match &think {
            Think::Switch(true) => "Set 'think' mode.",
            Think::Switch(false) => "Set 'nothink' mode.",
            Think::Level(level) => &format!("Set 'think' mode to '{level}'."),
        };
        let model = &self.session.model;
        if !show::ask(self.client, model).await?.can("thinking") {
            let err = &mut self.console.err;
            writeln!(
                err,
                "warning: model {model:?} does not support thinking output"
            )?;
        }
        self.session.chosen_think = Some(think);
        self.tell(told)
    }

    fn set_parameter(&mut self, name: &str, values: &[String]) -> Result<(), Error> {
        let mut parameters = Parameters::default();
        for value in values {
            if let Err(error) = parameters.add(name, value) {
                let reason = error.to_string();
                return self.tell(&format!("Couldn't set parameter: {reason:?}"));
            }
        }
        match serde_json::to_value(parameters) {
            Ok(Value::Object(set)) if !set.is_empty() => self.session.options.extend(set),
            _ => return self.tell(&format!("Parameter '{name}' has no effect any more")),
        }
        self.tell(&format!(
            "Set parameter '{name}' to '{}'",
            values.join(", ")
        ))
    }

    /// Goes on with another model and nothing said; stays with this one if the other cannot be loaded.
    async fn load(&mut self, model: String) -> Result<(), Error> {
        self.tell(&format!("Loading model '{model}'"))?;
        let mut next = self.session.clone();
        next.messages.clear();
        next.model = model;
        let loaded = match show::ask(self.client, &next.model).await {
            Ok(shown) => {
                next.can_think = shown.can("thinking");
                next.load(self.client).await
            }
            Err(error) => Err(error),
        };
        match loaded {
            Ok(()) => self.session = next,
            Err(error) if error.is_not_found() => {
                return self.tell(&format!("Couldn't find model '{}'", next.model));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn save(&mut self, name: &str) -> Result<(), Error> {
        let request = self.session.save_request(name);
        let _: IgnoredAny = self.client.post("/api/create", &request).await?;
        self.tell(&format!("Created new model '{name}'"))
    }

    async fn show(&mut self, part: Part) -> Result<(), Error> {
        let shown = show::ask(self.client, &self.session.model).await?;
        let or = |text: &str, otherwise: &str| {
            if text.is_empty() {
                otherwise.to_owned()
            } else {
                text.to_owned()
            }
        };
        let text = match part {
            Part::Info => return Ok(shown.write(self.console.out, false)?),
            Part::License => or(&shown.license, "No license was specified for this model."),
            Part::Modelfile => shown.modelfile,
            Part::Parameters => self.parameters(&shown.parameters),
            Part::System if !self.session.system.is_empty() => format!("{}\n", self.session.system),
            Part::System if !shown.system.is_empty() => format!("{}\n", shown.system),
            Part::System => "No system message was specified for this model.".into(),
            Part::Template => or(
                &shown.template,
                "No prompt template was specified for this model.",
            ),
        };
        self.tell(&text)
    }

    fn parameters(&self, of_model: &str) -> String {
        let mut text = "Model defined parameters:\n".to_owned();
        if of_model.is_empty() {
            text += "  No additional parameters were specified for this model.\n";
        }
        for line in of_model.lines() {
            text += &format!("  {line}\n");
        }
        if !self.session.options.is_empty() {
            text += "\nUser defined parameters:\n";
            for (name, value) in &self.session.options {
                text += &format!("  {name:<30} {value}\n");
            }
        }
        text
    }

    fn tell(&mut self, text: &str) -> Result<(), Error> {
        Ok(writeln!(self.console.out, "{text}")?)
    }
}
