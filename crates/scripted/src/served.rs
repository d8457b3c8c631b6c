//! Serves the scripted AWS behind a socket: for what depends on connections and on how long an
//! answer takes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::Response;
use axum::serve::ListenerExt as _;
use crosspilot_core::aws::aws_config::SdkConfig;
use tokio::net::TcpListener;

use crate::{Answer, Call, Scripted};

/// AWS by a script that listens on loopback until the test ends.
#[derive(Debug)]
pub struct Served {
    address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    under_way: AtomicUsize,
    most_at_once: AtomicUsize,
}

impl Scripted {
    /// Serves the script; each answer takes so long.
    pub async fn serve(&self, latency: Duration) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(Counts::default());
        let (script, of_calls, of_connections) = (self.clone(), counts.clone(), counts.clone());
        let listener = listener.tap_io(move |stream| {
            of_connections.connections.fetch_add(1, Ordering::Relaxed);
            stream.set_nodelay(true).unwrap();
        });
        let router = axum::Router::new().fallback(async move |request: Request| {
            let (parts, body) = request.into_parts();
            let body = to_bytes(body, usize::MAX).await.unwrap();
            let header = |name| parts.headers.get(name)?.to_str().ok();
            let call = Call::new(parts.method.as_str(), parts.uri.path(), header, &body);
            let under_way = of_calls.under_way.fetch_add(1, Ordering::Relaxed) + 1;
            of_calls.most_at_once.fetch_max(under_way, Ordering::Relaxed);
            tokio::time::sleep(latency).await;
            of_calls.under_way.fetch_sub(1, Ordering::Relaxed);
            let Answer { status, headers, body } = script.answer(call);
            let response = Response::builder().status(status);
            let response =
                headers.into_iter().fold(response, |it, (name, value)| it.header(name, value));
            response.body(Body::from(body)).unwrap()
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Served { address, counts }
    }
}

impl Served {
    /// The configuration of clients that are answered there, as functions have it but
    /// for the address.
    pub fn config(&self, of: &Scripted) -> SdkConfig {
        of.config()
            .into_builder()
            .endpoint_url(format!("http://{}", self.address))
            .http_client(crosspilot_core::aws::http_client())
            .build()
    }

    /// Connections that were opened.
    pub fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::Relaxed)
    }

    /// Calls that were under way at the same time, at most.
    pub fn most_at_once(&self) -> usize {
        self.counts.most_at_once.load(Ordering::Relaxed)
    }
}
