//! A listener that speaks TLS, with a certificate made on the spot.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub(crate) struct Tls {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
    /// Self-signed: whoever trusts it trusts this listener.
    pub(crate) certificate: rcgen::Certificate,
}

impl Tls {
    /// Listens as `host`, on loopback.
    pub(crate) async fn bind(host: &str, port: u16) -> Self {
        // Twice is once too many, and no harm.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let made = rcgen::generate_simple_self_signed([host.to_owned()]).expect("a certificate");
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], PrivateKeyDer::Pkcs8(key))
            .expect("a certificate with its key");
        let tcp = TcpListener::bind(("127.0.0.1", port))
            .await
            .expect("a port");
        Self {
            tcp,
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificate: made.cert,
        }
    }
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    /// One handshake after another: enough for the few clients of a test.
    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (tcp, addr) = Listener::accept(&mut self.tcp).await;
            let handshake = self.acceptor.accept(tcp);
            if let Ok(Ok(tls)) = tokio::time::timeout(Duration::from_secs(5), handshake).await {
                return (tls, addr);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}
