//! TLS as libpq means it: what `sslmode` promises, and no more.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};
use rustls_platform_verifier::Verifier;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::name::list;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    Disable,
    /// Plain first, TLS when the server wants it.
    Allow,
    /// TLS when the server has it, plain otherwise. The default.
    Prefer,
    /// TLS, with whomever; with a root certificate it is `verify-ca`.
    Require,
    /// The certificate is signed by a root that is trusted.
    VerifyCa,
    /// And it is made out to the host that was asked for.
    VerifyFull,
}

const MODES: [(&str, SslMode); 6] = [
    ("disable", SslMode::Disable),
    ("allow", SslMode::Allow),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

impl SslMode {
    pub fn parse(text: &str) -> Result<SslMode> {
        let known = MODES.iter().find(|(word, _)| *word == text).map(|(_, mode)| *mode);
        known.ok_or_else(|| {
            Error::new(ErrorKind::Pipeline, format!("`sslmode` cannot be `{text}`"))
                .hint(format!("valid: {}", list(MODES.map(|(word, _)| word))))
        })
    }
}

/// What is asked of TLS.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    pub mode: SslMode,
    /// A file of certificates, or `system`.
    pub roots: Option<PathBuf>,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// `TLSv1.2` and the like; empty is what both sides can.
    pub lowest: String,
    pub highest: String,
    /// Whether the server is told in the clear which host is wanted.
    pub names_host: bool,
}

/// The versions of TLS that libpq knows. The first two are older than anything that is spoken here.
const VERSIONS: [&str; 4] = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];

impl TlsSettings {
    pub fn connector(&self) -> Result<MakeRustlsConnect> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&self.versions()?)
            .or_error(ErrorKind::Bug, || "TLS cannot be set up".to_owned())?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(provider)?);
        let mut config = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error))?;
                builder
                    .with_client_auth_cert(certificates(certificate)?, key)
                    .or_error(ErrorKind::Pipeline, || {
                        format!("{} is no certificate for its key", certificate.display())
                    })?
            }
            _ => builder.with_no_client_auth(),
        };
        config.enable_sni = self.names_host;
        Ok(MakeRustlsConnect::new(config))
    }

    fn versions(&self) -> Result<Vec<&'static SupportedProtocolVersion>> {
        let at = |name: &str, text: &str, default: usize| {
            let found = VERSIONS.iter().position(|version| version.eq_ignore_ascii_case(text));
            found.or(text.is_empty().then_some(default)).ok_or_else(|| {
                Error::new(ErrorKind::Pipeline, format!("`{name}` cannot be `{text}`"))
                    .hint(format!("valid: {}", list(VERSIONS)))
            })
        };
        let lowest = at("ssl_min_protocol_version", &self.lowest, 0)?;
        let highest = at("ssl_max_protocol_version", &self.highest, VERSIONS.len() - 1)?;
        let spoken = [(2, &TLS12), (3, &TLS13)];
        let spoken = spoken.into_iter().filter(|(version, _)| (lowest..=highest).contains(version));
        let spoken: Vec<_> = spoken.map(|(_, version)| version).collect();
        match spoken.is_empty() {
            true => Err(Error::new(ErrorKind::Pipeline, "no version of TLS is left to speak")
                .hint("TLSv1.2 and TLSv1.3 are spoken: raise ssl_max_protocol_version, lower ssl_min_protocol_version")),
            false => Ok(spoken),
        }
    }

    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
        let trust = match (self.mode, &self.roots) {
            (SslMode::Disable | SslMode::Allow | SslMode::Prefer, _) | (SslMode::Require, None) => {
                Trust::Anyone
            }
            (mode, Some(roots)) if roots.as_os_str() == "system" => {
                if mode != SslMode::VerifyFull {
                    return Err(Error::new(
                        ErrorKind::Pipeline,
                        "sslrootcert=system says little without the host's name",
                    )
                    .hint(
                        "add sslmode=verify-full: everybody can have a certificate that the system trusts",
                    ));
                }
                let verifier = Verifier::new(Arc::clone(&provider));
                Trust::System(
                    verifier
                        .or_error(ErrorKind::Pipeline, || "the system's roots cannot be read".to_owned())?,
                )
            }
            (mode, Some(roots)) => Trust::roots(roots, mode == SslMode::VerifyFull, Arc::clone(&provider))?,
            (_, None) => {
                return Err(Error::new(ErrorKind::Pipeline, "there is no root certificate to verify the server with")
                    .hint("add sslrootcert=FILE, or sslrootcert=system for the system's roots, or put it into ~/.postgresql/root.crt"));
            }
        };
        Ok(Arc::new(Judge { trust, provider }))
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_file_iter(file)
        .and_then(|certificates| certificates.collect::<std::result::Result<Vec<_>, _>>())
        .map_err(|error| unreadable(file, error))?;
    match found.is_empty() {
        true => Err(Error::new(ErrorKind::Pipeline, format!("{} has no certificate", file.display()))),
        false => Ok(found),
    }
}

fn unreadable(file: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Pipeline, format!("cannot read {}", file.display()))
        .caused_by(error)
        .hint("give a file in PEM form that this user may read")
}

/// Whose certificates are good enough.
#[derive(Debug)]
enum Trust {
    /// `require` encrypts, and asks nobody who they are.
    Anyone,
    Roots {
        verifier: Arc<WebPkiServerVerifier>,
        /// A server may show one of the roots itself, as a self-signed one does.
        roots: Vec<CertificateDer<'static>>,
        /// Whether it must be made out to the host.
        named: bool,
    },
    System(Verifier),
}

impl Trust {
    fn roots(file: &Path, named: bool, provider: Arc<CryptoProvider>) -> Result<Trust> {
        let roots = certificates(file)?;
        let mut store = RootCertStore::empty();
        for root in &roots {
            store.add(root.clone()).map_err(|error| unreadable(file, error))?;
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider).build();
        let verifier = verifier.map_err(|error| unreadable(file, error))?;
        Ok(Trust::Roots { verifier, roots, named })
    }
}

#[derive(Debug)]
struct Judge {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.trust {
            Trust::Anyone => Ok(ServerCertVerified::assertion()),
            Trust::System(verifier) => {
                verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            Trust::Roots { roots, named, .. }
                if roots.iter().any(|root| root.as_ref() == end_entity.as_ref()) =>
            {
                if *named {
                    let parsed = ParsedCertificate::try_from(end_entity)?;
                    rustls::client::verify_server_name(&parsed, server_name)?;
                }
                Ok(ServerCertVerified::assertion())
            }
            Trust::Roots { verifier, named, .. } => {
                let verified =
                    verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
                match verified {
                    Err(rustls::Error::InvalidCertificate(
                        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
                    )) if !named => Ok(ServerCertVerified::assertion()),
                    verified => verified,
                }
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What helps, when an error's text is about TLS.
pub fn hint(text: &str) -> Option<&'static str> {
    let text = text.to_lowercase();
    let hints = [
        (
            "does not support tls",
            "turn ssl on in the server, or use sslmode=prefer or disable over a network that you trust",
        ),
        (
            "unknownissuer",
            "no trusted root signed the server's certificate: give its CA with sslrootcert=FILE",
        ),
        (
            "notvalidforname",
            "the server's certificate is made out to another host: connect by that name, or sslmode=verify-ca",
        ),
        (
            "not valid for name",
            "the server's certificate is made out to another host: connect by that name, or sslmode=verify-ca",
        ),
        ("expired", "the server's certificate has expired: renew it there"),
        ("certificate", "check the certificates of both sides: sslrootcert, sslcert and sslkey"),
        ("tls", "check sslmode, and the certificates of both sides"),
        ("handshake", "check sslmode, and the certificates of both sides"),
    ];
    hints.iter().find(|(word, _)| text.contains(word)).map(|(_, hint)| *hint)
}
