//! GET and HEAD `/`: what clients knock on.

/// The text that tells clients they have found what they look for.
pub async fn root() -> &'static str {
    "Ollama is running"
}
