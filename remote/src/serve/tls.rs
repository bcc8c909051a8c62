//! Certificate and key, read anew when they change.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version::{TLS12, TLS13};

use super::tokens::open_private;
use crate::limits::FILE_CHECK;
use crate::log::Log;

/// A certificate with its key.
#[derive(Debug)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    log: Log,
    state: Mutex<State>,
}

struct State {
    config: Arc<ServerConfig>,
    seen: [Option<SystemTime>; 2],
    looked: Instant,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads both files. The key must be nobody else's to read.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn open(certificate: PathBuf, key: PathBuf, log: Log) -> Result<Tls, String> {
        let seen = [changed(&certificate), changed(&key)];
        let config = load(&certificate, &key)?;
        let state = Mutex::new(State { config, seen, looked: Instant::now() });
        Ok(Tls { certificate, key, log, state })
    }

    /// What the next connection is met with.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= FILE_CHECK {
            state.looked = Instant::now();
            let seen = [changed(&self.certificate), changed(&self.key)];
            if seen != state.seen {
                state.seen = seen;
                match load(&self.certificate, &self.key) {
                    Ok(config) => {
                        state.config = config;
                        self.log.info("certificate", &[]);
                    }
                    Err(why) => self.log.event("warning", "certificate", &[("message", &why)]),
                }
            }
        }
        TlsAcceptor::from(Arc::clone(&state.config))
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|meta| meta.modified()).ok()
}

fn load(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, String> {
    let name = certificate.display();
    let text =
        std::fs::read(certificate).map_err(|error| format!("cannot read {name}: {error}"))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| format!("{name} has no certificate: {error}"))?;
    if chain.is_empty() {
        return Err(format!("{name} has no certificate in PEM form"));
    }
    let mut text = Vec::new();
    let key_name = key.display();
    let read = open_private(key)?.read_to_end(&mut text);
    read.map_err(|error| format!("cannot read {key_name}: {error}"))?;
    let parsed = PrivateKeyDer::from_pem_slice(&text);
    let parsed = parsed.map_err(|error| format!("{key_name} has no key in PEM form: {error}"))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| format!("TLS: {error}"))?
        .with_no_client_auth()
        .with_single_cert(chain, parsed)
        .map_err(|error| format!("{name} and {key_name} do not fit: {error}"))?;
    Ok(Arc::new(config))
}
