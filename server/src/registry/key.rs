//! The key pair that registries know this machine by: `~/.ollama/id_ed25519`, which Ollama makes and uses too.
//!
//! The file is OpenSSH's format of private keys (`PROTOCOL.key` in OpenSSH's sources), without a passphrase:
//!
//! ```text
//! "openssh-key-v1\0"  string "none"  string "none"  string ""  uint32 1  string public  string private
//! public  = string "ssh-ed25519"  string key[32]
//! private = uint32 check  uint32 check  string "ssh-ed25519"  string key[32]  string secret[32]‖key[32]  string comment
//!           then 1, 2, 3, … up to a multiple of 8 bytes
//! ```
//!
//! in Base64 between two lines; a string is its length as a big-endian uint32 and its bytes (RFC 4251, section 5).

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};

use super::Error;

const FIRST_LINE: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const LAST_LINE: &str = "-----END OPENSSH PRIVATE KEY-----";
const MAGIC: &[u8] = b"openssh-key-v1\0";
const ALGORITHM: &[u8] = b"ssh-ed25519";
const BLOCK_BYTES: usize = 8;
const LINE_CHARACTERS: usize = 70;

/// A key's file takes about 400 bytes.
const MAX_FILE_BYTES: u64 = 16 << 10;

/// The file, and the key once it has been read.
pub struct KeyFile {
    path: PathBuf,
    key: Mutex<Option<Arc<SigningKey>>>,
}

/// What a registry may know of the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublicKey(VerifyingKey);

impl KeyFile {
    /// The key in this file, which is read, or made, when it is first needed.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            key: Mutex::default(),
        }
    }

    /// The public half.
    ///
    /// # Errors
    /// When the key can be neither read nor made.
    pub async fn public(&self) -> Result<PublicKey, Error> {
        Ok(PublicKey(self.load().await?.verifying_key()))
    }

    /// `<public key>:<signature>` in Base64, as Ollama's registry wants to see it in `Authorization`.
    ///
    /// # Errors
    /// As for [`KeyFile::public`].
    pub async fn sign(&self, message: &[u8]) -> Result<String, Error> {
        let key = self.load().await?;
        let public = STANDARD.encode(public_blob(&key.verifying_key()));
        let signature = STANDARD.encode(key.sign(message).to_bytes());
        Ok(format!("{public}:{signature}"))
    }

    async fn load(&self) -> Result<Arc<SigningKey>, Error> {
        if let Some(key) = &*self.known() {
            return Ok(Arc::clone(key));
        }
        let path = self.path.clone();
        let key = tokio::task::spawn_blocking(move || read_or_make(&path))
            .await
            .expect("reading a key does not panic")?;
        let key = Arc::new(key);
        *self.known() = Some(Arc::clone(&key));
        Ok(key)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Option<Arc<SigningKey>>> {
        // The key is there or not, whoever panicked.
        self.key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PublicKey {
    /// The whole line in Base64 for URLs, as Ollama's pages for signing in expect it.
    #[must_use]
    pub fn for_url(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.to_string())
    }
}

impl fmt::Display for PublicKey {
    /// The line that OpenSSH would put into `id_ed25519.pub`, without a comment.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "ssh-ed25519 {}",
            STANDARD.encode(public_blob(&self.0))
        )
    }
}

fn read_or_make(path: &Path) -> Result<SigningKey, Error> {
    let told = |error: io::Error| {
        tracing::warn!(?error, "the key for registries cannot be used");
        Error::Key(format!(
            "the key for registries cannot be used: {}",
            error.kind()
        ))
    };
    match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(told(error)),
        Ok(text) => {
            return parse(&text).ok_or_else(|| {
                let text = "the key for registries is not an ed25519 key without a passphrase";
                Error::Key(text.to_owned())
            });
        }
    }
    match make(path) {
        Ok(key) => Ok(key),
        // Another process was faster; its key is as good.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let text = read(path).map_err(told)?;
            parse(&text).ok_or_else(|| Error::Key("the key for registries is broken".to_owned()))
        }
        Err(error) => Err(told(error)),
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?
        .take(MAX_FILE_BYTES)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// Makes a key and its file, readable by nobody else, and the public file beside it. A file that appears meanwhile wins.
fn make(path: &Path) -> io::Result<SigningKey> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let secret: [u8; 32] = rand::random();
    let key = SigningKey::from_bytes(&secret);
    let mut file = tempfile::Builder::new()
        .prefix(".id_ed25519-")
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(folder)?;
    file.write_all(write(&key, rand::random()).as_bytes())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    let mut public = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(path.with_extension("pub"))?;
    writeln!(public, "{}", PublicKey(key.verifying_key()))?;
    tracing::info!("made a key for registries");
    Ok(key)
}

fn write(key: &SigningKey, check: u32) -> String {
    let public = key.verifying_key();
    let mut private = Vec::new();
    private.extend(check.to_be_bytes());
    private.extend(check.to_be_bytes());
    put(&mut private, ALGORITHM);
    put(&mut private, public.as_bytes());
    put(&mut private, &key.to_keypair_bytes());
    put(&mut private, b"");
    let padding = private.len().next_multiple_of(BLOCK_BYTES) - private.len();
    private.extend((1_u8..).take(padding));

    let mut bytes = MAGIC.to_vec();
    put(&mut bytes, b"none");
    put(&mut bytes, b"none");
    put(&mut bytes, b"");
    bytes.extend(1_u32.to_be_bytes());
    put(&mut bytes, &public_blob(&public));
    put(&mut bytes, &private);

    let body = STANDARD.encode(bytes);
    let mut text = format!("{FIRST_LINE}\n");
    for line in body.as_bytes().chunks(LINE_CHARACTERS) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text + LAST_LINE + "\n"
}

fn parse(text: &str) -> Option<SigningKey> {
    let body = text
        .trim()
        .strip_prefix(FIRST_LINE)?
        .strip_suffix(LAST_LINE)?;
    let body: String = body.split_whitespace().collect();
    let bytes = STANDARD.decode(body).ok()?;
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let is_plain = take(&mut rest)? == b"none" && take(&mut rest)? == b"none";
    take(&mut rest)?;
    let count = take_number(&mut rest)?;
    take(&mut rest)?;
    let mut private = take(&mut rest)?;
    let checks = [take_number(&mut private)?, take_number(&mut private)?];
    let algorithm = take(&mut private)?;
    take(&mut private)?;
    let pair: &[u8; 64] = take(&mut private)?.try_into().ok()?;
    let fits = is_plain && count == 1 && checks[0] == checks[1] && algorithm == ALGORITHM;
    // The library refuses a pair whose halves do not belong together.
    SigningKey::from_keypair_bytes(pair).ok().filter(|_| fits)
}

/// The public key in SSH's wire format.
fn public_blob(key: &VerifyingKey) -> Vec<u8> {
    let mut blob = Vec::new();
    put(&mut blob, ALGORITHM);
    put(&mut blob, key.as_bytes());
    blob
}

fn put(bytes: &mut Vec<u8>, string: &[u8]) {
    let length = u32::try_from(string.len()).expect("keys are short");
    bytes.extend(length.to_be_bytes());
    bytes.extend(string);
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_number(rest)?).ok()?;
    let (string, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(string)
}

fn take_number(rest: &mut &[u8]) -> Option<u32> {
    let (number, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::Signature;

    use super::*;

    /// Made by `ssh-keygen -t ed25519 -N '' -C someone@example`.
    const OF_SSH_KEYGEN: &str = "\
        -----BEGIN OPENSSH PRIVATE KEY-----\n\
        b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n\
        QyNTUxOQAAACDBm9zOsac3Rq2ZXpugdPjAdkaGUuzAz90tgkNL2wv21gAAAJgWwe1gFsHt\n\
        YAAAAAtzc2gtZWQyNTUxOQAAACDBm9zOsac3Rq2ZXpugdPjAdkaGUuzAz90tgkNL2wv21g\n\
        AAAEBcCcQRzKmIPd9zYm7wKjiIeL+cMAWIE8tMgh2X0aWYAcGb3M6xpzdGrZlem6B0+MB2\n\
        RoZS7MDP3S2CQ0vbC/bWAAAAD3NvbWVvbmVAZXhhbXBsZQECAwQFBg==\n\
        -----END OPENSSH PRIVATE KEY-----\n";
    const PUBLIC_OF_SSH_KEYGEN: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMGb3M6xpzdGrZlem6B0+MB2RoZS7MDP3S2CQ0vbC/bW";

    #[test]
    fn keys_of_openssh_are_read() {
        let key = parse(OF_SSH_KEYGEN).unwrap();
        let public = PublicKey(key.verifying_key()).to_string();
        assert_eq!(public, PUBLIC_OF_SSH_KEYGEN);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let text = write(&key, 0x0102_0304);
        assert!(text.lines().all(|line| line.len() <= LINE_CHARACTERS));
        assert_eq!(parse(&text).unwrap().to_bytes(), [7; 32]);
    }

    #[test]
    fn nothing_else_is_a_key() {
        let good = write(&SigningKey::from_bytes(&[7; 32]), 1);
        let shorter = good.replacen('A', "", 4);
        let others = [
            "",
            "x",
            FIRST_LINE,
            &good[1..],
            &shorter,
            &good.replace("OPENSSH", "RSA"),
        ];
        for text in others {
            assert!(parse(text).is_none(), "{text}");
        }
        // Any bit of the key block that is turned over is noticed, or the key is not the same.
        let (head, body) = good.split_at(FIRST_LINE.len() + 1);
        for at in 0..40 {
            let mut body = body.to_owned().into_bytes();
            body[at] = if body[at] == b'Z' { b'Y' } else { b'Z' };
            let text = format!("{head}{}", String::from_utf8(body).unwrap());
            assert!(parse(&text).is_none_or(|key| key.to_bytes() == [7; 32]));
        }
    }

    #[tokio::test]
    async fn a_key_is_made_once_and_kept_from_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/id_ed25519");
        let made = KeyFile::new(path.clone()).public().await.unwrap();
        assert_eq!(KeyFile::new(path.clone()).public().await.unwrap(), made);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let public = fs::read_to_string(path.with_extension("pub")).unwrap();
        assert_eq!(public, format!("{made}\n"));
    }

    #[tokio::test]
    async fn a_signature_is_by_the_key_that_comes_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("id_ed25519"));
        let signed = file.sign(b"message").await.unwrap();
        let (public, signature) = signed.split_once(':').unwrap();
        assert_eq!(
            format!("ssh-ed25519 {public}"),
            file.public().await.unwrap().to_string()
        );
        let signature = Signature::from_slice(&STANDARD.decode(signature).unwrap()).unwrap();
        let PublicKey(key) = file.public().await.unwrap();
        key.verify_strict(b"message", &signature).unwrap();
        assert!(key.verify_strict(b"massage", &signature).is_err());
    }

    #[tokio::test]
    async fn a_file_that_is_no_key_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("id_ed25519");
        fs::write(&path, "mine").unwrap();
        assert!(KeyFile::new(path.clone()).public().await.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }
}
