//! Every bound of the protocol on one page, with the relations between them.

use std::time::Duration;

/// The version of the protocol that this code speaks.
pub const PROTOCOL_VERSION: u32 = 1;

/// The oldest version that the server still speaks; older clients are told to
/// upgrade.
pub const PROTOCOL_VERSION_MIN: u32 = 1;

/// The name by which TLS peers agree on this protocol (RFC 7301).
pub const ALPN: &[u8] = b"magpie/1";

/// Bytes of the length prefix in front of each frame.
pub const LENGTH_SIZE: usize = 4;

/// Bytes of a frame from a client that the server does not know yet.
pub const FRAME_SIZE_FIRST_MAX: usize = 4 * 1024;

/// Bytes of a frame from a signed-in client.
pub const CLIENT_FRAME_SIZE_MAX: usize = 64 * 1024;

/// Bytes of a frame from the server.
pub const SERVER_FRAME_SIZE_MAX: usize = 256 * 1024;

/// Bytes of a push token. FCM states no limit; theirs have less than 300.
pub const PUSH_TOKEN_SIZE_MAX: usize = 1024;

/// Bytes of an app's id.
pub const APP_ID_SIZE_MAX: usize = 128;

/// Fields, of whatever depth, in a frame before authentication.
///
/// Decoded protobuf takes up to 126 times the size of its bytes (measured with
/// empty sub-messages), so a bound on bytes alone is none on memory.
pub const ELEMENTS_FIRST_MAX: usize = 64;

/// Fields, of whatever depth, in a frame from a signed-in client.
pub const CLIENT_ELEMENTS_MAX: usize = 1_024;

/// Fields, of whatever depth, in a frame from the server.
pub const SERVER_ELEMENTS_MAX: usize = 65_536;

/// Messages inside messages.
pub const DEPTH_MAX: usize = 8;

/// Sequenced frames that one side may have sent and not seen acknowledged.
pub const WINDOW_COUNT: usize = 256;

/// Bytes of sequenced frames that one side may have sent and not seen
/// acknowledged. One frame may always be sent, however large.
pub const WINDOW_SIZE: usize = 1024 * 1024;

/// A receiver acknowledges at the latest after this many handled frames.
pub const ACK_COUNT: u64 = 32;

/// A receiver acknowledges at the latest this long after it handled a frame.
pub const ACK_DELAY: Duration = Duration::from_millis(20);

/// How long a peer may take from the accepted connection to its credential.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(15);

/// Tries at Register or `SignIn` on one connection.
pub const SIGN_IN_TRIES: u32 = 5;

/// How long a connection may be silent before either side gives it up.
///
/// Assumed, not measured: some mobile networks forget an idle TCP connection
/// within minutes, although RFC 5382 REQ-5 asks for 2 hours 4 minutes.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// How often the client shows that it is alive, at the latest.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(50);

/// How often the client may send a Ping, at the most.
pub const HEARTBEAT_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Pings that may come early (a reconnecting driver asks at once) before the
/// server calls it a violation.
pub const HEARTBEAT_BURST: u32 = 10;

/// How long a client waits for progress before it asks whether the server is
/// still there.
pub const PROGRESS_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client waits for the Pong.
pub const PONG_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client waits for Welcome.
pub const WELCOME_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a peer that was told goodbye has to close.
pub const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes of a message's text.
pub const TEXT_SIZE_MAX: usize = 16 * 1024;

/// Bytes of a message's opaque body.
pub const BODY_SIZE_MAX: usize = 32 * 1024;

/// Bytes of what says what a body is.
pub const CONTENT_TYPE_SIZE_MAX: usize = 127;

/// Users that a message's text names.
pub const MENTIONS_MAX: usize = 64;

/// Bytes of a message in all, encoded: the longest text and body, and room for the
/// rest.
pub const MESSAGE_SIZE_MAX: usize = 52 * 1024;

/// Edits of one message.
pub const EDITS_MAX: u64 = 100;

/// Bytes of a reaction.
pub const EMOJI_SIZE_MAX: usize = 64;

/// Different reactions that stand at one message.
pub const REACTIONS_MAX: u64 = 50;

/// Reactions of one user to one message, with those that they took back.
pub const OWN_REACTIONS_MAX: u64 = 100;

/// Messages that are pinned in a conversation.
pub const PINS_MAX: u64 = 50;

/// Invites of a group that are of use at a time.
pub const INVITES_MAX: u64 = 100;

/// Requests of one user to be friends with another, until they are.
pub const FRIEND_REQUESTS_MAX: u64 = 3;

/// Characters of what a group says of itself.
pub const DESCRIPTION_LENGTH_MAX: usize = 500;

/// Characters of a group's title.
pub const TITLE_LENGTH_MAX: usize = 128;

/// Characters of what a user calls another.
pub const NICKNAME_LENGTH_MAX: usize = 64;

/// Characters of what a user wants to be called.
pub const DISPLAY_NAME_LENGTH_MAX: usize = 64;

/// Characters of what a user says of themself in a line.
pub const STATUS_LENGTH_MAX: usize = 140;

/// Bytes of what finds a user by their link.
pub const LINK_SECRET_SIZE: usize = 16;

/// Characters of a user's name.
pub const USER_NAME_LENGTH_MIN: usize = 3;

/// Characters of a user's name.
pub const USER_NAME_LENGTH_MAX: usize = 32;

/// Characters of a password.
pub const PASSWORD_LENGTH_MIN: usize = 8;

/// Bytes of a password.
pub const PASSWORD_SIZE_MAX: usize = 1_024;

/// Characters of a device's name.
pub const DEVICE_NAME_LENGTH_MAX: usize = 64;

/// Bytes of an invitation to register.
pub const INVITATION_SIZE_MAX: usize = 128;

/// Bytes of what somebody says to a report.
pub const REPORT_SIZE_MAX: usize = 2_000;

/// Bytes of a client's name or version in Hello.
pub const CLIENT_NAME_SIZE_MAX: usize = 64;

/// Bytes of a cursor.
pub const CURSOR_SIZE_MAX: usize = 256;

/// Members of a group, however a server is set.
pub const GROUP_MEMBERS_MAX: u32 = 100_000;

/// Members up to which a description names all, with how far each has come, and up
/// to which all are told as that changes: a description of the largest group costs
/// no more than one of these.
pub const MARKED_MEMBERS_MAX: usize = 64;

/// Messages whose readers are counted at once.
pub const READERS_COUNT_MAX: usize = 50;

/// Photos and files in a message.
pub const MEDIA_COUNT_MAX: usize = 10;

/// Smaller pictures of a photo.
pub const THUMBNAILS_MAX: usize = 2;

/// Bytes of a thumbhash.
pub const THUMBHASH_SIZE_MAX: usize = 32;

/// Width and height of a picture.
pub const PIXELS_MAX: u32 = 65_535;

/// Bytes of a file's name.
pub const FILE_NAME_SIZE_MAX: usize = 255;

/// Photos and files whose URLs are asked for at once.
pub const MEDIA_URLS_MAX: usize = 64;

/// Members in one answer.
pub const MEMBERS_COUNT_MAX: u32 = 500;

/// Names in one request to add members.
pub const NAMES_MAX: usize = 500;

/// Events in one answer from history.
pub const HISTORY_COUNT_MAX: u32 = 200;

/// Conversations in one answer.
pub const CONVERSATIONS_COUNT_MAX: u32 = 100;

/// How often it is told that somebody types on in a conversation.
pub const TYPING_INTERVAL: Duration = Duration::from_secs(3);

/// How long it is believed that somebody types who has said nothing since.
pub const TYPING_TIMEOUT: Duration = Duration::from_secs(6);

/// Conversations in which one device types at a time.
pub const TYPING_CONVERSATIONS_MAX: usize = 8;

/// Users whose presence one connection watches.
pub const WATCHED_COUNT_MAX: usize = 64;

/// How long somebody is online still who has left: a phone that changes its network is
/// back within it, and nobody is told anything.
pub const PRESENCE_GRACE: Duration = Duration::from_secs(30);

/// How often a client that watches somebody asks anew: what a lost hint would have said is
/// not missed for longer.
pub const WATCH_INTERVAL: Duration = Duration::from_secs(120);

/// Profiles in one request and in one answer.
pub const PROFILES_COUNT_MAX: usize = 256;

/// Users that a search by the beginning of a name finds.
pub const FOUND_COUNT_MAX: usize = 20;

// A message must hold the longest list of mentions: 30 bytes each, 4 fields.
const _: () = assert!(
    TEXT_SIZE_MAX + BODY_SIZE_MAX + CONTENT_TYPE_SIZE_MAX + MENTIONS_MAX * 30 + 512
        < MESSAGE_SIZE_MAX
);
const _: () = assert!(MENTIONS_MAX * 4 + 32 < CLIENT_ELEMENTS_MAX);
// A frame must hold the longest message, with room for where it goes.
const _: () = assert!(MESSAGE_SIZE_MAX + 1_024 < CLIENT_FRAME_SIZE_MAX);
// An answer from history must hold the longest message, its longest edit, and all of
// its reactions.
const _: () = assert!(
    MESSAGE_SIZE_MAX * 2 + REACTIONS_MAX as usize * (EMOJI_SIZE_MAX + 16) + 1_024
        < SERVER_FRAME_SIZE_MAX
);
// And all of those that a page of messages can have, 4 fields each.
const _: () = assert!(HISTORY_COUNT_MAX as u64 * REACTIONS_MAX * 4 < SERVER_ELEMENTS_MAX as u64);
// A frame must hold the longest list of names.
const _: () = assert!(NAMES_MAX * (USER_NAME_LENGTH_MAX + 2) + 1_024 < CLIENT_FRAME_SIZE_MAX);
const _: () = assert!(NAMES_MAX + 16 < CLIENT_ELEMENTS_MAX);
// A password, a name and two ids fit into a frame before authentication.
const _: () = assert!(PASSWORD_SIZE_MAX + 1_024 < FRAME_SIZE_FIRST_MAX);
// One lost hint must not end it.
const _: () = assert!(TYPING_INTERVAL.as_secs() * 2 <= TYPING_TIMEOUT.as_secs());
// A request must hold the versions of the profiles that it is about, and an answer the
// longest profiles.
const _: () = assert!(PROFILES_COUNT_MAX * 3 + 16 < CLIENT_ELEMENTS_MAX);
const _: () = assert!(
    PROFILES_COUNT_MAX * (4 * (DISPLAY_NAME_LENGTH_MAX + STATUS_LENGTH_MAX) + 128) + 1_024
        < SERVER_FRAME_SIZE_MAX
);
// An answer must hold its members: at most 96 bytes each.
const _: () = assert!(MEMBERS_COUNT_MAX as usize * 96 < SERVER_FRAME_SIZE_MAX);
// As many descriptions as one answer may have fit into it nearly always, and one does.
const _: () = assert!(MARKED_MEMBERS_MAX * 96 * 2 < SERVER_FRAME_SIZE_MAX);
// Either side's largest frame fits into the window.
const _: () = assert!(SERVER_FRAME_SIZE_MAX < WINDOW_SIZE);
// Acknowledgements must come before the window is full.
const _: () = assert!((ACK_COUNT as usize) * 2 < WINDOW_COUNT);
// One lost heartbeat must not cost the connection.
const _: () = assert!(HEARTBEAT_INTERVAL.as_secs() * 2 < IDLE_TIMEOUT.as_secs());
// A peer that is asked answers before it is given up.
const _: () = assert!(PROGRESS_TIMEOUT.as_secs() + PONG_TIMEOUT.as_secs() < IDLE_TIMEOUT.as_secs());
