//! What a setting may be, in a variable and in a file.

use serde_json::{Value, json};
use toml::de::DeValue;
use tracing_subscriber::EnvFilter;

use super::{boolean, bytes};
use crate::duration::{self, KeepAlive};

/// What a setting may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A text that is never shown.
    Secret,
    /// A file or folder; in a file a relative one is meant from that file's folder.
    Path,
    /// Yes or no.
    Switch,
    /// A whole number.
    Count {
        /// The smallest.
        least: u32,
    },
    /// A duration as Go writes it, or a number of seconds.
    Duration,
    /// The same; negative is for ever.
    KeepAlive,
    /// A number of bytes, with or without a unit.
    Bytes,
    /// Texts; in a variable with commas between them.
    List,
    /// One of these.
    Choice(&'static [&'static str]),
    /// Directives that say which lines are logged.
    LogFilter,
}

impl Kind {
    /// Whether a variable may hold this.
    #[must_use]
    pub fn accepts(self, text: &str) -> bool {
        match self {
            Self::Text | Self::Secret | Self::Path | Self::List => true,
            Self::Switch => boolean(text).is_some(),
            Self::Count { least } => text.parse::<u32>().is_ok_and(|number| number >= least),
            Self::Duration => duration::parse_or_seconds(text).is_some(),
            Self::KeepAlive => KeepAlive::parse_or_seconds(text).is_some(),
            Self::Bytes => bytes(text).is_some(),
            Self::Choice(names) => names.iter().any(|name| text.eq_ignore_ascii_case(name)),
            Self::LogFilter => EnvFilter::try_new(text).is_ok(),
        }
    }

    /// A value of a TOML file as a variable would hold it, unless it is none of this kind.
    pub(super) fn of_toml(self, value: &DeValue<'_>) -> Option<String> {
        let text = match (self, value) {
            (Self::Switch, DeValue::Boolean(is_on)) => is_on.to_string(),
            (Self::Switch, _) => return None,
            (
                Self::Count { .. } | Self::Duration | Self::KeepAlive | Self::Bytes,
                DeValue::Integer(number),
            ) => i64::from_str_radix(number.as_str(), number.radix())
                .ok()?
                .to_string(),
            (Self::Count { .. }, _) => return None,
            (Self::List, DeValue::Array(items)) => {
                let texts: Option<Vec<&str>> =
                    items.iter().map(|item| item.get_ref().as_str()).collect();
                // A comma would make two of one.
                let texts = texts.filter(|texts| !texts.iter().any(|text| text.contains(',')));
                texts?.join(",")
            }
            (Self::List, _) => return None,
            (Self::Choice(names), DeValue::String(text)) => {
                (names.contains(&text.as_ref())).then(|| text.to_string())?
            }
            (_, DeValue::String(text)) => text.to_string(),
            _ => return None,
        };
        // As in a variable, surrounding blanks mean nothing, and what is empty is not there.
        let is_meant = text.trim() == text && !text.is_empty();
        (is_meant && self.accepts(&text)).then_some(text)
    }

    /// The value of a variable as TOML.
    #[must_use]
    pub fn to_toml(self, text: &str) -> toml::Value {
        let number = || text.parse().ok().map(toml::Value::Integer);
        let value = match self {
            Self::Switch => boolean(text).map(toml::Value::Boolean),
            Self::Count { .. } | Self::Bytes => number(),
            Self::List => {
                let items = text.split(',').map(toml::Value::from);
                Some(toml::Value::Array(items.collect()))
            }
            _ => None,
        };
        value.unwrap_or_else(|| text.into())
    }

    /// In words, for whoever wrote something else into a file.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            Self::Text | Self::Secret => "a text".into(),
            Self::Path => "a path, as a text".into(),
            Self::Switch => "true or false".into(),
            Self::Count { least } => format!("a whole number from {least} to {}", u32::MAX),
            Self::Duration => "a duration such as \"90s\" or \"1h30m\", or a number of seconds".into(),
            Self::KeepAlive => {
                "a duration such as \"90s\" or \"1h30m\", or a number of seconds; negative is for ever".into()
            }
            Self::Bytes => "a size such as \"6GiB\", or a number of bytes".into(),
            Self::List => "a list of texts without commas".into(),
            Self::Choice(names) => format!("one of \"{}\"", names.join("\", \"")),
            Self::LogFilter => "filter directives such as \"info\" or \"warn,chaski=debug\"".into(),
        }
    }

    /// Its JSON schema.
    #[must_use]
    pub fn schema(self) -> Value {
        // A sign, then numbers with Go's units, or a lone zero.
        const DURATION: &str =
            r"^[-+]?([0-9]+|(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$";
        const BYTES: &str = r"^[0-9]+ *([bB]|[kKmMgGtT]([iI]?[bB])?)?$";
        match self {
            Self::Text | Self::Secret | Self::Path | Self::LogFilter => {
                json!({"type": "string", "minLength": 1})
            }
            Self::Switch => json!({"type": "boolean"}),
            Self::Count { least } => {
                json!({"type": "integer", "minimum": least, "maximum": u32::MAX})
            }
            Self::Duration | Self::KeepAlive => json!({"anyOf": [
                {"type": "integer"}, {"type": "string", "pattern": DURATION},
            ]}),
            Self::Bytes => json!({"anyOf": [
                {"type": "integer", "minimum": 0}, {"type": "string", "pattern": BYTES},
            ]}),
            Self::List => {
                json!({"type": "array", "minItems": 1, "items": {"type": "string", "pattern": "^[^,]+$"}})
            }
            Self::Choice(names) => json!({"enum": names}),
        }
    }
}
