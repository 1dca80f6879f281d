use std::str::FromStr;

/// What a number measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dimension {
    /// In milliseconds.
    Time,
    /// In bytes.
    Size,
    /// A ratio, a count, a rate, a share.
    Plain,
}

/// A number with a unit, as typed after the comparator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantity {
    base: f64,
    dimension: Dimension,
}

impl Dimension {
    /// The value in words, in the unit that reports use.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Time if value.abs() < 100.0 => format!("{value:.2} ms"),
            Self::Time => format!("{value:.0} ms"),
            Self::Size => format!("{:.1} MiB", value / f64::from(1 << 20)),
            Self::Plain if value.fract() == 0.0 && value.abs() < 1e15 => format!("{value:.0}"),
            Self::Plain => format!("{value:.3}"),
        }
    }
}

impl Quantity {
    /// In milliseconds, bytes, or as it stands.
    pub fn base(self) -> f64 {
        self.base
    }

    /// What it measures.
    pub fn dimension(self) -> Dimension {
        self.dimension
    }
}

impl FromStr for Quantity {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        let typed = typed.trim();
        let unit_at = typed
            .find(|letter: char| !(letter.is_ascii_digit() || ".+-".contains(letter)))
            .unwrap_or(typed.len());
        let (number, unit) = typed.split_at(unit_at);
        let number: f64 = number
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
            .ok_or_else(|| format!("{typed:?} is no number; write 0.8, 200ms, 1.5GiB or 2%"))?;
        let (factor, dimension) = match unit.trim() {
            "" => (1.0, Dimension::Plain),
            "%" => (0.01, Dimension::Plain),
            "us" | "µs" => (1e-3, Dimension::Time),
            "ms" => (1.0, Dimension::Time),
            "s" => (1e3, Dimension::Time),
            "m" | "min" => (6e4, Dimension::Time),
            "B" => (1.0, Dimension::Size),
            "KiB" => (1024.0, Dimension::Size),
            "MiB" => (1024.0 * 1024.0, Dimension::Size),
            "GiB" => (1024.0 * 1024.0 * 1024.0, Dimension::Size),
            "KB" | "kB" => (1e3, Dimension::Size),
            "MB" => (1e6, Dimension::Size),
            "GB" => (1e9, Dimension::Size),
            unit => {
                return Err(format!(
                    "unknown unit {unit:?}; use us, ms, s, KiB, MiB, GiB, MB, GB, % or none"
                ));
            }
        };
        Ok(Self {
            base: number * factor,
            dimension,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_as_people_write_them() {
        let check = |typed: &str, base: f64, dimension| {
            let quantity: Quantity = typed.parse().unwrap();
            assert!(
                (quantity.base() - base).abs() < 1e-9 * base.abs().max(1.0),
                "{typed}"
            );
            assert_eq!(quantity.dimension(), dimension, "{typed}");
        };
        check("0.8", 0.8, Dimension::Plain);
        check(" 2 % ", 0.02, Dimension::Plain);
        check("200ms", 200.0, Dimension::Time);
        check("1.5 s", 1500.0, Dimension::Time);
        check("250us", 0.25, Dimension::Time);
        check("1GiB", 1_073_741_824.0, Dimension::Size);
        for typed in ["", "ms", "1 parsec", "1e400", "nan"] {
            assert!(typed.parse::<Quantity>().is_err(), "{typed}");
        }
    }
}
