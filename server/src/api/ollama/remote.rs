//! `remote_host` of `/api/create`: the address of a host that runs a model, completed as Ollama does.

use reqwest::Url;

use crate::api::Error;

const PORT: u16 = 11434;

/// The whole address: scheme, host, port and path.
///
/// # Errors
/// When there can be no such address.
pub fn url(typed: &str) -> Result<String, Error> {
    let bad = || Error::BadRequest("bad remote".into());
    let full = if typed.starts_with('/') {
        format!("http://localhost{typed}")
    } else if typed.contains("://") {
        typed.to_owned()
    } else if typed == "ollama.com" {
        "https://ollama.com:443".to_owned()
    } else {
        format!("http://{typed}")
    };
    let parsed = Url::parse(&full).map_err(|_| bad())?;
    let host = parsed.host_str().ok_or_else(bad)?;
    // The parser leaves a scheme's usual port out, which Ollama does not.
    let is_stated = full.ends_with(":443") || full.contains(":443/") || full.ends_with(":80");
    let usual = parsed.port_or_known_default().filter(|_| is_stated);
    let port = parsed.port().or(usual).unwrap_or(PORT);
    let path = parsed.path().trim_end_matches('/');
    Ok(format!("{}://{host}:{port}{path}", parsed.scheme()))
}

#[cfg(test)]
mod tests {
    use super::url;

    #[test]
    fn addresses_are_completed() {
        for (typed, expected) in [
            ("other", "http://other:11434"),
            ("other:8080", "http://other:8080"),
            ("https://other", "https://other:11434"),
            ("https://other:443", "https://other:443"),
            ("ollama.com", "https://ollama.com:443"),
            ("/proxy/", "http://localhost:11434/proxy"),
            ("http://other/x", "http://other:11434/x"),
        ] {
            assert_eq!(url(typed).unwrap(), expected);
        }
        for bad in ["http://", "a b", "http://other:99999"] {
            assert_eq!(url(bad).unwrap_err().to_string(), "bad remote", "{bad}");
        }
    }
}
