use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Asker, Content, Expected, Failure, malformed};

#[derive(Debug, Deserialize)]
struct Reply {
    results: Vec<Vec<Scored>>,
    prompt_eval_count: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Scored {
    label: String,
    score: Option<f32>,
}

pub(super) fn body(asker: &Asker, text: &str) -> Value {
    json!({
        "model": asker.model,
        "input": text,
        "keep_alive": format!("{}s", asker.keep_alive_s),
    })
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
    let best = scored.first().ok_or(Failure::Empty)?;
    check_scores(scored)?;
    let known = expected
        .labels
        .get_or_insert_with(|| scored.iter().map(|one| one.label.clone()).collect());
    if let Some(unknown) = scored.iter().find(|one| !known.contains(&one.label)) {
        return Err(Failure::Label(unknown.label.clone()));
    }
    Ok(Answer {
        input_tokens: reply.prompt_eval_count,
        content: Content::Label(best.label.clone()),
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
                content: Content::Label("good".into())
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
