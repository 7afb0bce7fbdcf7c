//! Health and metrics over HTTP, for those who watch over the scheduler.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use super::post::Standing;
use super::{Board, Standings, metrics};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::store::Store;
use crate::store::notes::IncidentNote;

/// Opens the port, before anything else is begun: one that is taken is told at once.
pub async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .or_error(ErrorKind::Usage, || format!("cannot listen on {address}"))
        .map_err(|error: Error| error.hint("give another address or port, or end what holds this one"))
}

/// Answers until the process ends.
pub async fn answer(listener: TcpListener, board: Board) {
    let router = Router::new()
        .route("/health", get(health))
        .route("/health/{pipeline}", get(health_of))
        .route("/metrics", get(metrics_text))
        .with_state(board);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    if let Err(error) = axum::serve(Bounded { listener, places }, router).await {
        tracing::error!(%error, "the HTTP endpoint ended");
    }
}

/// Connections at once; who comes later waits, and leaves the nights their files.
const CONNECTIONS: usize = 64;
/// How long a connection may last: who asks does so at once, and again later.
const LIFETIME: Duration = Duration::from_secs(10);

/// A port that takes so many connections at once, each for so long.
struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl Listener for Bounded {
    type Io = Timed;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Timed, SocketAddr) {
        // The semaphore is never closed.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (Timed { stream, ends: Box::pin(tokio::time::sleep(LIFETIME)), _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that is cut when its time is over.
struct Timed {
    stream: TcpStream,
    ends: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context,
        into: &mut ReadBuf,
    ) -> Poll<io::Result<()>> {
        if self.ends.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Timed {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.ends.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

fn standings(board: &Board) -> Standings {
    board.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// How long stores may take to be looked at: whoever asks how the nights stand is told soon, also while a bucket's server gives
/// no answer.
const LOOK: Duration = Duration::from_secs(5);

/// Looks at once. One that gets no answer goes on after its asker was told so.
static LOOKS: Semaphore = Semaphore::const_new(32);

/// What is found in stores, if it is found in time.
async fn in_time<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let looked = async {
        let place = LOOKS.acquire().await.ok()?;
        let found = tokio::task::spawn_blocking(move || {
            let _place = place;
            look()
        });
        found.await.ok()
    };
    tokio::time::timeout(LOOK, looked).await.ok().flatten()
}

/// The scheduler lives; how each pipeline stands is in the body.
async fn health(State(board): State<Board>) -> Response {
    let standings = standings(&board);
    let pipelines = futures::future::join_all(standings.pipelines.into_iter().map(told)).await;
    let mut body = json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION"), "pipelines": pipelines });
    if !standings.left_out.is_empty() {
        body["left_out"] = json!(standings.left_out);
    }
    json_response(StatusCode::OK, &body)
}

/// Whether one pipeline is well: 503 while something is wrong and has not come right.
async fn health_of(State(board): State<Board>, Path(name): Path<String>) -> Response {
    let standings = standings(&board).pipelines;
    let Some(standing) = standings.iter().find(|standing| standing.pipeline == name).cloned() else {
        let names: Vec<&str> = standings.iter().map(|standing| standing.pipeline.as_str()).collect();
        let body = json!({ "error": format!("there is no pipeline {name} here"), "pipelines": names });
        return json_response(StatusCode::NOT_FOUND, &body);
    };
    let body = told(standing).await;
    let status = if body["healthy"] == true { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json_response(status, &body)
}

/// How a pipeline stands. A store that cannot be looked at in time is none that can be read.
async fn told(standing: Standing) -> serde_json::Value {
    let mut value = json!(standing);
    let looked = in_time(move || {
        let store = Store::of(&standing.deployment.store);
        let readable = store.is_readable();
        (readable, store.note::<IncidentNote>())
    });
    let (readable, incident) = looked.await.unwrap_or((false, None));
    value["healthy"] = (readable && incident.is_none()).into();
    value["store_readable"] = readable.into();
    value["incident"] = json!(incident);
    value
}

async fn metrics_text(State(board): State<Board>) -> Response {
    let standings = standings(&board);
    let readable = standings.pipelines.iter().cloned().map(|standing| async move {
        in_time(move || Store::of(&standing.deployment.store).is_readable()).await
    });
    let readable = futures::future::join_all(readable).await;
    match in_time(move || metrics(&standings, &readable)).await {
        Some(Ok(text)) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Some(Err(error)) => failed(&error.to_string()),
        None => failed("a store gave no answer in time"),
    }
}

fn failed(message: &str) -> Response {
    json_response(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": message }))
}

fn json_response(status: StatusCode, body: &serde_json::Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}
