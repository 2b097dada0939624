//! `POST /v1/projects/{project}/messages:send`:
//! <https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages/send>.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, Version, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

use crate::{
    access::is_good, device::Came, fault::Target, message::Message, refusal::Refusal, world::World,
};

/// Counts a request while it is in flight.
struct InFlight(Arc<World>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.leave();
    }
}

pub(crate) async fn send(
    State(world): State<Arc<World>>,
    Path((project, method)): Path<(String, String)>,
    version: Version,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let came = Came::now(version);
    if method != "messages:send" || project != world.project() {
        return StatusCode::NOT_FOUND.into_response();
    }
    world.enter();
    let _in_flight = InFlight(Arc::clone(&world));
    let fault = world.next_fault(Target::Send);
    if let Some(fault) = fault {
        tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
        if !fault.after_effect
            && let Some(failed) = fault.answer()
        {
            return failed;
        }
    }
    let answer = match take(&world, &headers, &body, came) {
        Ok(name) => Json(json!({ "name": name })).into_response(),
        Err(refusal) => refusal.into_response(),
    };
    let lost = fault.filter(|it| it.after_effect);
    lost.and_then(|it| it.answer()).unwrap_or(answer)
}

/// Takes a request's message; returns its name.
fn take(world: &World, headers: &HeaderMap, body: &[u8], came: Came) -> Result<String, Refusal> {
    if !world.with_access(|tokens| is_good(tokens, headers)) {
        return Err(Refusal::unauthenticated());
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    if kind.is_none_or(|it| !it.starts_with("application/json")) {
        return Err(Refusal::field("", "The content type is application/json"));
    }
    let body: Value = serde_json::from_slice(body)
        .map_err(|_| Refusal::field("", "Invalid JSON payload received."))?;
    let message = body
        .get("message")
        .ok_or_else(|| Refusal::field("message", "The message is missing"))?;
    let is_check = body.get("validate_only") == Some(&Value::Bool(true));
    world.take(Message::parse(message)?, came, is_check)?;
    let project = world.project();
    let number = match is_check {
        true => "fake_message_id".to_owned(),
        false => world.next_number().to_string(),
    };
    Ok(format!("projects/{project}/messages/{number}"))
}
