//! What a conversation has come to, and the requests that go on with it.

use std::convert::Infallible;
use std::str::FromStr;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Args;
use super::printer::Printer;
use crate::cli::client::Client;
use crate::cli::console::Console;
use crate::cli::error::Error;
use crate::cli::progress::Waiting;
use crate::cli::show::Shown;

/// A conversation and how it is to be held.
#[derive(Clone, Debug)]
pub struct Session {
    /// The model, as it was typed.
    pub model: String,
    /// The system message, if it is not the model's own.
    pub system: String,
    /// What has been said, without the system message.
    pub messages: Vec<Message>,
    /// Parameters that were set here.
    pub options: Map<String, Value>,
    /// The shape of answers.
    pub format: Option<Value>,
    /// Whether the model is to think, if the user has said so.
    pub chosen_think: Option<Think>,
    /// Whether the model can; then it does unless told otherwise.
    pub can_think: bool,
    /// Whether thoughts are kept from the screen.
    pub hides_thinking: bool,
    /// Whether lines are broken between words.
    pub wraps_words: bool,
    /// Whether timings are shown.
    pub verbose: bool,
    /// A Go duration.
    pub keep_alive: Option<String>,
}

/// A message of a conversation.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What is said.
    #[serde(default)]
    pub content: String,
}

/// Whether, or how much, a model is to think.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Think {
    /// Yes or no.
    Switch(bool),
    /// `low`, `medium`, `high` or `max`.
    Level(String),
}

impl FromStr for Think {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" | "true" => Ok(Self::Switch(true)),
            "false" => Ok(Self::Switch(false)),
            "low" | "medium" | "high" | "max" => Ok(Self::Level(text.to_owned())),
            _ => Err("must be true, false, high, medium, low, or max".into()),
        }
    }
}

/// The value of `--format`: a word, or a JSON schema. The server judges what it says.
pub fn format(text: &str) -> Result<Value, Infallible> {
    let schema = serde_json::from_str(text).ok().filter(Value::is_object);
    Ok(schema.unwrap_or_else(|| text.into()))
}

impl Session {
    /// A conversation as the command line asks for it. Nothing has been said yet.
    #[must_use]
    pub fn new(args: &Args, model: &Shown) -> Self {
        Self {
            model: args.model.clone(),
            system: String::new(),
            messages: Vec::new(),
            options: Map::new(),
            format: args.format.clone(),
            chosen_think: args.think.clone(),
            can_think: model.can("thinking"),
            hides_thinking: args.hidethinking,
            wraps_words: !args.nowordwrap,
            verbose: args.verbose,
            keep_alive: args.keepalive.clone(),
        }
    }

    /// Adds what the user says.
    pub fn ask(&mut self, content: String) {
        self.say("user", content);
    }

    /// Adds what the model has answered.
    pub fn answer(&mut self, content: String) {
        self.say("assistant", content);
    }

    fn say(&mut self, role: &str, content: String) {
        let role = role.to_owned();
        self.messages.push(Message { role, content });
    }

    /// The body of `/api/chat` that asks for the next message.
    #[must_use]
    pub fn chat_request(&self) -> Value {
        let mut request = self.request();
        let mut messages = self.messages.clone();
        if !self.system.is_empty() {
            let system = Message {
                role: "system".into(),
                content: self.system.clone(),
            };
            messages.insert(0, system);
        }
        request["messages"] = json!(messages);
        request["options"] = Value::Object(self.options.clone());
        if let Some(format) = &self.format {
            request["format"] = format.clone();
        }
        request
    }

    /// The body of `/api/create` that keeps this conversation as a model.
    #[must_use]
    pub fn save_request(&self, name: &str) -> Value {
        let mut request = json!({"model": name, "from": self.model, "stream": false});
        if !self.system.is_empty() {
            request["system"] = json!(self.system);
        }
        if !self.options.is_empty() {
            request["parameters"] = Value::Object(self.options.clone());
        }
        if !self.messages.is_empty() {
            request["messages"] = json!(self.messages);
        }
        request
    }

    /// Has the model loaded, so that the first answer need not wait for it.
    ///
    /// # Errors
    /// When the server cannot be asked or refuses.
    pub async fn load(&self, client: &Client) -> Result<(), Error> {
        let mut request = self.request();
        request["stream"] = json!(false);
        let _: IgnoredAny = client.post("/api/generate", &request).await?;
        Ok(())
    }

    /// Loads the model and shows the messages that it brings along.
    ///
    /// # Errors
    /// When the server cannot be asked or refuses, or nothing can be written.
    pub async fn greet(
        &self,
        model: &Shown,
        client: &Client,
        console: &mut Console<'_>,
    ) -> Result<(), Error> {
        let waiting = Waiting::start(console.is_animated);
        self.load(client).await?;
        drop(waiting);
        for message in &model.messages {
            match message.role.as_str() {
                "user" => writeln!(console.out, ">>> {}", message.content)?,
                "assistant" => {
                    let mut printer = Printer::new(self, console);
                    printer.content(&message.content)?;
                    printer.finish()?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What every request to this model says.
    fn request(&self) -> Value {
        let mut request = json!({"model": self.model});
        if let Some(think) = &self.chosen_think {
            request["think"] = json!(think);
        } else if self.can_think {
            request["think"] = json!(true);
        }
        if let Some(keep_alive) = &self.keep_alive {
            request["keep_alive"] = json!(keep_alive);
        }
        request
    }
}
