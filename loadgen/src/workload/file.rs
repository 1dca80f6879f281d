//! Workload files: TOML as typed, made into a [`Group`] or refused in one line that names file, line and remedy.

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde::Deserialize;

use super::{
    Assert, Cache, Equalize, Group, Input, Kind, Lengths, Output, Part, Prefix, Prompt, Rounds,
    Slo, Source, Turns, Workload, jsonl, load, names, preset,
};
use crate::units;

/// The version of the format. Keys may be added within it; none changes its meaning.
const SCHEMA: u32 = 1;

/// Tokens per word of ordinary English under the vocabularies of current models.
const TOKENS_PER_WORD: f64 = 1.33;

/// Texts per embed request that any server could be asked for.
const LARGEST_BATCH: usize = 4096;

/// Cold starts of one target that anybody would wait for.
const MOST_COLD_REPEATS: usize = 100;

/// A workload file that makes no sense; one line that says where and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FileError(pub String);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    schema: u32,
    name: Option<String>,
    kind: Option<Kind>,
    description: Option<String>,
    seed: Option<u64>,
    primary: Option<String>,
    #[serde(default)]
    model: BTreeMap<String, toml::Value>,
    #[serde(default)]
    prompt: TypedPrompt,
    #[serde(default)]
    output: TypedOutput,
    #[serde(default)]
    turns: TypedTurns,
    #[serde(default)]
    load: Vec<load::Typed>,
    #[serde(default)]
    rounds: TypedRounds,
    #[serde(default)]
    slo: TypedSlo,
    cold: Option<TypedCold>,
    #[serde(default)]
    assert: Vec<TypedAssert>,
    #[serde(default)]
    part: Vec<TypedPart>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TypedPrompt {
    source: Option<String>,
    texts: Option<Vec<String>>,
    tokens: Option<TypedLengths>,
    tokens_per_word: Option<f64>,
    prefix: Option<TypedPrefix>,
    cache: Option<Cache>,
    batch: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TypedPrefix {
    share: f64,
    tokens: u64,
    groups: Option<usize>,
}

/// A number stands for the constant length.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum TypedLengths {
    Const(u64),
    Drawn(toml::Table),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TypedDistribution {
    dist: String,
    value: Option<u64>,
    values: Option<Vec<u64>>,
    mean: Option<f64>,
    sd: Option<f64>,
    p95: Option<f64>,
    min: Option<u64>,
    max: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TypedOutput {
    tokens: Option<TypedLengths>,
    equalize: Option<Equalize>,
    #[serde(default)]
    options: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TypedTurns {
    count: Option<usize>,
    think_time: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TypedRounds {
    count: Option<u32>,
    requests: Option<usize>,
    warmup: Option<usize>,
    order: Option<Order>,
    cooldown: Option<Span>,
}

/// The only order in which a drift of the machine cannot favour one target.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Order {
    Abba,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TypedSlo {
    ttft: Option<Span>,
    tpot: Option<Span>,
    e2e: Option<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TypedCold {
    repeats: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TypedAssert {
    expr: String,
    confidence: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TypedPart {
    workload: String,
    weight: Option<f64>,
}

/// A time as people write it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Span(pub Duration);

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(typed: String) -> Result<Self, String> {
        units::duration(&typed).map(Self)
    }
}

/// Reads the text of a workload file. `shown` names it in messages; other files that it names lie relative to `folder`.
///
/// # Errors
/// [`FileError`] for anything that could not be meant.
pub fn parse(text: &str, shown: &str, folder: Option<&Path>) -> Result<Group, FileError> {
    let typed: Typed = toml::from_str(text).map_err(|error| syntax(text, shown, &error))?;
    meant(typed, shown, folder).map_err(|reason| FileError(format!("{shown}: {reason}")))
}

/// The parser's complaint with the line it is about, and the key that was meant.
fn syntax(text: &str, shown: &str, error: &toml::de::Error) -> FileError {
    let line = error.span().map_or(1, |span| {
        text[..span.start.min(text.len())].matches('\n').count() + 1
    });
    let message = error.message();
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    let reason = match quoted.next().filter(|_| unknown) {
        Some(typed) => {
            let known: Vec<&str> = quoted.collect();
            match units::nearest(typed, known.iter().copied()) {
                Some(meant) => format!("unknown {typed:?}; did you mean {meant:?}?"),
                None => format!("unknown {typed:?}; there is {}", known.join(", ")),
            }
        }
        None => message.lines().collect::<Vec<_>>().join(" "),
    };
    FileError(format!("{shown}:{line}: {reason}"))
}

fn meant(typed: Typed, shown: &str, folder: Option<&Path>) -> Result<Group, String> {
    if typed.schema != SCHEMA {
        return Err(format!(
            "schema = {}: this loadgen reads schema = {SCHEMA}",
            typed.schema
        ));
    }
    let stem = Path::new(shown).file_stem().unwrap_or_default();
    let name = typed
        .name
        .clone()
        .unwrap_or_else(|| stem.to_string_lossy().into_owned());
    if typed.part.is_empty() {
        let workload = workload(typed, name.clone(), folder)?;
        return Ok(Group {
            name,
            parts: vec![Part {
                workload,
                weight: 1.0,
            }],
        });
    }
    mix(typed, name, folder)
}

/// A mix has the pace of its own file and the work of its parts.
fn mix(typed: Typed, name: String, folder: Option<&Path>) -> Result<Group, String> {
    if typed.kind.is_some() {
        return Err("a workload has either a kind or parts".into());
    }
    let mut parts = Vec::new();
    for part in &typed.part {
        let weight = part.weight.unwrap_or(1.0);
        if !(weight > 0.0 && weight.is_finite()) {
            return Err(format!("part {:?}: weight must be above 0", part.workload));
        }
        let group = named(&part.workload, folder)?;
        let [inner] = <[Part; 1]>::try_from(group.parts)
            .map_err(|_| format!("part {:?} is a mix itself", part.workload))?;
        if inner.workload.turns.count > 1 {
            return Err(format!(
                "part {:?}: conversations cannot be mixed",
                part.workload
            ));
        }
        parts.push(Part {
            weight,
            workload: inner.workload,
        });
    }
    let loads = load::meant(typed.load, folder, None)?;
    if loads
        .iter()
        .any(|load| matches!(load, load::Load::Search(_)))
    {
        return Err("a mix has no search: its parts have promises of their own".into());
    }
    let rounds = rounds(&typed.rounds)?;
    for part in &mut parts {
        part.workload.name = format!("{name}/{}", part.workload.name);
        part.workload.loads.clone_from(&loads);
        part.workload.rounds = rounds;
        part.workload.cold_repeats = 0;
        part.workload.seed = typed.seed;
    }
    Ok(Group { name, parts })
}

/// The preset of that name, or the workload in that file.
///
/// # Errors
/// One line that says what there is.
pub fn named(name: &str, folder: Option<&Path>) -> Result<Group, String> {
    if let Some(group) = preset(name) {
        return Ok(group);
    }
    if name.ends_with(".toml") {
        let path = folder.map_or_else(|| Path::new(name).to_path_buf(), |folder| folder.join(name));
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("workload {}: {error}", path.display()))?;
        return parse(&text, &path.display().to_string(), path.parent())
            .map_err(|error| error.to_string());
    }
    let known: Vec<&str> = names().collect();
    Err(match units::nearest(name, names()) {
        Some(meant) => format!("unknown workload {name:?}; did you mean {meant:?}?"),
        None => format!(
            "unknown workload {name:?}; there is {}, or a file that ends in .toml",
            known.join(", ")
        ),
    })
}

fn workload(typed: Typed, name: String, folder: Option<&Path>) -> Result<Workload, String> {
    let kind = typed
        .kind
        .ok_or("say what it is: kind = \"generate\", \"chat\", \"embed\" or \"classify\"")?;
    let (models, num_ctx) = models(&typed.model)?;
    let prompt = prompt(typed.prompt, kind, folder)?;
    let output = Output {
        tokens: lengths(typed.output.tokens, 32, "output.tokens")?,
        equalize: typed.output.equalize.unwrap_or(Equalize::CapAndVerify),
        options: typed.output.options,
    };
    let turns = Turns {
        count: typed.turns.count.unwrap_or(1),
        think_time: typed.turns.think_time.map_or(Duration::ZERO, |span| span.0),
    };
    if turns.count == 0 || (turns.count > 1 && !matches!(kind, Kind::Chat)) {
        return Err("turns.count: only kind = \"chat\" has several turns".into());
    }
    let rows = match &prompt.source {
        Source::Jsonl { rows, .. } => Some(rows.as_slice()),
        Source::Synthetic | Source::Inline(_) => None,
    };
    let cold_repeats = match typed.cold {
        None => 0,
        Some(TypedCold { repeats }) if (1..=MOST_COLD_REPEATS).contains(&repeats) => repeats,
        Some(_) => {
            return Err(format!(
                "cold.repeats lies between 1 and {MOST_COLD_REPEATS}"
            ));
        }
    };
    // A file that asks for cold starts and names no load wants nothing else.
    let loads = if cold_repeats > 0 && typed.load.is_empty() {
        Vec::new()
    } else {
        load::meant(typed.load, folder, rows)?
    };
    let asserts = typed.assert.into_iter().map(|assert| {
        let confidence = assert.confidence;
        if confidence.is_none_or(|share| share > 0.5 && share < 1.0) {
            Ok(Assert {
                expr: assert.expr,
                confidence,
            })
        } else {
            Err("assert.confidence is a share between 0.5 and 1: 0.95".to_owned())
        }
    });
    Ok(Workload {
        description: typed
            .description
            .unwrap_or_else(|| describe(kind, &prompt, turns)),
        name,
        kind,
        seed: typed.seed,
        models,
        num_ctx,
        prompt,
        output,
        turns,
        loads,
        rounds: rounds(&typed.rounds)?,
        slo: Slo {
            ttft: typed.slo.ttft.map(|span| span.0),
            tpot: typed.slo.tpot.map(|span| span.0),
            e2e: typed.slo.e2e.map(|span| span.0),
        },
        cold_repeats,
        asserts: asserts.collect::<Result<_, _>>()?,
        primary: typed.primary.unwrap_or_else(|| "e2e.p95".into()),
    })
}

fn models(
    typed: &BTreeMap<String, toml::Value>,
) -> Result<(BTreeMap<String, String>, Option<u64>), String> {
    let mut models = BTreeMap::new();
    let mut num_ctx = None;
    for (key, value) in typed {
        match (key.as_str(), value) {
            ("num_ctx", toml::Value::Integer(tokens)) if *tokens > 0 => {
                num_ctx = Some(tokens.unsigned_abs());
            }
            ("num_ctx", _) => return Err("model.num_ctx is a number of tokens".into()),
            (target, toml::Value::String(model)) => {
                models.insert(target.to_owned(), model.clone());
            }
            (target, _) => return Err(format!("model.{target} is the name of a model")),
        }
    }
    Ok((models, num_ctx))
}

fn prompt(typed: TypedPrompt, kind: Kind, folder: Option<&Path>) -> Result<Prompt, String> {
    let source = match (typed.source.as_deref(), typed.texts) {
        (None | Some("synthetic"), None) => Source::Synthetic,
        (None | Some("inline"), Some(texts)) if !texts.is_empty() => Source::Inline(texts),
        (Some("inline"), _) => return Err("prompt.source = \"inline\" needs texts = [...]".into()),
        (Some(source), None) if source.starts_with("jsonl:") => {
            let path = Path::new(&source["jsonl:".len()..]);
            let path = folder.map_or_else(|| path.to_path_buf(), |folder| folder.join(path));
            let rows = jsonl::read(&path)?;
            fitting(&rows, kind).map_err(|reason| format!("{}: {reason}", path.display()))?;
            Source::Jsonl {
                rows: rows.into(),
                path,
            }
        }
        _ => {
            return Err(
                "prompt.source is \"synthetic\", \"jsonl:PATH\", or \"inline\" with texts = [...]"
                    .into(),
            );
        }
    };
    let prefix = typed.prefix.map_or(
        Prefix {
            share: 0.0,
            tokens: 0,
            groups: 1,
        },
        |prefix| Prefix {
            share: prefix.share,
            tokens: prefix.tokens,
            groups: prefix.groups.unwrap_or(1),
        },
    );
    if !(0.0..=1.0).contains(&prefix.share) || prefix.groups == 0 {
        return Err("prompt.prefix: share is from 0 to 1, groups at least 1".into());
    }
    let cache = typed.cache.unwrap_or(Cache::Cold);
    let shares = prefix.share > 0.0 && prefix.tokens > 0;
    if shares != (cache == Cache::Shared) {
        return Err(
            "prompt.prefix and prompt.cache = \"shared\" go together: a row is cold, hot or shared"
                .into(),
        );
    }
    if shares && !kind.streams() {
        return Err("prompt.prefix: only generate and chat have prompt caches".into());
    }
    let batch = typed.batch.unwrap_or(1);
    if batch == 0 || batch > LARGEST_BATCH || (batch > 1 && kind != Kind::Embed) {
        return Err(format!(
            "prompt.batch: kind = \"embed\" takes 1 to {LARGEST_BATCH} texts per request"
        ));
    }
    let tokens_per_word = typed.tokens_per_word.unwrap_or(TOKENS_PER_WORD);
    if !(0.1..=100.0).contains(&tokens_per_word) {
        return Err("prompt.tokens_per_word lies between 0.1 and 100".into());
    }
    Ok(Prompt {
        source,
        tokens: lengths(typed.tokens, 64, "prompt.tokens")?,
        tokens_per_word,
        prefix,
        cache,
        batch,
    })
}

/// Whether rows can be sent by this kind of request.
fn fitting(rows: &[super::Row], kind: Kind) -> Result<(), String> {
    let fits = |input: &Input| match input {
        Input::Text(_) => true,
        Input::Messages(_) => kind == Kind::Chat,
        Input::Texts(_) => kind == Kind::Embed,
    };
    match rows.iter().position(|row| !fits(&row.input)) {
        Some(index) => Err(format!(
            "row {} is not work of kind {:?}",
            index + 1,
            kind.name()
        )),
        None => Ok(()),
    }
}

fn lengths(typed: Option<TypedLengths>, default: u64, key: &str) -> Result<Lengths, String> {
    let lengths = match typed {
        None => Lengths::Const { value: default },
        Some(TypedLengths::Const(value)) => Lengths::Const { value },
        Some(TypedLengths::Drawn(table)) => {
            let typed: TypedDistribution = table
                .try_into()
                .map_err(|error: toml::de::Error| format!("{key}: {}", error.message()))?;
            distribution(typed).map_err(|reason| format!("{key}: {reason}"))?
        }
    };
    lengths
        .check()
        .map_err(|reason| format!("{key}: {reason}"))?;
    Ok(lengths)
}

fn distribution(typed: TypedDistribution) -> Result<Lengths, String> {
    /// Where a tail ends when the file does not say.
    const LONGEST: u64 = 32_768;
    let needed = |value: Option<f64>, name: &str| {
        value.ok_or_else(|| format!("dist = {:?} needs {name}", typed.dist))
    };
    let (min, max) = (typed.min.unwrap_or(1), typed.max.unwrap_or(LONGEST));
    match typed.dist.as_str() {
        "const" => Ok(Lengths::Const {
            value: typed.value.ok_or("dist = \"const\" needs value")?,
        }),
        "uniform" => match (typed.min, typed.max) {
            (Some(min), Some(max)) => Ok(Lengths::Uniform { min, max }),
            _ => Err("dist = \"uniform\" needs min and max".into()),
        },
        "normal" => Ok(Lengths::Normal {
            mean: needed(typed.mean, "mean")?,
            sd: needed(typed.sd, "sd")?,
            min,
            max,
        }),
        "lognormal" => Ok(Lengths::Lognormal {
            mean: needed(typed.mean, "mean")?,
            p95: needed(typed.p95, "p95")?,
            min,
            max,
        }),
        "empirical" => Ok(Lengths::Empirical {
            values: typed.values.unwrap_or_default(),
        }),
        other => {
            let known = ["const", "uniform", "normal", "lognormal", "empirical"];
            Err(match units::nearest(other, known) {
                Some(meant) => format!("unknown dist {other:?}; did you mean {meant:?}?"),
                None => format!("unknown dist {other:?}; there is {}", known.join(", ")),
            })
        }
    }
}

fn rounds(typed: &TypedRounds) -> Result<Rounds, String> {
    // The order has one value, which is read so that files can state it.
    let (Some(Order::Abba) | None) = typed.order;
    let rounds = Rounds {
        count: typed.count.unwrap_or(20),
        requests: typed.requests.unwrap_or(10),
        warmup: typed.warmup.unwrap_or(2),
        cooldown: typed.cooldown.map_or(Duration::ZERO, |span| span.0),
    };
    if rounds.count == 0 || rounds.requests == 0 {
        return Err("rounds.count and rounds.requests must be at least 1".into());
    }
    Ok(rounds)
}

/// What the texts are, where the file does not say.
fn describe(kind: Kind, prompt: &Prompt, turns: Turns) -> String {
    let mut text = match &prompt.source {
        Source::Synthetic => format!("synthetic texts of {} tokens", prompt.tokens.describe()),
        Source::Inline(texts) => format!("one of {} texts", texts.len()),
        Source::Jsonl { path, rows } => format!("{} rows of {}", rows.len(), path.display()),
    };
    if prompt.batch > 1 {
        text = format!("{} at once, {text}", prompt.batch);
    }
    if turns.count > 1 {
        text = format!(
            "conversations of {} turns, {:?} apart, {text}",
            turns.count, turns.think_time
        );
    }
    match prompt.cache {
        Cache::Cold if kind.streams() => text + ", no two of which begin alike",
        Cache::Cold => text,
        Cache::Hot => text + ", the same one in every request",
        Cache::Shared => {
            let Prefix {
                share,
                tokens,
                groups,
            } = prompt.prefix;
            format!(
                "{text}, {:.0} % of them after one of {groups} beginnings of {tokens} tokens",
                share * 100.0
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Arrival, Load, LoadPoint};

    const SMALL: &str = "schema = 1\nkind = \"generate\"\n";

    fn read(text: &str) -> Result<Group, String> {
        parse(text, "w.toml", None).map_err(|error| error.to_string())
    }

    fn one(text: &str) -> Workload {
        let mut group = read(text).unwrap();
        assert_eq!(group.parts.len(), 1);
        group.parts.remove(0).workload
    }

    #[test]
    fn a_small_file_is_complete() {
        let workload = one(SMALL);
        assert_eq!(
            (workload.name.as_str(), workload.kind),
            ("w", Kind::Generate)
        );
        assert_eq!(
            workload.loads,
            [Load::Point(LoadPoint::Closed { concurrency: 1 })]
        );
        assert_eq!((workload.rounds.count, workload.rounds.requests), (20, 10));
    }

    #[test]
    fn everything_that_is_written_is_meant() {
        let workload = one(r#"
schema = 1
name = "all"
kind = "chat"
seed = 42
[model]
ours = "a"
ollama = "b"
num_ctx = 4096
[prompt]
tokens = { dist = "lognormal", mean = 256, p95 = 800, min = 16 }
prefix = { share = 0.5, tokens = 100, groups = 2 }
cache = "shared"
[output]
tokens = 128
equalize = "ignore-eos"
options = { temperature = 0.0 }
[turns]
count = 3
think_time = "2s"
[[load]]
model = "closed"
concurrency = [1, 4]
[[load]]
model = "open"
arrival = "gamma(0.5)"
rate = [0.5, 2]
[rounds]
count = 30
requests = 20
warmup = 1
order = "abba"
cooldown = "2s"
[slo]
ttft = "500ms"
tpot = "60ms"
[[assert]]
expr = "ratio(e2e.p95) <= 0.90"
confidence = 0.99
"#);
        assert_eq!(workload.models["ollama"], "b");
        assert_eq!(workload.num_ctx, Some(4096));
        assert_eq!(workload.turns.think_time, Duration::from_secs(2));
        assert_eq!(workload.slo.tpot, Some(Duration::from_millis(60)));
        assert_eq!(workload.asserts[0].confidence, Some(0.99));
        assert_eq!(workload.loads.len(), 4);
        assert!(matches!(
            workload.loads[3],
            Load::Point(LoadPoint::Open {
                arrival: Arrival::Gamma(0.5),
                rate: 2.0,
                ..
            })
        ));
    }

    #[test]
    fn a_mix_has_the_pace_of_its_own_file() {
        let group = preset("mixed").unwrap();
        let names: Vec<&str> = group
            .parts
            .iter()
            .map(|part| part.workload.name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "mixed/chat-short",
                "mixed/embed-query",
                "mixed/classify-short"
            ]
        );
        assert!(
            group
                .parts
                .iter()
                .all(|part| part.workload.rounds.requests == 40)
        );
    }

    #[test]
    fn mistakes_are_answered_in_one_line_that_says_what_to_write() {
        let check = |text: &str, answer: &str| {
            let error = read(&format!("{SMALL}{text}")).unwrap_err();
            assert_eq!(error, answer, "{text}");
            assert_eq!(error.lines().count(), 1);
        };
        check(
            "[rounds]\nrequest = 3",
            "w.toml:4: unknown \"request\"; did you mean \"requests\"?",
        );
        check(
            "[output]\nequalize = \"cap\"",
            "w.toml:4: unknown \"cap\"; there is none, ignore-eos, cap-and-verify",
        );
        check(
            "[turns]\nthink_time = \"soon\"",
            "w.toml:4: write a duration such as 500ms, 30s or 2m",
        );
        check(
            "[turns]\ncount = 2",
            "w.toml: turns.count: only kind = \"chat\" has several turns",
        );
        check(
            "[prompt]\ntokens = { dist = \"lognorml\", mean = 3 }",
            "w.toml: prompt.tokens: unknown dist \"lognorml\"; did you mean \"lognormal\"?",
        );
        check(
            "[prompt]\ncache = \"shared\"",
            "w.toml: prompt.prefix and prompt.cache = \"shared\" go together: a row is cold, hot or shared",
        );
        check(
            "[prompt]\nsource = \"jsonl:nowhere.jsonl\"",
            "w.toml: nowhere.jsonl: No such file or directory (os error 2)",
        );
        check(
            "[[load]]\nmodel = \"open\"\nrate = 0",
            "w.toml: load \"open\": rate is a number of requests per second between 0.001 and 100000",
        );
        check(
            "[[load]]\nmodel = \"closed\"\nrate = 3",
            "w.toml: load \"closed\" has no rate; it takes concurrency",
        );
        check(
            "[[load]]\nmodel = \"opn\"\nrate = 3",
            "w.toml: unknown load model \"opn\"; did you mean \"open\"?",
        );
        assert_eq!(
            read("schema = 2\n").unwrap_err(),
            "w.toml: schema = 2: this loadgen reads schema = 1"
        );
        assert_eq!(
            named("chat-shrot", None).unwrap_err(),
            "unknown workload \"chat-shrot\"; did you mean \"chat-short\"?"
        );
    }
}
