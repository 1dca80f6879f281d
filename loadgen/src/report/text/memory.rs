use super::{
    rows::compared,
    table::{Cell, Table},
};
use crate::report::{
    format::{self, NOT_AVAILABLE},
    model::{MemoryReport, Metric, WorkloadReport},
};

/// What was resident when a phase ended.
const PHASES: [(&str, &str); 5] = [
    ("idle", "  RSS, no model loaded"),
    ("loaded", "  RSS, loaded"),
    ("warm", "  RSS, warmed up"),
    ("after", "  RSS after load"),
    ("unloaded", "  RSS, unloaded again"),
];

/// Memory of the process trees, always with its split: what is anonymous is held, what is of files may be dropped.
pub(super) fn lines(table: &mut Table, workload: &WorkloadReport, targets: &[usize]) {
    let of = |target: &usize| workload.memory[*target].as_ref();
    if targets.iter().all(|target| of(target).is_none()) {
        return;
    }
    table.title("memory of the process tree");
    let mut row = |label: &str, figure: &dyn Fn(&MemoryReport) -> Option<String>, words| {
        let cells: Vec<Option<String>> = targets
            .iter()
            .map(|target| of(target).and_then(figure))
            .collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells
                .into_iter()
                .map(|cell| cell.unwrap_or_else(|| NOT_AVAILABLE.into()));
            table.row(label, cells.map(Cell::from).collect(), words);
        }
    };
    let bytes = |bytes: u64| format::bytes(bytes as f64);
    row(
        "  processes",
        &|one| Some(one.peak.processes.to_string()),
        vec![],
    );
    for (phase, label) in PHASES {
        let ended = |one: &MemoryReport| {
            let mut phases = one.phases.iter().rev();
            let last = phases.find(|one| one.name == phase)?;
            last.end_rss_bytes.map(bytes)
        };
        row(label, &ended, vec![]);
    }
    row(
        "  peak RSS",
        &|one| Some(bytes(one.peak.rss_bytes)),
        ratio(workload, targets, Metric::PeakRss),
    );
    row(
        "    anonymous",
        &|one| Some(bytes(one.peak.anon_bytes)),
        ratio(workload, targets, Metric::PeakAnon),
    );
    row("    file", &|one| Some(bytes(one.peak.file_bytes)), vec![]);
    row(
        "    shared",
        &|one| Some(bytes(one.peak.shmem_bytes)),
        vec![],
    );
    row(
        "  PSS before",
        &|one| one.pss_before_bytes.map(bytes),
        vec![],
    );
    row("  PSS after", &|one| one.pss_after_bytes.map(bytes), vec![]);
    row(
        "  files of models",
        &|one| {
            Some(bytes(
                one.loaded.as_ref()?.iter().map(|model| model.bytes).sum(),
            ))
        },
        vec![],
    );
    row(
        "  peak RSS / files",
        &|one| one.ratio.map(format::ratio),
        vec![],
    );
    row(
        "  CPU s/1000 tokens",
        &|one| one.cpu_s_per_1000_output_tokens.map(format::digits),
        vec![],
    );
    row(
        "  growth/1000 requests",
        &|one| one.growth_bytes_per_1000_requests.map(format::bytes),
        vec![],
    );
}

fn ratio(workload: &WorkloadReport, targets: &[usize], metric: Metric) -> Vec<Cell> {
    let per_candidate = workload
        .memory_comparisons
        .iter()
        .filter(|one| one.metric == metric);
    compared(
        (targets.len() > 1)
            .then(|| per_candidate.into_iter().nth(targets[0]))
            .flatten(),
    )
}
