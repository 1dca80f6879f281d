//! The command line as meant: what [`Measure`] ask for, made complete and consistent, or one line that says what is wrong.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use reqwest::Url;

use crate::{args::Measure, routes::Route, workload::Workload};

/// A measurement, as meant: complete and consistent.
#[derive(Debug, Clone)]
pub struct Plan {
    /// In the order named; the last is the baseline.
    pub targets: Vec<TargetPlan>,
    /// In the order in which they run.
    pub workloads: Vec<Workload>,
    /// Each is measured by itself.
    pub concurrency: Vec<usize>,
    /// Rounds per workload and concurrency.
    pub rounds: u32,
    /// Measured requests per target and round.
    pub requests: usize,
    /// Discarded requests per target and round.
    pub warmup: usize,
    /// Most tokens to generate.
    pub num_predict: u64,
    /// Of texts, order and bootstrap.
    pub seed: u64,
    /// Sent with every request.
    pub keep_alive: Duration,
    /// Per request.
    pub timeout: Duration,
    /// If the user knows it.
    pub dimensions: Option<usize>,
    /// If the user knows them.
    pub labels: Option<BTreeSet<String>>,
    /// Practical margin of verdicts, as a share.
    pub margin: f64,
    /// Where the JSON report goes.
    pub json: Option<PathBuf>,
    /// No progress.
    pub quiet: bool,
}

/// One server to measure.
#[derive(Debug, Clone)]
pub struct TargetPlan {
    /// As printed.
    pub name: String,
    /// Its root.
    pub url: Url,
    /// Whether `/classify` is replaced by `/api/chat`.
    pub classify_via_chat: bool,
    models: Vec<(Workload, String)>,
}

/// A command line that makes no sense; one line that says what to type instead.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(String);

impl TargetPlan {
    /// The model that serves `workload` here.
    pub fn model(&self, workload: Workload) -> &str {
        let (_, model) = self
            .models
            .iter()
            .find(|(of, _)| *of == workload)
            .expect("every workload has a model");
        model
    }

    /// The request that carries `workload` here.
    pub fn route(&self, workload: Workload) -> Route {
        match workload {
            Workload::Generate => Route::Generate,
            Workload::Embed => Route::Embed,
            Workload::Classify if self.classify_via_chat => Route::ClassifyByChat,
            Workload::Classify => Route::Classify,
        }
    }
}

impl TryFrom<Measure> for Plan {
    type Error = UsageError;

    fn try_from(args: Measure) -> Result<Self, UsageError> {
        let targets = targets(&args)?;
        let labels: BTreeSet<String> = args.labels.iter().cloned().collect();
        if labels.is_empty() && !args.classify_via_chat.is_empty() {
            return usage("--classify-via-chat needs to know the labels: add --labels A,B,...");
        }
        let most = args.concurrency.iter().copied().max().unwrap_or(0);
        if args.concurrency.contains(&0) || args.rounds == 0 || args.num_predict == 0 {
            return usage("--concurrency, --rounds and --num-predict must be at least 1");
        }
        if args.requests < most {
            return usage(format!(
                "{most} requests in flight need --requests of at least {most}"
            ));
        }
        if !(args.margin > 0.0 && args.margin < 1.0) {
            return usage("--margin is a share between 0 and 1: 0.03 is 3 %");
        }
        Ok(Self {
            targets,
            workloads: workloads(&args.workloads)?,
            concurrency: args.concurrency,
            rounds: args.rounds,
            requests: args.requests,
            warmup: args.warmup,
            num_predict: args.num_predict,
            seed: args.seed.unwrap_or_else(rand::random),
            keep_alive: args.keep_alive,
            timeout: args.timeout,
            dimensions: args.dimensions,
            labels: (!labels.is_empty()).then_some(labels),
            margin: args.margin,
            json: args.json,
            quiet: args.quiet,
        })
    }
}

fn targets(args: &Measure) -> Result<Vec<TargetPlan>, UsageError> {
    if args.targets.is_empty() {
        return usage(
            "nothing to measure: add --target ours, --target ollama or --target NAME=URL",
        );
    }
    let mut targets: Vec<TargetPlan> = Vec::new();
    for typed in &args.targets {
        let target = target(typed, args)?;
        if targets.iter().any(|other| other.name == target.name) {
            return usage(format!(
                "two targets are named {:?}: name one of them NAME=URL",
                target.name
            ));
        }
        targets.push(target);
    }
    for typed in &args.models {
        assign_model(typed, &mut targets)?;
    }
    for name in &args.classify_via_chat {
        target_named(name, &mut targets)?.classify_via_chat = true;
    }
    // A chat stands in for the classifier, so it is the generating model's work unless another is named.
    for target in targets.iter_mut().filter(|target| target.classify_via_chat) {
        if !args
            .models
            .iter()
            .any(|typed| typed.starts_with(&format!("{}:classify=", target.name)))
        {
            let model = target.model(Workload::Generate).to_owned();
            target.set_model(Workload::Classify, &model);
        }
    }
    Ok(targets)
}

fn target(typed: &str, args: &Measure) -> Result<TargetPlan, UsageError> {
    let (name, address) = match (typed.split_once('='), typed) {
        (Some((name, address)), _) if !name.is_empty() => (name, address),
        (None, "ours") => ("ours", args.ours_url.as_str()),
        (None, "ollama") => ("ollama", args.ollama_url.as_str()),
        _ => {
            return usage(format!(
                "unknown target {typed:?}: use ours, ollama or NAME=URL"
            ));
        }
    };
    let models = Workload::ALL.map(|workload| {
        let model = match workload {
            Workload::Generate => "tiny",
            Workload::Embed => "tiny-embed",
            Workload::Classify => "tiny-classify",
        };
        (workload, model.to_owned())
    });
    Ok(TargetPlan {
        name: name.into(),
        url: url(name, address)?,
        classify_via_chat: false,
        models: models.into(),
    })
}

fn url(name: &str, address: &str) -> Result<Url, UsageError> {
    let whole = if address.contains("://") {
        address.to_owned()
    } else {
        format!("http://{address}")
    };
    match Url::parse(&whole) {
        Ok(url) if url.scheme() == "http" && url.has_host() => Ok(url),
        Ok(url) if url.scheme() == "https" => usage(format!(
            "target {name}: https is not measured; point it at a plain http:// port"
        )),
        _ => usage(format!(
            "target {name}: {address:?} is no address; write http://HOST:PORT"
        )),
    }
}

fn assign_model(typed: &str, targets: &mut [TargetPlan]) -> Result<(), UsageError> {
    let Some((place, model)) = typed.split_once('=').filter(|(_, model)| !model.is_empty()) else {
        return usage(format!(
            "--model {typed:?}: write WORKLOAD=MODEL or TARGET:WORKLOAD=MODEL"
        ));
    };
    match place.split_once(':') {
        Some((target, name)) => target_named(target, targets)?.set_model(workload(name)?, model),
        None => {
            let workload = workload(place)?;
            targets
                .iter_mut()
                .for_each(|target| target.set_model(workload, model));
        }
    }
    Ok(())
}

fn target_named<'a>(
    name: &str,
    targets: &'a mut [TargetPlan],
) -> Result<&'a mut TargetPlan, UsageError> {
    let names = targets
        .iter()
        .map(|target| target.name.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    match targets.iter_mut().find(|target| target.name == name) {
        Some(target) => Ok(target),
        None => usage(format!("no target is named {name:?}; there is {names}")),
    }
}

impl TargetPlan {
    fn set_model(&mut self, workload: Workload, model: &str) {
        self.models
            .iter_mut()
            .filter(|(of, _)| *of == workload)
            .for_each(|(_, name)| model.clone_into(name));
    }
}

fn workloads(typed: &[String]) -> Result<Vec<Workload>, UsageError> {
    if typed.is_empty() {
        return Ok(Workload::ALL.into());
    }
    let chosen = typed
        .iter()
        .map(|name| workload(name))
        .collect::<Result<BTreeSet<_>, _>>()?;
    Ok(chosen.into_iter().collect())
}

fn workload(name: &str) -> Result<Workload, UsageError> {
    Workload::named(name).ok_or_else(|| {
        UsageError(format!(
            "unknown workload {name:?}: use generate, embed or classify"
        ))
    })
}

fn usage<T>(message: impl Into<String>) -> Result<T, UsageError> {
    Err(UsageError(message.into()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Cli;

    fn plan(line: &str) -> Result<Plan, String> {
        let words = std::iter::once("loadgen").chain(line.split_whitespace());
        let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        Plan::try_from(cli.measure).map_err(|error| error.to_string())
    }

    #[test]
    fn two_names_are_a_complete_plan() {
        let plan = plan("--target ours --target ollama").unwrap();
        let targets: Vec<(&str, &str)> = plan
            .targets
            .iter()
            .map(|target| (target.name.as_str(), target.url.as_str()))
            .collect();
        assert_eq!(
            targets,
            [
                ("ours", "http://127.0.0.1:11434/"),
                ("ollama", "http://127.0.0.1:11435/")
            ]
        );
        assert_eq!(plan.workloads, Workload::ALL);
        assert_eq!(plan.concurrency, [1]);
        assert_eq!(plan.targets[0].model(Workload::Classify), "tiny-classify");
    }

    #[test]
    fn models_are_named_for_all_or_for_one() {
        let plan = plan("--target a=h:1 --target b=h:2 --model embed=x --model b:embed=y --model generate=q:0.5b").unwrap();
        let models = |workload| {
            plan.targets
                .iter()
                .map(|target| target.model(workload))
                .collect::<Vec<_>>()
        };
        assert_eq!(models(Workload::Embed), ["x", "y"]);
        assert_eq!(models(Workload::Generate), ["q:0.5b", "q:0.5b"]);
        assert_eq!(
            models(Workload::Classify),
            ["tiny-classify", "tiny-classify"]
        );
    }

    #[test]
    fn a_chat_stands_in_for_a_classifier_with_the_generating_model() {
        let line = "--target ours --target ollama --model generate=m --classify-via-chat ollama --labels a,b";
        let plan = plan(line).unwrap();
        assert_eq!(plan.targets[0].route(Workload::Classify), Route::Classify);
        assert_eq!(
            plan.targets[1].route(Workload::Classify),
            Route::ClassifyByChat
        );
        assert_eq!(plan.targets[1].model(Workload::Classify), "m");
    }

    #[test]
    fn mistakes_are_answered_in_one_line_that_says_what_to_type() {
        let check =
            |line: &str, answer: &str| assert_eq!(plan(line).unwrap_err(), answer, "{line}");
        check(
            "--target ours --workload generat",
            "unknown workload \"generat\": use generate, embed or classify",
        );
        check(
            "--target theirs",
            "unknown target \"theirs\": use ours, ollama or NAME=URL",
        );
        check(
            "--target =http://h",
            "unknown target \"=http://h\": use ours, ollama or NAME=URL",
        );
        check(
            "--rounds 3",
            "nothing to measure: add --target ours, --target ollama or --target NAME=URL",
        );
        check(
            "--target a=https://h",
            "target a: https is not measured; point it at a plain http:// port",
        );
        check(
            "--target a=http://",
            "target a: \"http://\" is no address; write http://HOST:PORT",
        );
        check(
            "--target ours --target ours",
            "two targets are named \"ours\": name one of them NAME=URL",
        );
        check(
            "--target ours --model tiny",
            "--model \"tiny\": write WORKLOAD=MODEL or TARGET:WORKLOAD=MODEL",
        );
        check(
            "--target ours --model x:embed=m",
            "no target is named \"x\"; there is ours",
        );
        check(
            "--target ours --classify-via-chat ours",
            "--classify-via-chat needs to know the labels: add --labels A,B,...",
        );
        check(
            "--target ours --concurrency 64",
            "64 requests in flight need --requests of at least 64",
        );
        check(
            "--target ours --concurrency 0",
            "--concurrency, --rounds and --num-predict must be at least 1",
        );
        check(
            "--target ours --margin 3",
            "--margin is a share between 0 and 1: 0.03 is 3 %",
        );
    }
}
