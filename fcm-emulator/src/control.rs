//! The endpoints by which tests in other processes steer it.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Query, State},
    http::StatusCode,
};
use serde::Deserialize;

use crate::{
    device::{Delivered, Reach, Standing},
    fault::Fault,
    world::{Counts, World},
};

/// The longest wait for a push.
const WAIT_MS_MAX: u64 = 60_000;

#[derive(Deserialize)]
pub(crate) struct SetDevice {
    token: String,
    #[serde(default)]
    standing: Standing,
    #[serde(default)]
    reach: Reach,
}

pub(crate) async fn set_device(
    State(world): State<Arc<World>>,
    Json(device): Json<SetDevice>,
) -> StatusCode {
    world.set_device(&device.token, device.standing, device.reach);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
pub(crate) struct Pushes {
    token: String,
    #[serde(default)]
    after: u64,
    #[serde(default)]
    wait_ms: u64,
}

pub(crate) async fn pushes(
    State(world): State<Arc<World>>,
    Query(asked): Query<Pushes>,
) -> Json<Vec<Delivered>> {
    let wait = Duration::from_millis(asked.wait_ms.min(WAIT_MS_MAX));
    Json(world.wait_for_push(&asked.token, asked.after, wait).await)
}

pub(crate) async fn set_fault(
    State(world): State<Arc<World>>,
    Json(fault): Json<Fault>,
) -> StatusCode {
    world.set_fault(fault);
    StatusCode::NO_CONTENT
}

pub(crate) async fn clear_faults(State(world): State<Arc<World>>) -> StatusCode {
    world.clear_faults();
    StatusCode::NO_CONTENT
}

pub(crate) async fn counts(State(world): State<Arc<World>>) -> Json<Counts> {
    Json(world.counts())
}
