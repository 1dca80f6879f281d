use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Asker, Content, Expected, Failure, malformed};

/// A `null` in place of a number is how some servers write NaN; it is kept apart from malformed JSON.
#[derive(Debug, Deserialize)]
struct Reply {
    embeddings: Vec<Vec<Option<f32>>>,
    prompt_eval_count: Option<u64>,
}

/// `truncate:false`, because a text cut short would look like speed.
pub(super) fn body(asker: &Asker, text: &str) -> Value {
    json!({
        "model": asker.model,
        "input": text,
        "truncate": false,
        "keep_alive": format!("{}s", asker.keep_alive_s),
    })
}

pub(super) fn check(body: &[u8], expected: &mut Expected) -> Result<Answer, Failure> {
    let reply: Reply = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    let vector = match reply.embeddings.as_slice() {
        [vector] if !vector.is_empty() => vector,
        [] | [_] => return Err(Failure::Empty),
        several => {
            return Err(Failure::Malformed(format!(
                "{} vectors for one text",
                several.len()
            )));
        }
    };
    if !vector
        .iter()
        .all(|number| number.is_some_and(f32::is_finite))
    {
        return Err(Failure::NotFinite(
            "the vector holds something that is not a finite number",
        ));
    }
    if vector.iter().all(|number| *number == Some(0.0)) {
        return Err(Failure::NotFinite("the vector is all zeros"));
    }
    let dimensions = vector.len();
    let wanted = *expected.dimensions.get_or_insert(dimensions);
    if dimensions != wanted {
        return Err(Failure::Dimensions {
            expected: wanted,
            got: dimensions,
        });
    }
    Ok(Answer {
        input_tokens: reply.prompt_eval_count,
        content: Content::Vector { dimensions },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_body(body: &str, dimensions: Option<usize>) -> Result<Answer, Failure> {
        check(
            body.as_bytes(),
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
            &mut expected,
        )
        .unwrap();
        assert_eq!(
            answer,
            Answer {
                input_tokens: Some(5),
                content: Content::Vector { dimensions: 2 }
            }
        );
        assert_eq!(expected.dimensions, Some(2));
        let longer = check(br#"{"embeddings":[[0.6,0.8,0.0]]}"#, &mut expected);
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
        check(br#"{"embeddings":[[null,1.0]]}"#, &mut expected).unwrap_err();
        assert_eq!(expected, Expected::default());
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
