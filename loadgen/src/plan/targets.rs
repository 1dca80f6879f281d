use std::path::{Path, PathBuf};

use reqwest::Url;

use super::{UsageError, usage};
use crate::{
    args::Measure,
    routes::Route,
    units,
    workload::{Group, Kind, Workload},
};

/// One server to measure.
#[derive(Debug, Clone)]
pub struct TargetPlan {
    /// As printed.
    pub name: String,
    /// Its root.
    pub url: Url,
    /// What it speaks.
    pub api: Api,
    /// Whose memory is its memory.
    pub processes: Processes,
    /// The command that starts it, if it is loadgen's to start and to stop.
    pub spawn: Option<String>,
    /// Whether `/classify` is replaced by `/api/chat`.
    pub classify_via_chat: bool,
    /// For every kind of work.
    model: Option<String>,
    /// By name of a workload or kind, in the order typed.
    assigned: Vec<(String, String)>,
}

/// How a target's processes are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Processes {
    /// Who listens on its port, and what they started.
    Port,
    /// This one, and what it started.
    Id(i32),
    /// All of this control group and those below it: a container behind a forwarded port.
    Cgroup(PathBuf),
}

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// `/api/generate`, `/api/chat`, `/api/embed`; and `/classify`, which Ollama itself lacks.
    #[value(alias = "native")]
    Ollama,
    /// `/v1/completions`, `/v1/chat/completions`, `/v1/embeddings`: llama-server, vLLM and many more.
    Openai,
    /// `/embed`, `/predict`: text-embeddings-inference.
    Tei,
}

impl Api {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ollama => "ollama",
            Self::Openai => "openai",
            Self::Tei => "tei",
        }
    }
}

impl TargetPlan {
    /// The model that serves `workload` here.
    pub fn model<'a>(&'a self, workload: &'a Workload) -> &'a str {
        let assigned = |place: &str| {
            let mut latest_first = self.assigned.iter().rev();
            latest_first
                .find(|(of, _)| of == place)
                .map(|(_, model)| model.as_str())
        };
        // A chat stands in for the classifier, so it is the generating model's work unless another is named.
        let kinds: &[Kind] = match workload.kind {
            Kind::Generate => &[Kind::Generate],
            Kind::Chat => &[Kind::Chat, Kind::Generate],
            Kind::Embed => &[Kind::Embed],
            Kind::Classify if self.route(Kind::Classify).is_emulated() => {
                &[Kind::Classify, Kind::Generate]
            }
            Kind::Classify => &[Kind::Classify],
        };
        assigned(&workload.name)
            .or_else(|| kinds.iter().find_map(|kind| assigned(kind.name())))
            .or_else(|| workload.models.get(&self.name).map(String::as_str))
            .or(self.model.as_deref())
            .unwrap_or(match kinds.last() {
                Some(Kind::Embed) => "tiny-embed",
                Some(Kind::Classify) => "tiny-classify",
                _ => "tiny",
            })
    }

    /// The request that carries work of this kind here.
    pub fn route(&self, kind: Kind) -> Route {
        match (self.api, kind) {
            (Api::Openai, Kind::Generate) => Route::OpenaiCompletion,
            (Api::Openai, Kind::Chat) => Route::OpenaiChat,
            (Api::Openai, Kind::Embed) => Route::OpenaiEmbed,
            (Api::Openai, Kind::Classify) => Route::OpenaiClassify,
            (Api::Tei, Kind::Embed) => Route::TeiEmbed,
            (Api::Tei, Kind::Classify) => Route::TeiPredict,
            // A server of this kind lacks the routes for text, and will say so.
            (_, Kind::Generate) => Route::Generate,
            (_, Kind::Chat) => Route::Chat,
            (_, Kind::Embed) => Route::Embed,
            (_, Kind::Classify) if self.classify_via_chat => Route::ClassifyByChat,
            (_, Kind::Classify) => Route::Classify,
        }
    }
}

/// The targets that are named, with their models for `groups`.
pub(super) fn read(args: &Measure, groups: &[Group]) -> Result<Vec<TargetPlan>, UsageError> {
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
        assign_model(typed, &mut targets, groups)?;
    }
    let classifies = groups
        .iter()
        .flat_map(|group| &group.parts)
        .any(|part| part.workload.kind == Kind::Classify);
    if let Some(target) = targets.iter().find(|target| target.api == Api::Openai)
        && classifies
        && args.labels.is_empty()
    {
        return usage(format!(
            "target {} classifies through chat and needs to know the labels: add --labels A,B,... or name other workloads",
            target.name
        ));
    }
    for name in &args.classify_via_chat {
        target_named(name, &mut targets)?.classify_via_chat = true;
    }
    Ok(targets)
}

fn target(typed: &str, args: &Measure) -> Result<TargetPlan, UsageError> {
    // A command may hold commas, so it takes all that follows.
    let (typed, spawn) = match typed.split_once(",spawn=") {
        Some((before, command)) => (before, Some(command)),
        None => (typed, None),
    };
    let mut pieces = typed.split(',');
    let whole = pieces.next().unwrap_or_default();
    let (name, address) = match (whole.split_once('='), whole) {
        (Some((name, address)), _) if !name.is_empty() => (name, address),
        (None, "ours") => ("ours", args.ours_url.as_str()),
        (None, "ollama") => ("ollama", args.ollama_url.as_str()),
        _ => {
            return usage(format!(
                "unknown target {whole:?}: use ours, ollama or NAME=URL"
            ));
        }
    };
    let mut target = TargetPlan {
        name: name.into(),
        url: url(name, address)?,
        api: Api::Ollama,
        processes: Processes::Port,
        spawn: None,
        classify_via_chat: false,
        model: None,
        assigned: Vec::new(),
    };
    for piece in pieces {
        set(&mut target, piece)?;
    }
    if let Some(command) = spawn {
        let name = &target.name;
        if command.trim().is_empty() {
            return usage(format!(
                "target {name}: spawn= needs the command of a server"
            ));
        }
        if target.processes != Processes::Port {
            return usage(format!(
                "target {name}: a server that spawn= starts is found by itself; leave out pid= and cgroup="
            ));
        }
        target.spawn = Some(command.trim().into());
    }
    Ok(target)
}

/// Where control groups are mounted on every current system; a full path stays as it is.
const CGROUPS: &str = "/sys/fs/cgroup";

/// One `key=value` after a target's address.
fn set(target: &mut TargetPlan, typed: &str) -> Result<(), UsageError> {
    let name = &target.name;
    match typed.split_once('=') {
        Some(("api", api)) => {
            target.api = clap::ValueEnum::from_str(api, true).map_err(|_| {
                UsageError(format!(
                    "target {name}: unknown api {api:?}; there is ollama, openai, tei, native"
                ))
            })?;
        }
        Some(("model", model)) if !model.is_empty() => target.model = Some(model.into()),
        Some(("pid", pid)) => {
            let pid = pid.parse().ok().filter(|pid| *pid > 0);
            let pid =
                pid.ok_or_else(|| UsageError(format!("target {name}: pid is a process id")))?;
            target.processes = Processes::Id(pid);
        }
        Some(("cgroup", path)) if !path.is_empty() => {
            target.processes = Processes::Cgroup(Path::new(CGROUPS).join(path));
        }
        _ => {
            let key = typed.split('=').next().unwrap_or_default();
            let meant = units::nearest(key, ["api", "model", "pid", "cgroup", "spawn"]);
            return usage(match meant {
                Some(meant) if meant != key => {
                    format!("target {name}: unknown {typed:?}; did you mean {meant}=...?")
                }
                _ => format!(
                    "target {name}: unknown {typed:?}; there is api=, model=, pid=, cgroup=, spawn="
                ),
            });
        }
    }
    Ok(())
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

fn assign_model(
    typed: &str,
    targets: &mut [TargetPlan],
    groups: &[Group],
) -> Result<(), UsageError> {
    let Some((place, model)) = typed.split_once('=').filter(|(_, model)| !model.is_empty()) else {
        return usage(format!(
            "--model {typed:?}: write WORKLOAD=MODEL or TARGET:WORKLOAD=MODEL"
        ));
    };
    let (chosen, workload) = match place.split_once(':') {
        Some((target, workload)) => {
            let chosen = std::slice::from_mut(target_named(target, targets)?);
            (chosen, workload)
        }
        None => (targets, place),
    };
    let workloads = groups.iter().flat_map(|group| &group.parts);
    let known: Vec<&str> = Kind::ALL
        .map(Kind::name)
        .into_iter()
        .chain(workloads.map(|part| part.workload.name.as_str()))
        .collect();
    if !known.contains(&workload) {
        return usage(match units::nearest(workload, known.iter().copied()) {
            Some(meant) => format!("--model {typed:?}: did you mean {meant:?}?"),
            None => format!("--model {typed:?}: no workload {workload:?} is measured"),
        });
    }
    for target in chosen {
        target.assigned.push((workload.into(), model.into()));
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
