//! What the machine has.

use std::thread;

use rustix::process::{Resource, getrlimit};

use super::Finding;
use crate::config::Config;
use crate::engine::onnx::library;
use crate::models::{gibibytes, memory_available};

/// A connection and a download of many parts take descriptors; a busy server with fewer refuses callers.
const FEW_DESCRIPTORS: u64 = 1024;
/// Less than this is no room for a model that is of use.
const LITTLE_MEMORY: u64 = 512 << 20;

/// The instructions that the kernels are chosen by.
pub fn processor() -> Finding {
    const SUBJECT: &str = "processor";
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let says = format!("{}; {cores} cores to use", instructions().join(", "));
    if cfg!(target_arch = "x86_64") && !instructions().contains(&"AVX2") {
        return Finding::warning(
            SUBJECT,
            format!("{says}; without AVX2 models are several times slower"),
            "a virtual machine may hide what its host has: let it pass the host's processor through",
        );
    }
    Finding::well(SUBJECT, says)
}

#[cfg(target_arch = "x86_64")]
fn instructions() -> Vec<&'static str> {
    let known = [
        ("AVX2", is_x86_feature_detected!("avx2")),
        ("AVX-VNNI", is_x86_feature_detected!("avxvnni")),
        ("AVX-512", is_x86_feature_detected!("avx512f")),
        ("AVX-512 VNNI", is_x86_feature_detected!("avx512vnni")),
    ];
    let mut here: Vec<_> = known
        .iter()
        .filter(|(_, is_here)| *is_here)
        .map(|(name, _)| *name)
        .collect();
    if here.is_empty() {
        here.push("x86-64 without AVX2");
    }
    here
}

#[cfg(not(target_arch = "x86_64"))]
fn instructions() -> Vec<&'static str> {
    vec![std::env::consts::ARCH]
}

/// What models may take.
pub fn memory(config: &Config) -> Finding {
    const SUBJECT: &str = "memory";
    let available = memory_available(config);
    let says = format!("{} for models", gibibytes(available));
    // A small limit that someone set is meant, and the models that it keeps out are told one by one.
    if available < LITTLE_MEMORY && config.memory_limit.is_none() {
        return Finding::warning(
            SUBJECT,
            says,
            "end other programs, or raise the memory limit of the container (memory.max)",
        );
    }
    Finding::well(SUBJECT, says)
}

/// Files and connections that may be open at a time.
pub fn descriptors() -> Finding {
    const SUBJECT: &str = "open files";
    match getrlimit(Resource::Nofile).current {
        Some(few) if few < FEW_DESCRIPTORS => Finding::warning(
            SUBJECT,
            format!("{few} at a time; more callers than that are refused"),
            "`ulimit -n 4096` before `chaski serve`, or LimitNOFILE= in its systemd unit",
        ),
        Some(limit) => Finding::well(SUBJECT, format!("{limit} at a time")),
        None => Finding::well(SUBJECT, "no limit"),
    }
}

/// The library for ONNX models.
pub fn onnx_runtime(config: &Config) -> Finding {
    const SUBJECT: &str = "ONNX Runtime";
    match library::find(config.ort_library.as_deref()) {
        Ok(path) => Finding::well(SUBJECT, path.display().to_string()),
        Err(missing @ library::Missing::Named(_)) => Finding::fault(
            SUBJECT,
            missing.to_string(),
            "correct or unset ORT_DYLIB_PATH",
        ),
        Err(library::Missing::Nowhere(_)) => Finding::warning(
            SUBJECT,
            "not found; ONNX models can neither be created nor, but for those with an encoder of our own, be run",
            "`make setup` fetches it; ORT_DYLIB_PATH names one that is elsewhere",
        ),
    }
}
