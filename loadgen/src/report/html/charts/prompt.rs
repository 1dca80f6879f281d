use super::samples::{slots, thinned};
use crate::report::{
    format,
    html::{
        chart::{self, Axis, Chart, Data},
        scale::Scale,
    },
    model::Row,
};

/// Dots per target; more hide each other.
const MOST_DOTS: usize = 700;

/// Time to the first text against the length of the prompt: the slope is the prefill.
pub(in crate::report::html) fn prompt(id: &str, row: &Row, names: &[&str]) -> Option<Chart> {
    let clouds: Vec<Vec<(f64, f64)>> = (0..names.len())
        .map(|target| {
            slots(row, target)
                .flat_map(|samples| samples.input_tokens.iter().zip(&samples.ttft_ms))
                .filter_map(|(tokens, first)| Some(((*tokens)? as f64, (*first)?)))
                .collect()
        })
        .collect();
    let tokens = chart::extent(clouds.iter().flatten().map(|(tokens, _)| *tokens))?;
    if tokens[0] >= tokens[1] {
        // Prompts of one length show no slope.
        return None;
    }
    let times = chart::extent(clouds.iter().flatten().map(|(_, first)| *first))?;
    let x = Scale::linear([0.0, tokens[1]], chart::across());
    let y = Scale::linear([0.0, times[1] * 1.05], chart::upwards());
    let mut body = String::new();
    let mut shown = 0;
    for (target, cloud) in clouds.iter().enumerate() {
        let kept = thinned(cloud, MOST_DOTS);
        shown += kept.len();
        let points = kept
            .into_iter()
            .map(|(tokens, first)| (x.at(tokens), y.at(first)));
        body += &chart::series("dot faint", target, names[target], &chart::dots_at(points));
    }
    let all: usize = clouds.iter().map(Vec::len).sum();
    let part = if shown < all {
        format!(" {shown} of {all} requests are shown, evenly spread in time.")
    } else {
        String::new()
    };
    Some(Chart {
        id: format!("{id}-prompt"),
        title: "First text against prompt length".into(),
        reading: format!(
            "Each dot is a request. A steeper cloud is a slower prefill; where it starts is the fixed cost of a request.{part}"
        ),
        x: Axis::new(
            x,
            "prompt tokens, as the server counts",
            "tokens",
            |tokens| format!("{tokens:.0}"),
        ),
        y: Axis::new(y, "first text", "ms", format::duration),
        height: chart::HEIGHT,
        body,
        legend: chart::legend(names),
        data: data(&clouds, names, tokens),
    })
}

/// Medians of equal stretches of prompt length.
fn data(clouds: &[Vec<(f64, f64)>], names: &[&str], [least, most]: [f64; 2]) -> Data {
    const STRETCHES: usize = 5;
    let mut head = vec!["prompt tokens".to_owned()];
    for name in names {
        head.push(format!("{name}, median"));
        head.push(format!("{name}, n"));
    }
    let width = (most - least) / STRETCHES as f64;
    let rows = (0..STRETCHES)
        .map(|stretch| {
            let from = least + width * stretch as f64;
            let to = from + width;
            let is_last = stretch + 1 == STRETCHES;
            let mut cells = vec![format!("{from:.0} to {to:.0}")];
            for cloud in clouds {
                let mut times: Vec<f64> = cloud
                    .iter()
                    .filter(|(tokens, _)| *tokens >= from && (*tokens < to || is_last))
                    .map(|(_, first)| *first)
                    .collect();
                let median = crate::stats::nearest_rank(&mut times, 0.5);
                cells.push(median.map_or(format::NOT_AVAILABLE.into(), format::duration));
                cells.push(times.len().to_string());
            }
            cells
        })
        .collect();
    Data { head, rows }
}
