//! From the logits of tokens to the parts of a text that have labels, as Hugging Face's `TokenClassificationPipeline`
//! defines it (transformers 5, `pipelines/token_classification.py`): pure but for the tokenizer that joins tokens.

use super::score::softmax;
use super::{Aggregation, Encoder, Piece, Place, Span};
use crate::inference::Error;

/// What marks the first token of a part, and one that goes on with a part.
const BEGINS: &str = "B-";
const GOES_ON: &str = "I-";

/// How parts are made and which are reported.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Label names by output index.
    pub names: Vec<String>,
    /// How labels of tokens become those of parts.
    pub aggregation: Aggregation,
    /// Labels that are not reported.
    pub ignored: Vec<String>,
    /// The least score that is.
    pub threshold: Option<f32>,
    /// Special tokens before a text, which indices count.
    pub before: u32,
}

/// A token, or a word of several, with a label.
struct Entity {
    label: usize,
    score: f32,
    word: String,
    index: u32,
    place: Place,
}

/// The labelled parts of a text, from its tokens and, for each of them, a logit per label.
///
/// # Errors
/// What the tokenizer says of joining tokens.
pub fn spans(
    rules: &Rules,
    pieces: Vec<Piece>,
    logits: &[f32],
    encoder: &dyn Encoder,
) -> Result<Vec<Span>, Error> {
    let scores: Vec<Vec<f32>> = logits
        .chunks_exact(rules.names.len())
        .map(softmax)
        .collect();
    let entities = match rules.aggregation {
        Aggregation::None | Aggregation::Simple => tokens(rules, pieces, &scores),
        by_word => words(rules, pieces, &scores, by_word, encoder)?,
    };
    let mut spans = if rules.aggregation == Aggregation::None {
        let span = |entity: Entity| Span {
            label: rules.names[entity.label].clone(),
            score: entity.score,
            word: entity.word,
            index: Some(entity.index),
            place: entity.place,
        };
        entities.into_iter().map(span).collect()
    } else {
        groups(rules, entities, encoder)?
    };
    spans.retain(|span: &Span| {
        !rules.ignored.contains(&span.label)
            && rules.threshold.is_none_or(|least| span.score >= least)
    });
    Ok(spans)
}

fn tokens(rules: &Rules, pieces: Vec<Piece>, scores: &[Vec<f32>]) -> Vec<Entity> {
    let entity = |((index, piece), scores): ((u32, Piece), &Vec<f32>)| {
        let (label, score) = best(scores);
        Entity {
            label,
            score,
            word: piece.name,
            index: rules.before + index,
            place: piece.place.unwrap_or_default(),
        }
    };
    (0..).zip(pieces).zip(scores).map(entity).collect()
}

/// Words of which each has one label. A token goes on with a word if the tokenizer says so.
fn words(
    rules: &Rules,
    pieces: Vec<Piece>,
    scores: &[Vec<f32>],
    strategy: Aggregation,
    encoder: &dyn Encoder,
) -> Result<Vec<Entity>, Error> {
    let mut words: Vec<Vec<(u32, Piece, &[f32])>> = Vec::new();
    for ((index, piece), scores) in (0..).zip(pieces).zip(scores) {
        let token = (rules.before + index, piece, &scores[..]);
        match words.last_mut() {
            Some(word) if token.1.continues => word.push(token),
            _ => words.push(vec![token]),
        }
    }
    words
        .into_iter()
        .map(|word| {
            let scores: Vec<&[f32]> = word.iter().map(|(.., scores)| *scores).collect();
            let (label, score) = best_of_word(strategy, &scores);
            Ok(Entity {
                label,
                score,
                index: word[0].0,
                place: through(
                    word.iter()
                        .map(|(_, piece, _)| piece.place.unwrap_or_default()),
                ),
                word: encoder.join(word.into_iter().map(|(_, piece, _)| piece.name).collect())?,
            })
        })
        .collect()
}

fn best_of_word(strategy: Aggregation, tokens: &[&[f32]]) -> (usize, f32) {
    match strategy {
        Aggregation::Max => tokens
            .iter()
            .map(|scores| best(scores))
            // The first of equals, as Python's max().
            .reduce(|best, next| if next.1 > best.1 { next } else { best })
            .expect("a word has tokens"),
        Aggregation::Average => {
            let mut mean = vec![0.0; tokens[0].len()];
            for scores in tokens {
                for (mean, score) in mean.iter_mut().zip(*scores) {
                    *mean += score;
                }
            }
            let count = tokens.len() as f32;
            mean.iter_mut().for_each(|score| *score /= count);
            best(&mean)
        }
        Aggregation::First | Aggregation::None | Aggregation::Simple => best(tokens[0]),
    }
}

/// Neighbours of one label become one part, unless the second says that it begins another.
fn groups(rules: &Rules, entities: Vec<Entity>, encoder: &dyn Encoder) -> Result<Vec<Span>, Error> {
    let mut groups: Vec<Vec<Entity>> = Vec::new();
    for entity in entities {
        let (begins, tag) = tag(&rules.names[entity.label]);
        let goes_on = |last: &Entity| !begins && self::tag(&rules.names[last.label]).1 == tag;
        match groups.last_mut() {
            Some(group) if group.last().is_some_and(goes_on) => group.push(entity),
            _ => groups.push(vec![entity]),
        }
    }
    groups
        .into_iter()
        .map(|group| {
            let name = &rules.names[group[0].label];
            let sum: f32 = group.iter().map(|entity| entity.score).sum();
            Ok(Span {
                label: name
                    .split_once('-')
                    .map_or(name.as_str(), |(_, tag)| tag)
                    .to_owned(),
                score: sum / group.len() as f32,
                index: None,
                place: through(group.iter().map(|entity| entity.place)),
                word: encoder.join(group.into_iter().map(|entity| entity.word).collect())?,
            })
        })
        .collect()
}

/// Whether a label begins a part, and of what kind.
fn tag(label: &str) -> (bool, &str) {
    match label.strip_prefix(BEGINS) {
        Some(tag) => (true, tag),
        None => (false, label.strip_prefix(GOES_ON).unwrap_or(label)),
    }
}

/// The first of the highest scores.
fn best(scores: &[f32]) -> (usize, f32) {
    scores
        .iter()
        .copied()
        .enumerate()
        .reduce(|best, next| if next.1 > best.1 { next } else { best })
        .expect("a classifier has labels")
}

/// From where the first begins to where the last ends.
fn through(places: impl Iterator<Item = Place>) -> Place {
    places
        .reduce(|first, last| Place {
            end: last.end,
            end_byte: last.end_byte,
            ..first
        })
        .unwrap_or_default()
}
