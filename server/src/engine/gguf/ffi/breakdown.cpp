// Where the memory of a context and of its model lies, as llama.cpp counts it. See breakdown.rs.
//
// llama.cpp tells it in C++ alone, by llama-ext.h, which is not installed and is repeated here as far as it is used. Its version is
// pinned in Cargo.toml; a function of another name or other parameters would not link.

#include <cstddef>
#include <cstdint>
#include <map>

#include "ggml-backend.h"
#include "llama.h"

// llama-ext.h
struct llama_memory_breakdown_data {
    size_t model   = 0;
    size_t context = 0;
    size_t compute = 0;
};
std::map<ggml_backend_buffer_type_t, llama_memory_breakdown_data> llama_get_memory_breakdown(const llama_context * ctx);

// breakdown.rs
struct chaski_parts {
    uint64_t weights;
    uint64_t cache;
    uint64_t compute;
};

// Memory of the machine that a device reads too is the machine's.
static bool is_of_device(ggml_backend_buffer_type_t kind) {
    const ggml_backend_dev_t device = ggml_backend_buft_get_device(kind);
    if (device == nullptr || ggml_backend_buft_is_host(kind)) {
        return false;
    }
    const auto type = ggml_backend_dev_type(device);
    return type == GGML_BACKEND_DEVICE_TYPE_GPU || type == GGML_BACKEND_DEVICE_TYPE_IGPU;
}

extern "C" void chaski_memory_breakdown(const llama_context * ctx, chaski_parts * machine, chaski_parts * devices) {
    for (const auto & [kind, bytes] : llama_get_memory_breakdown(ctx)) {
        chaski_parts & parts = is_of_device(kind) ? *devices : *machine;
        parts.weights += bytes.model;
        parts.cache += bytes.context;
        parts.compute += bytes.compute;
    }
}
