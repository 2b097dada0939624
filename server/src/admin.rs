//! The admin listener: metrics, liveness, readiness. For operators alone.

use std::sync::Arc;

use axum::{Router, http::StatusCode, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::store::SharedStore;

/// Serves until `stop`.
pub async fn serve(
    listener: TcpListener,
    metrics: PrometheusHandle,
    store: SharedStore,
    drain: CancellationToken,
    stop: CancellationToken,
) {
    let metrics = Arc::new(metrics);
    let ready = move || async move { readiness(&store, &drain).await };
    let router = Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(async move || metrics.render()));
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "the admin listener ended");
    }
}

async fn readiness(store: &SharedStore, drain: &CancellationToken) -> (StatusCode, &'static str) {
    if drain.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    match store.head().await {
        Ok(_) => (StatusCode::OK, "ready\n"),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "the store is unavailable\n",
            )
        }
    }
}
