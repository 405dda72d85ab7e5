//! The near side of the proxy: the job's connections on the loopback address.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsAcceptor;

use super::forward::Forward;

/// The time limit for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The time limit for the headers of a request, and for the pause between two requests on an HTTP/1.1
/// connection. Most clients close idle connections earlier (Go: after 90 s), so they do not use a connection
/// that the proxy has just closed.
const IDLE: Duration = Duration::from_secs(300);
/// The pause after a connection that the proxy could not accept, for example because this process has too
/// many open files.
const PAUSE: Duration = Duration::from_millis(20);
/// The limit for the headers of a request, in bytes. hyper may accept larger headers, but none of twice this
/// size. Selectors make the paths of some requests long.
const LONGEST_HEADERS: usize = 128 << 10;
/// The greatest number of bytes that one stream keeps in memory for a slow reader or writer.
pub(super) const WINDOW: u32 = 256 << 10;
/// The greatest number of streams on one connection. kube-apiserver allows 100; clients open another
/// connection for more.
const STREAMS: u32 = 250;
/// The greatest number of bytes that one connection keeps in memory: a full window for each stream, so that
/// slow streams do not delay others.
const CONNECTION_WINDOW: u32 = WINDOW * STREAMS;

/// Listens on a free port of 127.0.0.1.
pub(super) fn bind() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Serves connections until this future is dropped.
pub(super) async fn serve(listener: TcpListener, tls: ServerConfig, forward: Arc<Forward>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(stream, acceptor.clone(), Arc::clone(&forward)));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, forward: Arc<Forward>) {
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(stream)).await else {
        return;
    };
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let stream = TokioIo::new(stream);
    // Passing a request on takes kilobytes of state, and a watch then stays open for hours. The box frees the
    // state when the answer begins.
    let service = service_fn(move |request| Box::pin(Arc::clone(&forward).answer(request)));
    // An error ends only this connection, and the client sees it.
    let _ = match is_http2 {
        true => {
            http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_header_list_size(LONGEST_HEADERS as u32)
                .max_concurrent_streams(STREAMS)
                .initial_stream_window_size(WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_send_buf_size(WINDOW as usize)
                .serve_connection(stream, service)
                .await
        }
        false => {
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(IDLE)
                .max_buf_size(LONGEST_HEADERS)
                .serve_connection(stream, service)
                .with_upgrades()
                .await
        }
    };
}
