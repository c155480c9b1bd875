//! A throw-away certification authority, and server certificates good and bad.
//!
//! Every certificate is made at start and lives in memory. Validity runs from 1975 to 4096, so that a fake wall clock
//! never meets an expired certificate except the one that is meant to be.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// Why the authority could not issue a certificate or build a configuration.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A key or certificate could not be made.
    #[error("make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// rustls did not take what was made.
    #[error("build a TLS configuration")]
    Tls(#[from] rustls::Error),
}

/// What is wrong with a server certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing: good for `localhost`, `127.0.0.1` and `::1`.
    Sound,
    /// It ended in February 2020.
    Expired,
    /// It is for `elsewhere.example`.
    WrongName,
    /// It is signed by an authority that nobody trusts.
    OtherAuthority,
}

/// A server certificate and what a server needs to show it.
#[derive(Clone, Debug)]
pub struct ServerCertificate {
    /// The certificate as PEM.
    pub cert_pem: String,
    /// Its private key as PKCS#8 PEM.
    pub key_pem: String,
    /// TLS 1.2 and 1.3 with ring, this certificate, no client certificates.
    pub config: Arc<ServerConfig>,
}

/// A test certification authority, and one beside it that nobody trusts.
pub struct Pki {
    authority: Issuer<'static, KeyPair>,
    stranger: Issuer<'static, KeyPair>,
    ca_pem: String,
    ca_der: CertificateDer<'static>,
}

impl Pki {
    /// Makes both authorities.
    pub fn new() -> Result<Self, PkiError> {
        let (authority, certificate) = authority("frankd sandbox CA")?;
        let (stranger, _) = self::authority("somebody else's CA")?;
        Ok(Self { authority, stranger, ca_pem: certificate.pem(), ca_der: certificate.der().clone() })
    }

    /// The trusted authority's certificate as PEM: what goes into a CA bundle.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Issues a server certificate with `flaw`.
    pub fn issue(&self, flaw: Flaw) -> Result<ServerCertificate, PkiError> {
        let names: &[&str] =
            if flaw == Flaw::WrongName { &["elsewhere.example"] } else { &["localhost", "127.0.0.1", "::1"] };
        let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        params.distinguished_name.push(DnType::CommonName, names[0]);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if flaw == Flaw::Expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2020, 2, 1);
        }
        let key = KeyPair::generate()?;
        let signer = if flaw == Flaw::OtherAuthority { &self.stranger } else { &self.authority };
        let certificate = params.signed_by(&key, signer)?;
        let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], secret)?;
        Ok(ServerCertificate { cert_pem: certificate.pem(), key_pem: key.serialize_pem(), config: Arc::new(config) })
    }

    /// A client's TLS configuration that trusts this authority alone.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, PkiError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca_der.clone())?;
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config))
    }
}

/// ring, named explicitly: the sandbox must not depend on a process-wide default.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn authority(name: &str) -> Result<(Issuer<'static, KeyPair>, rcgen::Certificate), PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((Issuer::new(params, key), certificate))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::ServerName;
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    async fn handshake(pki: &Pki, flaw: Flaw, name: &'static str) -> Result<(), String> {
        let (client, server) = tokio::io::duplex(1 << 16);
        let acceptor = TlsAcceptor::from(pki.issue(flaw).unwrap().config);
        let connector = TlsConnector::from(pki.client_config().unwrap());
        let name = ServerName::try_from(name).unwrap();
        let (client, _server) = tokio::join!(connector.connect(name, client), acceptor.accept(server));
        client.map(drop).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_sound_certificate_is_good_for_every_loopback_name() {
        let pki = Pki::new().unwrap();
        for name in ["localhost", "127.0.0.1", "::1"] {
            assert_eq!(handshake(&pki, Flaw::Sound, name).await, Ok(()), "{name}");
        }
    }

    #[tokio::test]
    async fn each_flaw_is_refused_for_its_own_reason() {
        let pki = Pki::new().unwrap();
        for (flaw, reason) in [
            (Flaw::Expired, "expired"),
            (Flaw::WrongName, "not valid for name"),
            (Flaw::OtherAuthority, "UnknownIssuer"),
        ] {
            let error = handshake(&pki, flaw, "localhost").await.unwrap_err();
            assert!(error.contains(reason), "{flaw:?}: {error}");
        }
    }
}
