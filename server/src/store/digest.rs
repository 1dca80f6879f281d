//! SHA-256 digests: the only way to name a blob.

use std::fmt;
use std::io;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

use super::StoreError;

/// Read at a time while hashing.
const READ_BYTES: usize = 256 << 10;

/// The SHA-256 of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of everything there is to read, which is not kept.
    pub fn of_reader(mut input: impl io::Read) -> io::Result<Self> {
        let mut hasher = Sha256::new();
        let mut piece = vec![0; READ_BYTES];
        loop {
            match input.read(&mut piece) {
                Ok(0) => return Ok(Self::finish(hasher)),
                Ok(count) => hasher.update(&piece[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The digest of everything `hasher` was fed.
    pub(super) fn finish(hasher: Sha256) -> Self {
        Self(hasher.finalize().into())
    }

    /// 64 lower-case hexadecimal digits, as `/api/tags` shows a model's identity.
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        self.0
            .iter()
            .fold(String::with_capacity(64), |mut text, byte| {
                write!(text, "{byte:02x}").expect("writing to a String cannot fail");
                text
            })
    }

    /// The first 12 hexadecimal digits, as `chaski list` shows a model's identity.
    pub fn short(&self) -> String {
        self.hex()[..12].to_owned()
    }

    /// The blob's file name in Ollama's layout.
    pub(super) fn file_name(&self) -> String {
        format!("sha256-{}", self.hex())
    }

    /// Reverses [`Digest::file_name`] strictly: the colon form is no file name.
    pub(super) fn from_file_name(name: &str) -> Option<Self> {
        parse_hex(name.strip_prefix("sha256-")?).map(Self)
    }
}

impl FromStr for Digest {
    type Err = StoreError;

    /// Accepts `sha256:<64 hex>` and `sha256-<64 hex>`, in either case.
    fn from_str(text: &str) -> Result<Self, StoreError> {
        text.strip_prefix("sha256:")
            .or_else(|| text.strip_prefix("sha256-"))
            .and_then(parse_hex)
            .map(Self)
            .ok_or(StoreError::InvalidDigest)
    }
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).expect("two hexadecimal digits fit a byte");
    }
    Some(bytes)
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn both_spellings_name_the_same_digest() {
        let digest = Digest::of(b"");
        for text in [
            format!("sha256:{EMPTY}"),
            format!("sha256-{EMPTY}"),
            format!("sha256:{}", EMPTY.to_uppercase()),
        ] {
            assert_eq!(text.parse::<Digest>().unwrap(), digest, "{text}");
        }
        assert_eq!(digest.to_string(), format!("sha256:{EMPTY}"));
        assert_eq!(digest.short(), "e3b0c44298fc");
        assert_eq!(Digest::of_reader(io::empty()).unwrap(), digest);
        assert_eq!(Digest::from_file_name(&digest.file_name()), Some(digest));
    }

    #[test]
    fn nothing_else_is_a_digest() {
        let long = "a".repeat(65);
        let hostile = [
            "",
            "a",
            "sha256",
            "sha256:",
            "sha256:..",
            "sha256:../../../../var/tmp/pwn",
            &EMPTY[1..],
            EMPTY,
            &format!("sha256:{}", &EMPTY[1..]),
            &format!("sha256:{long}"),
            &format!("sha512:{EMPTY}"),
            &format!("sha256:{EMPTY}/"),
            &format!("sha256:{}%2e", &EMPTY[3..]),
            &format!("sha256:{}\0", &EMPTY[1..]),
            &format!("sha256:+{}", &EMPTY[1..]),
            &format!("sha256:{}é", &EMPTY[2..]),
        ];
        for text in hostile {
            assert!(
                matches!(text.parse::<Digest>(), Err(StoreError::InvalidDigest)),
                "{text:?}"
            );
        }
    }
}
