//! The names of all metrics, with unit and meaning.

/// Connections open now, signed in or not.
pub const CONNECTIONS_OPEN: &str = "magpie_connections_open";
/// Connections accepted.
pub const CONNECTIONS_ACCEPTED: &str = "magpie_connections_accepted_total";
/// Connections that ended, by `reason`.
pub const CONNECTIONS_ENDED: &str = "magpie_connections_ended_total";
/// TLS handshakes that came to nothing, by `reason`.
pub const HANDSHAKES_FAILED: &str = "magpie_handshakes_failed_total";
/// What was refused because a limit was reached, by `limit`: the name of the
/// setting.
pub const LIMITED: &str = "magpie_limited_total";
/// Frames that broke the protocol, by `kind`.
pub const VIOLATIONS: &str = "magpie_violations_total";
/// Requests taken, by `kind`.
pub const REQUESTS: &str = "magpie_requests_total";
/// Requests refused, by `code`.
pub const REQUESTS_REFUSED: &str = "magpie_requests_refused_total";
/// Hellos, by `result`.
pub const HELLOS: &str = "magpie_hellos_total";
/// Passwords checked or set, by `result`.
pub const SIGN_INS: &str = "magpie_sign_ins_total";
/// Events committed to the log.
pub const EVENTS_COMMITTED: &str = "magpie_events_committed_total";
/// Batches that could not be committed.
pub const COMMITS_FAILED: &str = "magpie_commits_failed_total";
/// Requests in one batch.
pub const COMMIT_BATCH_SIZE: &str = "magpie_commit_batch_size";
/// How long a batch took to commit, in seconds.
pub const COMMIT_SECONDS: &str = "magpie_commit_seconds";
/// Pushes sent, by `outcome`.
pub const PUSHES: &str = "magpie_pushes_total";
/// Wakes written down and sent.
pub const WAKES_OWED: &str = "magpie_wakes_total";
/// How long FCM took to answer a push, in seconds.
pub const WAKES_ANSWER_SECONDS: &str = "magpie_push_answer_seconds";
/// Pages sent, by `from`: the mailbox or the store.
pub const PAGES_SENT: &str = "magpie_pages_sent_total";
/// Events sent in pages.
pub const EVENTS_SENT: &str = "magpie_events_sent_total";
