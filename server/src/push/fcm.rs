//! The only HTTP to FCM: one client, one HTTP/2 connection, many requests in
//! flight.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{Certificate, Client, Response, Url, header::RETRY_AFTER, redirect::Policy};
use serde_json::json;

use super::{
    access::{Access, unanswered},
    account::ServiceAccount,
    answer::{Outcome, code, sort},
    message::PushMessage,
    skew::Skew,
};
use crate::{
    clock::Clock,
    metrics::{PUSH_ERRORS, PUSHES},
};

/// Where FCM is.
const BASE_URL: &str = "https://fcm.googleapis.com";

/// How long an answer may take: FCM asks for at least 10 s before a request is
/// given up (<https://firebase.google.com/docs/cloud-messaging/scale-fcm>).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a connection is asked whether it lives.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// The longest answer that is read.
const ANSWER_SIZE_MAX: usize = 64 * 1024; // bytes

/// Where FCM and the token endpoint are, if not where Google has them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Endpoints {
    /// Instead of `https://fcm.googleapis.com`.
    pub base_url: Option<String>,
    /// Instead of the service account's.
    pub token_uri: Option<String>,
    /// Whom to trust there besides the system's authorities: a PEM file.
    pub ca: Option<PathBuf>,
}

/// Why pushes cannot be sent to where they should.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EndpointsError {
    /// Not a URL, or of another kind.
    #[error("{url:?} is not an https URL (http is for this machine's own addresses)")]
    NotAllowed {
        /// What was given.
        url: String,
    },
    /// The certificate authority is of no use.
    #[error("the certificate authority {path} cannot be used: {reason}")]
    Authority {
        /// Its file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// There is no TLS to be had.
    #[error("there is no HTTP client: {reason}")]
    NoClient {
        /// What happened.
        reason: String,
    },
}

/// Sends pushes.
pub struct Fcm {
    access: Access,
    http: Client,
    send_url: String,
    skew: Skew,
}

impl Fcm {
    /// A sender; connects when there is something to send.
    ///
    /// # Errors
    ///
    /// [`EndpointsError`].
    pub fn new(
        account: ServiceAccount,
        endpoints: &Endpoints,
        clock: Clock,
    ) -> Result<Self, EndpointsError> {
        let base_url = endpoints.base_url.as_deref().unwrap_or(BASE_URL);
        let token_uri = endpoints.token_uri.as_deref();
        let token_uri = token_uri.unwrap_or(&account.token_uri).to_owned();
        let is_plain = [is_plain(base_url)?, is_plain(&token_uri)?].contains(&true);
        let authorities = match &endpoints.ca {
            Some(path) => authorities(path)?,
            None => Vec::new(),
        };
        let http = client(is_plain, authorities)?;
        let skew = Skew::new(clock);
        let base_url = base_url.trim_end_matches('/');
        let send_url = format!("{base_url}/v1/projects/{}/messages:send", account.project);
        Ok(Self {
            access: Access::new(account, token_uri, http.clone(), clock, skew.clone()),
            http,
            send_url,
            skew,
        })
    }

    /// As whom it sends.
    #[must_use]
    pub fn account(&self) -> &ServiceAccount {
        self.access.account()
    }

    /// How far this machine's clock is ahead of Google's; `None` while nobody there
    /// has answered.
    #[must_use]
    pub fn clock_ahead_secs(&self) -> Option<i64> {
        self.skew.ahead_secs()
    }

    /// Sends one message.
    pub async fn send(&self, message: &PushMessage) -> Outcome {
        let outcome = self.deliver(&message.body()).await;
        metrics::counter!(PUSHES, "outcome" => outcome.name()).increment(1);
        outcome
    }

    /// Has FCM check a message to `token` that it does not deliver:
    /// <https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages/send>.
    pub async fn validate(&self, token: &str) -> Outcome {
        let body = json!({ "validate_only": true, "message": { "token": token } });
        self.deliver(&body).await
    }

    async fn deliver(&self, body: &serde_json::Value) -> Outcome {
        let token = match self.access.token().await {
            Ok(token) => token,
            Err(outcome) => return outcome,
        };
        let outcome = self.deliver_with(&token, body).await;
        if !is_unauthenticated(&outcome) {
            return outcome;
        }
        // The token ended early. A fresh one, once.
        self.access.refused(&token).await;
        match self.access.token().await {
            Ok(token) => self.deliver_with(&token, body).await,
            Err(outcome) => outcome,
        }
    }

    async fn deliver_with(&self, token: &str, body: &serde_json::Value) -> Outcome {
        let request = self.http.post(&self.send_url).bearer_auth(token).json(body);
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => {
                metrics::counter!(PUSH_ERRORS, "code" => "none").increment(1);
                return unanswered(&error);
            }
        };
        self.skew.note(&answer);
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get(RETRY_AFTER);
        let retry_after = retry_after
            .and_then(|it| it.to_str().ok())
            .map(str::to_owned);
        match read(answer, ANSWER_SIZE_MAX).await {
            Ok(body) => {
                if status != 200 {
                    metrics::counter!(PUSH_ERRORS, "code" => code(&body)).increment(1);
                }
                sort(status, retry_after.as_deref(), &body)
            }
            Err(outcome) => {
                metrics::counter!(PUSH_ERRORS, "code" => "none").increment(1);
                outcome
            }
        }
    }
}

/// Whether FCM did not take the access token. (With the app's own credentials for
/// Apple or the web it is another code.)
fn is_unauthenticated(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Misconfigured { code } if code == "UNAUTHENTICATED" || code == "401")
}

/// An answer's body, if it is not too long.
pub(super) async fn read(mut answer: Response, size_max: usize) -> Result<Vec<u8>, Outcome> {
    let mut body = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(None) => return Ok(body),
            Ok(Some(chunk)) if body.len() + chunk.len() <= size_max => {
                body.extend_from_slice(&chunk);
            }
            Ok(Some(_)) => {
                return Err(Outcome::Unavailable {
                    after: None,
                    reason: "the answer is too long".to_owned(),
                });
            }
            Err(error) => return Err(unanswered(&error)),
        }
    }
}

/// Whether it is without TLS, which is for this machine's own addresses.
fn is_plain(url: &str) -> Result<bool, EndpointsError> {
    let not_allowed = || EndpointsError::NotAllowed {
        url: url.to_owned(),
    };
    let parsed = Url::parse(url).map_err(|_| not_allowed())?;
    let host = parsed.host_str().unwrap_or_default();
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    let is_own = host == "localhost" || address.is_some_and(|it| it.is_loopback());
    match parsed.scheme() {
        "https" if !host.is_empty() => Ok(false),
        "http" if is_own => Ok(true),
        _ => Err(not_allowed()),
    }
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, EndpointsError> {
    let unusable = |reason: String| EndpointsError::Authority {
        path: path.display().to_string(),
        reason,
    };
    let pem = fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|error| unusable(error.to_string()))?;
    if found.is_empty() {
        return Err(unusable("no certificate in PEM form in it".to_owned()));
    }
    Ok(found)
}

/// Nothing but the endpoints is ever asked: no redirect is followed, no proxy of
/// the environment used.
fn client(is_plain: bool, authorities: Vec<Certificate>) -> Result<Client, EndpointsError> {
    let mut builder = Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(ANSWER_TIMEOUT)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(CONNECT_TIMEOUT)
        .https_only(!is_plain);
    if !authorities.is_empty() {
        builder = builder.tls_certs_merge(authorities);
    }
    if is_plain {
        // Without TLS nothing tells that the other side speaks HTTP/2.
        builder = builder.http2_prior_knowledge();
    }
    builder.build().map_err(|error| EndpointsError::NoClient {
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_leave_the_machine_over_tls_only() {
        assert_eq!(is_plain("https://fcm.googleapis.com"), Ok(false));
        assert_eq!(is_plain("http://127.0.0.1:9099"), Ok(true));
        assert_eq!(is_plain("http://[::1]:9099"), Ok(true));
        for url in [
            "http://fcm.example",
            "ftp://127.0.0.1",
            "fcm.example",
            "http://127.0.0.1.example",
        ] {
            assert!(is_plain(url).is_err(), "{url}");
        }
    }
}
