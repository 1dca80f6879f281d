//! Our own encoder, made and judged once, and kept in a file: what `/api/create` does with a graph of 32-bit floats.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::model::Model;
use super::{Spec, judge, threads};
use crate::convert::Error;

/// A graph whose encoder is to be stored.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Storing(pub Spec);

impl Storing {
    /// Writes the encoder to `output`, and tells how well it agrees with the graph.
    ///
    /// # Errors
    /// [`Error::Refused`] with the reason why the graph has to serve.
    pub fn run(&self, output: &Path) -> Result<String, Error> {
        let refused = |reason: &dyn Display| Error::Refused(reason.to_string());
        let Self(spec) = self;
        // What the files tell is asked before the graph is computed.
        judge::examine(spec).map_err(|reason| refused(&reason))?;
        let threads = threads(spec.threads);
        let mut model =
            Model::load_graph(spec, threads).map_err(|error| Error::Refused(error.to_string()))?;
        let own = judge::own(&mut model, spec, threads).map_err(|reason| refused(&reason))?;
        let written = || -> io::Result<()> {
            let mut output = BufWriter::new(File::options().write(true).open(output)?);
            own.write(&spec.source, &mut output)?;
            output.flush()
        };
        written().map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::NoSpace,
            kind => Error::Failed(format!("writing the encoder: {kind}")),
        })?;
        Ok(own.agreement().to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::tests::{TEXTS, alone, load_graph, spec};
    use super::super::{Computation, Model};
    use super::*;
    use crate::inference::encode::{Company, Encoder};

    /// A shipped model's encoder, made in `folder`; with what was told of it.
    fn stored(model: &str, folder: &Path) -> (Spec, String) {
        let mut spec = spec(model);
        spec.source = "sha256:what it was made of".into();
        let output = folder.join(format!("{model}.encoder"));
        File::create(&output).unwrap();
        let agreement = Storing(spec.clone()).run(&output).unwrap();
        spec.stored = Some(output);
        (spec, agreement)
    }

    #[test]
    fn a_stored_encoder_is_the_one_that_was_judged() {
        let folder = tempfile::tempdir().unwrap();
        for (name, told) in [
            ("tiny-embed", "cosine 0.99"),
            ("tiny-classify", "probabilities within"),
        ] {
            let (mut spec, agreement) = stored(name, folder.path());
            assert!(agreement.starts_with(told), "{agreement}");
            // Neither the graph nor ONNX Runtime is looked for.
            spec.graph = folder.path().join("gone.onnx");
            spec.library = None;
            let mut model = Model::load(&spec, 1).unwrap();
            assert!(model.choice().contains(&agreement), "{}", model.choice());
            assert_eq!(model.company(), Company::Any);
            let mut made = Model::load(&super::super::tests::spec(name), 1).unwrap();
            assert_eq!(model.head(), made.head());
            assert_eq!(model.max_tokens(), made.max_tokens());
            assert_eq!(alone(&mut model, &TEXTS), alone(&mut made, &TEXTS));
        }
    }

    #[test]
    fn whoever_wants_the_graph_gets_it() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spec, _) = stored("tiny-embed", folder.path());
        spec.computation = Computation::Graph;
        let mut model = Model::load(&spec, 1).unwrap();
        assert_eq!(
            alone(&mut model, &TEXTS),
            alone(&mut load_graph("tiny-embed"), &TEXTS)
        );
    }

    #[test]
    fn what_is_not_what_it_was_made_of_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let (good, _) = stored("tiny-embed", folder.path());
        let whole = std::fs::read(good.stored.as_ref().unwrap()).unwrap();
        let check = |spec: Spec| {
            let model = Model::load(&spec, 1).unwrap();
            assert!(!model.choice().contains("made with"), "{}", model.choice());
            let alone = Spec {
                library: None,
                ..spec
            };
            let Err(crate::inference::Error::LoadFailed(text)) = Model::load(&alone, 1) else {
                panic!("loaded without anything to load");
            };
            assert!(text.contains("needs the ONNX Runtime library"), "{text}");
        };
        check(Spec {
            source: "sha256:something else".into(),
            ..good.clone()
        });
        check(Spec {
            stored: Some(folder.path().join("missing")),
            ..good.clone()
        });
        let damaged = |number: usize, bytes: &[u8]| -> Spec {
            let path: PathBuf = folder.path().join(number.to_string());
            std::fs::write(&path, bytes).unwrap();
            Spec {
                stored: Some(path),
                ..good.clone()
            }
        };
        for (number, length) in [0, 7, 12, 300, whole.len() / 2, whole.len() - 1]
            .into_iter()
            .enumerate()
        {
            check(damaged(number, &whole[..length]));
        }
        check(damaged(10, &[&whole[..], &[0]].concat()));
        let mut other = whole.clone();
        other[7] ^= 3;
        check(damaged(11, &other));
        // Weights that are there, and are not those that were judged.
        let mut other = whole;
        let end = other.len();
        other[end / 2..].fill(0x3f);
        check(damaged(12, &other));
    }

    #[test]
    fn a_model_that_is_not_understood_is_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.json");
        std::fs::write(
            &config,
            r#"{"model_type": "mpnet", "num_attention_heads": 4}"#,
        )
        .unwrap();
        let mut spec = spec("tiny-embed");
        spec.files.retain(|(name, _)| name != "config.json");
        spec.files.push(("config.json".into(), config));
        let refused = Storing(spec).run(&folder.path().join("output"));
        let reason = "its type 'mpnet' is not one of the BERT family";
        assert_eq!(refused, Err(Error::Refused(reason.into())));
    }
}
