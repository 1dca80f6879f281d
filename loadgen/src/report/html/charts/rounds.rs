use super::samples::thinned;
use crate::{
    report::{
        format,
        html::{
            chart::{self, Axis, Chart, Data, LEFT, RIGHT, WIDTH},
            markup::{add, coordinate},
            scale::Scale,
        },
        model::{Row, SlotReport},
    },
    stats,
};

/// Rounds beyond this are thinned: their dots would touch.
const MOST_ROUNDS: usize = 120;
/// Room for the first and the last dot.
const MARGIN: f64 = 12.0;

/// One round: its number, each target's median and whether the first target went first.
struct Round {
    number: usize,
    medians: Vec<Option<f64>>,
    forwards: bool,
    noisy: bool,
}

/// The median of every round in time order, with the order of the targets: drift, order effects and bad rounds show.
pub(in crate::report::html) fn rounds(id: &str, row: &Row, names: &[&str]) -> Option<Chart> {
    let all: Vec<Round> = row
        .rounds
        .iter()
        .map(|round| Round {
            number: round.index + 1,
            medians: (0..names.len())
                .map(|target| median(round.slots.get(target)?.as_ref()?))
                .collect(),
            forwards: is_forwards(&round.slots),
            noisy: round
                .slots
                .iter()
                .flatten()
                .any(|slot| slot.noise.as_ref().is_some_and(|noise| noise.noisy)),
        })
        .collect();
    let indices: Vec<usize> = (0..all.len()).collect();
    let kept: Vec<&Round> = thinned(&indices, MOST_ROUNDS)
        .into_iter()
        .map(|index| &all[index])
        .collect();
    let extent = chart::extent(
        all.iter()
            .flat_map(|round| &round.medians)
            .flatten()
            .copied(),
    )?;
    let y = Scale::logarithmic(chart::with_air(extent), chart::upwards());
    let last = all.len().max(2);
    let x = Scale::linear([1.0, last as f64], [LEFT + MARGIN, WIDTH - RIGHT - MARGIN]);

    let mut body = String::new();
    for round in &kept {
        let places: Vec<f64> = round
            .medians
            .iter()
            .flatten()
            .map(|value| y.at(*value))
            .collect();
        let Some([top, bottom]) = chart::extent(places) else {
            continue;
        };
        let order = if round.forwards { "ab" } else { "ba" };
        add(
            &mut body,
            format_args!(
                "<path class=\"pair {order}{}\" d=\"M{} {}V{}\"/>",
                if round.noisy { " noisy" } else { "" },
                coordinate(x.at(round.number as f64)),
                coordinate(top),
                coordinate(bottom)
            ),
        );
    }
    for (target, name) in names.iter().enumerate() {
        let points = kept
            .iter()
            .filter_map(|round| Some((x.at(round.number as f64), y.at(round.medians[target]?))));
        body += &chart::series("dot", target, name, &chart::dots_at(points));
    }
    let mut legend = chart::legend(names);
    if names.len() > 1 {
        legend += "<span class=\"key\"><svg width=\"12\" height=\"14\" aria-hidden=\"true\"><path class=\"pair ab\" d=\"M6 1V13\"/></svg>\
                   forwards (AB)</span><span class=\"key\"><svg width=\"12\" height=\"14\" aria-hidden=\"true\"><path class=\"pair ba\" d=\"M6 1V13\"/></svg>backwards (BA)</span>";
    }
    let shown = if kept.len() < all.len() {
        format!(" {} of {} rounds are shown.", kept.len(), all.len())
    } else {
        String::new()
    };
    Some(Chart {
        id: format!("{id}-rounds"),
        title: "Rounds in time order".into(),
        reading: format!(
            "Each round is a pair of medians, measured within moments of each other. Both rising together is drift of the machine and \
             does not touch the ratio; pairs that differ by their order would.{shown}"
        ),
        x: Axis::new(x, "round", "round", |round| format!("{round:.0}")),
        y: Axis::new(y, "median end to end, log scale", "ms", format::duration),
        height: chart::HEIGHT,
        body,
        legend,
        data: data(&all, names),
    })
}

/// The median of a target's round, failures as the slowest; `None` where it falls on one.
fn median(slot: &SlotReport) -> Option<f64> {
    let mut values: Vec<f64> = slot
        .samples
        .e2e_ms
        .iter()
        .map(|value| value.unwrap_or(f64::INFINITY))
        .collect();
    stats::nearest_rank(&mut values, 0.5).filter(|value| value.is_finite())
}

fn is_forwards(slots: &[Option<SlotReport>]) -> bool {
    let turns: Vec<usize> = slots.iter().flatten().map(|slot| slot.turn).collect();
    turns.is_sorted()
}

fn data(rounds: &[Round], names: &[&str]) -> Data {
    let mut head = vec!["round".to_owned(), "order".to_owned()];
    head.extend(names.iter().map(|name| (*name).to_owned()));
    let rows = thinned(&(0..rounds.len()).collect::<Vec<_>>(), MOST_ROUNDS)
        .into_iter()
        .map(|index| {
            let round = &rounds[index];
            let order = if round.forwards { "AB" } else { "BA" };
            let mut cells = vec![
                round.number.to_string(),
                format!("{order}{}", if round.noisy { ", noisy" } else { "" }),
            ];
            cells.extend(
                round
                    .medians
                    .iter()
                    .map(|median| median.map_or(format::NOT_AVAILABLE.into(), format::duration)),
            );
            cells
        })
        .collect();
    Data { head, rows }
}
