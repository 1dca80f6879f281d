//! Names of models as they are typed for a pull or push: a name of the store, and how its registry is spoken to.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use reqwest::Url;

use super::{Error, Options};
use crate::store::{Digest, Name, StoreError};

/// Hosts that stand for the Hugging Face hub, whose registry is the hub itself.
const HUB_HOSTS: [&str; 2] = ["hf.co", "huggingface.co"];

/// A model of a registry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reference {
    /// What the store calls it.
    pub name: Name,
    is_plain: bool,
}

/// Where a model is in its registry.
#[derive(Clone, Debug)]
pub struct Repository {
    base: Url,
    path: String,
    tag: String,
}

impl Reference {
    /// Whether the model is of the Hugging Face hub.
    #[must_use]
    pub fn is_of_hub(&self) -> bool {
        let host = self.name.host();
        HUB_HOSTS.iter().any(|hub| host.eq_ignore_ascii_case(hub))
    }

    /// The registry's URL.
    ///
    /// Plain HTTP is spoken with this machine, and with others only if the caller insists: then, as Ollama has it, even if
    /// the name does not ask for it.
    ///
    /// # Errors
    /// [`Error::Insecure`], and [`Error::InvalidName`] for a host that cannot be in a URL.
    pub fn base(&self, options: &Options, insecure: bool) -> Result<Url, Error> {
        let host = self.name.host();
        if self.is_plain && !insecure && !is_loopback(host) {
            return Err(Error::Insecure);
        }
        let is_plain = self.is_plain || insecure;
        let text = match is_plain {
            _ if self.is_of_hub() => options.hub.clone(),
            true => format!("http://{host}"),
            false => format!("https://{host}"),
        };
        let mut base: Url = text.parse().map_err(|_| Error::InvalidName)?;
        if self.is_of_hub() && is_plain {
            base.set_scheme("http").map_err(|()| Error::InvalidName)?;
        }
        Ok(base)
    }

    /// Where the model is.
    ///
    /// # Errors
    /// Those of [`Reference::base`].
    pub fn repository(&self, options: &Options, insecure: bool) -> Result<Repository, Error> {
        Ok(Repository {
            base: self.base(options, insecure)?,
            path: format!("{}/{}", self.name.namespace(), self.name.model()),
            tag: self.name.tag().to_owned(),
        })
    }
}

impl From<Name> for Reference {
    /// The model of that name, over TLS.
    fn from(name: Name) -> Self {
        Self {
            name,
            is_plain: false,
        }
    }
}

impl FromStr for Reference {
    type Err = StoreError;

    /// Reads `[http://|https://][host/][namespace/]model[:tag]`.
    fn from_str(text: &str) -> Result<Self, StoreError> {
        let is_plain = match text.split_once("://") {
            None | Some(("https", _)) => false,
            Some(("http", _)) => true,
            Some(_) => return Err(StoreError::InvalidName(text.to_owned())),
        };
        Ok(Self {
            name: text.parse()?,
            is_plain,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.name, formatter)
    }
}

impl Repository {
    /// The registry.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Where the manifest is.
    pub fn manifest(&self) -> Url {
        self.join(&format!("manifests/{}", self.tag))
    }

    /// Where a blob is.
    pub fn blob(&self, digest: &Digest) -> Url {
        self.join(&format!("blobs/{digest}"))
    }

    /// Where an upload begins.
    pub fn uploads(&self) -> Url {
        self.join("blobs/uploads/")
    }

    fn join(&self, rest: &str) -> Url {
        let mut url = self.base.clone();
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}/v2/{}/{rest}", self.path));
        url
    }
}

/// Whether a host, perhaps with a port, is this machine by its very name.
fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::testing::options;

    fn base(text: &str, insecure: bool) -> Result<String, String> {
        let reference: Reference = text
            .parse()
            .map_err(|error: StoreError| error.to_string())?;
        reference
            .base(&options(), insecure)
            .map(|url| url.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn plain_http_has_to_be_wanted() {
        let check = |text: &str, insecure, expected: Result<&str, &str>| {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(base(text, insecure), expected, "{text} {insecure}");
        };
        check("tiny", false, Ok("https://registry.ollama.ai/"));
        check("tiny", true, Ok("http://registry.ollama.ai/"));
        check("host:5000/a/b", false, Ok("https://host:5000/"));
        check("host:5000/a/b", true, Ok("http://host:5000/"));
        check("https://host/a/b", false, Ok("https://host/"));
        check("http://host/a/b", false, Err("insecure protocol http"));
        check("http://host/a/b", true, Ok("http://host/"));
        check(
            "http://localhost:5000/a/b",
            false,
            Ok("http://localhost:5000/"),
        );
        check(
            "http://127.0.0.1:5000/a/b",
            false,
            Ok("http://127.0.0.1:5000/"),
        );
        check(
            "http://127.0.0.1.example/a/b",
            false,
            Err("insecure protocol http"),
        );
        check("localhost:5000/a/b", false, Ok("https://localhost:5000/"));
        check("ftp://host/a/b", true, Err("invalid model name"));
        check("hf.co/user/repo", false, Ok("https://hub.example/"));
        check(
            "huggingface.co/user/repo:Q4",
            true,
            Ok("http://hub.example/"),
        );
        for host in ["a:b", "a:99999", "a:1:2"] {
            check(&format!("{host}/a/b"), false, Err("invalid model name"));
        }
    }

    #[test]
    fn everything_of_a_model_has_its_place() {
        let reference: Reference = "host/me/Tiny.1:q4_0".parse().unwrap();
        let repository = reference.repository(&options(), false).unwrap();
        let digest = Digest::of(b"");
        assert_eq!(
            repository.manifest().as_str(),
            "https://host/v2/me/Tiny.1/manifests/q4_0"
        );
        assert_eq!(
            repository.blob(&digest).as_str(),
            format!("https://host/v2/me/Tiny.1/blobs/{digest}")
        );
        assert_eq!(
            repository.uploads().as_str(),
            "https://host/v2/me/Tiny.1/blobs/uploads/"
        );
    }
}
