//! Requests to one registry: with its token, through its redirects, and within every bound.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Body, Client, Method, Response, StatusCode, Url, redirect};
use tokio::time::{Instant, timeout, timeout_at};

use super::address::{self, Place, Reach, Resolver};
use super::auth::{self, Challenge};
use super::limits::{MAX_ERROR_BYTES, MAX_REDIRECTS, MAX_SMALL_TRIES, MAX_TOKEN_BYTES};
use super::{Error, Limits, Options, Shared, backoff};
use crate::tls;

/// Connections for every registry, by how far they may reach.
pub struct Http {
    local: Client,
    public: Client,
    place: fn(IpAddr) -> Place,
    limits: Limits,
}

/// A user's name and password.
#[derive(Clone)]
pub struct Credentials {
    /// The name.
    pub username: String,
    /// The password, which is never printed.
    pub password: String,
}

/// The requests of one transfer to one registry.
pub struct Session {
    shared: Arc<Shared>,
    base: Url,
    credentials: Option<Credentials>,
    token: Mutex<Option<String>>,
    /// How far the registry may send us, known once it has been met.
    reach: OnceLock<Reach>,
}

/// One request, which may have to be sent several times.
#[derive(Clone)]
pub struct Ask {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<Arc<dyn Fn() -> Body + Send + Sync>>,
    follows: bool,
    patience: Option<Duration>,
}

impl Http {
    /// Connections as the options want them.
    pub fn new(options: &Options) -> Self {
        let client = |reach| {
            let resolver = Resolver {
                reach,
                place: options.place,
            };
            builder(options, resolver).build().unwrap_or_else(|error| {
                tracing::warn!(
                    ?error,
                    "no certificates to trust: registries cannot be reached over https"
                );
                let builder = builder(options, resolver).tls_certs_only([]);
                builder.build().expect(
                    "a client that trusts no certificate needs nothing that could be missing",
                )
            })
        };
        Self {
            local: client(Reach::Local),
            public: client(Reach::Public),
            place: options.place,
            limits: options.limits,
        }
    }
}

/// Redirects are followed in [`Session::send`], which knows whom to tell what; requests are repeated by who made them.
fn builder(options: &Options, resolver: Resolver) -> reqwest::ClientBuilder {
    tls::install();
    let agent = format!(
        "ollama/{} ({} {}) chaski/{}",
        options.version,
        go_name(std::env::consts::ARCH),
        std::env::consts::OS,
        env!("CARGO_PKG_VERSION")
    );
    Client::builder()
        .user_agent(agent)
        .connect_timeout(options.limits.connect)
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .dns_resolver(resolver)
        .http1_only()
}

/// Registries tell versions and machines apart by Go's names.
fn go_name(architecture: &str) -> &str {
    match architecture {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credentials(..)")
    }
}

impl Ask {
    /// A request that follows redirects.
    pub fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: None,
            follows: true,
            patience: None,
        }
    }

    /// A request for something to read.
    pub fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    /// The same with a header.
    pub fn header(mut self, name: header::HeaderName, value: &str) -> Self {
        let value =
            HeaderValue::from_str(value).expect("headers are made of numbers and constants");
        self.headers.insert(name, value);
        self
    }

    /// The same with a body of that length, which is made anew for each attempt.
    pub fn body(mut self, length: u64, body: impl Fn() -> Body + Send + Sync + 'static) -> Self {
        self.body = Some(Arc::new(body));
        self.header(header::CONTENT_LENGTH, &length.to_string())
    }

    /// The same, whose reply may take so long.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// The same, where a redirect is an answer to be read by who asked.
    pub fn without_redirects(mut self) -> Self {
        self.follows = false;
        self
    }
}

impl Session {
    /// Requests to the registry at `base`. `token` is shown to it from the start.
    pub fn new(
        shared: Arc<Shared>,
        base: Url,
        credentials: Option<Credentials>,
        token: Option<String>,
    ) -> Self {
        Self {
            shared,
            base,
            credentials,
            token: Mutex::new(token),
            reach: OnceLock::new(),
        }
    }

    /// How patient we are.
    pub fn limits(&self) -> &Limits {
        &self.shared.http.limits
    }

    /// Sends a request and returns the head of whatever is answered in the end.
    ///
    /// # Errors
    /// When nobody answers in time, or the registry sends us where we do not go.
    pub async fn send(&self, ask: &Ask) -> Result<Response, Error> {
        let mut url = ask.url.clone();
        let mut redirects = 0;
        let mut has_proven_itself = false;
        loop {
            let is_home = is_same_origin(&url, &self.base);
            let response = self.send_once(ask, &url, is_home).await?;
            if is_home && response.status() == StatusCode::UNAUTHORIZED && !has_proven_itself {
                has_proven_itself = true;
                self.authorize(&response).await?;
                continue;
            }
            match redirect_of(&response, &url)? {
                Some(next) if ask.follows => url = next,
                _ => return Ok(response),
            }
            redirects += 1;
            if redirects > MAX_REDIRECTS {
                let text = format!("maximum redirects exceeded ({MAX_REDIRECTS})");
                return Err(Error::Refused(text));
            }
        }
    }

    /// Sends a request until it succeeds or there is no hope, and reads the whole reply of at most `limit` bytes.
    ///
    /// # Errors
    /// As for [`Session::send`], or when the registry refuses.
    pub async fn fetch(&self, ask: &Ask, limit: usize) -> Result<Bytes, Error> {
        let mut failures = 0;
        loop {
            match self.fetch_once(ask, limit).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => self.wait_after(&mut failures, error).await?,
            }
        }
    }

    /// Sends a request until it succeeds or there is no hope, for the head of its reply alone.
    ///
    /// # Errors
    /// As for [`Session::fetch`].
    pub async fn tell(&self, ask: &Ask) -> Result<Response, Error> {
        let mut failures = 0;
        loop {
            match self.tell_once(ask).await {
                Ok(response) => return Ok(response),
                Err(error) => self.wait_after(&mut failures, error).await?,
            }
        }
    }

    async fn fetch_once(&self, ask: &Ask, limit: usize) -> Result<Bytes, Error> {
        let response = self.tell_once(ask).await?;
        refuse_encoding(response.headers())?;
        read(response, limit, self.limits().reply).await
    }

    async fn tell_once(&self, ask: &Ask) -> Result<Response, Error> {
        checked(self.send(ask).await?).await
    }

    /// Returns when it is time for another attempt.
    async fn wait_after(&self, failures: &mut u32, error: Error) -> Result<(), Error> {
        *failures += 1;
        // Where nobody listens, somebody is waiting to hear it.
        let is_hopeless = matches!(
            error,
            Error::Connection {
                is_connect: true,
                ..
            }
        );
        if !error.is_passing() || is_hopeless || *failures >= MAX_SMALL_TRIES {
            return Err(error);
        }
        tracing::debug!(?error, failures, "asking a registry again");
        tokio::time::sleep(backoff::delay(self.limits(), *failures, &error)).await;
        Ok(())
    }

    async fn send_once(&self, ask: &Ask, url: &Url, is_home: bool) -> Result<Response, Error> {
        let http = &self.shared.http;
        // What the user named may be anywhere; what it leads to may not.
        let reach = if is_home {
            Reach::Local
        } else {
            *self.reach.get().unwrap_or(&Reach::Public)
        };
        address::check(url, reach, http.place)?;
        let client = match reach {
            Reach::Local => &http.local,
            Reach::Public => &http.public,
        };
        let mut request = client
            .request(ask.method.clone(), url.clone())
            .headers(ask.headers.clone());
        if is_home && let Some(value) = self.authorization() {
            request = request.header(header::AUTHORIZATION, value);
        }
        if let Some(body) = &ask.body {
            request = request.body(body());
        }
        let patience = ask.patience.unwrap_or(http.limits.reply);
        let response = timeout(patience, request.send())
            .await
            .map_err(|_| lost(ask, url, "no reply in time"))?
            .map_err(|error| connection(ask, url, &error))?;
        if is_home {
            let place = response
                .remote_addr()
                .map(|address| (http.place)(address.ip()));
            let reach = match place {
                Some(Place::Local) => Reach::Local,
                _ => Reach::Public,
            };
            let _ = self.reach.set(reach);
        }
        Ok(response)
    }

    fn authorization(&self) -> Option<HeaderValue> {
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        let mut value = HeaderValue::from_str(token.as_deref()?).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Gets what the registry demands in its 401.
    async fn authorize(&self, response: &Response) -> Result<(), Error> {
        let header = response.headers().get(header::WWW_AUTHENTICATE);
        let value = match &self.credentials {
            Some(credentials) if Challenge::is_basic(header) => credentials.basic(),
            _ => {
                let challenge = Challenge::read(header, &self.base)?;
                format!("Bearer {}", self.token(&challenge).await?)
            }
        };
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        Ok(())
    }

    async fn token(&self, challenge: &Challenge) -> Result<String, Error> {
        let url = challenge.url();
        let proof = match &self.credentials {
            Some(credentials) => credentials.basic(),
            None => auth::signature(&self.shared.key, &url).await?,
        };
        let mut proof = HeaderValue::from_str(&proof).map_err(|_| Error::Unauthorized)?;
        proof.set_sensitive(true);
        let client = &self.shared.http.local;
        let ask = Ask::get(url.clone());
        // The realm's host is the registry's own. A redirect would carry the proof elsewhere and counts as a refusal.
        let request = client
            .get(url.clone())
            .header(header::AUTHORIZATION, proof)
            .send();
        let response = timeout(self.limits().reply, request)
            .await
            .map_err(|_| lost(&ask, &url, "no reply in time"))?
            .map_err(|error| connection(&ask, &url, &error))?;
        if response.status().is_redirection() {
            return Err(Error::Unauthorized);
        }
        refuse_encoding(response.headers())?;
        let response = checked(response).await?;
        auth::token(&read(response, MAX_TOKEN_BYTES, self.limits().reply).await?)
    }
}

impl Credentials {
    fn basic(&self) -> String {
        use base64::Engine as _;
        let pair = format!("{}:{}", self.username, self.password);
        format!(
            "Basic {}",
            base64::engine::general_purpose::STANDARD.encode(pair)
        )
    }
}

/// Lets only success pass.
///
/// # Errors
/// What the registry says.
pub async fn checked(response: Response) -> Result<Response, Error> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    match status {
        StatusCode::NOT_FOUND => return Err(Error::NotFound),
        StatusCode::UNAUTHORIZED => return Err(Error::Unauthorized),
        _ => {}
    }
    let retry_after = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .map(Duration::from_secs);
    // The words are for people; without them the status says enough.
    let body = read_some(response, MAX_ERROR_BYTES, Duration::from_secs(5)).await;
    Err(Error::Status {
        status,
        body: printable(&body),
        retry_after,
    })
}

/// The body as one line that cannot play tricks on a terminal.
fn printable(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let shown = |character: char| {
        if character.is_control() {
            ' '
        } else {
            character
        }
    };
    text.trim().chars().map(shown).collect()
}

/// The whole body, if it is no longer than `limit` and there in time.
async fn read(mut response: Response, limit: usize, patience: Duration) -> Result<Bytes, Error> {
    let deadline = Instant::now() + patience;
    let url = response.url().clone();
    let ask = Ask::get(url.clone());
    let mut bytes = BytesMut::new();
    loop {
        let piece = timeout_at(deadline, response.chunk())
            .await
            .map_err(|_| lost(&ask, &url, "the reply did not end in time"))?
            .map_err(|error| connection(&ask, &url, &error))?;
        let Some(piece) = piece else {
            return Ok(bytes.freeze());
        };
        if bytes.len() + piece.len() > limit {
            return Err(Error::Invalid(format!(
                "the registry's reply is longer than {limit} bytes"
            )));
        }
        bytes.extend_from_slice(&piece);
    }
}

/// As much of the body as comes within the bounds.
async fn read_some(mut response: Response, limit: usize, patience: Duration) -> Vec<u8> {
    let deadline = Instant::now() + patience;
    let mut bytes = Vec::new();
    while let Ok(Ok(Some(piece))) = timeout_at(deadline, response.chunk()).await {
        bytes.extend_from_slice(&piece[..piece.len().min(limit - bytes.len())]);
        if bytes.len() == limit {
            break;
        }
    }
    bytes
}

/// We ask for bytes as they are; compressed ones could be a bomb, and their length means nothing.
///
/// # Errors
/// When the reply is encoded all the same.
pub fn refuse_encoding(headers: &HeaderMap) -> Result<(), Error> {
    match headers.get(header::CONTENT_ENCODING) {
        Some(encoding) if encoding != "identity" => Err(Error::Invalid(
            "the registry's reply is encoded, which was not asked for".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// Where a reply sends us, if it does.
fn redirect_of(response: &Response, from: &Url) -> Result<Option<Url>, Error> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = response.headers().get(header::LOCATION);
    match location.filter(|_| is_redirect) {
        Some(location) => resolve(location, from).map(Some),
        None => Ok(None),
    }
}

/// The URL in a `Location` header of a reply from `from`, if we may go there.
///
/// # Errors
/// When it makes no sense, or would give up TLS.
pub fn resolve(location: &HeaderValue, from: &Url) -> Result<Url, Error> {
    let next = location
        .to_str()
        .ok()
        .and_then(|location| from.join(location).ok())
        .ok_or_else(|| Error::Invalid("the registry redirects to what is no URL".to_owned()))?;
    let is_safe = match next.scheme() {
        "https" => true,
        "http" => from.scheme() == "http",
        _ => false,
    };
    if is_safe && next.username().is_empty() && next.password().is_none() {
        Ok(next)
    } else {
        Err(Error::Refused(format!(
            "refused a redirect to {}",
            shown(&next)
        )))
    }
}

fn is_same_origin(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

fn connection(ask: &Ask, url: &Url, error: &reqwest::Error) -> Error {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    Error::Connection {
        request: request(ask, url),
        cause: cause.to_string(),
        is_connect: error.is_connect(),
    }
}

fn lost(ask: &Ask, url: &Url, cause: &str) -> Error {
    Error::Connection {
        request: request(ask, url),
        cause: cause.to_owned(),
        is_connect: false,
    }
}

/// A request as Go's errors show it.
fn request(ask: &Ask, url: &Url) -> String {
    let method = ask.method.as_str();
    let (first, rest) = method.split_at(1);
    format!("{first}{} {:?}", rest.to_lowercase(), shown(url))
}

/// A URL without its query, which may hold a signature.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_never_give_up_tls() {
        let check = |from: &str, location: &str, expected: Option<&str>| {
            let location = HeaderValue::from_str(location).unwrap();
            let url = resolve(&location, &from.parse().unwrap()).ok();
            assert_eq!(url.map(String::from).as_deref(), expected, "{location:?}");
        };
        check("https://a/x/y", "/z?q", Some("https://a/z?q"));
        check("https://a/x", "https://b/z", Some("https://b/z"));
        check("https://a/x", "http://a/z", None);
        check("http://a/x", "http://b/z", Some("http://b/z"));
        check("http://a/x", "https://b/z", Some("https://b/z"));
        check("http://a/x", "file:///etc/passwd", None);
        check("http://a/x", "https://user@b/z", None);
        check("http://a/x", "//[", None);
    }

    #[test]
    fn what_a_registry_says_is_one_harmless_line() {
        assert_eq!(printable(b" a\nb\x1b[31mc\xff "), "a b [31mc\u{fffd}");
    }
}
