//! The keys that callers show, and what each of them may do.
//!
//! Only a key's SHA-256 is known here, in files and in memory. A plain hash will do: keys are made of 256 random bits ([`Key::make`]),
//! which nobody finds by trying, and whoever chooses one has to choose a long one.
//!
//! A leaf: it knows neither routes nor how a key is shown.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// Most keys of a server: every one is compared with what a caller shows.
const MAX_KEYS: usize = 1_024;

/// Longest file of keys that is read.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Longest name of a key. It stands in the log.
const MAX_NAME_BYTES: usize = 64;

/// Shortest key that somebody may have chosen themselves.
const MIN_CHOSEN_BYTES: usize = 16;

/// What the keys that are made here begin with, so that they are recognised where they should not be.
const PREFIX: &str = "chaski-";

/// The name of the key in the server's environment.
const ENVIRONMENT: &str = "environment";

/// What a key allows. Each includes those before it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Scope {
    /// To see which models there are and how the server does.
    Read,
    /// To use them.
    Inference,
    /// To add, change and remove them.
    Admin,
}

/// Somebody's key, as far as it is known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Key {
    /// Whose it is.
    pub name: String,
    /// What it allows.
    pub scope: Scope,
    hash: [u8; 32],
}

/// All keys of a server.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Keys(Vec<Key>);

/// A key as it was typed. It is never shown.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(String);

/// Where the keys of a server are written down.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Source {
    /// A file with a line for each key.
    pub file: Option<PathBuf>,
    /// A key that allows everything.
    pub admin: Option<Secret>,
}

/// The keys that hold now.
#[derive(Debug, Default)]
pub struct Current(RwLock<Option<Arc<Keys>>>);

/// Why there are no keys. Nothing of what stands in a file is repeated: it may be a key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not there, or not to be read.
    #[error("the file of keys {}: {source}", path.display())]
    File {
        /// As it was given.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is no list of keys.
    #[error("the file of keys {}, line {line}: {reason}", path.display())]
    Line {
        /// As it was given.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A list of nobody would keep everybody out, or let everybody in.
    #[error("the file of keys {} holds none; `chaski key NAME` makes one", .0.display())]
    Nobody(PathBuf),
    /// A new key would not be the only one of its name.
    #[error("the file of keys {} has a key of the name {name} already", path.display())]
    Taken {
        /// As it was given.
        path: PathBuf,
        /// Whose key it is.
        name: String,
    },
    /// A key that could be guessed.
    #[error(
        "CHASKI_API_KEY is shorter than {MIN_CHOSEN_BYTES} characters; `chaski key NAME` makes one that nobody guesses"
    )]
    Short,
}

impl Scope {
    /// As it stands in a file.
    #[must_use]
    pub fn parse(typed: &str) -> Option<Self> {
        [Self::Read, Self::Inference, Self::Admin]
            .into_iter()
            .find(|scope| scope.name() == typed)
    }

    /// As it stands in a file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Inference => "inference",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Secret {
    /// A key of somebody's choice.
    #[must_use]
    pub fn new(typed: impl Into<String>) -> Self {
        Self(typed.into())
    }

    /// To be shown to a server, or to its owner, once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

impl Key {
    /// A number that no other key has but by a chance of one in 2^64. It tells nothing of the key.
    #[must_use]
    pub fn number(&self) -> u64 {
        let first = self.hash.first_chunk().expect("a hash has 32 bytes");
        u64::from_le_bytes(*first)
    }

    /// A new key of this name, and what is known of it.
    ///
    /// # Errors
    /// What is wrong with the name.
    pub fn make(name: &str, scope: Scope) -> Result<(Secret, Self), &'static str> {
        let random: [u8; 32] = rand::random();
        let secret = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(random));
        let key = Self {
            name: checked(name)?,
            scope,
            hash: hash(secret.as_bytes()),
        };
        Ok((Secret(secret), key))
    }
}

/// As a line of a file: `alice inference sha256:...`.
impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} sha256:", self.name, self.scope)?;
        self.hash
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl FromStr for Key {
    type Err = &'static str;

    fn from_str(line: &str) -> Result<Self, &'static str> {
        let mut words = line.split_whitespace();
        let (Some(name), Some(scope), Some(hash), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err("a line is a name, a scope and a hash");
        };
        Ok(Self {
            name: checked(name)?,
            scope: Scope::parse(scope).ok_or("the scope is read, inference or admin")?,
            hash: hash
                .strip_prefix("sha256:")
                .and_then(unhex)
                .ok_or("the hash is sha256: and 64 hexadecimal digits")?,
        })
    }
}

impl Keys {
    /// The keys of a file: a line for each, with `#` before what is for people.
    ///
    /// # Errors
    /// The number of the line and what is wrong with it.
    fn parse(text: &str) -> Result<Self, (usize, &'static str)> {
        let mut keys: Vec<Key> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let wrong = |reason| (index + 1, reason);
            let key: Key = line.parse().map_err(wrong)?;
            if keys.iter().any(|known| known.name == key.name) {
                return Err(wrong("there is a key of that name already"));
            }
            if keys.len() == MAX_KEYS {
                return Err(wrong("there are too many keys"));
            }
            keys.push(key);
        }
        Ok(Self(keys))
    }

    /// Whose key this is. All are compared, and each of them whole, so that the time tells nothing.
    #[must_use]
    pub fn find(&self, shown: &[u8]) -> Option<&Key> {
        let shown = hash(shown);
        let mut found = None;
        for key in &self.0 {
            let same: Choice = key.hash.ct_eq(&shown);
            if bool::from(same) {
                found = Some(key);
            }
        }
        found
    }
}

impl Source {
    /// Whether there shall be keys.
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.file.is_some() || self.admin.is_some()
    }

    /// Reads them.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn read(&self) -> Result<Keys, Error> {
        let mut keys = match &self.file {
            None => Keys::default(),
            Some(path) => read_file(path)?,
        };
        if let Some(Secret(chosen)) = &self.admin {
            if chosen.len() < MIN_CHOSEN_BYTES {
                return Err(Error::Short);
            }
            keys.0.push(Key {
                name: ENVIRONMENT.into(),
                scope: Scope::Admin,
                hash: hash(chosen.as_bytes()),
            });
        }
        Ok(keys)
    }
}

impl Current {
    /// These from now on; with none, everybody may do everything.
    pub fn replace(&self, keys: Option<Keys>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys.map(Arc::new);
    }

    /// Those that hold now.
    #[must_use]
    pub fn get(&self) -> Option<Arc<Keys>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Adds a line for this key to a file of keys, which is made if there is none.
///
/// # Errors
/// When the file is no list of keys, has this name already, or cannot be written.
pub fn add(path: &Path, key: &Key) -> Result<(), Error> {
    use std::os::unix::fs::OpenOptionsExt;
    let failed = |source| Error::File {
        path: path.to_owned(),
        source,
    };
    let before = match read_text(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(error)),
    };
    let known = parse_file(path, &before)?;
    if known.0.iter().any(|known| known.name == key.name) {
        return Err(Error::Taken {
            path: path.to_owned(),
            name: key.name.clone(),
        });
    }
    let gap = match before.is_empty() || before.ends_with('\n') {
        true => "",
        false => "\n",
    };
    let write = || {
        let mut file = File::options()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        // In one piece, so that a server that reads it meanwhile sees all of the line or nothing.
        file.write_all(format!("{gap}{key}\n").as_bytes())?;
        file.sync_all()
    };
    write().map_err(failed)
}

fn read_file(path: &Path) -> Result<Keys, Error> {
    let text = read_text(path).map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })?;
    let keys = parse_file(path, &text)?;
    match keys.0.is_empty() {
        true => Err(Error::Nobody(path.to_owned())),
        false => Ok(keys),
    }
}

fn parse_file(path: &Path, text: &str) -> Result<Keys, Error> {
    Keys::parse(text).map_err(|(line, reason)| Error::Line {
        path: path.to_owned(),
        line,
        reason,
    })
}

fn read_text(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    warn_of_writers(path, &file);
    let mut text = String::new();
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}

/// Whoever can write there can let anybody in. In containers the bits often say nothing, so it is no error.
fn warn_of_writers(path: &Path, file: &File) {
    use std::os::unix::fs::PermissionsExt;
    const OTHERS_WRITE: u32 = 0o022;
    if file
        .metadata()
        .is_ok_and(|metadata| metadata.permissions().mode() & OTHERS_WRITE != 0)
    {
        tracing::warn!(path = %path.display(), "others than its owner may write to the file of keys");
    }
}

fn hash(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// A name that may stand in a line and in the log.
fn checked(name: &str) -> Result<String, &'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(allowed) {
        return Err("a name is up to 64 letters, digits and any of . _ @ -");
    }
    Ok(name.to_owned())
}

fn unhex(digits: &str) -> Option<[u8; 32]> {
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&digits[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_what_is_shown_and_by_nothing_else() {
        let (alice, line) = Key::make("alice", Scope::Inference).unwrap();
        let (bob, other) = Key::make("bob@example", Scope::Read).unwrap();
        let keys = Keys::parse(&format!("# ours\n{line}\n\n  {other} # theirs\n")).unwrap();
        assert_eq!(keys.find(alice.reveal().as_bytes()), Some(&line));
        assert_eq!(keys.find(bob.reveal().as_bytes()), Some(&other));
        let shorter = &alice.reveal()[..alice.reveal().len() - 1];
        for wrong in ["", shorter, "alice", &line.to_string()] {
            assert_eq!(keys.find(wrong.as_bytes()), None, "{wrong}");
        }
        assert_ne!(alice, Key::make("alice", Scope::Inference).unwrap().0);
        assert!(!format!("{keys:?} {alice:?} {line}").contains(alice.reveal()));
    }

    #[test]
    fn what_is_no_line_is_told_and_not_repeated() {
        let good = Key::make("a", Scope::Admin).unwrap().1.to_string();
        let check = |text: &str, line: usize, reason: &str| {
            assert_eq!(Keys::parse(text), Err((line, reason)), "{text}");
        };
        check("chaski-secret", 1, "a line is a name, a scope and a hash");
        check(
            &format!("{good}\n{good}"),
            2,
            "there is a key of that name already",
        );
        let scope = good.replace("admin", "root");
        check(&scope, 1, "the scope is read, inference or admin");
        let digits = "the hash is sha256: and 64 hexadecimal digits";
        for wrong in [
            &good[..good.len() - 1],
            &good.replace("sha256:", "md5:"),
            &format!("{good}é"),
        ] {
            check(wrong, 1, digits);
        }
        let name = "a name is up to 64 letters, digits and any of . _ @ -";
        check(&format!("é{good}"), 1, name);
        assert_eq!(Key::make("", Scope::Read).unwrap_err(), name);
        assert_eq!(Key::make("a\nb", Scope::Read).unwrap_err(), name);
        let many: String = (0..=MAX_KEYS)
            .map(|number| format!("{number}{good}\n"))
            .collect();
        check(&many, MAX_KEYS + 1, "there are too many keys");
    }

    #[test]
    fn a_source_without_a_usable_key_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let source = |admin: Option<&str>| Source {
            file: Some(path.clone()),
            admin: admin.map(Secret::new),
        };
        assert!(matches!(source(None).read(), Err(Error::File { .. })));
        std::fs::write(&path, "# nobody yet\n").unwrap();
        assert!(matches!(source(None).read(), Err(Error::Nobody(_))));
        std::fs::write(&path, "secret-of-somebody\n").unwrap();
        let error = source(None).read().unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
        std::fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
        assert!(matches!(source(None).read(), Err(Error::File { .. })));

        let (_, line) = Key::make("carol", Scope::Read).unwrap();
        std::fs::write(&path, line.to_string()).unwrap();
        assert!(matches!(
            source(Some("guessable")).read(),
            Err(Error::Short)
        ));
        let keys = source(Some("long enough to be no word")).read().unwrap();
        let found = keys.find(b"long enough to be no word").unwrap();
        assert_eq!(
            (found.name.as_str(), found.scope),
            (ENVIRONMENT, Scope::Admin)
        );
        assert!(!Source::default().is_some());
    }

    #[test]
    fn keys_are_added_one_after_another() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let make = |name| Key::make(name, Scope::Inference).unwrap();
        let ((alice, first), (bob, second)) = (make("alice"), make("bob"));
        add(&path, &first).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // As an editor may leave it.
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.trim_end()).unwrap();
        add(&path, &second).unwrap();
        assert!(matches!(add(&path, &first), Err(Error::Taken { .. })));
        let source = Source {
            file: Some(path.clone()),
            admin: None,
        };
        let keys = source.read().unwrap();
        assert_eq!(keys.find(alice.reveal().as_bytes()), Some(&first));
        assert_eq!(keys.find(bob.reveal().as_bytes()), Some(&second));
        std::fs::write(&path, "something else\n").unwrap();
        assert!(matches!(add(&path, &second), Err(Error::Line { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "something else\n");
    }

    #[test]
    fn each_scope_includes_those_before() {
        assert!(Scope::Read < Scope::Inference && Scope::Inference < Scope::Admin);
    }
}
