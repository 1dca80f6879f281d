use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Asker, Content, Expected, Failure, Vectors, malformed};
use crate::workload::{Input, Item};

/// A `null` in place of a number is how some servers write NaN; it is kept apart from malformed JSON.
#[derive(Debug, Deserialize)]
struct Reply {
    embeddings: Vec<Vec<Option<f32>>>,
    prompt_eval_count: Option<u64>,
}

/// One text as such, several as a list.
pub(super) fn input(item: &Item) -> Value {
    match &item.input {
        Input::Text(text) => json!(text),
        Input::Texts(texts) => json!(texts),
        Input::Messages(_) => unreachable!("a workload of texts was read as such"),
    }
}

/// `truncate:false`, because a text cut short would look like speed.
pub(super) fn body(asker: &Asker, item: &Item) -> Value {
    json!({
        "model": asker.model,
        "input": input(item),
        "truncate": false,
        "keep_alive": format!("{}s", asker.keep_alive_s),
    })
}

pub(super) fn check(body: &[u8], item: &Item, expected: &mut Expected) -> Result<Answer, Failure> {
    let reply: Reply = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    vectors(reply.embeddings, reply.prompt_eval_count, item, expected)
}

/// Checks one vector per text of `item`, of equal length and of finite numbers that are not all zero.
pub(super) fn vectors(
    vectors: Vec<Vec<Option<f32>>>,
    input_tokens: Option<u64>,
    item: &Item,
    expected: &mut Expected,
) -> Result<Answer, Failure> {
    let texts = match &item.input {
        Input::Texts(texts) => texts.len(),
        Input::Text(_) | Input::Messages(_) => 1,
    };
    if vectors.is_empty() || vectors.iter().any(Vec::is_empty) {
        return Err(Failure::Empty);
    }
    if vectors.len() != texts {
        let message = format!("{} vectors for {texts} texts", vectors.len());
        return Err(Failure::Malformed(message));
    }
    let values = vectors
        .into_iter()
        .map(finite)
        .collect::<Result<Vec<Vec<f32>>, _>>()?;
    let dimensions = values[0].len();
    let wanted = expected.dimensions.unwrap_or(dimensions);
    if let Some(other) = values.iter().find(|vector| vector.len() != wanted) {
        return Err(Failure::Dimensions {
            expected: wanted,
            got: other.len(),
        });
    }
    expected.dimensions = Some(wanted);
    Ok(Answer {
        input_tokens,
        cached_tokens: None,
        content: Content::Vectors(Vectors {
            count: values.len(),
            dimensions,
            values,
        }),
    })
}

fn finite(vector: Vec<Option<f32>>) -> Result<Vec<f32>, Failure> {
    let numbers: Option<Vec<f32>> = vector
        .into_iter()
        .map(|number| number.filter(|number| number.is_finite()))
        .collect();
    let numbers = numbers.ok_or(Failure::NotFinite(
        "the vector holds something that is not a finite number",
    ))?;
    if numbers.iter().all(|number| *number == 0.0) {
        return Err(Failure::NotFinite("the vector is all zeros"));
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::testing::item;

    fn check_body(body: &str, dimensions: Option<usize>) -> Result<Answer, Failure> {
        check(
            body.as_bytes(),
            &item("x"),
            &mut Expected {
                dimensions,
                labels: None,
            },
        )
    }

    #[test]
    fn the_first_vector_settles_the_dimension() {
        let mut expected = Expected::default();
        let answer = check(
            br#"{"embeddings":[[0.6,0.8]],"prompt_eval_count":5}"#,
            &item("x"),
            &mut expected,
        )
        .unwrap();
        assert_eq!(
            answer,
            Answer {
                input_tokens: Some(5),
                cached_tokens: None,
                content: Content::Vectors(Vectors {
                    count: 1,
                    dimensions: 2,
                    values: vec![vec![0.6, 0.8]],
                })
            }
        );
        assert_eq!(expected.dimensions, Some(2));
        let longer = check(
            br#"{"embeddings":[[0.6,0.8,0.0]]}"#,
            &item("x"),
            &mut expected,
        );
        assert_eq!(
            longer,
            Err(Failure::Dimensions {
                expected: 2,
                got: 3
            })
        );
    }

    #[test]
    fn a_bad_vector_settles_nothing() {
        let mut expected = Expected::default();
        check(br#"{"embeddings":[[null,1.0]]}"#, &item("x"), &mut expected).unwrap_err();
        assert_eq!(expected, Expected::default());
    }

    #[test]
    fn several_texts_have_as_many_vectors() {
        let mut batch = item("");
        batch.input = Input::Texts(vec!["a".into(), "b".into()]);
        let check = |body: &str| check(body.as_bytes(), &batch, &mut Expected::default());
        let answer = check(r#"{"embeddings":[[1,0],[0,1]]}"#).unwrap();
        let Content::Vectors(vectors) = answer.content else {
            panic!("no vectors")
        };
        assert_eq!((vectors.count, vectors.dimensions), (2, 2));
        assert!(check(r#"{"embeddings":[[1,0]]}"#).is_err());
        let uneven = check(r#"{"embeddings":[[1,0],[1]]}"#).unwrap_err();
        assert_eq!(uneven.category(), "dimensions");
    }

    #[test]
    fn every_way_to_be_wrong_has_its_name() {
        let check = |body: &str, category: &str| {
            let failure = check_body(body, Some(2)).unwrap_err();
            assert_eq!(failure.category(), category, "{failure}");
        };
        check(r#"{"embeddings":[]}"#, "empty");
        check(r#"{"embeddings":[[]]}"#, "empty");
        check(r#"{"embeddings":[[1,0],[0,1]]}"#, "malformed");
        check(r#"{"embedding":[1,0]}"#, "malformed");
        check(r#"{"embeddings":[[1,null]]}"#, "not_finite");
        check(r#"{"embeddings":[[1,1e300]]}"#, "not_finite");
        check(r#"{"embeddings":[[0,0]]}"#, "not_finite");
        check(r#"{"embeddings":[[1,0,0]]}"#, "dimensions");
    }
}
