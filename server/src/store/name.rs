//! Model names, and names of files inside a model: text that is safe to make paths from.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::StoreError;

const DEFAULT_HOST: &str = "registry.ollama.ai";
const DEFAULT_NAMESPACE: &str = "library";
const DEFAULT_TAG: &str = "latest";

const MAX_HOST_BYTES: usize = 350;
const MAX_PART_BYTES: usize = 80;
const MAX_RELATIVE_BYTES: usize = 255;
const MAX_RELATIVE_DEPTH: usize = 8;

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

/// The name of a file inside an ONNX model, like `1_Pooling/config.json`: relative, bounded, never climbing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RelativeName(String);

impl RelativeName {
    /// The name with `/` between folders.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A file beside this one, or below its folder; an error if `location` leads elsewhere.
    pub fn sibling(&self, location: &str) -> Result<Self, StoreError> {
        match self.0.rsplit_once('/') {
            // Checked alone first, so that the joined text cannot hide an empty or absolute location.
            Some((folder, _)) => format!("{folder}/{}", location.parse::<Self>()?.0).parse(),
            None => location.parse(),
        }
    }

    /// The same name as a path to be joined to a folder.
    pub fn to_path(&self) -> PathBuf {
        PathBuf::from(&self.0)
    }

    fn is_safe(text: &str) -> bool {
        let is_plain = |part: &str| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._-+=@ ".contains(&byte))
        };
        text.len() <= MAX_RELATIVE_BYTES
            && text.split('/').count() <= MAX_RELATIVE_DEPTH
            && text.split('/').all(is_plain)
            // The standard library's own reading must agree with ours.
            && Path::new(text).components().all(|component| matches!(component, Component::Normal(_)))
    }
}

impl FromStr for RelativeName {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let name = text.strip_prefix("./").unwrap_or(text);
        if Self::is_safe(name) {
            Ok(Self(name.to_owned()))
        } else {
            Err(StoreError::InvalidPath(text.to_owned()))
        }
    }
}

impl fmt::Display for RelativeName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Serialize for RelativeName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RelativeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn relative_names_stay_inside() {
        for good in [
            "tokenizer.json",
            "1_Pooling/config.json",
            "model.onnx_data",
            "onnx/model.onnx",
            "./a",
        ] {
            good.parse::<RelativeName>().unwrap();
        }
        let deep = "a/".repeat(8) + "b";
        let long = "a".repeat(256);
        let hostile = [
            "",
            ".",
            "..",
            "/etc/passwd",
            "../x",
            "a/../x",
            "a/..",
            "a//b",
            "a/",
            "C:\\x",
            "a\\b",
            "file://x",
            "a\0",
            "././a",
            "é",
            &deep,
            &long,
        ];
        for bad in hostile {
            assert!(
                matches!(bad.parse::<RelativeName>(), Err(StoreError::InvalidPath(_))),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn siblings_are_found_beside_their_graph() {
        let graph: RelativeName = "onnx/model.onnx".parse().unwrap();
        assert_eq!(
            graph.sibling("model.onnx_data").unwrap().as_str(),
            "onnx/model.onnx_data"
        );
        for bad in ["../secret", "/etc/passwd", ""] {
            assert!(graph.sibling(bad).is_err(), "{bad:?}");
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
            if let Ok(name) = text.parse::<RelativeName>() {
                prop_assert!(name.to_path().components().all(|part| matches!(part, Component::Normal(_))));
            }
        }
    }
}
