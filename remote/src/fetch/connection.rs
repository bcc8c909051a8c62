//! One request: connect, verify, ask, and the answer's body.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, HOST, HeaderMap, HeaderValue, USER_AGENT,
};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use pgsqlite::daystream::remote::{Fault, Hello, Reason};
use pgsqlite::daystream::{Identity, Mark, Start, chain_text, parse_chain};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

use super::url::Url;
use crate::limits::{CONNECT_TIME, FAULT_BYTES_MAX, HEAD_BYTES_MAX, TCP_TIMEOUT};
use crate::wire;

/// How to reach a server.
pub struct Client {
    url: Url,
    token: Option<HeaderValue>,
    tls: Option<Arc<rustls::ClientConfig>>,
}

/// What was answered.
pub struct Answer {
    /// What the stream is.
    pub hello: Hello,
    /// The lines.
    pub body: Incoming,
    /// They are compressed.
    pub zstd: bool,
    /// They are those that a mirror takes.
    pub sparse: bool,
}

/// What is asked for.
#[derive(Clone, Copy)]
pub struct Question<'q> {
    /// The lines, or by HEAD only what the stream is.
    pub method: &'q Method,
    /// The parameters.
    pub query: &'q str,
    /// Where to begin; in `query`, too.
    pub start: Start,
    /// The tables of a mirror that asks, with commas between them.
    pub mirror: Option<&'q str>,
}

impl Client {
    /// For a URL. Certificates are verified by `authorities` (PEM), else by what the system trusts.
    ///
    /// # Errors
    /// `LOCAL`: certificates that cannot be read; `TOKEN`: bytes that no token has.
    pub fn new(
        url: Url,
        token: Option<String>,
        authorities: Option<PathBuf>,
    ) -> Result<Client, Fault> {
        let token = token.map(|token| {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            let mut value =
                value.map_err(|_| Fault::new(Reason::Token, "the token is malformed"))?;
            value.set_sensitive(true);
            Ok(value)
        });
        let tls = if url.tls { Some(Arc::new(trust(authorities)?)) } else { None };
        Ok(Client { url, token: token.transpose()?, tls })
    }

    /// Asks the server.
    ///
    /// # Errors
    /// `CONNECT`, `TLS`, `TIMEOUT`, `LOST`, and what the server says.
    pub async fn ask(&self, question: Question<'_>) -> Result<Answer, Fault> {
        let asking = self.ask_patiently(question);
        let late = |_| {
            let ms = CONNECT_TIME.as_millis();
            Fault::new(Reason::Timeout, format!("no answer within {ms} ms"))
        };
        timeout(CONNECT_TIME, asking).await.map_err(late)?
    }

    async fn ask_patiently(&self, question: Question<'_>) -> Result<Answer, Fault> {
        let connect = |why: std::io::Error| {
            Fault::new(
                Reason::Connect,
                format!("cannot connect to {}: {why}", self.url.authority()),
            )
        };
        let socket = TcpStream::connect((self.url.host.as_str(), self.url.port)).await;
        let socket = socket.map_err(connect)?;
        set_up(&socket);
        let response = match &self.tls {
            None => self.exchange(socket, question).await?,
            Some(tls) => {
                let name = ServerName::try_from(self.url.host.clone());
                let name = name.map_err(|_| Fault::new(Reason::Url, "not a host's name"))?;
                let secure = TlsConnector::from(Arc::clone(tls)).connect(name, socket).await;
                self.exchange(secure.map_err(tls_fault)?, question).await?
            }
        };
        answer(response).await
    }

    async fn exchange<S>(
        &self,
        socket: S,
        question: Question<'_>,
    ) -> Result<Response<Incoming>, Fault>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let lost = |error: hyper::Error| {
            let reason = if error.is_parse() { Reason::Protocol } else { Reason::Lost };
            Fault::new(reason, format!("no answer: {error}"))
        };
        let mut http = http1::Builder::new();
        http.max_buf_size(HEAD_BYTES_MAX);
        let opened = http.handshake(TokioIo::new(socket)).await;
        let (mut sender, connection) = opened.map_err(lost)?;
        // NOTE: how it ends, the body tells.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        let Question { method, query, start, mirror } = question;
        let path = &self.url.path;
        let target = if query.is_empty() { path.clone() } else { format!("{path}?{query}") };
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, self.url.authority())
            .header(USER_AGENT, concat!("daystream-fetch/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT_ENCODING, "zstd");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        if let Start::After(Mark { lsn, chain, .. }) = start {
            if let Some(lsn) = lsn {
                request = request.header(wire::FROM_LSN, lsn.to_string());
            }
            if let Some(chain) = chain {
                request = request.header(wire::FROM_CHAIN, chain_text(chain));
            }
        }
        if let Some(tables) = mirror {
            request = request.header(wire::MIRROR, wire::encode(tables));
        }
        let request = request.body(Empty::<Bytes>::new());
        let request = request.map_err(|_| Fault::new(Reason::Url, "not a URL to ask for"))?;
        sender.send_request(request).await.map_err(lost)
    }
}

fn set_up(socket: &TcpStream) {
    use rustix::net::sockopt;
    // NOTE: what these cannot do, the time without a byte does.
    let _ = socket.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(socket, true);
    let _ = sockopt::set_tcp_keepidle(socket, TCP_TIMEOUT / 2);
}

fn tls_fault(error: std::io::Error) -> Fault {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(inner) => {
            let text = inner.to_string();
            let advice = if text.contains("CaUsedAsEndEntity") {
                "; it is an authority's, not a server's: sign one with it, or make a server's own \
                 with basicConstraints=CA:FALSE"
            } else if text.contains("UnknownIssuer") {
                "; name the file of the authority that has signed its certificate, in PEM form, in \
                 DAYSTREAM_CACERT, or where a program takes it, by -cacert"
            } else {
                ""
            };
            Fault::new(Reason::Tls, format!("the server is not trusted: {inner}{advice}"))
        }
        None => Fault::new(Reason::Lost, format!("TLS was not begun: {error}")),
    }
}

fn trust(authorities: Option<PathBuf>) -> Result<rustls::ClientConfig, Fault> {
    let local = |why: String| Fault::new(Reason::Local, why);
    let mut roots = rustls::RootCertStore::empty();
    match authorities {
        Some(path) => {
            let name = path.display().to_string();
            let certificates = CertificateDer::pem_file_iter(&path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| local(format!("cannot read {name}: {error}")))?;
            let (added, _) = roots.add_parsable_certificates(certificates);
            if added == 0 {
                return Err(local(format!("{name} has no certificate in PEM form")));
            }
        }
        None => {
            let (added, _) =
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if added == 0 {
                let why = "this system trusts no certificate: install ca-certificates, or name a \
                           file with -cacert (DAYSTREAM_CACERT)";
                return Err(local(why.to_owned()));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| local(format!("TLS: {error}")))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

async fn answer(response: Response<Incoming>) -> Result<Answer, Fault> {
    if response.status() != StatusCode::OK {
        return Err(refusal(response).await);
    }
    let field = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let strange = || Fault::new(Reason::Protocol, "the answer is not that of a daystream server");
    let kind = field("content-type").unwrap_or_default();
    if !kind.starts_with("text/tab-separated-values") {
        return Err(strange());
    }
    let zstd = match field(CONTENT_ENCODING.as_str()) {
        None | Some("identity") => false,
        Some("zstd") => true,
        Some(_) => return Err(strange()),
    };
    let hello = hello(&response).ok_or_else(strange)?;
    let sparse = field(wire::MIRROR) == Some("1");
    Ok(Answer { hello, zstd, sparse, body: response.into_body() })
}

/// What the head of an answer says of the stream; `None` when a field is not what it should be.
fn hello(response: &Response<Incoming>) -> Option<Hello> {
    let fields = Fields(response.headers());
    let identity = match fields.get(wire::SYSTEM_ID)? {
        None => None,
        Some(system_id) => Some(Identity {
            system_id: system_id.parse().ok()?,
            database: fields.text(wire::DATABASE)?,
            slot: fields.text(wire::SLOT)?,
            plugin: fields.text(wire::PLUGIN)?,
            publication: fields.text(wire::PUBLICATION)?,
            tables: Identity::tables_of(&fields.text(wire::TABLES)?)?,
            timeline: fields.parsed(wire::TIMELINE)?.unwrap_or_default(),
            made: fields.parsed(wire::MADE)?.unwrap_or_default(),
            id: match fields.get(wire::ID)? {
                None | Some("") => None,
                Some(id) => Some(Identity::id_of(id)?),
            },
            heartbeat_ms: fields.parsed(wire::HEARTBEAT_MS)?.unwrap_or_default(),
            confirmed: None,
        }),
    };
    let before = fields.mark([wire::BEFORE, wire::BEFORE_LSN, wire::CHAIN])?;
    Some(Hello {
        identity,
        before,
        chain: fields.chain(wire::CHAIN)?,
        end: fields.mark([wire::END, wire::END_LSN, wire::END_CHAIN])?,
        segments: fields.parsed(wire::SEGMENTS)?.unwrap_or_default(),
        compressed: fields.parsed(wire::COMPRESSED)?.unwrap_or_default(),
        bytes: fields.parsed(wire::BYTES)?.unwrap_or_default(),
    })
}

/// Header fields. `Some(None)` of one that is not there, `None` of a malformed one.
struct Fields<'h>(&'h HeaderMap);

impl Fields<'_> {
    fn get(&self, name: &str) -> Option<Option<&str>> {
        self.0.get(name).map_or(Some(None), |value| value.to_str().ok().map(Some))
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.map_or(Some(String::new()), wire::decode)
    }

    fn parsed<T: std::str::FromStr>(&self, name: &str) -> Option<Option<T>> {
        self.get(name)?.map_or(Some(None), |text| text.parse().ok().map(Some))
    }

    fn chain(&self, name: &str) -> Option<Option<u32>> {
        self.get(name)?.map_or(Some(None), |text| parse_chain(text).map(Some))
    }

    fn mark(&self, [position, lsn, chain]: [&str; 3]) -> Option<Option<Mark>> {
        let Some(text) = self.get(position)? else { return Some(None) };
        let position = wire::parse_position(text)?;
        Some(Some(Mark { position, lsn: self.parsed(lsn)?, chain: self.chain(chain)? }))
    }
}

/// What the server says, or what its status means.
async fn refusal(response: Response<Incoming>) -> Fault {
    let status = response.status();
    let mut body = response.into_body();
    let mut text = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data() {
            text.extend_from_slice(&data);
        }
        if text.len() > FAULT_BYTES_MAX {
            break;
        }
    }
    let told = std::str::from_utf8(&text).ok().and_then(wire::parse_fault);
    let reason = match status.as_u16() {
        401 | 403 => Reason::Token,
        404 => Reason::NotFound,
        503 => Reason::Busy,
        500..=599 => Reason::Server,
        _ => Reason::Protocol,
    };
    let fault = told.unwrap_or_else(|| Fault::new(reason, format!("the server answered {status}")));
    fault.with("status", status.as_u16())
}
