//! Pages for people, at `/ui`: a playground, and the reference of the API. A browser that asks for `/` is shown the playground
//! too; any other program hears there what Ollama says.
//!
//! The pages are files in this folder, inside the binary: nothing is built, nothing comes from elsewhere, and they know the
//! server as any client does, by its routes. What they may do is told to the browser by [`POLICY`]; that no page of others
//! uses the server through them is the business of the guards that all routes are behind.

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::native::NATIVE;
use super::openapi::Routes;
use super::plain;

/// Own scripts, styles and requests, and nothing else: no code in the page itself, no frames around it, no forms sent away.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// The files beside the pages, by name.
const FILES: &[(&str, &str, &str)] = &[
    ("api", HTML, include_str!("api.html")),
    ("api.js", SCRIPT, include_str!("api.js")),
    ("chat.js", SCRIPT, include_str!("chat.js")),
    ("classify.js", SCRIPT, include_str!("classify.js")),
    ("dom.js", SCRIPT, include_str!("dom.js")),
    ("embed.js", SCRIPT, include_str!("embed.js")),
    ("live.js", SCRIPT, include_str!("live.js")),
    ("main.js", SCRIPT, include_str!("main.js")),
    ("prometheus.js", SCRIPT, include_str!("prometheus.js")),
    ("server.js", SCRIPT, include_str!("server.js")),
    ("style.css", STYLE, include_str!("style.css")),
    ("theme.js", SCRIPT, include_str!("theme.js")),
];

/// The routes of this folder. They are for people and stand in no document for programs.
pub fn routes() -> Routes {
    Routes::of::<super::error::ErrorBody>(NATIVE)
        .page("/ui", || async { playground() })
        // The addresses within the pages are relative, so the playground has one place only.
        .page("/ui/", || async { Redirect::permanent("../ui") })
        .page("/ui/{file}", file)
}

/// The playground.
pub fn playground() -> Response {
    page(HTML, include_str!("index.html"))
}

/// Whether it is a browser that asks: programs take anything, or name what they want.
pub fn is_wanted(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter();
    accepted
        .filter_map(|accepted| accepted.to_str().ok())
        .flat_map(|accepted| accepted.split(','))
        .any(|range| {
            let kind = range.split(';').next().unwrap_or_default();
            kind.trim().eq_ignore_ascii_case("text/html")
        })
}

async fn file(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(file, ..)| *file == name) {
        Some((_, content_type, content)) => page(content_type, content),
        None => plain(StatusCode::NOT_FOUND, "404 page not found"),
    }
}

fn page(content_type: &'static str, content: &'static str) -> Response {
    const NO_SNIFFING: (HeaderName, HeaderValue) = (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(POLICY),
        ),
        (
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        ),
        // Another version of the server has other pages.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        NO_SNIFFING,
    ];
    (headers, content).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_told_from_programs() {
        let check = |accepted: &[&str], expected: bool| {
            let mut headers = HeaderMap::new();
            for accepted in accepted {
                headers.append(header::ACCEPT, accepted.parse().unwrap());
            }
            assert_eq!(is_wanted(&headers), expected, "{accepted:?}");
        };
        check(&[], false);
        check(&["*/*"], false);
        check(&["application/json, text/plain, */*"], false);
        check(&["text/plain"], false);
        check(
            &["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
            true,
        );
        check(&["application/xml", "Text/HTML;q=0.9"], true);
    }

    /// A file that is not served, or not there, would be seen only in a browser.
    #[test]
    fn whatever_a_file_names_is_served() {
        let pages = [("", "", include_str!("index.html"))];
        for (name, _, content) in FILES.iter().chain(&pages) {
            let quoted = content.split(['"', '\'']).skip(1).step_by(2);
            for named in quoted.filter(|named| named.ends_with(".js") || named.ends_with(".css")) {
                let file = named.trim_start_matches("./").trim_start_matches("ui/");
                assert!(
                    FILES.iter().any(|(served, ..)| *served == file),
                    "{name} names {named}"
                );
            }
        }
    }

    /// The policy would refuse them, silently for who does not look.
    #[test]
    fn pages_hold_no_code_and_no_styles() {
        for (name, kind, content) in FILES {
            if *kind == HTML {
                assert!(
                    !content.contains("<style") && !content.contains("style=\""),
                    "{name}"
                );
                assert!(
                    !content.contains("<script>") && !content.contains(" on"),
                    "{name}"
                );
            }
            for foreign in [
                "http:",
                "https:",
                "innerHTML",
                "insertAdjacentHTML",
                "eval(",
            ] {
                let own = content.replace("http://www.w3.org/2000/svg", "");
                assert!(!own.contains(foreign), "{name} has {foreign}");
            }
        }
    }
}
