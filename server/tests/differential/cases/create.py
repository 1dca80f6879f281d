"""Making models: what is accepted, what the progress says, and what is refused."""

from __future__ import annotations

from .case import CHAT, FULL, MISSING, case, post, wrong_types
from .catalog import HELLO, OTHER

CREATE = "/api/create"
NEW = "d-new"
FROM = {"model": NEW, "from": CHAT}

CASES = [
    post(CREATE, "create/from", FROM),
    post(CREATE, "create/from-whole", FROM | {"stream": False}),
    post(CREATE, "create/old-name", {"name": NEW, "from": CHAT, "stream": False}),
    post(CREATE, "create/system", FROM | {"system": "Be kind.", "stream": False}),
    post("/api/show", "create/system-shown", {"model": NEW}),
    post(CREATE, "create/inherits", {"model": NEW, "from": FULL, "stream": False}),
    post("/api/show", "create/inherits-shown", {"model": NEW}),
    post(CREATE, "create/merges", {"model": NEW, "from": FULL, "parameters": {"temperature": 0.25, "top_k": 3}, "system": "Other.", "license": "None.", "stream": False}),
    post("/api/show", "create/merges-shown", {"model": NEW}),
    post(CREATE, "create/messages", FROM | {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}),
    post("/api/show", "create/messages-shown", {"model": NEW}),
    post(CREATE, "create/license-list", FROM | {"license": ["One", "Two"], "stream": False}),
    post("/api/show", "create/license-shown", {"model": NEW}),
    post(CREATE, "create/template", FROM | {"template": "{{ .Prompt }}", "stream": False}),
    post("/api/show", "create/template-shown", {"model": NEW}),
    post(CREATE, "create/template-broken", FROM | {"template": "{{ .Prompt"}),
    post(CREATE, "create/template-broken-whole", FROM | {"template": "{{ .Prompt", "stream": False}),
    post(CREATE, "create/template-unknown-function", FROM | {"template": "{{ surprise .Prompt }}", "stream": False}),
    post(CREATE, "create/parameters", FROM | {"parameters": {"stop": ["a", "b"], "num_ctx": 512, "temperature": 0.5, "use_mmap": False}, "stream": False}),
    post("/api/show", "create/parameters-shown", {"model": NEW}),
    post(CREATE, "create/parameter-unknown", FROM | {"parameters": {"surprise": 1}, "stream": False}),
    post(CREATE, "create/parameter-wrong-type", FROM | {"parameters": {"num_ctx": "many"}, "stream": False}),
    post(CREATE, "create/requires", FROM | {"requires": "0.1.0", "stream": False}),
    post("/api/show", "create/requires-shown", {"model": NEW}),
    post(CREATE, "create/requires-no-version", FROM | {"requires": "yesterday", "stream": False}),
    post(CREATE, "create/tag", {"model": "d-new:v2", "from": CHAT, "stream": False}),
    case("create/tag-deleted", "DELETE", "/api/delete", {"model": "d-new:v2"}),
    post(CREATE, "create/no-model", {"from": CHAT}),
    post(CREATE, "create/invalid-model", {"model": "a b", "from": CHAT}),
    post(CREATE, "create/nothing", {}),
    post(CREATE, "create/no-source", {"model": NEW}),
    post(CREATE, "create/no-source-whole", {"model": NEW, "stream": False}),
    post(CREATE, "create/empty-files", {"model": NEW, "files": {}}),
    post(CREATE, "create/invalid-from", {"model": NEW, "from": "a b", "stream": False}),
    post(CREATE, "create/file-absent", {"model": NEW, "files": {"m.gguf": OTHER}, "stream": False}),
    post(CREATE, "create/file-absent-stream", {"model": NEW, "files": {"m.gguf": OTHER}}),
    post(CREATE, "create/file-no-gguf", {"model": NEW, "files": {"m.gguf": HELLO}, "stream": False}),
    post(CREATE, "create/file-of-unknown-kind", {"model": NEW, "files": {"m.txt": HELLO}, "stream": False}),
    post(CREATE, "create/file-safetensors-broken", {"model": NEW, "files": {"m.safetensors": HELLO, "config.json": HELLO}, "stream": False}),
    post(CREATE, "create/file-digest-invalid", {"model": NEW, "files": {"m.gguf": "sha256:abc"}, "stream": False}),
    post(CREATE, "create/file-path-absolute", {"model": NEW, "files": {"/m.gguf": HELLO}, "stream": False}),
    post(CREATE, "create/file-path-escapes", {"model": NEW, "files": {"../m.gguf": HELLO}, "stream": False}),
    post(CREATE, "create/file-path-empty", {"model": NEW, "files": {"": HELLO}, "stream": False}),
    post(CREATE, "create/adapter-absent", FROM | {"adapters": {"a.gguf": OTHER}, "stream": False}),
    post(CREATE, "create/adapter-no-gguf", FROM | {"adapters": {"a.gguf": HELLO}, "stream": False}),
    post(CREATE, "create/adapters-two", FROM | {"adapters": {"a.gguf": HELLO, "b.gguf": OTHER}, "stream": False}),
    post(CREATE, "create/quantize-unknown", FROM | {"quantize": "Q9", "stream": False}),
    post(CREATE, "create/quantize-quantized", FROM | {"quantize": "Q4_0", "stream": False}),
    post(CREATE, "create/quantize-already", FROM | {"quantize": "q8_0", "stream": False}),
    post(CREATE, "create/remote", {"model": NEW, "from": "m", "remote_host": "https://example.com", "stream": False}),
    post(CREATE, "create/info-wrong", FROM | {"info": {"model_family": 1}, "stream": False}),
    *wrong_types(CREATE, "create/wrong", FROM | {"stream": False}, {
        "model": [1, []], "from": [1, []], "files": [1, [], {"a": 1}], "stream": ["no"], "system": [1], "template": [1], "license": [1, [1], {}],
        "parameters": [1, []], "messages": [1, {}, [1], [{"role": 1}], [{"role": "owner", "content": "x"}]], "adapters": [1, []],
    }),
    case("create/delete", "DELETE", "/api/delete", {"model": NEW}),
    post("/api/show", "create/none-left", {"model": NEW}),
    post("/api/chat", "create/missing-stays-missing", {"model": MISSING, "messages": [{"role": "user", "content": "Hi"}]}),
]  # fmt: skip
