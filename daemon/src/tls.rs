//! One rustls configuration for both wires: OAuth2 over HTTPS and SMTP.
//!
//! Trust is the system's certificates and, where a client or profile has one, its CA bundle. The validity of certificates
//! is judged by [`crate::clock`], as everything that depends on time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use frankd_proto::TlsVersion;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};

use crate::clock::SharedClock;

/// A TLS configuration cannot be made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TlsError {
    /// The CA bundle has no certificate, or one that cannot be read.
    #[error("the CA bundle is not a list of PEM certificates: {0}")]
    Bundle(String),
    /// rustls refused it.
    #[error("no TLS configuration can be made: {0}")]
    Config(String),
}

/// What a configuration is made from, and what it is kept under.
type Key = (Option<String>, TlsVersion);

/// Makes TLS configurations and keeps them, one for each trust and oldest version.
#[derive(Debug)]
pub struct Tls {
    clock: SharedClock,
    system: Vec<CertificateDer<'static>>,
    made: Mutex<HashMap<Key, Arc<ClientConfig>>>,
}

impl Tls {
    /// Reads the system's certificates. Without any, only CA bundles are trusted.
    pub fn with_system_roots(clock: SharedClock) -> Self {
        Self::new(clock, rustls_native_certs::load_native_certs().certs)
    }

    /// Trusts `system` besides CA bundles.
    pub fn new(clock: SharedClock, system: Vec<CertificateDer<'static>>) -> Self {
        Self { clock, system, made: Mutex::default() }
    }

    /// The configuration for a CA bundle (PEM) and an oldest version.
    pub fn client_config(&self, ca_bundle: Option<&str>, oldest: TlsVersion) -> Result<Arc<ClientConfig>, TlsError> {
        let key = (ca_bundle.map(str::to_owned), oldest);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = made.get(&key) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.build(ca_bundle, oldest)?);
        made.insert(key, Arc::clone(&config));
        Ok(config)
    }

    fn build(&self, ca_bundle: Option<&str>, oldest: TlsVersion) -> Result<ClientConfig, TlsError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.system.iter().cloned());
        for certificate in ca_bundle.map(certificates).transpose()?.into_iter().flatten() {
            roots.add(certificate).map_err(|error| TlsError::Bundle(error.to_string()))?;
        }
        let versions: &[_] = match oldest {
            TlsVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::Tls13 => &[&rustls::version::TLS13],
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_details(provider, Arc::new(WallClock(Arc::clone(&self.clock))))
            .with_protocol_versions(versions)
            .map_err(|error| TlsError::Config(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(config)
    }
}

/// Reads the certificates of a CA bundle; at least one must be there, and each must be fit to be trusted.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsError::Bundle(error.to_string()))?;
    if read.is_empty() {
        return Err(TlsError::Bundle("there is no certificate in it".to_owned()));
    }
    let mut roots = RootCertStore::empty();
    for certificate in &read {
        roots.add(certificate.clone()).map_err(|error| TlsError::Bundle(error.to_string()))?;
    }
    Ok(read)
}

#[derive(Debug)]
struct WallClock(SharedClock);

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.wall().as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn a_bundle_without_certificates_is_refused() {
        let tls = Tls::new(Arc::new(SystemClock), Vec::new());
        for bundle in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(
                matches!(tls.client_config(Some(bundle), TlsVersion::Tls12), Err(TlsError::Bundle(_))),
                "{bundle:?}"
            );
        }
    }

    #[test]
    fn one_trust_gives_one_configuration() -> Result<(), Box<dyn std::error::Error>> {
        let key = rcgen::KeyPair::generate()?;
        let ca = rcgen::CertificateParams::new(Vec::new())?.self_signed(&key)?.pem();
        let tls = Tls::new(Arc::new(SystemClock), Vec::new());
        let first = tls.client_config(Some(&ca), TlsVersion::Tls12)?;
        assert!(Arc::ptr_eq(&first, &tls.client_config(Some(&ca), TlsVersion::Tls12)?));
        assert!(!Arc::ptr_eq(&first, &tls.client_config(Some(&ca), TlsVersion::Tls13)?));
        Ok(())
    }
}
