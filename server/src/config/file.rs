//! The configuration file: TOML, one key for each of [`super::settings`].
//!
//! A file is written by somebody who means it, so that nothing in it is passed over: what is unknown, of another kind or out of
//! bounds is an error that names its line. `docs/config.schema.json` lets an editor say so earlier.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use toml::de::DeTable;

use super::kind::Kind;
use super::settings::{SETTINGS, Setting};

/// More is no configuration.
const MAX_BYTES: u64 = 1 << 20;

/// What a file says.
#[derive(Debug, Default)]
pub struct Contents(Vec<Line>);

/// One of its settings.
#[derive(Debug)]
struct Line {
    setting: &'static Setting,
    number: usize,
    /// As a variable would hold it.
    value: String,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something in it is wrong.
    #[error("{}:{line}: {reason}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong, and what would be right.
        reason: String,
    },
}

impl Contents {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or is not what it should be.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let unreadable = |source| Error::Unreadable {
            path: path.to_owned(),
            source,
        };
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
            .map_err(unreadable)?;
        if text.len() as u64 > MAX_BYTES {
            let reason = format!("more than {MAX_BYTES} bytes");
            return Err(unreadable(io::Error::other(reason)));
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, folder).map_err(|(at, reason)| Error::Wrong {
            path: path.to_owned(),
            line: line_of(&text, at),
            reason,
        })
    }

    /// Reads a text; relative paths are meant from `folder`. An error comes with its place.
    fn parse(text: &str, folder: &Path) -> Result<Self, (usize, String)> {
        let table = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            (at, error.message().trim().replace('\n', ", "))
        })?;
        let mut lines = Vec::new();
        for (key, value) in table.get_ref() {
            let at = key.span().start;
            let name = key.get_ref();
            let Some(setting) = Setting::of_key(name) else {
                let reason = format!(
                    "there is no setting {name:?}; `chaski serve --print-config` shows all"
                );
                return Err((at, reason));
            };
            let Some(mut value) = setting.kind.of_toml(value.get_ref()) else {
                return Err((at, format!("{name} must be {}", setting.kind.words())));
            };
            if setting.kind == Kind::Path {
                value = folder.join(value).display().to_string();
            }
            lines.push(Line {
                setting,
                number: line_of(text, at),
                value,
            });
        }
        Ok(Self(lines))
    }

    /// Its value for a setting, as a variable would hold it, and the line where it stands.
    pub(super) fn get(&self, setting: &Setting) -> Option<(&str, usize)> {
        let line = (self.0.iter()).find(|line| line.setting.key == setting.key)?;
        Some((&line.value, line.number))
    }
}

/// From 1.
fn line_of(text: &str, at: usize) -> usize {
    let before = &text.as_bytes()[..at.min(text.len())];
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

/// The JSON schema of such files.
#[must_use]
pub fn schema() -> Value {
    let properties = SETTINGS.iter().map(|setting| {
        let mut schema = json!({"description": setting.about});
        let of_kind = setting.kind.schema();
        let members = schema.as_object_mut().expect("made as an object");
        members.extend(of_kind.as_object().expect("a schema is an object").clone());
        (setting.key.to_owned(), schema)
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of chaski serve",
        "type": "object",
        "additionalProperties": false,
        "properties": properties.collect::<serde_json::Map<_, _>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        let error = Contents::read(&path).unwrap_err().to_string();
        error.replace(&format!("{}/", folder.path().display()), "")
    }

    #[test]
    fn a_mistake_is_told_with_its_line_and_what_would_be_right() {
        let check = |text: &str, expected: &str| {
            let error = error_of(text);
            assert!(error.starts_with(expected), "{error}");
        };
        check(
            "\n# well\nkeepalive = '5m'\n",
            "config.toml:3: there is no setting \"keepalive\"; `chaski serve --print-config`",
        );
        check(
            "max_queue = 0",
            "config.toml:1: max_queue must be a whole number from 1 to 4294967295",
        );
        check(
            "max_queue = '7'",
            "config.toml:1: max_queue must be a whole",
        );
        check(
            "insecure = 1",
            "config.toml:1: insecure must be true or false",
        );
        check(
            "patience = 'soon'",
            "config.toml:1: patience must be a duration such as \"90s\"",
        );
        check(
            "sandbox = 'Required'",
            "config.toml:1: sandbox must be one of \"required\", \"best-effort\", \"off\"",
        );
        check("host = ''", "config.toml:1: host must be a text");
        check("origins = ['a,b']", "config.toml:1: origins must be a list");
        check("[host]\nname = 'a'", "config.toml:1: host must be a text");
        check("a = 1\na = 2", "config.toml:2: duplicate key");
        check("host = \n", "config.toml:1: ");
    }

    #[test]
    fn a_file_that_is_none_is_told() {
        let error = Contents::read(Path::new("/nowhere/config.toml")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot read the configuration /nowhere/config.toml: No such file or directory (os error 2)"
        );
        // Never ends.
        let error = Contents::read(Path::new("/dev/zero")).unwrap_err();
        assert!(error.to_string().contains("more than 1048576 bytes"));
    }

    #[test]
    fn the_schema_knows_what_the_reader_knows() {
        let mut compiler = boon::Compiler::new();
        let mut schemas = boon::Schemas::new();
        compiler.add_resource("config.json", schema()).unwrap();
        let index = compiler.compile("config.json", &mut schemas).unwrap();
        let check = |text: &str, is_fine: bool| {
            let read = Contents::parse(text, Path::new(""));
            assert_eq!(read.is_ok(), is_fine, "reader: {text}");
            let value: toml::Value = toml::from_str(text).unwrap();
            let value = serde_json::to_value(value).unwrap();
            assert_eq!(
                schemas.validate(&value, index).is_ok(),
                is_fine,
                "schema: {text}"
            );
        };
        check("", true);
        check(
            "host = '0.0.0.0:1'\nkeep_alive = -1\nmemory_limit = '6 GiB'",
            true,
        );
        check(
            "patience = '1h30m'\nload_timeout = 0\ndrain_timeout = '1.5s'",
            true,
        );
        check(
            "origins = ['a', 'b']\ninsecure = true\nlog_format = 'json'",
            true,
        );
        check("num_parallel = 0\nmemory_limit = 5_000_000_000", true);
        check("hosts = 'x'", false);
        check("host = 1", false);
        check("context_length = 0", false);
        check("max_queue = 4294967296", false);
        check("num_parallel = 1.5", false);
        check("patience = '5 minutes'", false);
        check("patience = '5m0'", false);
        check("memory_limit = '6 parsec'", false);
        check("memory_limit = -1", false);
        check("insecure = 'yes'", false);
        check("kernels = 'ours'", false);
        check("origins = 'a'", false);
        check("origins = ['a,b']", false);
        check("origins = []", false);
    }

    #[test]
    fn the_published_schema_is_this_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/config.schema.json");
        let published = std::fs::read_to_string(path).unwrap();
        let published: Value = serde_json::from_str(&published).unwrap();
        assert_eq!(
            published,
            schema(),
            "make it again: chaski serve --print-config=schema > docs/config.schema.json"
        );
    }
}
