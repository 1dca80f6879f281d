//! The frame that every chart shares: axes, grid, labels, a sentence on how to read it, and the same figures as a table
//! for those who cannot see it.

use super::{
    markup::{add, coordinate, escape, table},
    scale::Scale,
};

/// Units of the drawing; the page stretches it to its column.
pub(super) const WIDTH: f64 = 640.0;
/// Height of an ordinary chart.
pub(super) const HEIGHT: f64 = 320.0;
/// Left of the plot: the numbers of the vertical axis.
pub(super) const LEFT: f64 = 88.0;
/// Right of the plot.
pub(super) const RIGHT: f64 = 16.0;
/// Above the plot.
pub(super) const TOP: f64 = 14.0;
/// Below the plot: the numbers and the name of the horizontal axis.
pub(super) const BOTTOM: f64 = 48.0;

/// Targets beyond this share the last style; reports rarely hold more than two.
const STYLES: usize = 4;

/// One axis.
pub(super) struct Axis {
    pub(super) scale: Scale,
    /// What it shows, with its unit.
    pub(super) label: String,
    /// Numbers and their places.
    pub(super) ticks: Vec<(f64, String)>,
    /// How the page's script writes a value: `ms`, `share`, `bytes` or nothing.
    pub(super) unit: &'static str,
}

/// Bytes per unit in which people read memory.
const UNITS: [(f64, &str); 3] = [
    (1_073_741_824.0, "GiB"),
    (1_048_576.0, "MiB"),
    (1024.0, "KiB"),
];

impl Axis {
    /// An axis of memory: its numbers are round in KiB, MiB or GiB, not in bytes.
    pub(super) fn of_bytes(scale: Scale, label: &str) -> Self {
        let (unit, name) = UNITS
            .into_iter()
            .find(|(unit, _)| scale.most() >= 2.0 * unit)
            .unwrap_or((1.0, "B"));
        let ticks = scale
            .ticks_in(unit)
            .into_iter()
            .map(|tick| (tick, round(&format!("{:.2} {name}", tick / unit))));
        Self {
            ticks: ticks.collect(),
            label: label.into(),
            unit: "bytes",
            scale,
        }
    }

    /// An axis whose numbers are written by `format`.
    pub(super) fn new(
        scale: Scale,
        label: impl Into<String>,
        unit: &'static str,
        format: impl Fn(f64) -> String,
    ) -> Self {
        let ticks = scale.ticks();
        Self {
            ticks: ticks
                .into_iter()
                .map(|tick| (tick, round(&format(tick))))
                .collect(),
            scale,
            label: label.into(),
            unit,
        }
    }
}

/// A chart with two axes.
pub(super) struct Chart {
    /// Unique in the page.
    pub(super) id: String,
    /// What it shows.
    pub(super) title: String,
    /// How to read it, in a sentence or two.
    pub(super) reading: String,
    /// Horizontal.
    pub(super) x: Axis,
    /// Vertical.
    pub(super) y: Axis,
    /// Total height.
    pub(super) height: f64,
    /// SVG inside the axes.
    pub(super) body: String,
    /// Which colours mean what; escaped HTML.
    pub(super) legend: String,
    /// The figures behind it.
    pub(super) data: Data,
}

/// The figures of a chart as a table.
pub(super) struct Data {
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

/// The number at a tick without empty decimals: ticks are round, and their zeros say nothing.
fn round(text: &str) -> String {
    let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
    let number = if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    };
    match (number, unit) {
        ("0", unit) if unit != "%" => "0".into(),
        (number, "") => number.into(),
        (number, unit) => format!("{number} {unit}"),
    }
}

/// The extent of an ordinary plot, horizontally.
pub(super) fn across() -> [f64; 2] {
    [LEFT, WIDTH - RIGHT]
}

/// The extent of an ordinary plot, from bottom to top.
pub(super) fn upwards() -> [f64; 2] {
    [HEIGHT - BOTTOM, TOP]
}

/// The style class of a target.
pub(super) fn style(target: usize) -> String {
    format!("t{}", target.min(STYLES - 1))
}

/// Names with a sample of each target's style.
pub(super) fn legend(names: &[&str]) -> String {
    let mut out = String::new();
    for (target, name) in names.iter().enumerate() {
        add(
            &mut out,
            format_args!(
                "<span class=\"key {}\"><svg width=\"26\" height=\"10\" aria-hidden=\"true\"><path class=\"line\" \
                 d=\"M1 5H25\"/><path class=\"dot\" d=\"M13 5h0\"/></svg>{}</span>",
                style(target),
                escape(name)
            ),
        );
    }
    out
}

impl Chart {
    /// The chart as a `figure`.
    pub(super) fn render(&self) -> String {
        let mut out = String::new();
        let id = escape(&self.id);
        add(
            &mut out,
            format_args!(
                "<figure class=\"chart\" id=\"{id}\"><figcaption><h4>{}</h4><div class=\"legend\">{}</div></figcaption>",
                escape(&self.title),
                self.legend
            ),
        );
        add(
            &mut out,
            format_args!(
                "<div class=\"scroll\"><svg viewBox=\"0 0 {} {}\" role=\"img\" tabindex=\"0\" aria-labelledby=\"{id}-t {id}-d\" \
                 data-x=\"{}\" data-y=\"{}\" data-units=\"{} {}\"><title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>",
                coordinate(WIDTH),
                coordinate(self.height),
                self.x.scale.attribute(),
                self.y.scale.attribute(),
                self.x.unit,
                self.y.unit,
                escape(&self.title),
                escape(&self.reading),
            ),
        );
        self.axes(&mut out);
        out.push_str(&self.body);
        out.push_str("<g class=\"probe\"></g></svg></div>");
        add(
            &mut out,
            format_args!("<p class=\"reading\">{}</p>", escape(&self.reading)),
        );
        let head: Vec<&str> = self.data.head.iter().map(String::as_str).collect();
        add(
            &mut out,
            format_args!(
                "<details class=\"data\"><summary>As a table</summary>{}</details></figure>",
                table(&head, &self.data.rows)
            ),
        );
        out
    }

    fn axes(&self, out: &mut String) {
        let bottom = self.height - BOTTOM;
        let right = WIDTH - RIGHT;
        out.push_str("<g class=\"axis\">");
        for (tick, text) in &self.y.ticks {
            let y = self.y.scale.at(*tick);
            add(
                out,
                format_args!(
                    "<path class=\"grid\" d=\"M{} {y:.1}H{}\"/><text x=\"{}\" y=\"{:.1}\" class=\"end\">{}</text>",
                    coordinate(LEFT),
                    coordinate(right),
                    coordinate(LEFT - 8.0),
                    y + 4.0,
                    escape(text)
                ),
            );
        }
        let mut free_from = f64::NEG_INFINITY;
        for (tick, text) in &self.x.ticks {
            let x = self.x.scale.at(*tick);
            add(
                out,
                format_args!(
                    "<path class=\"grid\" d=\"M{x:.1} {}V{}\"/>",
                    coordinate(TOP),
                    coordinate(bottom)
                ),
            );
            // Numbers that would touch their neighbour are left out; their grid line stays.
            let half = text.chars().count() as f64 * 3.6;
            if x - half > free_from {
                // Fonts differ: at the edge of the drawing a number is given more room than its neighbours get.
                let room = text.chars().count() as f64 * 4.4;
                let anchored = x.clamp(room, WIDTH - room);
                add(
                    out,
                    format_args!(
                        "<text x=\"{anchored:.1}\" y=\"{}\" class=\"mid\">{}</text>",
                        coordinate(bottom + 18.0),
                        escape(text)
                    ),
                );
                free_from = x + half + 6.0;
            }
        }
        add(
            out,
            format_args!(
                "<path class=\"base\" d=\"M{} {}V{}H{}\"/><text class=\"mid name\" x=\"{}\" y=\"{}\">{}</text>\
                 <text class=\"mid name\" transform=\"translate(14 {}) rotate(-90)\">{}</text></g>",
                coordinate(LEFT),
                coordinate(TOP),
                coordinate(bottom),
                coordinate(right),
                coordinate(f64::midpoint(LEFT, right)),
                coordinate(self.height - 8.0),
                escape(&self.x.label),
                coordinate(f64::midpoint(TOP, bottom)),
                escape(&self.y.label)
            ),
        );
    }
}

/// The `d` of a line through `points`.
pub(super) fn line_through(points: impl IntoIterator<Item = (f64, f64)>) -> String {
    let mut out = String::new();
    for (x, y) in points {
        out.push(if out.is_empty() { 'M' } else { 'L' });
        out.push_str(&coordinate(x));
        out.push(' ');
        out.push_str(&coordinate(y));
    }
    out
}

/// The `d` of dots at `points`: lines without length, whose round or square ends are the dots. No form is shorter.
pub(super) fn dots_at(points: impl IntoIterator<Item = (f64, f64)>) -> String {
    let mut out = String::new();
    for (x, y) in points {
        add(
            &mut out,
            format_args!("M{} {}h0", coordinate(x), coordinate(y)),
        );
    }
    out
}

/// A line or dots of a target, named for the page's script.
pub(super) fn series(class: &str, target: usize, name: &str, d: &str) -> String {
    if d.is_empty() {
        return String::new();
    }
    format!(
        "<path class=\"{class} {}\" data-name=\"{}\" d=\"{d}\"/>",
        style(target),
        escape(name)
    )
}

/// A span on a logarithmic axis with some air at both ends, so that no line lies on the frame.
pub(super) fn with_air([least, most]: [f64; 2]) -> [f64; 2] {
    let air = (most / least.max(f64::MIN_POSITIVE))
        .powf(0.05)
        .clamp(1.02, 1.5);
    [least / air, most * air]
}

/// The least and the greatest of `values` that are finite; `None` without any.
pub(super) fn extent(values: impl IntoIterator<Item = f64>) -> Option<[f64; 2]> {
    let finite = values.into_iter().filter(|value| value.is_finite());
    finite.fold(None, |extent, value| match extent {
        None => Some([value, value]),
        Some([least, most]) => Some([least.min(value), most.max(value)]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_have_no_empty_decimals() {
        let written = ["60.0 ms", "2.50 s", "100 %", "0 KiB", "20.0 %", "1200"].map(round);
        assert_eq!(written, ["60 ms", "2.5 s", "100 %", "0", "20 %", "1200"]);
    }

    #[test]
    fn air_is_left_at_both_ends() {
        let [low, high] = with_air([10.0, 1000.0]);
        assert!(low < 10.0 && high > 1000.0 && high < 1500.0);
    }
}
