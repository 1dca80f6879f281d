//! The command line as meant: what [`Measure`] asks for, made complete and consistent, or one line that says what is wrong.

mod schedule;
mod targets;

use std::{collections::BTreeSet, time::Duration};

use crate::{
    args::Measure,
    checks::assertion::Assertion,
    exit::Exit,
    run::Stopping,
    stats,
    workload::{Group, Lengths, Load, LoadPoint, Workload, named},
};

pub use targets::{Api, Processes, TargetPlan};

/// The workloads that are measured when none is named.
const DEFAULT_WORKLOADS: [&str; 3] = ["generate", "embed", "classify"];

/// A measurement, as meant: complete and consistent.
#[derive(Debug, Clone)]
pub struct Plan {
    /// In the order named; the last is the baseline.
    pub targets: Vec<TargetPlan>,
    /// In the order in which they run.
    pub groups: Vec<Group>,
    /// When enough has been measured.
    pub stopping: Stopping,
    /// Of texts, order, arrivals and bootstrap.
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
    /// No progress.
    pub quiet: bool,
    /// What must hold, each with the workload whose file says so; `None` for those of the command line.
    pub asserts: Vec<(Option<String>, Assertion)>,
    /// What an assertion that the data do not decide means.
    pub on_inconclusive: Exit,
    /// Whether targets are compared before and audited after the measurement.
    pub checks: bool,
    /// Whether models are left in memory, so that memory before loading and after unloading is not seen.
    pub keep_loaded: bool,
}

/// A command line that makes no sense; one line that says what to type instead.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(String);

#[cfg(test)]
impl Plan {
    /// Every workload, those of mixes too, in the order of the record.
    pub fn workloads(&self) -> impl Iterator<Item = &Workload> {
        self.groups
            .iter()
            .flat_map(|group| &group.parts)
            .map(|part| &part.workload)
    }
}

impl TryFrom<Measure> for Plan {
    type Error = UsageError;

    fn try_from(args: Measure) -> Result<Self, UsageError> {
        let groups = groups(&args)?;
        let targets = targets::read(&args, &groups)?;
        let labels: BTreeSet<String> = args.labels.iter().cloned().collect();
        if labels.is_empty() && !args.classify_via_chat.is_empty() {
            return usage("--classify-via-chat needs to know the labels: add --labels A,B,...");
        }
        if !(args.margin > 0.0 && args.margin < 1.0) {
            return usage("--margin is a share between 0 and 1: 0.03 is 3 %");
        }
        let seed = args
            .seed
            .or_else(|| groups.iter().find_map(|group| group.pace().seed))
            .unwrap_or_else(rand::random);
        Ok(Self {
            asserts: asserts(&args.asserts, &targets, &groups)?,
            on_inconclusive: args.on_inconclusive,
            checks: !args.no_checks,
            keep_loaded: args.keep_loaded,
            targets,
            groups,
            stopping: Stopping {
                precision: args.precision,
                max_time: args.max_time,
            },
            seed,
            keep_alive: args.keep_alive,
            timeout: args.timeout,
            dimensions: args.dimensions,
            labels: (!labels.is_empty()).then_some(labels),
            margin: args.margin,
            quiet: args.quiet,
        })
    }
}

/// Every assertion, those of workload files among them; a target that does not exist is a mistake.
fn asserts(
    typed: &[Assertion],
    targets: &[TargetPlan],
    groups: &[Group],
) -> Result<Vec<(Option<String>, Assertion)>, UsageError> {
    let mut all: Vec<(Option<String>, Assertion)> =
        typed.iter().map(|one| (None, one.clone())).collect();
    for workload in groups
        .iter()
        .flat_map(|group| &group.parts)
        .map(|part| &part.workload)
    {
        for assert in &workload.asserts {
            let mut assertion: Assertion = assert.expr.parse().map_err(UsageError)?;
            assertion.confidence = assert.confidence;
            all.push((Some(workload.name.clone()), assertion));
        }
    }
    for (_, assertion) in &all {
        let name = assertion.subject.target.as_deref();
        if let Some(name) = name.filter(|name| targets.iter().all(|target| target.name != *name)) {
            return usage(format!(
                "assertion {:?}: no target is named {name:?}",
                assertion.to_string()
            ));
        }
        if assertion.subject.is_ratio && targets.len() < 2 {
            return usage(format!(
                "assertion {:?}: a ratio needs two targets",
                assertion.to_string()
            ));
        }
    }
    Ok(all)
}

/// The workloads, with what the command line says in place of their files.
fn groups(args: &Measure) -> Result<Vec<Group>, UsageError> {
    if args.concurrency.contains(&0) || args.rounds == Some(0) || args.num_predict == Some(0) {
        return usage("--concurrency, --rounds and --num-predict must be at least 1");
    }
    let mut names: Vec<&str> = Vec::new();
    for name in &args.workloads {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    if names.is_empty() {
        names.extend(DEFAULT_WORKLOADS);
    }
    let mut groups = Vec::new();
    for name in names {
        let mut group = named(name, None).map_err(UsageError)?;
        for part in &mut group.parts {
            adjust(&mut part.workload, args)?;
        }
        groups.push(group);
    }
    Ok(groups)
}

fn adjust(workload: &mut Workload, args: &Measure) -> Result<(), UsageError> {
    if !args.concurrency.is_empty() {
        let closed = |concurrency: &usize| {
            Load::Point(LoadPoint::Closed {
                concurrency: *concurrency,
            })
        };
        workload.loads = args.concurrency.iter().map(closed).collect();
    }
    let rounds = &mut workload.rounds;
    if let Some(effort) = args.effort {
        (rounds.count, rounds.requests) = effort.size();
        // Callers without a request would only be callers in name.
        let callers = workload.loads.iter().filter_map(concurrency).max();
        rounds.requests = rounds.requests.max(callers.unwrap_or(1));
    }
    rounds.count = args.rounds.unwrap_or(rounds.count);
    rounds.requests = args.requests.unwrap_or(rounds.requests);
    rounds.warmup = args.warmup.unwrap_or(rounds.warmup);
    if let Some(value) = args.num_predict {
        workload.output.tokens = Lengths::Const { value };
    }
    let most = workload.loads.iter().filter_map(concurrency).max();
    let most = most.unwrap_or(1);
    for load in &workload.loads {
        if let Load::Search(search) = load {
            let needed = stats::fewest_to_pass(search.quantile);
            if workload.rounds.requests < needed {
                return usage(format!(
                    "{}: a search for P{} needs --requests of at least {needed}",
                    workload.name,
                    search.quantile * 100.0
                ));
            }
        }
    }
    if workload.rounds.requests < most {
        return usage(format!(
            "{}: {most} requests in flight need --requests of at least {most}",
            workload.name
        ));
    }
    Ok(())
}

/// Callers of a closed loop.
fn concurrency(load: &Load) -> Option<usize> {
    match load {
        Load::Point(point) => point.concurrency(),
        Load::Search(_) => None,
    }
}

fn usage<T>(message: impl Into<String>) -> Result<T, UsageError> {
    Err(UsageError(message.into()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{args::Cli, routes::Route, workload::Kind};

    fn plan(line: &str) -> Result<Plan, String> {
        let words = std::iter::once("loadgen").chain(line.split_whitespace());
        let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        Plan::try_from(cli.measure).map_err(|error| error.to_string())
    }

    fn named_in<'a>(plan: &'a Plan, name: &str) -> &'a Workload {
        plan.workloads()
            .find(|workload| workload.name == name)
            .unwrap()
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
        let names: Vec<&str> = plan
            .groups
            .iter()
            .map(|group| group.name.as_str())
            .collect();
        assert_eq!(names, ["generate", "embed", "classify"]);
        assert_eq!(
            plan.targets[0].model(named_in(&plan, "classify")),
            "tiny-classify"
        );
    }

    #[test]
    fn models_are_named_for_all_or_for_one() {
        let plan = plan("--target a=h:1 --target b=h:2 --model embed=x --model b:embed=y --model generate=q:0.5b").unwrap();
        let models = |name: &str| {
            plan.targets
                .iter()
                .map(|target| target.model(named_in(&plan, name)))
                .collect::<Vec<_>>()
        };
        assert_eq!(models("embed"), ["x", "y"]);
        assert_eq!(models("generate"), ["q:0.5b", "q:0.5b"]);
        assert_eq!(models("classify"), ["tiny-classify", "tiny-classify"]);
    }

    #[test]
    fn a_chat_stands_in_for_a_classifier_with_the_generating_model() {
        let line = "--target ours --target ollama --model generate=m --classify-via-chat ollama --labels a,b";
        let plan = plan(line).unwrap();
        let classify = named_in(&plan, "classify");
        let routes = [0, 1].map(|target: usize| plan.targets[target].route(Kind::Classify));
        assert_eq!(routes, [Route::Classify, Route::ClassifyByChat]);
        assert_eq!(plan.targets[1].model(classify), "m");
    }

    #[test]
    fn a_target_says_what_it_speaks_and_which_model_it_has() {
        let line = "--target a=h:1,api=openai,model=m,pid=7 --target b=h:2,api=tei --workload generate,embed";
        let plan = plan(line).unwrap();
        let [a, b] = &plan.targets[..] else {
            panic!("two targets")
        };
        assert_eq!((a.api, &a.processes), (Api::Openai, &Processes::Id(7)));
        assert_eq!(a.model(named_in(&plan, "embed")), "m");
        assert_eq!(a.route(Kind::Generate), Route::OpenaiCompletion);
        assert_eq!(b.route(Kind::Embed), Route::TeiEmbed);
    }

    #[test]
    fn effort_sets_rounds_unless_they_are_counted() {
        let size = |line: &str| {
            let rounds = plan(line).unwrap().groups[0].pace().rounds;
            (rounds.count, rounds.requests)
        };
        assert_eq!(size("--target ours --effort publish"), (30, 20));
        assert_eq!(size("--target ours --effort publish --rounds 7"), (7, 20));
        assert_eq!(
            size("--target ours --effort smoke --concurrency 16"),
            (2, 16)
        );
    }

    #[test]
    fn mistakes_are_answered_in_one_line_that_says_what_to_type() {
        let check =
            |line: &str, answer: &str| assert_eq!(plan(line).unwrap_err(), answer, "{line}");
        check(
            "--target ours --workload generat",
            "unknown workload \"generat\"; did you mean \"generate\"?",
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
            "generate: 64 requests in flight need --requests of at least 64",
        );
        check(
            "--target ours --concurrency 0",
            "--concurrency, --rounds and --num-predict must be at least 1",
        );
        check(
            "--target ours --workload capacity --requests 20",
            "capacity: a search for P95 needs --requests of at least 90",
        );
        check(
            "--target ours,apis=openai",
            "target ours: unknown \"apis=openai\"; did you mean api=...?",
        );
        check(
            "--target ours,api=opena",
            "target ours: unknown api \"opena\"; there is ollama, openai, tei, native",
        );
        check(
            "--target a=h:1,api=openai",
            "target a classifies through chat and needs to know the labels: add --labels A,B,... or name other workloads",
        );
        check(
            "--target ours --margin 3",
            "--margin is a share between 0 and 1: 0.03 is 3 %",
        );
    }
}
