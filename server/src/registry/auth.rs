//! Tokens: a registry that answers 401 names a service that issues them, and we prove to it who is asking.
//!
//! The challenge is that of OCI registries (`WWW-Authenticate: Bearer realm="…",service="…",scope="…"`). Ollama's service
//! wants the request signed with this machine's key; others want a user's name and password. Either is shown only to the
//! host that the model's name contains: a registry that names another host as its realm could otherwise collect
//! credentials that are not meant for it (CVE-2025-51471).

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::Url;
use reqwest::header::HeaderValue;
use serde::Deserialize;

use super::Error;
use super::key::KeyFile;
use crate::store::Digest;

/// A registry's demand for a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Challenge {
    realm: Url,
    service: String,
    scope: String,
}

#[derive(Deserialize)]
struct TokenReply {
    #[serde(default)]
    token: String,
    /// What services that follow OAuth call it.
    #[serde(default)]
    access_token: String,
}

impl Challenge {
    /// The demand in a `WWW-Authenticate` header of the registry at `base`.
    ///
    /// # Errors
    /// When it is none that can be met, or leads to another host than the registry's.
    pub fn read(header: Option<&HeaderValue>, base: &Url) -> Result<Self, Error> {
        let text = header
            .and_then(|header| header.to_str().ok())
            .ok_or(Error::Unauthorized)?;
        let parameters = strip_scheme(text, "Bearer").ok_or(Error::Unauthorized)?;
        let realm: Url = parameter(parameters, "realm")
            .parse()
            .map_err(|_| Error::Unauthorized)?;
        let host = |url: &Url| {
            (
                url.host_str().map(str::to_owned),
                url.port_or_known_default(),
            )
        };
        if host(&realm) != host(base) {
            return Err(Error::Refused(format!(
                "realm host {:?} does not match original host {:?}",
                authority(&realm),
                authority(base)
            )));
        }
        let is_safe = realm.scheme() == base.scheme() || realm.scheme() == "https";
        if !is_safe || !realm.username().is_empty() || realm.password().is_some() {
            return Err(Error::Refused(
                "the registry's realm is not safe".to_owned(),
            ));
        }
        Ok(Self {
            realm,
            service: parameter(parameters, "service"),
            scope: parameter(parameters, "scope"),
        })
    }

    /// Whether a header demands a user's name and password with every request.
    pub fn is_basic(header: Option<&HeaderValue>) -> bool {
        header
            .and_then(|header| header.to_str().ok())
            .is_some_and(|text| strip_scheme(text, "Basic").is_some())
    }

    /// Where the token is to be had, for one request now.
    pub fn url(&self) -> Url {
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let nonce: [u8; 16] = rand::random();
        let mut url = self.realm.clone();
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("service", &self.service);
            for scope in self.scope.split(' ') {
                query.append_pair("scope", scope);
            }
            query.append_pair("ts", &seconds.to_string());
            query.append_pair("nonce", &URL_SAFE_NO_PAD.encode(nonce));
        }
        url
    }
}

/// What goes into `Authorization` to prove to Ollama's service who asks for `url`.
///
/// Signed are the method, the URL and the digest of the body, which is empty (`server/auth.go` in Ollama's sources).
///
/// # Errors
/// When there is no key to sign with.
pub async fn signature(key: &KeyFile, url: &Url) -> Result<String, Error> {
    let body = STANDARD.encode(Digest::of(b"").hex());
    key.sign(format!("GET,{url},{body}").as_bytes()).await
}

/// The token in a reply.
///
/// # Errors
/// When there is none.
pub fn token(reply: &[u8]) -> Result<String, Error> {
    let reply: TokenReply = serde_json::from_slice(reply)
        .map_err(|error| Error::Invalid(format!("the registry's token: {error}")))?;
    [reply.token, reply.access_token]
        .into_iter()
        .find(|token| !token.is_empty())
        .ok_or(Error::Unauthorized)
}

fn strip_scheme<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let (first, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    first.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// The value of `name="value"` (or `name=value`) in a list of them; empty if it is not there.
fn parameter(text: &str, name: &str) -> String {
    let mut rest = text.trim_start_matches([' ', ',']);
    while let Some((key, after)) = rest.split_once('=') {
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let (value, left) = after.split_once(',').unwrap_or((after, ""));
                (value.trim().to_owned(), left)
            }
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return value;
        }
        rest = left.trim_start_matches([' ', ',']);
    }
    String::new()
}

/// A quoted string up to its closing quote, and what follows.
fn unquote(quoted: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &str, base: &str) -> Result<Challenge, Error> {
        let header = HeaderValue::from_str(header).unwrap();
        Challenge::read(Some(&header), &base.parse().unwrap())
    }

    #[test]
    fn a_challenge_becomes_a_url() {
        let header = r#"Bearer realm="https://host/v2/token?x=1",service="host, \"inc\"",scope="repository:a/b:pull push""#;
        let url = read(header, "https://host/").unwrap().url();
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let pair = |at: usize| (pairs[at].0.as_str(), pairs[at].1.as_str());
        assert_eq!(pair(0), ("x", "1"));
        assert_eq!(pair(1), ("service", "host, \"inc\""));
        assert_eq!(pair(2), ("scope", "repository:a/b:pull"));
        assert_eq!(pair(3), ("scope", "push"));
        assert!(pairs[4].0 == "ts" && pairs[4].1.parse::<u64>().unwrap() > 1_700_000_000);
        assert!(pairs[5].0 == "nonce" && pairs[5].1.len() == 22);
    }

    #[test]
    fn credentials_are_for_the_registrys_own_host() {
        let refused = |realm: &str, base: &str| {
            let header = format!("bearer realm=\"{realm}\",service=s,scope=x");
            read(&header, base).is_err()
        };
        assert!(!refused("https://host/token", "https://host/"));
        assert!(!refused("https://host:443/token", "https://host/"));
        assert!(!refused("http://host:1/token", "http://host:1/"));
        for realm in [
            "https://evil/token",
            "https://host.evil/token",
            "https://sub.host/token",
            "https://host:444/token",
            "http://host:443/token",
            "https://host@evil/token",
            "https://user:word@host/token",
            "ftp://host:443/",
            "/token",
            "",
        ] {
            assert!(refused(realm, "https://host/"), "{realm}");
        }
        let other = |header: &str| read(header, "https://host/").is_err();
        assert!(other("Basic realm=\"https://host/\"") && other("Bearer") && other(""));
        assert!(Challenge::read(None, &"https://host/".parse().unwrap()).is_err());
    }

    #[test]
    fn a_token_may_have_two_names() {
        assert_eq!(token(br#"{"token":"a","access_token":"b"}"#).unwrap(), "a");
        assert_eq!(token(br#"{"access_token":"b"}"#).unwrap(), "b");
        for reply in [&b"{}"[..], b"", b"[]", br#"{"token":1}"#] {
            assert!(token(reply).is_err());
        }
    }
}
