"""HTTP itself: methods, paths, bodies that are none, origins and hosts."""

from __future__ import annotations

from .case import CHAT, case, post

JSON_ROUTES = [
    "/api/generate", "/api/chat", "/api/embed", "/api/embeddings", "/api/show", "/api/create", "/api/copy", "/api/pull", "/api/push",
    "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages",
]  # fmt: skip
BODIES = {
    "none": None,
    "empty": b"",
    "blank": b"  ",
    "no-json": b"model=tiny",
    "cut": b'{"model": "d-chat"',
    "list": b"[]",
    "null": b"null",
    "number": b"1",
    "text": b'"tiny"',
    "two": b'{"model": ""} {"model": ""}',
}
ORIGINS = {
    "localhost": "http://localhost", "localhost-port": "http://localhost:3000", "localhost-tls": "https://localhost:3000",
    "loopback": "http://127.0.0.1:8080", "any-address": "http://0.0.0.0:1234", "app": "app://obsidian.md", "file": "file://page",
    "tauri": "tauri://localhost", "vscode-webview": "vscode-webview://abc", "vscode-file": "vscode-file://vscode-app",
    "chrome-extension": "chrome-extension://abcdef", "moz-extension": "moz-extension://abcdef", "safari-extension": "safari-web-extension://abcdef",
    "foreign": "http://example.com", "foreign-prefix": "http://localhost.example.com", "null": "null", "no-url": "localhost",
}  # fmt: skip
HOSTS = {
    "localhost": "localhost", "localhost-port": "localhost:11434", "sub-localhost": "foo.localhost", "local": "printer.local", "internal": "host.docker.internal",
    "loopback": "127.0.0.1:9", "loopback-6": "[::1]:11434", "private": "192.168.1.5", "private-10": "10.0.0.1", "unspecified": "0.0.0.0:11434",
    "foreign": "example.com", "foreign-port": "example.com:11434", "public-address": "8.8.8.8", "almost-local": "foolocalhost", "upper": "LOCALHOST",
}  # fmt: skip
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type, authorization"}

CASES = [
    case("root/get", "GET", "/"),
    case("root/head", "HEAD", "/"),
    case("root/post", "POST", "/", {}),
    case("version/get", "GET", "/api/version"),
    case("version/head", "HEAD", "/api/version"),
    case("version/post", "POST", "/api/version", {}),
    case("status/get", "GET", "/api/status"),
    case("status/head", "HEAD", "/api/status"),
    case("path/unknown", "GET", "/api/unknown"),
    case("path/unknown-post", "POST", "/unknown", {}),
    case("path/trailing-slash", "GET", "/api/tags/"),
    case("path/double-slash", "GET", "//api/tags"),
    case("path/upper-case", "GET", "/API/tags"),
    *[case(f"method/get{path}", "GET", path) for path in JSON_ROUTES],
    *[case(f"method/delete{path}", "DELETE", path) for path in ("/api/tags", "/api/ps", "/v1/models", "/api/chat")],
    *[case(f"method/put{path}", "PUT", path, {}) for path in ("/api/generate", "/api/delete", "/v1/models", "/")],
    *[case(f"method/post{path}", "POST", path, {}) for path in ("/api/tags", "/api/ps", "/api/delete", "/v1/models")],
    *[post(path, f"body/{name}{path}", body) for path in JSON_ROUTES for name, body in BODIES.items()],
    *[case(f"body/{name}/api/delete", "DELETE", "/api/delete", body) for name, body in BODIES.items()],
    *[case(f"origin/{name}", "GET", "/api/version", headers={"Origin": origin}) for name, origin in ORIGINS.items()],
    *[case(f"origin-post/{name}", "POST", "/api/show", {"model": ""}, {"Origin": ORIGINS[name]}) for name in ("localhost", "foreign", "app")],
    *[case(f"preflight/{name}", "OPTIONS", "/api/chat", headers={"Origin": origin, **PREFLIGHT}) for name, origin in ORIGINS.items()],
    case("preflight/no-origin", "OPTIONS", "/api/chat", headers=PREFLIGHT),
    case("preflight/unknown-path", "OPTIONS", "/unknown", headers={"Origin": "http://localhost", **PREFLIGHT}),
    *[case(f"host/{name}", "GET", "/api/version", headers={"Host": host}) for name, host in HOSTS.items()],
    case("host/options", "OPTIONS", "/api/version", headers={"Host": "localhost"}),
    case("host/foreign-options", "OPTIONS", "/api/version", headers={"Host": "example.com"}),
    case("header/authorization", "GET", "/api/version", headers={"Authorization": "Bearer anything"}),
    post("/api/show", "header/form-type", {"model": CHAT, "verbose": False}, Content_Type="application/x-www-form-urlencoded"),
    post("/api/generate", "header/accept", {"model": "d-missing"}, Accept="text/plain"),
    post("/api/me", "account/me"),
    post("/api/signout", "account/signout"),
    case("account/key", "DELETE", "/api/user/keys/abc"),
    post("/api/experimental/web_search", "cloud/search", {"query": "x"}),
    post("/api/experimental/web_fetch", "cloud/fetch", {"url": "http://example.com"}),
    post("/api/chat", "cloud/local/chat", {"model": "d-chat:local"}),
    post("/api/show", "cloud/local/show", {"model": "d-chat:local"}),
    post("/api/chat", "cloud/local/missing", {"model": "d-missing:local"}),
    *[
        post(path, f"cloud/{name}{path}", {"model": model, "messages": [{"role": "user", "content": "Hi"}], "prompt": "Hi", "input": "Hi", "max_tokens": 5})
        for path in ("/api/generate", "/api/chat", "/api/embed", "/api/show", "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages")
        for name, model in {"suffix": "gpt-oss:120b-cloud", "tag": "d-chat:cloud", "both": "d-chat:cloud:local"}.items()
    ],
]
