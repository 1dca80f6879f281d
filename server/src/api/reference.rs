//! Which model a caller means, before any store is asked: one of here, or one of Ollama's cloud.
//!
//! `:cloud` after a name and `-cloud` after a tag mean a model that runs on Ollama's hosts, which a server of local models
//! never asks; `:local` insists on one of here. (`internal/modelref` in Ollama's sources.)

use crate::api::Error;

/// A model's name as typed, without what says where it runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ModelRef {
    /// The name, not checked yet.
    pub base: String,
    /// Where the model runs.
    pub source: Source,
}

/// Where a model runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// The caller does not say.
    Unspecified,
    /// Here.
    Local,
    /// On Ollama's hosts.
    Cloud,
}

/// What is refused because no cloud is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CloudUse {
    /// Running a model.
    Inference,
    /// Telling about a model.
    Details,
    /// Searching the web.
    WebSearch,
    /// Fetching a page.
    WebFetch,
}

impl ModelRef {
    /// Reads a name.
    ///
    /// # Errors
    /// When it is of both kinds.
    pub fn parse(typed: &str) -> Result<Self, Error> {
        let typed = typed.trim();
        let Some((base, source)) = split(typed) else {
            return Ok(Self {
                base: typed.to_owned(),
                source: Source::Unspecified,
            });
        };
        if split(&base).is_some() {
            let text = format!("use either :local or :cloud, not both: {typed:?}");
            return Err(Error::BadRequest(text));
        }
        Ok(Self { base, source })
    }

    /// The name of a model that runs here.
    ///
    /// # Errors
    /// When it does not.
    pub fn local(self, used_for: CloudUse) -> Result<String, Error> {
        match self.source {
            Source::Cloud => Err(used_for.refusal()),
            Source::Local | Source::Unspecified => Ok(self.base),
        }
    }

    /// The name under which a registry and the store keep the model: of a cloud model, a stub.
    #[must_use]
    pub fn stored(self) -> String {
        match self.source {
            Source::Local | Source::Unspecified => self.base,
            Source::Cloud if has_tag(&self.base) => self.base + "-cloud",
            Source::Cloud => self.base + ":cloud",
        }
    }
}

impl CloudUse {
    /// What the caller is told.
    #[must_use]
    pub fn refusal(self) -> Error {
        let what = match self {
            Self::Inference => "remote model is unavailable",
            Self::Details => "remote model details are unavailable",
            Self::WebSearch => "web search is unavailable",
            Self::WebFetch => "web fetch is unavailable",
        };
        Error::Forbidden(format!("ollama cloud is disabled: {what}"))
    }
}

/// Takes off what says where a model runs.
fn split(typed: &str) -> Option<(String, Source)> {
    let (base, last) = typed.rsplit_once(':')?;
    let last = last.trim();
    if last.eq_ignore_ascii_case("cloud") {
        return Some((base.to_owned(), Source::Cloud));
    }
    if last.eq_ignore_ascii_case("local") {
        return Some((base.to_owned(), Source::Local));
    }
    let cut = last.len().checked_sub("-cloud".len())?;
    let (tag, suffix) = last.split_at_checked(cut)?;
    let is_cloud = suffix.eq_ignore_ascii_case("-cloud") && !tag.contains('/');
    is_cloud.then(|| (format!("{base}:{tag}"), Source::Cloud))
}

/// Whether a name has a tag of its own; a colon in front of a slash belongs to the host.
fn has_tag(name: &str) -> bool {
    name.rsplit('/')
        .next()
        .is_some_and(|last| last.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(typed: &str, base: &str, source: Source, stored: &str) {
        let read = ModelRef::parse(typed).unwrap();
        assert_eq!((read.base.as_str(), read.source), (base, source), "{typed}");
        assert_eq!(read.stored(), stored, "{typed}");
    }

    /// The cases are those of `internal/modelref/modelref_test.go` in Ollama's sources.
    #[test]
    fn names_say_where_a_model_runs() {
        check(
            "gpt-oss:20b:cloud",
            "gpt-oss:20b",
            Source::Cloud,
            "gpt-oss:20b-cloud",
        );
        check(
            "gpt-oss:20b-cloud",
            "gpt-oss:20b",
            Source::Cloud,
            "gpt-oss:20b-cloud",
        );
        check("glm-5:cloud", "glm-5", Source::Cloud, "glm-5:cloud");
        check("qwen3:8b:local", "qwen3:8b", Source::Local, "qwen3:8b");
        check("qwen3:LOCAL", "qwen3", Source::Local, "qwen3");
        check("llama3.2", "llama3.2", Source::Unspecified, "llama3.2");
        check(
            "my-cloud-model",
            "my-cloud-model",
            Source::Unspecified,
            "my-cloud-model",
        );
        check(
            "foo:bar-cloud/baz",
            "foo:bar-cloud/baz",
            Source::Unspecified,
            "foo:bar-cloud/baz",
        );
        check(
            "host:5000/a/b:cloud",
            "host:5000/a/b",
            Source::Cloud,
            "host:5000/a/b:cloud",
        );
        check(" x ", "x", Source::Unspecified, "x");
        check("", "", Source::Unspecified, "");
    }

    #[test]
    fn a_model_runs_in_one_place_only() {
        for typed in ["foo:cloud:local", "foo:local:cloud", "foo:1b-cloud:cloud"] {
            let error = ModelRef::parse(typed).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("use either :local or :cloud, not both: {typed:?}")
            );
        }
    }
}
