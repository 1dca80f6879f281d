use crate::{
    checks::gates::EQUAL_LENGTH_SHARE,
    report::model::{Row, WorkloadReport},
};

/// What the replies reveal about the targets not doing the same work.
pub(super) fn objections(workloads: &[WorkloadReport]) -> Vec<String> {
    let mut objections = Vec::new();
    for workload in workloads {
        let Some((last, others)) = workload.lanes.split_last() else {
            continue;
        };
        for (target, lane) in others.iter().enumerate() {
            let names = format!("{}: {} and {}", workload.name, lane.target, last.target);
            if let (Some(one), Some(other)) = (lane.dimensions, last.dimensions)
                && workload.kind == "embed"
                && one != other
            {
                objections.push(format!(
                    "{names} give vectors of {one} and {other} numbers: not the same model"
                ));
            }
            if let (Some(one), Some(other)) = (&lane.labels, &last.labels)
                && workload.kind == "classify"
                && one != other
            {
                objections.push(format!(
                    "{names} know different labels ({}; {}): not the same model",
                    one.join(", "),
                    other.join(", ")
                ));
            }
            objections.extend(
                workload
                    .rows
                    .iter()
                    .filter_map(|row| unequal_lengths(row, target))
                    .map(|reason| format!("{names} {reason}")),
            );
        }
    }
    objections
}

fn unequal_lengths(row: &Row, target: usize) -> Option<String> {
    let share = row.equal_length_share[target].filter(|share| *share < EQUAL_LENGTH_SHARE)?;
    Some(format!(
        "gave equally long replies to only {:.0} % of the requests ({}): end-to-end times are not compared",
        share * 100.0,
        row.label
    ))
}
