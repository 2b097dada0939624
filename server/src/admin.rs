//! The admin listener: metrics, liveness, readiness; and the socket where errands are
//! taken. For operators alone.

mod errands;
mod socket;

use std::sync::Arc;

use axum::{Router, http::StatusCode, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use self::{errands::Errands, socket::serve as serve_socket};
use crate::{hub::Hub, log::Chronicle, metrics, store::SharedStore};

/// Serves until `stop`.
pub async fn serve(
    listener: TcpListener,
    counted: PrometheusHandle,
    store: SharedStore,
    chronicle: Arc<Chronicle>,
    hub: Arc<Hub>,
    drain: CancellationToken,
    stop: CancellationToken,
) {
    let counted = Arc::new(counted);
    let ready = move || async move { readiness(&store, &chronicle, &drain).await };
    let router = Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(async move || scrape(&counted, &hub)));
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "the admin listener ended");
    }
}

/// What was counted, and what is only worth a look when somebody asks.
fn scrape(counted: &PrometheusHandle, hub: &Hub) -> String {
    ::metrics::gauge!(metrics::DEVICES_CONNECTED).set(hub.connected() as f64);
    metrics::look();
    counted.render()
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
            chronicle.note(&error);
            unavailable("the store is unavailable".to_owned())
        }
    }
}
