//! A TCP port that forwards to an engine's socket, with TLS or without.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::oneshot;

use super::registry_tls::Identity;

/// An open door. Shut when it is dropped.
pub struct Door {
    address: SocketAddr,
    /// In PEM, when it speaks TLS.
    pub certificate: String,
    _stop: oneshot::Sender<()>,
}

impl Door {
    pub fn open(socket: PathBuf, tls: bool) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let identity = Identity::new();
        let acceptor = tls.then(|| identity.acceptor());
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let serve = async {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let (socket, acceptor) = (socket.clone(), acceptor.clone());
                    tokio::spawn(async move {
                        match acceptor {
                            Some(acceptor) => {
                                if let Ok(stream) = acceptor.accept(stream).await {
                                    pass(stream, &socket).await;
                                }
                            }
                            None => pass(stream, &socket).await,
                        }
                    });
                }
            };
            runtime.block_on(async {
                tokio::select! {
                    () = serve => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, certificate: identity.certificate, _stop: stop }
    }

    /// For `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("tcp://{}", self.address)
    }
}

async fn pass(mut client: impl AsyncRead + AsyncWrite + Unpin, socket: &Path) {
    if let Ok(mut engine) = UnixStream::connect(socket).await {
        let _ = copy_bidirectional(&mut client, &mut engine).await;
    }
}
