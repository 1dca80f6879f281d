use crate::{
    memory::{Phase, Series, Snapshot},
    report::model::{LoadedModel, MemoryPhase, MemoryReading, MemoryReport},
    run::{Cell, Model, Slot},
};

/// More readings than this are more than a chart has pixels.
const MOST_READINGS: usize = 600;

/// What `series` says of `target`: how it compares with the files of the models that are `loaded`, and what its measured
/// rounds, in `cells`, cost.
pub(super) fn memory(
    series: &Series,
    loaded: Option<&[Model]>,
    cells: &[Cell],
    target: usize,
) -> MemoryReport {
    let peak = series.peak();
    let bytes: Option<u64> = loaded.map(|models| models.iter().map(|model| model.bytes).sum());
    let slots: Vec<&Slot> = cells
        .iter()
        .flat_map(|cell| super::row::slots(cell, target))
        .collect();
    let cpu_s: Option<f64> = slots.iter().map(|slot| cpu_s(series, slot)).sum();
    let output_tokens: u64 = slots
        .iter()
        .flat_map(|slot| &slot.samples)
        .filter_map(|sample| Some(sample.generation()?.tokens))
        .sum();
    let requests: usize = slots.iter().map(|slot| slot.samples.len()).sum();
    MemoryReport {
        before: reading(&series.snapshots[0]),
        peak: reading(peak),
        pss_before_bytes: series.pss_before_bytes(),
        pss_after_bytes: series.pss_after_bytes(),
        loaded: loaded.map(|models| models.iter().map(loaded_model).collect()),
        ratio: bytes
            .filter(|bytes| *bytes > 0)
            .map(|bytes| peak.rss_bytes as f64 / bytes as f64),
        cpu_s,
        cpu_s_per_1000_output_tokens: cpu_s
            .filter(|_| output_tokens > 0)
            .map(|seconds| seconds * 1e3 / output_tokens as f64),
        growth_bytes_per_1000_requests: growth(series, requests),
        readings: thinned(&series.snapshots, peak)
            .into_iter()
            .map(reading)
            .collect(),
        readings_taken: series.snapshots.len(),
        phases: phases(series),
    }
}

/// The largest resident and anonymous size in each round of `target`, in bytes; rounds shorter than a reading have none.
pub(super) fn peaks_by_round(series: &Series, cells: &[Cell], target: usize) -> Vec<[f64; 2]> {
    cells
        .iter()
        .flat_map(|cell| super::row::slots(cell, target))
        .filter_map(|slot| {
            let (from, to) = span_ms(slot);
            // A reading up to a period late still belongs to a short round: nobody else's work came between.
            let peak = series.peak_between(from, to.max(from + 100))?;
            Some([peak.rss_bytes as f64, peak.anon_bytes as f64])
        })
        .collect()
}

fn span_ms(slot: &Slot) -> (u64, u64) {
    let from = slot.started_ns / 1_000_000;
    let wall = u64::try_from(slot.wall.as_millis()).unwrap_or(u64::MAX);
    (from, from.saturating_add(wall))
}

/// Processor seconds of the tree during one of its rounds; between readings it is taken to have worked evenly.
fn cpu_s(series: &Series, slot: &Slot) -> Option<f64> {
    let (from, to) = span_ms(slot);
    Some((cpu_ms_at(series, to)? - cpu_ms_at(series, from)?).max(0.0) / 1e3)
}

fn cpu_ms_at(series: &Series, at_ms: u64) -> Option<f64> {
    let after = series
        .snapshots
        .partition_point(|snapshot| snapshot.at_ms < at_ms);
    let next = series.snapshots.get(after)?;
    let Some(last) = after.checked_sub(1).map(|index| &series.snapshots[index]) else {
        return Some(next.cpu_ms as f64);
    };
    let share = (at_ms - last.at_ms) as f64 / (next.at_ms - last.at_ms).max(1) as f64;
    Some(last.cpu_ms as f64 + share * (next.cpu_ms as f64 - last.cpu_ms as f64))
}

fn growth(series: &Series, requests: usize) -> Option<f64> {
    let slope = series.growth(Phase::Load)?.slope;
    let seconds: u64 = series
        .phases()
        .filter(|span| span.phase == Phase::Load)
        .map(|span| span.to_ms - span.from_ms)
        .sum();
    (requests > 0).then(|| slope * seconds as f64 / 1e3 / requests as f64 * 1e3)
}

fn phases(series: &Series) -> Vec<MemoryPhase> {
    series
        .phases()
        .map(|span| {
            let (from_ms, to_ms) = (span.from_ms, span.to_ms);
            let last = series.last_between(from_ms, to_ms);
            MemoryPhase {
                name: span.phase.name().into(),
                from_ms,
                to_ms,
                peak_rss_bytes: series
                    .peak_between(from_ms, to_ms)
                    .map(|snapshot| snapshot.rss_bytes),
                pss_bytes: span.proportional.map(|size| size.pss_bytes),
                end_rss_bytes: last.map(|snapshot| snapshot.rss_bytes),
                end_anon_bytes: last.map(|snapshot| snapshot.anon_bytes),
            }
        })
        .collect()
}

/// At most [`MOST_READINGS`] evenly spread readings, and the peak, and the last.
fn thinned<'a>(snapshots: &'a [Snapshot], peak: &'a Snapshot) -> Vec<&'a Snapshot> {
    let step = snapshots.len().div_ceil(MOST_READINGS).max(1);
    let last = snapshots.len() - 1;
    snapshots
        .iter()
        .enumerate()
        .filter(|(index, snapshot)| {
            index.is_multiple_of(step) || *index == last || std::ptr::eq(*snapshot, peak)
        })
        .map(|(_, snapshot)| snapshot)
        .collect()
}

fn reading(snapshot: &Snapshot) -> MemoryReading {
    MemoryReading {
        at_ms: snapshot.at_ms,
        rss_bytes: snapshot.rss_bytes,
        anon_bytes: snapshot.anon_bytes,
        file_bytes: snapshot.file_bytes,
        shmem_bytes: snapshot.shmem_bytes,
        processes: snapshot.processes,
    }
}

fn loaded_model(model: &Model) -> LoadedModel {
    LoadedModel {
        name: model.name.clone(),
        bytes: model.bytes,
        digest: model.digest.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(count: u64) -> Series {
        let snapshots = (0..count)
            .map(|index| Snapshot {
                at_ms: index * 100,
                rss_bytes: if index == 4_321 { 900 } else { 100 },
                anon_bytes: 100,
                file_bytes: 0,
                shmem_bytes: 0,
                processes: 1,
                cpu_ms: index * 10,
            })
            .collect();
        Series {
            snapshots,
            edges: Vec::new(),
        }
    }

    #[test]
    fn a_long_series_is_thinned_and_keeps_its_peak_and_its_ends() {
        let report = memory(&series(10_000), None, &[], 0);
        assert!(report.readings.len() <= MOST_READINGS + 2);
        assert_eq!(report.readings_taken, 10_000);
        assert_eq!(report.readings[0].at_ms, 0);
        assert_eq!(report.readings.last().unwrap().at_ms, 999_900);
        assert!(report.readings.contains(&report.peak));
        assert!(report.readings.is_sorted_by_key(|reading| reading.at_ms));
    }

    #[test]
    fn processor_time_is_taken_between_readings() {
        let series = series(10);
        assert_eq!(cpu_ms_at(&series, 0), Some(0.0));
        assert_eq!(cpu_ms_at(&series, 150), Some(15.0));
        assert_eq!(cpu_ms_at(&series, 901), None, "not yet read");
    }
}
