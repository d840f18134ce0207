//! What a TLS server needs: a configuration that outlives its certificates.
//!
//! Must not know: when a certificate changes, who connects.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::{
    ServerConfig,
    crypto::ring,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::load::Identity;

/// The identity that is served now; none at first, when every handshake is refused. Replacing it
/// disturbs no open connection and no handshake.
#[derive(Debug, Default)]
pub struct Rotating(ArcSwapOption<CertifiedKey>);

impl Rotating {
    /// Serves `identity` from the next handshake on.
    pub fn replace(&self, identity: &Identity) {
        self.0.store(Some(identity.key()));
    }
}

impl ResolvesServerCert for Rotating {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

/// TLS 1.2 and 1.3 with HTTP/2 and HTTP/1.1, by ring, without client certificates.
pub fn server_config(identity: Arc<Rotating>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(identity);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use rustls::{ClientConfig, RootCertStore};
    use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;
    use crate::issue::{Authority, Validity};

    fn validity() -> Validity {
        #[expect(
            clippy::disallowed_methods,
            reason = "the client judges by the real time"
        )]
        let now = SystemTime::now();
        Validity::starting(now, Duration::from_hours(1))
    }

    fn identity(authority: &Authority) -> Identity {
        Identity::load(
            &authority
                .server("leaf", &["localhost"], validity())
                .unwrap(),
        )
        .unwrap()
    }

    async fn handshake(server: &Arc<Rotating>, trusted: &Authority) -> Result<(), std::io::Error> {
        let acceptor = TlsAcceptor::from(Arc::new(server_config(Arc::clone(server)).unwrap()));
        let mut roots = RootCertStore::empty();
        let pem = trusted.pair().certificate.as_bytes();
        roots
            .add(CertificateDer::from_pem_slice(pem).unwrap())
            .unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (near, far) = tokio::io::duplex(1 << 14);
        let connector = TlsConnector::from(Arc::new(client));
        let name = ServerName::try_from("localhost").unwrap();
        let (connected, _accepted) =
            tokio::join!(connector.connect(name, near), acceptor.accept(far));
        connected.map(drop)
    }

    #[tokio::test]
    async fn the_next_handshake_gets_the_new_certificate() {
        let (one, two) = (
            Authority::new("one", validity()).unwrap(),
            Authority::new("two", validity()).unwrap(),
        );
        let server = Arc::new(Rotating::default());
        handshake(&server, &one).await.unwrap_err();
        server.replace(&identity(&one));
        handshake(&server, &one).await.unwrap();
        handshake(&server, &two).await.unwrap_err();
        server.replace(&identity(&two));
        handshake(&server, &two).await.unwrap();
        handshake(&server, &one).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_reloaded_authoritys_leaf_is_trusted() {
        let one = Authority::new("one", validity()).unwrap();
        let reloaded = Authority::from_pair(one.pair().clone()).unwrap();
        let server = Arc::new(Rotating::default());
        server.replace(&identity(&reloaded));
        handshake(&server, &one).await.unwrap();
    }
}
