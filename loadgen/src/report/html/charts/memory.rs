use crate::report::{
    format,
    html::{
        chart::{self, Axis, BOTTOM, Chart, Data, HEIGHT, TOP},
        markup::{add, coordinate, escape},
        scale::Scale,
    },
    model::{MemoryReading, MemoryReport, WorkloadReport},
};

/// Takes one part of a reading.
type Size = fn(&MemoryReading) -> u64;

/// The layers from the ground up: what is held, what is shared, what the kernel may drop.
const LAYERS: [(&str, &str, Size); 3] = [
    ("anon", "anonymous", |one| one.anon_bytes),
    ("shmem", "shared", |one| one.shmem_bytes),
    ("file", "files", |one| one.file_bytes),
];

/// Resident memory over time of each target, all on one scale.
pub(in crate::report::html) fn memory(id: &str, workload: &WorkloadReport) -> Vec<Chart> {
    let reports = || workload.memory.iter().enumerate();
    let most = reports()
        .filter_map(|(_, memory)| Some(memory.as_ref()?.peak.rss_bytes))
        .max()
        .unwrap_or(0) as f64;
    let last = reports()
        .filter_map(|(_, memory)| {
            let readings = &memory.as_ref()?.readings;
            Some(readings.last()?.at_ms - readings.first()?.at_ms)
        })
        .max()
        .unwrap_or(0) as f64;
    reports()
        .filter_map(|(target, memory)| {
            let memory = memory.as_ref()?;
            let name = &workload.lanes.get(target)?.target;
            Some(chart(
                &format!("{id}-memory-{target}"),
                name,
                memory,
                most,
                last,
            ))
        })
        .collect()
}

fn chart(id: &str, name: &str, memory: &MemoryReport, most: f64, last: f64) -> Chart {
    let x = Scale::linear([0.0, last], chart::across());
    let began = memory.readings.first().map_or(0, |reading| reading.at_ms);
    let since = |at_ms: u64| at_ms.saturating_sub(began) as f64;
    let y = Scale::linear([0.0, most * 1.05], chart::upwards());
    let mut body = String::new();
    bands(&mut body, memory, |at_ms| x.at(since(at_ms)));
    let mut ground: Vec<f64> = vec![0.0; memory.readings.len()];
    for (class, _, of) in LAYERS {
        let upper: Vec<f64> = memory
            .readings
            .iter()
            .zip(&ground)
            .map(|(reading, ground)| ground + of(reading) as f64)
            .collect();
        let along = |heights: &[f64]| -> Vec<(f64, f64)> {
            let places = memory.readings.iter().zip(heights);
            places
                .map(|(reading, height)| (x.at(since(reading.at_ms)), y.at(*height)))
                .collect()
        };
        let mut outline = along(&upper);
        outline.extend(along(&ground).into_iter().rev());
        add(
            &mut body,
            format_args!(
                "<path class=\"layer {class}\" d=\"{}Z\"/>",
                chart::line_through(outline)
            ),
        );
        ground = upper;
    }
    let peak = (
        x.at(since(memory.peak.at_ms)),
        y.at(memory.peak.rss_bytes as f64),
    );
    add(
        &mut body,
        format_args!(
            "<path class=\"dot peak\" d=\"M{} {}h0\"/>",
            coordinate(peak.0),
            coordinate(peak.1)
        ),
    );
    Chart {
        id: id.into(),
        title: format!("Memory of {name}"),
        reading: reading(memory),
        x: Axis::new(x, "time since the workload began", "ms", format::duration),
        y: Axis::of_bytes(y, "resident"),
        height: HEIGHT,
        body,
        legend: LAYERS
            .map(|(class, title, _)| {
                format!(
                    "<span class=\"key\"><svg width=\"14\" height=\"12\" aria-hidden=\"true\"><path class=\"layer {class}\" \
                     d=\"M1 1H13V11H1Z\"/></svg>{title}</span>"
                )
            })
            .join(""),
        data: data(memory),
    }
}

/// What the target was doing, as bands behind the layers with their names at the top.
fn bands(body: &mut String, memory: &MemoryReport, x: impl Fn(u64) -> f64) {
    for (index, phase) in memory.phases.iter().enumerate() {
        let (from, to) = (x(phase.from_ms), x(phase.to_ms));
        add(
            body,
            format_args!(
                "<path class=\"band {}\" d=\"M{} {}H{}V{}H{}Z\"/>",
                if index.is_multiple_of(2) {
                    "even"
                } else {
                    "odd"
                },
                coordinate(from),
                coordinate(TOP),
                coordinate(to),
                coordinate(HEIGHT - BOTTOM),
                coordinate(from)
            ),
        );
        // A name that is wider than its band would lie over its neighbour's.
        if phase.name.chars().count() as f64 * 6.2 < to - from {
            add(
                body,
                format_args!(
                    "<text class=\"small mid\" x=\"{}\" y=\"{}\">{}</text>",
                    coordinate(f64::midpoint(from, to)),
                    coordinate(TOP + 12.0),
                    escape(&phase.name)
                ),
            );
        }
    }
}

fn reading(memory: &MemoryReport) -> String {
    let ratio = memory.ratio.map_or(String::new(), |ratio| {
        format!(
            " The peak is {} times the files of the loaded models.",
            format::ratio(ratio)
        )
    });
    let part = if memory.readings.len() < memory.readings_taken {
        format!(
            " {} of {} readings are shown, the peak among them.",
            memory.readings.len(),
            memory.readings_taken
        )
    } else {
        String::new()
    };
    format!(
        "Anonymous memory is held; pages of files (memory-mapped weights) may be dropped when others need the room. All targets share one scale.{ratio}{part}"
    )
}

fn data(memory: &MemoryReport) -> Data {
    let bytes = |bytes: u64| format::bytes(bytes as f64);
    let line = |label: &str, one: &MemoryReading| {
        vec![
            label.to_owned(),
            bytes(one.rss_bytes),
            bytes(one.anon_bytes),
            bytes(one.file_bytes),
            bytes(one.shmem_bytes),
            one.processes.to_string(),
        ]
    };
    let mut rows = vec![line("before", &memory.before), line("peak", &memory.peak)];
    rows.extend(memory.readings.last().map(|last| line("at the end", last)));
    for phase in &memory.phases {
        let cell = |size: Option<u64>| size.map_or(format::NOT_AVAILABLE.into(), bytes);
        rows.push(vec![
            format!("end of {}", phase.name),
            cell(phase.end_rss_bytes),
            cell(phase.end_anon_bytes),
            String::new(),
            String::new(),
            String::new(),
        ]);
    }
    Data {
        head: ["", "resident", "anonymous", "files", "shared", "processes"]
            .map(str::to_owned)
            .into(),
        rows,
    }
}
