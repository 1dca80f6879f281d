// Offers our kernels to ggml's CPU backend. See hook.rs.
//
// The backend asks every "extra buffer type" for kernels of every operation, whatever memory its operands lie in, and calls them
// in its own threads. That interface is internal: ggml-backend-impl.h, ggml-cpu-impl.h and ggml-cpu/traits.h of ggml, which are
// not installed, declare what is repeated here. Its version is pinned in Cargo.toml, and `chaski_kernels_register` checks what it can.
//
// In a portable build the backend is a library that was chosen and opened at run time (CHASKI_PORTABLE), so that its functions are looked up
// by name instead of linked.

#include <cstddef>
#include <cstring>
#include <vector>

#ifdef CHASKI_PORTABLE
#include <dlfcn.h>
#endif

#include "ggml-backend.h"
#include "ggml.h"

// ggml-backend-impl.h
struct ggml_backend_buffer_type {
    struct {
        const char *          (*get_name)        (ggml_backend_buffer_type_t buft);
        ggml_backend_buffer_t (*alloc_buffer)    (ggml_backend_buffer_type_t buft, size_t size);
        ggml_backend_buffer_t (*alloc_buffer_n)  (ggml_backend_buffer_type_t buft, ggml_tensor ** tensors, int count);
        size_t                (*get_alignment)   (ggml_backend_buffer_type_t buft);
        size_t                (*get_max_size)    (ggml_backend_buffer_type_t buft);
        size_t                (*get_alloc_size)  (ggml_backend_buffer_type_t buft, const ggml_tensor * tensor);
        size_t                (*get_alloc_size_n)(ggml_backend_buffer_type_t buft, ggml_tensor ** tensors, int count);
        bool                  (*is_host)         (ggml_backend_buffer_type_t buft);
    } iface;
    ggml_backend_dev_t device;
    void * context;
};

// ggml-cpu-impl.h; only pointers to these pass through here.
struct ggml_compute_params;
struct ggml_threadpool;

// ggml-cpu/traits.h
namespace ggml::cpu {
class tensor_traits {
  public:
    virtual ~tensor_traits() {}
    virtual bool work_size(int n_threads, const struct ggml_tensor * op, size_t & size)        = 0;
    virtual bool compute_forward(struct ggml_compute_params * params, struct ggml_tensor * op) = 0;
};

class extra_buffer_type {
  public:
    virtual ~extra_buffer_type() {}
    virtual bool            supports_op(ggml_backend_dev_t dev, const struct ggml_tensor * op) = 0;
    virtual tensor_traits * get_tensor_traits(const struct ggml_tensor * op)                   = 0;
};
}  // namespace ggml::cpu

#ifndef CHASKI_PORTABLE
std::vector<ggml_backend_buffer_type_t> & ggml_backend_cpu_get_extra_buffer_types();

// ggml-cpu-impl.h
extern "C" {
void ggml_barrier(ggml_threadpool * pool);
void ggml_threadpool_chunk_set(ggml_threadpool * pool, int value);
int  ggml_threadpool_chunk_add(ggml_threadpool * pool, int value);
}
#endif

// hook.rs
extern "C" {
bool   chaski_kernels_claim(const ggml_tensor * op);
bool   chaski_kernels_work_size(int threads, ggml_tensor * op, size_t * bytes);
bool   chaski_kernels_compute(const ggml_compute_params * params, const ggml_tensor * op);
}

namespace {

// What of the backend's inside is used.
struct inside {
    std::vector<ggml_backend_buffer_type_t> & (*types)();
    void (*barrier)(ggml_threadpool * pool);
    void (*chunk_set)(ggml_threadpool * pool, int value);
    int (*chunk_add)(ggml_threadpool * pool, int value);
};

#ifndef CHASKI_PORTABLE
const inside backend = { ggml_backend_cpu_get_extra_buffer_types, ggml_barrier, ggml_threadpool_chunk_set, ggml_threadpool_chunk_add };

bool find(void *) { return true; }
#else
inside backend;

template <typename function> bool find(function & found, void * library, const char * name) {
    found = reinterpret_cast<function>(dlsym(library, name));
    return found != nullptr;
}

// Finds it in the library that this function is of.
bool find(void * neighbour) {
    Dl_info about;
    if (!dladdr(neighbour, &about)) {
        return false;
    }
    // It stays open: ggml never closes it.
    void * library = dlopen(about.dli_fname, RTLD_NOW | RTLD_NOLOAD);
    if (!library) {
        return false;
    }
    bool all = find(backend.types, library, "_Z39ggml_backend_cpu_get_extra_buffer_typesv") && find(backend.barrier, library, "ggml_barrier") &&
               find(backend.chunk_set, library, "ggml_threadpool_chunk_set") && find(backend.chunk_add, library, "ggml_threadpool_chunk_add");
    dlclose(library);
    return all;
}
#endif

struct traits : ggml::cpu::tensor_traits {
    bool work_size(int n_threads, const ggml_tensor * op, size_t & size) override {
        // The graph is its caller's, who may write to it: ggml passes it on as if not.
        return chaski_kernels_work_size(n_threads, const_cast<ggml_tensor *>(op), &size);
    }

    bool compute_forward(ggml_compute_params * params, ggml_tensor * op) override {
        return chaski_kernels_compute(params, op);
    }
};

struct offer : ggml::cpu::extra_buffer_type {
    traits ours;

    // No weights are ever put into a buffer of this type: we take them where they lie.
    bool supports_op(ggml_backend_dev_t, const ggml_tensor *) override { return false; }

    ggml::cpu::tensor_traits * get_tensor_traits(const ggml_tensor * op) override {
        const bool known = op->op == GGML_OP_MUL_MAT || op->op == GGML_OP_FLASH_ATTN_EXT;
        return known && chaski_kernels_claim(op) ? &ours : nullptr;
    }
};

const char * const NAME = "chaski";

const char * name(ggml_backend_buffer_type_t) { return NAME; }

ggml_backend_buffer_t no_buffer(ggml_backend_buffer_type_t, size_t) { return nullptr; }

size_t alignment(ggml_backend_buffer_type_t) { return 64; }

bool is_host(ggml_backend_buffer_type_t) { return false; }

}  // namespace

// What the kernels need of the threads that call them.
extern "C" void chaski_kernels_barrier(ggml_threadpool * pool) { backend.barrier(pool); }

extern "C" void chaski_kernels_chunk_set(ggml_threadpool * pool, int value) { backend.chunk_set(pool, value); }

extern "C" int chaski_kernels_chunk_add(ggml_threadpool * pool, int value) { return backend.chunk_add(pool, value); }

// Registers the offer; to be called once, while nothing computes. Says whether ggml is as it is declared here.
extern "C" bool chaski_kernels_register() {
    ggml_backend_dev_t device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    if (!device) {
        return false;
    }
    // The list of types that weights may be put into is made when it is first asked for: without ours.
    auto list = reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(
        ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(device), "ggml_backend_dev_get_extra_bufts"));
    if (!list || !list(device) || !find(reinterpret_cast<void *>(list))) {
        return false;
    }
    static offer                    kernels;
    static ggml_backend_buffer_type type = {
        { name, no_buffer, nullptr, alignment, nullptr, nullptr, nullptr, is_host }, device, &kernels
    };
    if (ggml_backend_buft_name(&type) != NAME || ggml_backend_buft_get_device(&type) != device ||
        ggml_backend_buft_get_alignment(&type) != 64 || ggml_backend_buft_is_host(&type)) {
        return false;
    }
    // The others of the list show that it is one of such types, and that they have a context.
    auto & types = backend.types();
    for (ggml_backend_buffer_type_t other : types) {
        if (!other || ggml_backend_buft_get_device(other) != device || !other->context) {
            return false;
        }
    }
    types.push_back(&type);
    return true;
}
