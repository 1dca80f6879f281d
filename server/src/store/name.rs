//! Model names: text that is safe to make paths from.

use std::fmt;
use std::str::FromStr;

use super::StoreError;

const DEFAULT_HOST: &str = "registry.ollama.ai";
const DEFAULT_NAMESPACE: &str = "library";
const DEFAULT_TAG: &str = "latest";

const MAX_HOST_BYTES: usize = 350;
const MAX_PART_BYTES: usize = 80;

/// A whole model name, `host/namespace/model:tag`; what the user left out has Ollama's default.
///
/// Every part is one safe path component, so a name cannot lead out of the store. Equality minds the case;
/// [`Store`](super::Store) finds names without minding it, as Ollama does.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Name {
    host: String,
    namespace: String,
    model: String,
    tag: String,
}

#[derive(Clone, Copy)]
enum Part {
    Host,
    Namespace,
    Model,
    Tag,
}

impl Name {
    /// A name from its four directory names, as they are found on the disk.
    pub(super) fn from_parts([host, namespace, model, tag]: [&str; 4]) -> Option<Self> {
        let valid = is_valid(Part::Host, host)
            && is_valid(Part::Namespace, namespace)
            && is_valid(Part::Model, model)
            && is_valid(Part::Tag, tag);
        valid.then(|| Self {
            host: host.to_owned(),
            namespace: namespace.to_owned(),
            model: model.to_owned(),
            tag: tag.to_owned(),
        })
    }

    /// The four directory names, outermost first.
    pub(super) fn parts(&self) -> [&str; 4] {
        [&self.host, &self.namespace, &self.model, &self.tag]
    }

    /// The registry's host, perhaps with a port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The user or organisation, `library` for Ollama's own models.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The model without its namespace and tag.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The tag, `latest` unless given.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// All four parts: `registry.ollama.ai/library/tiny:latest`.
    pub fn full(&self) -> String {
        format!(
            "{}/{}/{}:{}",
            self.host, self.namespace, self.model, self.tag
        )
    }
}

impl FromStr for Name {
    type Err = StoreError;

    /// Reads `[host/][namespace/]model[:tag]`; a scheme in front of the host is dropped.
    fn from_str(text: &str) -> Result<Self, StoreError> {
        let invalid = || StoreError::InvalidName(text.to_owned());
        let (rest, tag) = match text.rsplit_once(':') {
            // A colon in front of a slash belongs to the host's port or scheme.
            Some((rest, tag)) if !tag.contains('/') => (rest, tag),
            _ => (text, DEFAULT_TAG),
        };
        let (rest, model) = rest
            .rsplit_once('/')
            .map_or((None, rest), |(rest, model)| (Some(rest), model));
        let (host, namespace) = match rest {
            None => (DEFAULT_HOST, DEFAULT_NAMESPACE),
            Some(rest) => match rest.rsplit_once('/') {
                None => (DEFAULT_HOST, rest),
                Some((host, namespace)) => (
                    host.split_once("://").map_or(host, |(_, host)| host),
                    namespace,
                ),
            },
        };
        Self::from_parts([host, namespace, model, tag]).ok_or_else(invalid)
    }
}

fn is_valid(part: Part, text: &str) -> bool {
    let limit = if matches!(part, Part::Host) {
        MAX_HOST_BYTES
    } else {
        MAX_PART_BYTES
    };
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_allowed = |byte: u8| match byte {
        b'-' => true,
        b'.' => !matches!(part, Part::Namespace),
        b':' => matches!(part, Part::Host),
        _ => is_word(byte),
    };
    text.len() <= limit && text.bytes().next().is_some_and(is_word) && text.bytes().all(is_allowed)
}

impl fmt::Display for Name {
    /// The short form users see: no default host, no `library`, always the tag.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.host.eq_ignore_ascii_case(DEFAULT_HOST) {
            write!(formatter, "{}/{}/", self.host, self.namespace)?;
        } else if !self.namespace.eq_ignore_ascii_case(DEFAULT_NAMESPACE) {
            write!(formatter, "{}/", self.namespace)?;
        }
        write!(formatter, "{}:{}", self.model, self.tag)
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Component, PathBuf};

    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, full: &str, short: &str) {
        let name: Name = text.parse().unwrap();
        assert_eq!(
            (name.full().as_str(), name.to_string().as_str()),
            (full, short),
            "{text}"
        );
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        check(
            "tiny",
            "registry.ollama.ai/library/tiny:latest",
            "tiny:latest",
        );
        check(
            "Tiny:Q4_0",
            "registry.ollama.ai/library/Tiny:Q4_0",
            "Tiny:Q4_0",
        );
        check(
            "me/tiny",
            "registry.ollama.ai/me/tiny:latest",
            "me/tiny:latest",
        );
        check(
            "hf.co/user/repo:Q4",
            "hf.co/user/repo:Q4",
            "hf.co/user/repo:Q4",
        );
        check(
            "localhost:5000/library/x",
            "localhost:5000/library/x:latest",
            "localhost:5000/library/x:latest",
        );
        check("http://host:1/a/b:c", "host:1/a/b:c", "host:1/a/b:c");
        check(
            "registry.ollama.ai/library/tiny:latest",
            "registry.ollama.ai/library/tiny:latest",
            "tiny:latest",
        );
        check(
            "Registry.Ollama.AI/Library/tiny",
            "Registry.Ollama.AI/Library/tiny:latest",
            "tiny:latest",
        );
    }

    #[test]
    fn names_that_could_lead_astray_are_refused() {
        let long = "a".repeat(81);
        let hostile = [
            "",
            ":",
            "/",
            "..",
            ".",
            "a/..",
            "../a",
            "a/../../b",
            "a//b",
            "/a",
            "a/",
            "a:",
            ":a",
            "-x",
            ".x",
            "x y",
            "C:\\x",
            "a\\b",
            "a\0b",
            "a\u{202e}b",
            "é",
            "a.b/c",
            "h/a.b/c",
            "a:b:c",
            "a/b/c/d",
            "a@sha256:b",
            "a%2fb",
            "a\n",
            &long,
        ];
        for text in hostile {
            assert!(
                matches!(text.parse::<Name>(), Err(StoreError::InvalidName(_))),
                "{text:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn every_valid_name_survives_printing(
            host in "[a-zA-Z0-9_][a-zA-Z0-9_.:-]{0,20}",
            namespace in "[a-zA-Z0-9_][a-zA-Z0-9_-]{0,20}",
            model in "[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,20}",
            tag in "[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,20}",
        ) {
            let name = Name::from_parts([&host, &namespace, &model, &tag]).unwrap();
            prop_assert_eq!(name.full().parse::<Name>().unwrap(), name.clone());
            let short = name.to_string().parse::<Name>().unwrap();
            prop_assert!(short.full().eq_ignore_ascii_case(&name.full()));
        }

        #[test]
        fn any_text_is_either_refused_or_four_safe_components(text in any::<String>()) {
            if let Ok(name) = text.parse::<Name>() {
                let path: PathBuf = name.parts().iter().collect();
                prop_assert_eq!(path.components().count(), 4);
                prop_assert!(path.components().all(|part| matches!(part, Component::Normal(_))));
            }
        }
    }
}
