//! How hard a model is to think, on OpenAI's scale.

use crate::api::json::Mismatch;
use crate::prompt::{Effort, Think};

/// What an effort means. The scale reaches beyond Ollama's at both ends, and clients have added to it: what lies outside is
/// taken for the nearest.
pub fn think(effort: &str) -> Result<Think, Mismatch> {
    Ok(match effort {
        "" => Think::Unset,
        "none" => Think::Off,
        "minimal" | "low" => Think::Level(Effort::Low),
        "medium" => Think::Level(Effort::Medium),
        "high" => Think::Level(Effort::High),
        "xhigh" | "ultra" | "max" => Think::Level(Effort::Max),
        _ => {
            return Err(Mismatch::Value(format!(
                "invalid reasoning value: {effort:?} (must be \"minimal\", \"low\", \"medium\", \"high\", \"xhigh\", \"ultra\", \"max\", or \"none\")"
            )));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_outside_the_scale_is_taken_for_the_nearest() {
        let check = |effort, expected| assert_eq!(think(effort).unwrap(), expected, "{effort}");
        check("", Think::Unset);
        check("none", Think::Off);
        check("minimal", Think::Level(Effort::Low));
        check("high", Think::Level(Effort::High));
        check("xhigh", Think::Level(Effort::Max));
        check("ultra", Think::Level(Effort::Max));
        let refused = think("extreme").unwrap_err().to_string();
        assert!(refused.starts_with("invalid reasoning value: \"extreme\" (must be"));
    }
}
