//! Access tokens for assertions:
//! <https://developers.google.com/identity/protocols/oauth2/service-account>.

use std::{
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};

use axum::{
    Form, Json,
    extract::State,
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    response::{IntoResponse as _, Response},
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    fault::Target,
    world::{Access, World},
};

/// The one scope for sending:
/// <https://firebase.google.com/docs/cloud-messaging/auth-server>.
const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";

/// "A maximum of 1 hour after the issued time."
const LIFE_SECS_MAX: u64 = 60 * 60;

/// How far the clocks may be apart.
const SKEW_SECS: u64 = 5 * 60;

#[derive(Deserialize)]
pub(crate) struct Asked {
    grant_type: String,
    assertion: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    scope: String,
    aud: String,
    iat: u64,
    exp: u64,
}

#[derive(Serialize)]
struct Denied {
    error: &'static str,
    error_description: String,
}

/// Gives an access token for a good assertion.
pub(crate) async fn grant(State(world): State<Arc<World>>, Form(asked): Form<Asked>) -> Response {
    if let Some(failed) = world.fail(Target::Token).await {
        return failed;
    }
    match check(&world, &asked) {
        Ok(()) => {
            let token = world.grant();
            let life = world.token_life().as_secs();
            Json(json!({ "access_token": token, "expires_in": life, "token_type": "Bearer" }))
                .into_response()
        }
        Err(denied) => (StatusCode::BAD_REQUEST, Json(denied)).into_response(),
    }
}

fn check(world: &World, asked: &Asked) -> Result<(), Denied> {
    let denied = |error, reason: &str| Denied {
        error,
        error_description: reason.to_owned(),
    };
    if asked.grant_type != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
        return Err(denied("unsupported_grant_type", "Invalid grant_type"));
    }
    let invalid = |reason: &str| denied("invalid_grant", reason);
    let key = DecodingKey::from_rsa_pem(world.public_key().as_bytes());
    let key = key.map_err(|_| invalid("Invalid JWT Signature."))?;
    // Times and audience are checked below, with the words of the real one.
    let mut validation = Validation::new(Algorithm::RS256);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let decoded = jsonwebtoken::decode::<Claims>(asked.assertion.as_bytes(), &key, &validation);
    let claims = decoded
        .map_err(|_| invalid("Invalid JWT Signature."))?
        .claims;
    if claims.iss != world.email() {
        return Err(invalid("Invalid grant: account not found"));
    }
    if claims.aud != world.token_uri() {
        return Err(invalid("Invalid JWT: Failed audience check."));
    }
    if !claims.scope.split(' ').any(|it| it == SCOPE) {
        return Err(denied(
            "invalid_scope",
            "Invalid OAuth scope or ID token audience provided.",
        ));
    }
    let now = world.time_of_day().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or(Duration::ZERO).as_secs();
    let is_short = claims.exp > claims.iat && claims.exp - claims.iat <= LIFE_SECS_MAX;
    let is_now = claims.iat <= now + SKEW_SECS && now <= claims.exp + SKEW_SECS;
    if !is_short || !is_now {
        return Err(invalid(
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable \
             timeframe. Check your iat and exp values in the JWT claim.",
        ));
    }
    Ok(())
}

/// Whether a request carries a token that is good now.
pub(crate) fn is_good(tokens: &[Access], headers: &HeaderMap) -> bool {
    let header = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok());
    let given = header.and_then(|it| it.strip_prefix("Bearer "));
    let now = Instant::now();
    given.is_some_and(|given| {
        tokens
            .iter()
            .any(|it| it.token == given && now < it.ends_at)
    })
}
