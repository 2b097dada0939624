//! The admin listener: metrics, liveness, readiness. For operators alone.

use std::sync::Arc;

use axum::{Router, http::StatusCode, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{log::Chronicle, store::SharedStore};

/// Serves until `stop`.
pub async fn serve(
    listener: TcpListener,
    metrics: PrometheusHandle,
    store: SharedStore,
    chronicle: Arc<Chronicle>,
    drain: CancellationToken,
    stop: CancellationToken,
) {
    let metrics = Arc::new(metrics);
    let ready = move || async move { readiness(&store, &chronicle, &drain).await };
    let router = Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(async move || metrics.render()));
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "the admin listener ended");
    }
}

async fn readiness(
    store: &SharedStore,
    chronicle: &Chronicle,
    drain: &CancellationToken,
) -> (StatusCode, String) {
    let unavailable = |text: String| (StatusCode::SERVICE_UNAVAILABLE, text + "\n");
    if drain.is_cancelled() {
        return unavailable("draining".to_owned());
    }
    if let Some(reason) = chronicle.stopped() {
        return unavailable(reason);
    }
    match store.state().await {
        Ok(_) => (StatusCode::OK, "ready\n".to_owned()),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            unavailable("the store is unavailable".to_owned())
        }
    }
}
