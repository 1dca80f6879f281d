//! Names of files inside a model: text that is safe to make paths from.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::StoreError;

const MAX_BYTES: usize = 255;
const MAX_DEPTH: usize = 8;

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
        text.len() <= MAX_BYTES
            && text.split('/').count() <= MAX_DEPTH
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
        fn any_text_is_either_refused_or_stays_inside(text in any::<String>()) {
            if let Ok(name) = text.parse::<RelativeName>() {
                prop_assert!(name.to_path().components().all(|part| matches!(part, Component::Normal(_))));
            }
        }
    }
}
