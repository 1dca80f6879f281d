//! Which kernels a model is computed with: ours, or llama.cpp's.

use std::ffi::CStr;
use std::path::Path;

use super::trial::{self, Verdict};
use super::{Kernels, Preference, hook};

/// What was chosen, and why. It holds while this lives, for what its thread computes.
#[derive(Debug)]
pub struct Choice {
    /// `None`: llama.cpp's own.
    pub(super) kernels: Option<Kernels>,
    reason: String,
    _in_use: hook::InUse,
}

impl Choice {
    /// Whether they are ours.
    pub fn are_ours(&self) -> bool {
        self.kernels.is_some()
    }

    /// Which, and why; for people.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// Chooses for a model whose file this is. The thread that asks is the one that computes with the model.
pub fn choose(preference: Preference, file: &Path, name: &CStr) -> Choice {
    let (kernels, reason) = choice(preference, file, name);
    Choice {
        kernels,
        reason,
        _in_use: hook::InUse::new(kernels),
    }
}

fn choice(preference: Preference, file: &Path, name: &CStr) -> (Option<Kernels>, String) {
    let theirs = |reason: &str| (None, format!("llama.cpp's products ({reason})"));
    if preference == Preference::LlamaCpp {
        return theirs("as configured");
    }
    if !hook::register() {
        return theirs("this llama.cpp takes no others");
    }
    let best = Kernels::all().next().expect("there is the portable one");
    let ours = |reason: &str| {
        let reason = format!("our products on {} ({reason})", best.name());
        (Some(best), reason)
    };
    if preference == Preference::Own {
        return ours("as configured");
    }
    match trial::judge(file, name) {
        Verdict::Use(times) => ours(&format!("{times:.2} times as fast in a trial")),
        Verdict::Leave(reason) => theirs(&format!("of ours, {reason}")),
    }
}
