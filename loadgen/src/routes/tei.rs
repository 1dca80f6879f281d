//! The dialect of text-embeddings-inference: the vectors or labels alone.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, Expected, Failure,
    classify::{self, Scored, text},
    embed, malformed,
};
use crate::workload::Item;

/// `truncate:false`, because a text cut short would look like speed.
pub(super) fn embed_body(item: &Item) -> Value {
    json!({ "inputs": embed::input(item), "truncate": false })
}

pub(super) fn check_embed(
    body: &[u8],
    item: &Item,
    expected: &mut Expected,
) -> Result<Answer, Failure> {
    let vectors: Vec<Vec<Option<f32>>> =
        serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    embed::vectors(vectors, None, item, expected)
}

pub(super) fn predict_body(item: &Item) -> Value {
    json!({ "inputs": text(item), "truncate": false })
}

/// One text is answered with a list of labels, or with a list of one such list.
pub(super) fn check_predict(body: &[u8], expected: &mut Expected) -> Result<Answer, Failure> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Reply {
        One(Vec<Scored>),
        Batch([Vec<Scored>; 1]),
    }
    let (Reply::One(scored) | Reply::Batch([scored])) =
        serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    classify::labels(&scored, None, expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        routes::{Content, testing::item},
        workload::Input,
    };

    #[test]
    fn replies_are_the_bare_vectors_or_labels() {
        let mut batch = item("");
        batch.input = Input::Texts(vec!["a".into(), "b".into()]);
        let answer = check_embed(b"[[1,0],[0,1]]", &batch, &mut Expected::default()).unwrap();
        assert!(matches!(answer.content, Content::Vectors(vectors) if vectors.count == 2));
        for body in [
            r#"[{"score":0.9,"label":"a"},{"score":0.1,"label":"b"}]"#,
            r#"[[{"score":0.9,"label":"a"},{"score":0.1,"label":"b"}]]"#,
        ] {
            let answer = check_predict(body.as_bytes(), &mut Expected::default()).unwrap();
            assert!(matches!(answer.content, Content::Label(label) if label.best == "a"));
        }
        let failure = check_predict(b"[]", &mut Expected::default()).unwrap_err();
        assert_eq!(failure.category(), "empty");
    }
}
