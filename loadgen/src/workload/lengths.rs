use rand::{RngExt, rngs::Xoshiro256PlusPlus};
use rand_distr::{Distribution, LogNormal, Normal};
use serde::Serialize;

/// The 95th percentile of the standard normal distribution, in standard deviations.
const Z95: f64 = 1.644_853_626_951_472_6;

/// The longest text that is ever made up, in tokens: longer contexts than any model's.
const LONGEST: u64 = 1 << 20;

/// How many tokens a text has.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "dist", rename_all = "lowercase")]
pub enum Lengths {
    /// Always the same.
    Const {
        /// Tokens.
        value: u64,
    },
    /// Every length in between is equally likely.
    Uniform {
        /// Shortest.
        min: u64,
        /// Longest.
        max: u64,
    },
    /// Normal, cut at the ends.
    Normal {
        /// Of the uncut distribution.
        mean: f64,
        /// Standard deviation of the uncut distribution.
        sd: f64,
        /// Shortest.
        min: u64,
        /// Longest.
        max: u64,
    },
    /// Log-normal, cut at the ends: many short ones and a long tail, as real prompts are.
    Lognormal {
        /// Of the uncut distribution.
        mean: f64,
        /// 95 % of the uncut distribution are no longer.
        p95: f64,
        /// Shortest.
        min: u64,
        /// Longest.
        max: u64,
    },
    /// Each of these is equally likely.
    Empirical {
        /// Lengths as observed.
        values: Vec<u64>,
    },
}

impl Lengths {
    /// One length.
    pub fn draw(&self, rng: &mut Xoshiro256PlusPlus) -> u64 {
        let cut = |drawn: f64, min: u64, max: u64| (drawn.round().max(0.0) as u64).clamp(min, max);
        match self {
            Self::Const { value } => *value,
            Self::Uniform { min, max } => rng.random_range(*min..=*max),
            Self::Normal { mean, sd, min, max } => {
                let normal = Normal::new(*mean, *sd).expect("`check` refused other deviations");
                cut(normal.sample(rng), *min, *max)
            }
            Self::Lognormal {
                mean,
                p95,
                min,
                max,
            } => {
                let (mu, sigma) =
                    log_parameters(*mean, *p95).expect("`check` refused impossible percentiles");
                let lognormal = LogNormal::new(mu, sigma).expect("sigma is finite and positive");
                cut(lognormal.sample(rng), *min, *max)
            }
            Self::Empirical { values } => values[rng.random_range(0..values.len())],
        }
    }

    /// Whether lengths can be drawn at all.
    ///
    /// # Errors
    /// One line that says what to write instead.
    pub fn check(&self) -> Result<(), String> {
        let ordered = |min: u64, max: u64| {
            if min == 0 || max < min || max > LONGEST {
                Err(format!(
                    "lengths go from min {min} to max {max}: write 1 <= min <= max <= {LONGEST}"
                ))
            } else {
                Ok(())
            }
        };
        match self {
            Self::Const { value } => ordered(*value, *value),
            Self::Uniform { min, max } => ordered(*min, *max),
            Self::Normal { mean, sd, min, max } => {
                ordered(*min, *max)?;
                if mean.is_finite() && sd.is_finite() && *sd > 0.0 {
                    Ok(())
                } else {
                    Err("a normal distribution needs a mean and an sd above 0".into())
                }
            }
            Self::Lognormal {
                mean,
                p95,
                min,
                max,
            } => {
                ordered(*min, *max)?;
                match log_parameters(*mean, *p95) {
                    Some(_) => Ok(()),
                    None => Err(format!(
                        "no log-normal distribution has mean {mean} and p95 {p95}: write a p95 above the mean, at most 3.8 times as large"
                    )),
                }
            }
            Self::Empirical { values } => {
                if values.is_empty() {
                    return Err("an empirical distribution needs values = [...]".into());
                }
                values.iter().try_for_each(|value| ordered(*value, *value))
            }
        }
    }

    /// In words for a reader of the report.
    pub fn describe(&self) -> String {
        match self {
            Self::Const { value } => value.to_string(),
            Self::Uniform { min, max } => format!("{min} to {max}"),
            Self::Normal { mean, sd, .. } => format!("{mean} ± {sd}"),
            Self::Lognormal { mean, p95, .. } => format!("{mean} on average, P95 {p95}"),
            Self::Empirical { values } => format!("one of {} observed lengths", values.len()),
        }
    }
}

/// Location and scale of the log-normal distribution with this mean and 95th percentile: ln p95 = µ + zσ and
/// ln mean = µ + σ²/2, so σ²/2 - zσ + ln(p95/mean) = 0, whose smaller root is the narrower distribution.
fn log_parameters(mean: f64, p95: f64) -> Option<(f64, f64)> {
    if !(mean > 0.0 && p95 > mean && p95.is_finite()) {
        return None;
    }
    let discriminant = Z95 * Z95 - 2.0 * (p95 / mean).ln();
    if discriminant < 0.0 {
        return None;
    }
    let sigma = Z95 - discriminant.sqrt();
    Some((mean.ln() - sigma * sigma / 2.0, sigma))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn draws(lengths: &Lengths) -> Vec<u64> {
        lengths.check().unwrap();
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
        let mut draws: Vec<u64> = (0..20_000).map(|_| lengths.draw(&mut rng)).collect();
        draws.sort_unstable();
        draws
    }

    #[test]
    fn a_log_normal_has_the_mean_and_percentile_that_were_asked_for() {
        let lengths = Lengths::Lognormal {
            mean: 256.0,
            p95: 800.0,
            min: 1,
            max: LONGEST,
        };
        let draws = draws(&lengths);
        let mean = draws.iter().sum::<u64>() as f64 / draws.len() as f64;
        assert!((mean - 256.0).abs() < 8.0, "{mean}");
        let p95 = draws[draws.len() * 95 / 100];
        assert!((760..=840).contains(&p95), "{p95}");
    }

    #[test]
    fn ends_are_kept() {
        let normal = Lengths::Normal {
            mean: 20.0,
            sd: 10.0,
            min: 15,
            max: 30,
        };
        let normal = draws(&normal);
        assert_eq!((normal[0], normal[normal.len() - 1]), (15, 30));
        let uniform = draws(&Lengths::Uniform { min: 3, max: 5 });
        assert_eq!((uniform[0], uniform[uniform.len() - 1]), (3, 5));
        let observed = draws(&Lengths::Empirical { values: vec![7, 9] });
        assert_eq!((observed[0], observed[observed.len() - 1]), (7, 9));
    }

    #[test]
    fn impossible_distributions_are_refused() {
        let lognormal = |mean, p95| Lengths::Lognormal {
            mean,
            p95,
            min: 1,
            max: 9,
        };
        assert!(lognormal(100.0, 90.0).check().is_err());
        assert!(lognormal(100.0, 1000.0).check().is_err());
        assert!(Lengths::Uniform { min: 0, max: 4 }.check().is_err());
        assert!(Lengths::Uniform { min: 5, max: 4 }.check().is_err());
        assert!(Lengths::Empirical { values: vec![] }.check().is_err());
    }
}
