//! From values to places in a picture, and the round numbers at an axis.

use super::markup::coordinate;

/// How a value becomes a place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    logarithmic: bool,
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

/// About as many numbers as an axis can carry without crowding.
const TICKS: usize = 6;

impl Scale {
    /// Equal differences are equal distances. The values span `from` to `to`, the picture `start` to `end`.
    pub(super) fn linear([from, to]: [f64; 2], [start, end]: [f64; 2]) -> Self {
        let to = if to > from {
            to
        } else {
            from + from.abs().max(1.0)
        };
        Self {
            logarithmic: false,
            from,
            to,
            start,
            end,
        }
    }

    /// Equal factors are equal distances. Values must be positive; a span that is too narrow to have round numbers is widened.
    pub(super) fn logarithmic([from, to]: [f64; 2], [start, end]: [f64; 2]) -> Self {
        const NARROWEST: f64 = 1.3;
        let from = from.max(f64::MIN_POSITIVE);
        let to = to.max(from);
        let widen = (NARROWEST / (to / from)).max(1.0).sqrt();
        Self {
            logarithmic: true,
            from: from / widen,
            to: to * widen,
            start,
            end,
        }
    }

    /// Where `value` is, held inside the picture.
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            (value.max(f64::MIN_POSITIVE) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        self.start + share.clamp(0.0, 1.0) * (self.end - self.start)
    }

    /// Round numbers within the span.
    pub(super) fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            self.log_ticks()
        } else {
            self.linear_ticks()
        }
    }

    /// Values that are round in multiples of `unit`.
    pub(super) fn ticks_in(&self, unit: f64) -> Vec<f64> {
        let in_units = Self {
            from: self.from / unit,
            to: self.to / unit,
            ..*self
        };
        in_units
            .ticks()
            .into_iter()
            .map(|tick| tick * unit)
            .collect()
    }

    /// The greatest value.
    pub(super) fn most(&self) -> f64 {
        self.to
    }

    fn linear_ticks(&self) -> Vec<f64> {
        let rough = (self.to - self.from) / TICKS as f64;
        let magnitude = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|digit| digit * magnitude)
            .into_iter()
            .find(|step| *step >= rough * 0.999)
            .unwrap_or(10.0 * magnitude);
        let first = (self.from / step - 1e-9).ceil() as i64;
        let last = (self.to / step + 1e-9).floor() as i64;
        (first..=last).map(|index| index as f64 * step).collect()
    }

    fn log_ticks(&self) -> Vec<f64> {
        let digits: [&[f64]; 4] = [
            &[1.0],
            &[1.0, 3.0],
            &[1.0, 2.0, 5.0],
            &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0],
        ];
        let within = |digits: &[f64]| -> Vec<f64> {
            let decades = self.from.log10().floor() as i32..=self.to.log10().ceil() as i32;
            decades
                .flat_map(|decade| digits.iter().map(move |digit| digit * 10_f64.powi(decade)))
                .filter(|tick| (self.from * 0.999..=self.to * 1.001).contains(tick))
                .collect()
        };
        let sets: Vec<Vec<f64>> = digits.iter().map(|digits| within(digits)).collect();
        let enough = sets.iter().find(|ticks| ticks.len() >= 4).cloned();
        match enough.or_else(|| sets.last().cloned()) {
            Some(ticks) if ticks.len() >= 2 => {
                let step = ticks.len().div_ceil(TICKS + 2);
                ticks.into_iter().step_by(step).collect()
            }
            // Less than a digit of span: round numbers of the plain kind.
            _ => Self {
                logarithmic: false,
                ..*self
            }
            .linear_ticks(),
        }
    }

    /// For the page's script, which finds values back from places.
    pub(super) fn attribute(&self) -> String {
        format!(
            "{} {:e} {:e} {} {}",
            if self.logarithmic { "log" } else { "lin" },
            self.from,
            self.to,
            coordinate(self.start),
            coordinate(self.end)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_differences_or_factors_and_stay_inside() {
        let linear = Scale::linear([0.0, 10.0], [100.0, 200.0]);
        assert_eq!(
            [0.0, 5.0, 99.0].map(|value| linear.at(value)),
            [100.0, 150.0, 200.0]
        );
        let log = Scale::logarithmic([1.0, 100.0], [0.0, 200.0]);
        assert!((log.at(10.0) - 100.0).abs() < 1e-9);
        assert_eq!(log.at(0.0), 0.0, "zero has no logarithm");
    }

    #[test]
    fn ticks_are_round_and_few() {
        let check = |scale: Scale, expected: &[f64]| {
            let ticks = scale.ticks();
            assert_eq!(ticks.len(), expected.len(), "{ticks:?}");
            for (tick, expected) in ticks.iter().zip(expected) {
                assert!(
                    (tick - expected).abs() < 1e-9 * expected.abs().max(1.0),
                    "{ticks:?}"
                );
            }
        };
        let span = [0.0, 1.0];
        check(
            Scale::linear([0.0, 23.0], span),
            &[0.0, 5.0, 10.0, 15.0, 20.0],
        );
        check(
            Scale::logarithmic([1.0, 1000.0], span),
            &[1.0, 10.0, 100.0, 1000.0],
        );
        check(
            Scale::logarithmic([12.0, 130.0], span),
            &[15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 80.0, 100.0],
        );
    }

    #[test]
    fn a_span_without_width_still_has_an_axis() {
        for scale in [
            Scale::linear([5.0, 5.0], [0.0, 1.0]),
            Scale::linear([0.0, 0.0], [0.0, 1.0]),
            Scale::logarithmic([5.0, 5.0], [0.0, 1.0]),
        ] {
            assert!(scale.at(5.0).is_finite());
            assert!(!scale.ticks().is_empty(), "{scale:?}");
        }
    }
}
