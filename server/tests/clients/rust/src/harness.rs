//! Runs the behaviours of one client, each a future that fails if the client's user would not get what the client promises.
//!
//! One line of JSON for each goes to standard output, for `../run.py` to make a table of.

use std::error::Error;
use std::process::ExitCode;

use serde_json::json;

/// The built-in models.
pub const CHAT: &str = "tiny";
pub const EMBED: &str = "tiny-embed";
/// What the model has learnt, so that an answer can be told from noise.
pub const QUESTION: &str = "What is the capital of France?";
pub const ANSWER: &str = "Paris";
pub const WEATHER_QUESTION: &str = "What is the weather in Paris?";
pub const EXTRACTION: &str = "Extract the name and the age as JSON: Ada is 36 years old.";
pub const WEATHER: &str = "18 degrees and sunny";

pub type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// What has been asked so far.
#[derive(Default)]
pub struct Script {
    has_failed: bool,
}

impl Script {
    /// Asks for one behaviour and tells how it went. A failed assertion is a verdict like any error.
    pub async fn ask(
        &mut self,
        behaviour: &str,
        check: impl Future<Output = Outcome> + Send + 'static,
    ) {
        let failure = match tokio::spawn(check).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(chain(&*error)),
            Err(panicked) => Some(said(panicked)),
        };
        self.has_failed |= failure.is_some();
        println!("{}", json!({ "behaviour": behaviour, "failure": failure }));
    }

    pub fn end(self) -> ExitCode {
        ExitCode::from(u8::from(self.has_failed))
    }
}

/// An error and what caused it.
fn chain(mut error: &dyn Error) -> String {
    let mut text = error.to_string();
    while let Some(cause) = error.source() {
        text = format!("{text}: {cause}");
        error = cause;
    }
    text
}

fn said(panicked: tokio::task::JoinError) -> String {
    let said = panicked.into_panic();
    let text = said.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| said.downcast_ref::<&str>().copied());
    text.unwrap_or("panicked").to_owned()
}
