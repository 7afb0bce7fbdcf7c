//! Health and metrics over HTTP, for those who watch over the scheduler.

use std::net::SocketAddr;
use std::sync::PoisonError;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;

use super::post::Standing;
use super::{Board, metrics};
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
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the HTTP endpoint ended");
    }
}

fn standings(board: &Board) -> Vec<Standing> {
    board.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The scheduler lives; how each pipeline stands is in the body.
async fn health(State(board): State<Board>) -> Response {
    let pipelines: Vec<_> = standings(&board).iter().map(told).collect();
    let version = env!("CARGO_PKG_VERSION");
    json_response(StatusCode::OK, &json!({ "status": "ok", "version": version, "pipelines": pipelines }))
}

/// Whether one pipeline is well: 503 while something is wrong and has not come right.
async fn health_of(State(board): State<Board>, Path(name): Path<String>) -> Response {
    let standings = standings(&board);
    let Some(standing) = standings.iter().find(|standing| standing.pipeline == name) else {
        let names: Vec<&str> = standings.iter().map(|standing| standing.pipeline.as_str()).collect();
        let body = json!({ "error": format!("there is no pipeline {name} here"), "pipelines": names });
        return json_response(StatusCode::NOT_FOUND, &body);
    };
    let status = if is_well(standing) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json_response(status, &told(standing))
}

fn is_well(standing: &Standing) -> bool {
    let store = Store::new(&standing.deployment.store.folder);
    store.is_readable() && store.note::<IncidentNote>().is_none()
}

fn told(standing: &Standing) -> serde_json::Value {
    let mut value = json!(standing);
    let store = Store::new(&standing.deployment.store.folder);
    value["healthy"] = is_well(standing).into();
    value["store_readable"] = store.is_readable().into();
    value["incident"] = json!(store.note::<IncidentNote>());
    value
}

async fn metrics_text(State(board): State<Board>) -> Response {
    let standings = standings(&board);
    // Stores are read from disk.
    let text = tokio::task::spawn_blocking(move || metrics(&standings)).await;
    match text {
        Ok(Ok(text)) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Ok(Err(error)) => failed(&error.to_string()),
        Err(error) => failed(&error.to_string()),
    }
}

fn failed(message: &str) -> Response {
    json_response(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": message }))
}

fn json_response(status: StatusCode, body: &serde_json::Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}
