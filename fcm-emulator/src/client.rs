//! The control endpoints, from another process.

use std::time::Duration;

use serde_json::json;

use crate::{Counts, Delivered, Fault, Reach, Standing};

/// The emulator did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("the FCM emulator at {url} does not answer: {reason}")]
pub struct ControlError {
    url: String,
    reason: reqwest::Error,
}

/// Steers an emulator.
#[derive(Clone, Debug)]
pub struct Control {
    url: String,
    http: reqwest::Client,
}

impl Control {
    /// Steers the emulator at `url`.
    ///
    /// # Errors
    ///
    /// [`ControlError`] if there is no HTTP client to be had.
    pub fn new(url: &str) -> Result<Self, ControlError> {
        Self::with(url, reqwest::Client::builder())
    }

    /// Steers the emulator at `url` that speaks TLS; `ca` is its authority in PEM.
    ///
    /// # Errors
    ///
    /// [`ControlError`] if that is no certificate.
    pub fn trusting(url: &str, ca: &[u8]) -> Result<Self, ControlError> {
        let ca = reqwest::Certificate::from_pem(ca).map_err(|reason| ControlError {
            url: url.to_owned(),
            reason,
        })?;
        Self::with(url, reqwest::Client::builder().tls_certs_only([ca]))
    }

    fn with(url: &str, builder: reqwest::ClientBuilder) -> Result<Self, ControlError> {
        let http = builder.no_proxy().build();
        Ok(Self {
            url: url.to_owned(),
            http: http.map_err(|reason| ControlError {
                url: url.to_owned(),
                reason,
            })?,
        })
    }

    fn failed(&self) -> impl Fn(reqwest::Error) -> ControlError + '_ {
        |reason| ControlError {
            url: self.url.clone(),
            reason,
        }
    }

    async fn ask(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, ControlError> {
        let answer = request.send().await.map_err(self.failed())?;
        answer.error_for_status().map_err(self.failed())
    }

    /// Makes a device with this token, or says what it does now.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub async fn set_device(
        &self,
        token: &str,
        standing: Standing,
        reach: Reach,
    ) -> Result<(), ControlError> {
        let device = json!({ "token": token, "standing": standing, "reach": reach });
        let request = self.http.post(format!("{}/control/device", self.url));
        self.ask(request.json(&device)).await.map(drop)
    }

    /// What a device gets behind `after`; waits for it, at most so long.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub async fn pushes(
        &self,
        token: &str,
        after: u64,
        wait: Duration,
    ) -> Result<Vec<Delivered>, ControlError> {
        let wait_ms = wait.as_millis();
        let url = format!(
            "{}/control/pushes?token={token}&after={after}&wait_ms={wait_ms}",
            self.url
        );
        let answer = self.ask(self.http.get(url)).await?;
        answer.json().await.map_err(self.failed())
    }

    /// Something fails from now on.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub async fn set_fault(&self, fault: Fault) -> Result<(), ControlError> {
        let request = self.http.post(format!("{}/control/fault", self.url));
        self.ask(request.json(&fault)).await.map(drop)
    }

    /// Nothing fails any more.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub async fn clear_faults(&self) -> Result<(), ControlError> {
        let request = self.http.delete(format!("{}/control/fault", self.url));
        self.ask(request).await.map(drop)
    }

    /// How much was asked of it so far.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub async fn counts(&self) -> Result<Counts, ControlError> {
        let request = self.http.get(format!("{}/control/counts", self.url));
        let answer = self.ask(request).await?;
        answer.json().await.map_err(self.failed())
    }
}
