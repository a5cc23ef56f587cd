//! A mail server on loopback, in clear, with STARTTLS or with TLS, that misbehaves on request.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// How long a mail is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// How the server speaks TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpTls {
    /// Not at all.
    None,
    /// When asked to.
    StartTls,
    /// From the beginning.
    Wrapped,
}

/// How the server misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpFault {
    /// Not: mails are taken.
    None,
    /// Connections are closed as soon as they are open.
    Refuse,
    /// Nothing is ever said.
    Hang,
    /// The recipient is answered with this code.
    Recipient(u16),
    /// The connection is closed in the middle of the mail.
    DieInData,
}

/// A mail that was taken.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Whom the envelope names as the sender.
    pub from: String,
    /// Whom the envelope names.
    pub to: Vec<String>,
    /// The whole message.
    pub message: String,
    /// Whether it came over TLS.
    pub encrypted: bool,
}

impl Mail {
    /// The value of a header, unfolded.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let head = self.message.split("\r\n\r\n").next()?;
        let head = head.replace("\r\n ", " ").replace("\r\n\t", " ");
        let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
        let (_, value) = lines.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        Some(value.trim().to_owned())
    }
}

/// A running mail server; dropping it stops it.
#[derive(Debug)]
pub struct Smtp {
    /// Where it listens.
    pub addr: SocketAddr,
    /// The certificate of its TLS, in PEM, for `localhost`.
    pub certificate: String,
    shared: Arc<Shared>,
    served: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    mails: watch::Sender<Vec<Mail>>,
    fault: Mutex<SmtpFault>,
    connections: AtomicUsize,
}

impl Smtp {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// When loopback cannot be bound.
    pub async fn start(tls: SmtpTls) -> Self {
        let listener = crate::listener().await;
        let addr = listener.local_addr().expect("the bound address");
        let made =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = tokio_rustls::rustls::crypto::ring::default_provider();
        let config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .expect("protocol versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], PrivateKeyDer::Pkcs8(key))
            .expect("a certificate with its key");
        let shared = Arc::new(Shared {
            mails: watch::Sender::new(Vec::new()),
            fault: Mutex::new(SmtpFault::None),
            connections: AtomicUsize::new(0),
        });
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let served = tokio::spawn(serve(listener, tls, acceptor, Arc::clone(&shared)));
        Self {
            addr,
            certificate: made.cert.pem(),
            shared,
            served,
        }
    }

    /// Misbehaves from the next connection on.
    pub fn fault(&self, fault: SmtpFault) {
        *self
            .shared
            .fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// How many connections there were.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The mails that were taken.
    #[must_use]
    pub fn mails(&self) -> Vec<Mail> {
        self.shared.mails.borrow().clone()
    }

    /// Waits until so many mails were taken.
    ///
    /// # Panics
    /// When they are not within 30 seconds.
    pub async fn wait_for(&self, mails: usize) -> Vec<Mail> {
        let mut taken = self.shared.mails.subscribe();
        let enough = taken.wait_for(|taken| taken.len() >= mails);
        let taken = tokio::time::timeout(PATIENCE, enough).await;
        taken
            .expect("the mails within 30 seconds")
            .expect("the server runs")
            .clone()
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        self.served.abort();
    }
}

async fn serve(listener: TcpListener, tls: SmtpTls, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let fault = *shared.fault.lock().unwrap_or_else(PoisonError::into_inner);
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        // As mail servers do: the second line of an answer does not wait until the first is
        // acknowledged.
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            match fault {
                SmtpFault::Refuse => {}
                // For longer than anybody waits.
                SmtpFault::Hang => {
                    tokio::time::sleep(Duration::from_secs(600)).await;
                    drop(stream);
                }
                fault => {
                    // A client that goes away is no failure of the server.
                    let _ = session(stream, tls, acceptor, fault, &shared).await;
                }
            }
        });
    }
}

async fn session(
    stream: TcpStream,
    tls: SmtpTls,
    acceptor: TlsAcceptor,
    fault: SmtpFault,
    shared: &Shared,
) -> std::io::Result<()> {
    if tls == SmtpTls::Wrapped {
        let stream = acceptor.accept(stream).await?;
        let mut talk = Talk::new(stream, true, fault);
        talk.say("220 ready").await?;
        talk.listen(false, shared).await?;
        return Ok(());
    }
    let mut talk = Talk::new(stream, false, fault);
    talk.say("220 ready").await?;
    if talk.listen(tls == SmtpTls::StartTls, shared).await? {
        let stream = acceptor.accept(talk.stream.into_inner()).await?;
        Talk::new(stream, true, fault).listen(false, shared).await?;
    }
    Ok(())
}

struct Talk<S> {
    stream: BufReader<S>,
    encrypted: bool,
    fault: SmtpFault,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    fn new(stream: S, encrypted: bool, fault: SmtpFault) -> Self {
        Self {
            stream: BufReader::new(stream),
            encrypted,
            fault,
        }
    }

    async fn say(&mut self, line: &str) -> std::io::Result<()> {
        self.stream
            .write_all(format!("{line}\r\n").as_bytes())
            .await?;
        self.stream.flush().await
    }

    async fn line(&mut self) -> std::io::Result<Option<String>> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).await?;
        Ok((read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// Until the client ends; `true` where it wants to go on in TLS.
    async fn listen(&mut self, offer_tls: bool, shared: &Shared) -> std::io::Result<bool> {
        let (mut from, mut to) = (String::new(), Vec::new());
        while let Some(line) = self.line().await? {
            let upper = line.to_ascii_uppercase();
            if upper.starts_with("EHLO") {
                if offer_tls {
                    self.say("250-localhost").await?;
                    self.say("250 STARTTLS").await?;
                } else {
                    self.say("250-localhost").await?;
                    self.say("250 AUTH PLAIN LOGIN").await?;
                }
            } else if upper == "STARTTLS" && offer_tls {
                self.say("220 go on").await?;
                return Ok(true);
            } else if upper.starts_with("AUTH") {
                self.say("235 welcome").await?;
            } else if upper.starts_with("MAIL FROM:") {
                from = address(&line);
                self.say("250 ok").await?;
            } else if upper.starts_with("RCPT TO:") {
                if let SmtpFault::Recipient(code) = self.fault {
                    self.say(&format!("{code} not now")).await?;
                } else {
                    to.push(address(&line));
                    self.say("250 ok").await?;
                }
            } else if upper == "DATA" {
                self.say("354 go on").await?;
                if self.fault == SmtpFault::DieInData {
                    self.line().await?;
                    return Ok(false);
                }
                let message = self.message().await?;
                let mail = Mail {
                    from: std::mem::take(&mut from),
                    to: std::mem::take(&mut to),
                    message,
                    encrypted: self.encrypted,
                };
                shared.mails.send_modify(|mails| mails.push(mail));
                self.say("250 taken").await?;
            } else if upper == "QUIT" {
                self.say("221 bye").await?;
                return Ok(false);
            } else {
                self.say("250 ok").await?;
            }
        }
        Ok(false)
    }

    async fn message(&mut self) -> std::io::Result<String> {
        let mut message = String::new();
        while let Some(line) = self.line().await? {
            if line == "." {
                break;
            }
            // A dot at the beginning was doubled (RFC 5321, section 4.5.2).
            message.push_str(line.strip_prefix('.').unwrap_or(&line));
            message.push_str("\r\n");
        }
        Ok(message)
    }
}

fn address(line: &str) -> String {
    let inner = line
        .split('<')
        .nth(1)
        .and_then(|rest| rest.split('>').next());
    inner.unwrap_or_default().to_owned()
}
