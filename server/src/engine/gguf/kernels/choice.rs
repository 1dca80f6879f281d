//! Which kernels a model is computed with: ours, or llama.cpp's.

use std::ffi::CStr;
use std::path::Path;

use super::attention;
use super::hook::{self, Used};
use super::trial::{self, Verdict};
use super::{Kernels, Preference};

/// What was chosen, and why. It holds while this lives, for what its thread computes.
#[derive(Debug)]
pub struct Choice {
    pub(super) used: Used,
    reason: String,
    _in_use: hook::InUse,
}

impl Choice {
    /// Whether products are ours.
    pub fn are_ours(&self) -> bool {
        self.used.products.is_some()
    }

    /// Whether attention is ours, where llama.cpp states it as one operation.
    pub fn attends(&self) -> bool {
        self.used.attention.is_some()
    }

    /// Which, and why; for people.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// Chooses for a model whose file this is. The thread that asks is the one that computes with the model.
pub fn choose(preference: Preference, file: &Path, name: &CStr) -> Choice {
    let (used, reason) = if preference == Preference::LlamaCpp {
        (Used::NONE, "llama.cpp's products (as configured)".into())
    } else if !hook::register() {
        let reason = "llama.cpp's products (this llama.cpp takes no others)";
        (Used::NONE, reason.into())
    } else {
        let (products, about_products) = products(preference, file, name);
        let (attention, about_attention) = attention(preference);
        let used = Used {
            products,
            attention,
        };
        (used, format!("{about_products}; {about_attention}"))
    };
    Choice {
        used,
        reason,
        _in_use: hook::InUse::new(used),
    }
}

fn best() -> Kernels {
    Kernels::all().next().expect("there is the portable one")
}

fn products(preference: Preference, file: &Path, name: &CStr) -> (Option<Kernels>, String) {
    let best = best();
    let ours = |reason: &str| {
        let reason = format!("our products on {} ({reason})", best.name());
        (Some(best), reason)
    };
    if preference == Preference::Own {
        return ours("as configured");
    }
    match trial::judge(file, name) {
        Verdict::Use(times) => ours(&format!("{times:.2} times as fast in a trial")),
        Verdict::Leave(reason) => (None, format!("llama.cpp's products (of ours, {reason})")),
    }
}

fn attention(preference: Preference) -> (Option<Kernels>, String) {
    let best = best();
    let theirs = |reason: &str| (None, format!("llama.cpp's attention ({reason})"));
    if best == Kernels::Portable {
        return theirs("ours needs AVX2");
    }
    match attention::judge() {
        _ if preference == Preference::Own => (Some(best), "our attention".into()),
        Ok(()) => (Some(best), "our attention".into()),
        Err(reason) => theirs(&format!("of ours, {reason}")),
    }
}
