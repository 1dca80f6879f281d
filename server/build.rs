//! Compiles the pieces of C++ by which ggml learns of our kernels (`src/engine/gguf/kernels/hook.rs`) and llama.cpp tells where memory
//! lies (`src/engine/gguf/ffi/breakdown.rs`).

use std::env;
use std::path::PathBuf;

fn main() {
    const PIECES: [&str; 2] = [
        "src/engine/gguf/kernels/hook.cpp",
        "src/engine/gguf/ffi/breakdown.cpp",
    ];
    for piece in PIECES {
        println!("cargo:rerun-if-changed={piece}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    let installed = env::var_os("DEP_LLAMA_ROOT").expect("llama-cpp-sys-2 says where it installs");
    let mut build = cc::Build::new();
    // ggml's CPU backend is then a library that is opened at run time.
    if env::var_os("CARGO_FEATURE_PORTABLE").is_some() {
        build.define("CHASKI_PORTABLE", None);
    }
    build
        .cpp(true)
        .std("c++17")
        .include(PathBuf::from(installed).join("include"))
        .files(PIECES)
        .compile("chaski_pieces");
}
