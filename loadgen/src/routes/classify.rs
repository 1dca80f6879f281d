use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Asker, Content, Expected, Failure, Labelled, malformed};
use crate::workload::{Input, Item};

#[derive(Debug, Deserialize)]
struct Reply {
    results: Vec<Vec<Scored>>,
    prompt_eval_count: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Scored {
    label: String,
    score: Option<f32>,
}

pub(super) fn body(asker: &Asker, item: &Item) -> Value {
    json!({
        "model": asker.model,
        "input": text(item),
        "keep_alive": format!("{}s", asker.keep_alive_s),
    })
}

/// The text to label.
pub(super) fn text(item: &Item) -> &str {
    match &item.input {
        Input::Text(text) => text,
        Input::Texts(_) | Input::Messages(_) => {
            unreachable!("a workload of single texts was read as such")
        }
    }
}

/// Without `top_k` a reply names every label, so the first good one settles which labels exist.
pub(super) fn check(body: &[u8], expected: &mut Expected) -> Result<Answer, Failure> {
    let reply: Reply = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    let scored = match reply.results.as_slice() {
        [scored] => scored,
        [] => return Err(Failure::Empty),
        several => {
            return Err(Failure::Malformed(format!(
                "{} results for one text",
                several.len()
            )));
        }
    };
    labels(scored, reply.prompt_eval_count, expected)
}

/// Checks the labels of one text: known ones, with probabilities in falling order.
pub(super) fn labels(
    scored: &[Scored],
    input_tokens: Option<u64>,
    expected: &mut Expected,
) -> Result<Answer, Failure> {
    let best = scored.first().ok_or(Failure::Empty)?;
    check_scores(scored)?;
    let known = expected
        .labels
        .get_or_insert_with(|| scored.iter().map(|one| one.label.clone()).collect());
    if let Some(unknown) = scored.iter().find(|one| !known.contains(&one.label)) {
        return Err(Failure::Label(unknown.label.clone()));
    }
    Ok(Answer {
        input_tokens,
        cached_tokens: None,
        content: Content::Label(Labelled {
            best: best.label.clone(),
            scores: scored
                .iter()
                .filter_map(|one| Some((one.label.clone(), one.score?)))
                .collect(),
            right: None,
        }),
    })
}

fn check_scores(scored: &[Scored]) -> Result<(), Failure> {
    let mut previous = 1.0;
    for Scored { label, score } in scored {
        let Some(score) = score.filter(|score| score.is_finite()) else {
            return Err(Failure::NotFinite("a score is not a finite number"));
        };
        if !(0.0..=1.0).contains(&score) {
            return Err(Failure::Score(format!(
                "{score} for {label:?} is no probability"
            )));
        }
        if score > previous {
            return Err(Failure::Score(format!(
                "{label:?} comes after a lower score"
            )));
        }
        previous = score;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"results":[[{"label":"good","score":0.9},{"label":"bad","score":0.1}]],"prompt_eval_count":6}"#;

    #[test]
    fn the_first_reply_settles_the_labels() {
        let mut expected = Expected::default();
        let answer = check(GOOD.as_bytes(), &mut expected).unwrap();
        assert_eq!(
            answer,
            Answer {
                input_tokens: Some(6),
                cached_tokens: None,
                content: Content::Label(Labelled {
                    best: "good".into(),
                    scores: vec![("good".into(), 0.9), ("bad".into(), 0.1)],
                    right: None,
                })
            }
        );
        assert_eq!(
            expected.labels,
            Some(["bad".to_owned(), "good".to_owned()].into())
        );
        let other = check(GOOD.replace("bad", "ugly").as_bytes(), &mut expected);
        assert_eq!(other, Err(Failure::Label("ugly".into())));
    }

    #[test]
    fn every_way_to_be_wrong_has_its_name() {
        let check = |body: &str, category: &str| {
            let failure = check(body.as_bytes(), &mut Expected::default()).unwrap_err();
            assert_eq!(failure.category(), category, "{failure}");
        };
        check(r#"{"results":[]}"#, "empty");
        check(r#"{"results":[[]]}"#, "empty");
        check(r#"{"labels":["good"]}"#, "malformed");
        check(
            r#"{"results":[[{"label":"a","score":1}],[{"label":"a","score":1}]]}"#,
            "malformed",
        );
        check(&GOOD.replace("0.9", "null"), "not_finite");
        check(&GOOD.replace("0.9", "1.5"), "score");
        check(&GOOD.replace("0.9", "0.05"), "score");
    }
}
