/// A straight line through points, and how far they lie from it.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Line {
    /// Where x is 0.
    pub intercept: f64,
    /// Per unit of x.
    pub slope: f64,
    /// Standard error of the slope; `None` for two points.
    pub slope_error: Option<f64>,
}

/// The line with the least squared distance to the finite points (x, y). `None` when all have the same x: then the
/// data cannot tell a fixed cost from one per unit.
///
/// With x the tokens and y the time of each reply, the intercept is what a request costs before its first token and the
/// slope what each token costs: a comparison of replies whose lengths differ.
pub fn least_squares(points: impl Iterator<Item = (f64, f64)>) -> Option<Line> {
    let points: Vec<(f64, f64)> = points
        .filter(|(x, y)| x.is_finite() && y.is_finite())
        .collect();
    let count = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    let spread: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    // Also true when there is no point at all, whose mean is not a number.
    if spread.is_nan() || spread <= 0.0 {
        return None;
    }
    let shared: f64 = points
        .iter()
        .map(|(x, y)| (x - mean_x) * (y - mean_y))
        .sum();
    let slope = shared / spread;
    let intercept = mean_y - slope * mean_x;
    let residual: f64 = points
        .iter()
        .map(|(x, y)| (y - intercept - slope * x).powi(2))
        .sum();
    Some(Line {
        intercept,
        slope,
        slope_error: (points.len() > 2).then(|| (residual / (count - 2.0) / spread).sqrt()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_lengths_and_nothing_have_no_line() {
        assert_eq!(least_squares([].into_iter()), None);
        assert_eq!(least_squares([(8.0, 1.0), (8.0, 2.0)].into_iter()), None);
        assert_eq!(
            least_squares([(1.0, f64::INFINITY), (2.0, 1.0)].into_iter()),
            None
        );
    }

    #[test]
    fn noise_shows_in_the_error_of_the_slope() {
        let line =
            least_squares([(0.0, 0.1), (1.0, 0.9), (2.0, 2.1), (3.0, 2.9)].into_iter()).unwrap();
        assert!((line.slope - 0.96).abs() < 1e-12, "{line:?}");
        let error = line.slope_error.unwrap();
        assert!(error > 0.01 && error < 0.1, "{line:?}");
    }

    proptest! {
        #[test]
        fn a_line_is_found_again(intercept in -10.0..10.0f64, slope in -10.0..10.0f64, count in 3usize..30) {
            let points = (0..count).map(|x| (x as f64, intercept + slope * x as f64));
            let line = least_squares(points).unwrap();
            prop_assert!((line.intercept - intercept).abs() < 1e-6 && (line.slope - slope).abs() < 1e-6);
            prop_assert!(line.slope_error.unwrap() < 1e-6);
        }
    }
}
