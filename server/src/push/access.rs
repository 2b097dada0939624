//! The access token with which the server may push, kept and renewed:
//! <https://developers.google.com/identity/protocols/oauth2/service-account>.

use std::time::Duration;

use jsonwebtoken::{Algorithm, Header};
use magpie_protocol::moment::Moment;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{account::ServiceAccount, answer::Outcome, skew::Skew};
use crate::{clock::Clock, metrics::PUSH_ERRORS};

/// What the server may do with a token.
const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";

/// How long an assertion and a token are good for, at most.
const LIFE_SECS: u64 = 60 * 60;

/// How long before its end a token is renewed.
const EARLY: Duration = Duration::from_secs(5 * 60);

/// How long after a failure to renew a token that is still good.
const RETRY: Duration = Duration::from_secs(10);

/// The longest answer that is read.
const ANSWER_SIZE_MAX: usize = 64 * 1024; // bytes

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    scope: &'a str,
    aud: &'a str,
    iat: u64,
    exp: u64,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Denied {
    error: String,
    error_description: String,
}

#[derive(Clone)]
struct Token {
    text: String,
    renew_at: Moment,
    ends_at: Moment,
}

/// Asks for access tokens.
pub(super) struct Access {
    account: ServiceAccount,
    token_uri: String,
    http: reqwest::Client,
    clock: Clock,
    skew: Skew,
    /// Held while it is renewed: the others wait for that one.
    token: Mutex<Option<Token>>,
}

impl Access {
    pub(super) fn new(
        account: ServiceAccount,
        token_uri: String,
        http: reqwest::Client,
        clock: Clock,
        skew: Skew,
    ) -> Self {
        Self {
            account,
            token_uri,
            http,
            clock,
            skew,
            token: Mutex::new(None),
        }
    }

    /// A token that is good now.
    pub(super) async fn token(&self) -> Result<String, Outcome> {
        let mut token = self.token.lock().await;
        let now = self.clock.now();
        if let Some(token) = &*token
            && now < token.renew_at
        {
            return Ok(token.text.clone());
        }
        let failed = match self.ask().await {
            Ok(fresh) => return Ok(token.insert(fresh).text.clone()),
            Err(failed) => failed,
        };
        metrics::counter!(PUSH_ERRORS, "code" => "token").increment(1);
        // The old one may have minutes left.
        match &mut *token {
            Some(token) if now < token.ends_at => {
                tracing::warn!(?failed, "the access token of FCM was not renewed");
                token.renew_at = now + RETRY;
                Ok(token.text.clone())
            }
            _ => Err(failed),
        }
    }

    /// As whom tokens are asked for.
    pub(super) fn account(&self) -> &ServiceAccount {
        &self.account
    }

    /// FCM did not take this token.
    pub(super) async fn refused(&self, text: &str) {
        let mut token = self.token.lock().await;
        if token.as_ref().is_some_and(|it| it.text == text) {
            *token = None;
        }
    }

    async fn ask(&self) -> Result<Token, Outcome> {
        let assertion = self.assertion()?;
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("assertion", assertion.as_str()),
        ];
        let asked_at = self.clock.now();
        let answer = self.http.post(&self.token_uri).form(&form).send().await;
        let answer = answer.map_err(|error| unanswered(&error))?;
        self.skew.note(&answer);
        let status = answer.status();
        let body = super::fcm::read(answer, ANSWER_SIZE_MAX).await?;
        if !status.is_success() {
            return Err(denied(status.as_u16(), &body));
        }
        let granted: Granted = serde_json::from_slice(&body).map_err(|_| Outcome::Unavailable {
            after: None,
            reason: "the token endpoint gave no token".to_owned(),
        })?;
        let life = Duration::from_secs(granted.expires_in.min(LIFE_SECS));
        // One that is short is renewed at half of it.
        let renew_after = life.saturating_sub(EARLY).max(life / 2);
        Ok(Token {
            text: granted.access_token,
            renew_at: asked_at + renew_after,
            ends_at: asked_at + life,
        })
    }

    fn assertion(&self) -> Result<String, Outcome> {
        let now = u64::try_from(self.clock.wall_ms() / 1000).unwrap_or(0);
        let claims = Claims {
            iss: &self.account.email,
            scope: SCOPE,
            aud: &self.token_uri,
            iat: now,
            exp: now.saturating_add(LIFE_SECS),
        };
        let header = Header {
            kid: Some(self.account.key_id.clone()),
            ..Header::new(Algorithm::RS256)
        };
        jsonwebtoken::encode(&header, &claims, &self.account.key).map_err(|_| {
            Outcome::Misconfigured {
                code: "the key of the service account cannot sign".to_owned(),
            }
        })
    }
}

/// What the token endpoint's refusal means.
fn denied(status: u16, body: &[u8]) -> Outcome {
    let denied: Denied = serde_json::from_slice(body).unwrap_or_default();
    let code = format!("{} {}", denied.error, denied.error_description);
    let code = code.trim().to_owned();
    match status {
        400 | 401 | 403 | 404 => Outcome::Misconfigured { code },
        _ => Outcome::Unavailable {
            after: None,
            reason: format!("the token endpoint says {status}"),
        },
    }
}

/// Nobody answered: perhaps it was done, perhaps not.
pub(super) fn unanswered(error: &reqwest::Error) -> Outcome {
    let what = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the connection broke"
    };
    let mut reason = what.to_owned();
    if let Some(host) = error.url().and_then(|url| url.host_str()) {
        reason.push_str(&format!(" ({host})"));
    }
    // A certificate that is not trusted is a matter of settings, not of the network.
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause.and_then(std::error::Error::source) {
        cause = Some(next);
    }
    if let Some(cause) = cause.filter(|it| it.to_string().contains("certificate")) {
        reason.push_str(&format!(": {cause}; is push_ca right?"));
    }
    Outcome::Unavailable {
        after: None,
        reason,
    }
}
