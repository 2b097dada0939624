//! `magpied push check`: whether FCM would take pushes, and what to do if not.

use super::{answer::Outcome, fcm::Fcm};

/// From here on Google may refuse what this machine signs:
/// <https://developers.google.com/identity/protocols/oauth2/service-account>.
const SKEW_REFUSED_SECS: u64 = 5 * 60;

/// A clock that nobody sets drifts less than that in a month.
const SKEW_TOLD_SECS: u64 = 60;

/// A token of the right form that nobody has: what FCM says to it, it says only
/// to who may push.
const NOBODY: &str = "magpie-push-check:APA91bNobody";

/// Has FCM check a push that it does not deliver.
///
/// # Errors
///
/// A sentence: what is wrong, and what to do.
pub async fn check(fcm: &Fcm) -> Result<String, String> {
    let outcome = fcm.validate(NOBODY).await;
    let (account, project) = (&fcm.account().email, &fcm.account().project);
    let skew = skew(fcm.clock_ahead_secs());
    match outcome {
        Outcome::Sent | Outcome::TokenGone => {
            let mut said =
                format!("FCM takes pushes of {account} to the apps of project {project}");
            if let Some(skew) = skew {
                said.push_str(&format!("; but {skew}: let it be set by NTP"));
            }
            Ok(said)
        }
        Outcome::Misconfigured { code } => Err(misconfigured(fcm, &code, skew)),
        Outcome::BadMessage { reason } => Err(format!(
            "FCM does not understand this server's pushes, which is a bug of it: {reason}"
        )),
        Outcome::SlowDown { after } => Err(format!(
            "FCM asks to come back in {} s: the project's quota is used up (see the Google Cloud \
             console, Firebase Cloud Messaging API, quotas)",
            after.as_secs()
        )),
        Outcome::Unavailable { reason, .. } => Err(format!(
            "FCM cannot be reached, or does not answer as it should: {reason}; may this machine \
             connect to fcm.googleapis.com and oauth2.googleapis.com, port 443?"
        )),
    }
}

fn misconfigured(fcm: &Fcm, code: &str, skew: Option<String>) -> String {
    let (account, project) = (&fcm.account().email, &fcm.account().project);
    let is_skewed = fcm
        .clock_ahead_secs()
        .is_some_and(|it| it.unsigned_abs() >= SKEW_REFUSED_SECS);
    if let Some(skew) = skew
        && is_skewed
    {
        return format!(
            "Google refuses what this machine signs ({code}), because {skew}: let it be set by \
             NTP, and check again"
        );
    }
    if code.starts_with("invalid_") || code.starts_with("unauthorized_client") {
        return format!(
            "Google gives no access token to {account}: {code}; was its key revoked, or is \
             push_token_url another's? A new key is made in the Firebase console, under project \
             settings, service accounts"
        );
    }
    match code {
        "404" | "NOT_FOUND" => format!(
            "there is no FCM, or no project {project}, where pushes go: is push_url wrong, or the \
             account of a project that was deleted?"
        ),
        "401" | "UNAUTHENTICATED" => format!(
            "FCM does not take the access token that {account} was given ({code}): is \
             push_token_url another's than push_url?"
        ),
        _ => format!(
            "FCM refuses {account}: {code}; is the Firebase Cloud Messaging API (V1) enabled in \
             project {project}, and may the account use it (role Firebase Cloud Messaging API \
             Admin)?"
        ),
    }
}

/// That the clock is wrong, if it is.
fn skew(ahead_secs: Option<i64>) -> Option<String> {
    let ahead_secs = ahead_secs?;
    let secs = ahead_secs.unsigned_abs();
    let direction = if ahead_secs < 0 { "behind" } else { "ahead of" };
    (secs > SKEW_TOLD_SECS)
        .then(|| format!("this machine's clock is {secs} s {direction} Google's"))
}
