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
/// Answers of FCM and of the token endpoint that were no success, by `code`: FCM's,
/// `token` if there was no access token, `none` if there was no answer, or `other`.
pub const PUSH_ERRORS: &str = "magpie_push_errors_total";
/// How long FCM took to answer a push, in seconds.
pub const PUSH_ANSWER_SECONDS: &str = "magpie_push_answer_seconds";
/// Devices that were found to be owed a wake, each counted once until it has
/// answered.
pub const WAKES_OWED: &str = "magpie_wakes_owed_total";
/// Wakes that FCM took, by `try`: `first`, `again`, or `alert`, which Android
/// itself shows.
pub const WAKES_SENT: &str = "magpie_wakes_sent_total";
/// Wakes that were not sent though their device had not confirmed a message, by
/// `reason`: it did so within its time (`confirmed`), or is about to answer an
/// earlier one (`woken`).
pub const WAKES_SUPPRESSED: &str = "magpie_wakes_suppressed_total";
/// Wakes whose device came to the node that had sent them and stored the message.
pub const WAKES_ANSWERED: &str = "magpie_wakes_answered_total";
/// Wakes that were due again, because their device had not stored the message.
pub const WAKES_UNANSWERED: &str = "magpie_wakes_unanswered_total";
/// From a message's commit to the first wake for it on its way to FCM, in seconds,
/// by how the device is there: `away`, `background`, `foreground`.
pub const WAKE_SEND_SECONDS: &str = "magpie_wake_send_seconds";
/// From a wake that FCM took to the device's having stored the message, in seconds.
pub const WAKE_SYNC_SECONDS: &str = "magpie_wake_sync_seconds";
/// Pages sent, by `from`: the mailbox or the store.
pub const PAGES_SENT: &str = "magpie_pages_sent_total";
/// Events sent in pages.
pub const EVENTS_SENT: &str = "magpie_events_sent_total";
