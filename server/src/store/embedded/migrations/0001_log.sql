-- People, devices, conversations and the log.
--
-- Ids are 16 bytes and appear once, in the table of what they name; everything
-- else refers to it by its rowid (the column `key`), so that indexes stay small.

-- Facts about the whole: `cursor_key` (32 bytes).
CREATE TABLE facts (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The identity of the history. A new epoch begins whenever it may have gone back.
CREATE TABLE epochs (
    epoch INTEGER PRIMARY KEY,
    base  INTEGER NOT NULL
) STRICT;

INSERT INTO epochs (epoch, base) VALUES (1, 0);

-- One row: the last position given out and the time of the last event's commit,
-- which never falls. Events take positions, moved read marks (a batch of them
-- takes one), and changes of credentials.
CREATE TABLE log_head (
    one             INTEGER PRIMARY KEY CHECK (one = 1),
    position        INTEGER NOT NULL,
    committed_at_ms INTEGER NOT NULL
) STRICT;

INSERT INTO log_head (one, position, committed_at_ms) VALUES (1, 0, 0);

-- Every name that was ever given out: none is given out again.
CREATE TABLE names (
    name TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- Who is deleted keeps the row, because events refer to it, and nothing else: name
-- and hash are empty.
CREATE TABLE users (
    key              INTEGER PRIMARY KEY,
    user_id          BLOB NOT NULL UNIQUE,
    name             TEXT NOT NULL,
    password_hash    TEXT NOT NULL,
    created_at_ms    INTEGER NOT NULL,
    -- 0 active, 1 suspended, 2 deleted.
    state            INTEGER NOT NULL DEFAULT 0,
    -- The position that their deletion took.
    deleted_position INTEGER
) STRICT;

CREATE INDEX users_by_name ON users (name);
CREATE INDEX users_by_deletion ON users (deleted_position) WHERE deleted_position IS NOT NULL;

-- How far any of a user's devices has ever stored: never falls. Narrow, because
-- it is written all the time.
CREATE TABLE delivered (
    user     INTEGER PRIMARY KEY REFERENCES users (key),
    position INTEGER NOT NULL
) STRICT;

-- A revoked device keeps its row, so that its id is of no use to anybody.
CREATE TABLE devices (
    key              INTEGER PRIMARY KEY,
    device_id        BLOB NOT NULL UNIQUE,
    user             INTEGER NOT NULL REFERENCES users (key),
    name             TEXT NOT NULL,
    token_hash       BLOB NOT NULL,
    created_at_ms    INTEGER NOT NULL,
    -- The log head when it was made: what is older is history to it.
    made_position    INTEGER NOT NULL,
    is_revoked       INTEGER NOT NULL DEFAULT 0,
    -- The position that its revocation took, or its latest token.
    changed_position INTEGER
) STRICT;

CREATE INDEX devices_by_user ON devices (user);
CREATE INDEX devices_by_change ON devices (changed_position) WHERE changed_position IS NOT NULL;

-- A device's connections. Narrow for the same reason as `delivered`.
CREATE TABLE cursors (
    device          INTEGER PRIMARY KEY REFERENCES devices (key),
    generation      INTEGER NOT NULL,
    cursor          INTEGER NOT NULL,
    last_seen_at_ms INTEGER,
    -- 0 away, 1 connected in the background, 2 in the foreground.
    attachment      INTEGER NOT NULL DEFAULT 0,
    -- When it was last in the foreground, as far as is written: where it is so now, when
    -- that began.
    present_at_ms   INTEGER,
    -- To which node it is connected; 0: to none that is known.
    node            INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Servers that served this log, each as often as it was started, and when each was there
-- last: where one ended unannounced, its devices were there until then.
CREATE TABLE nodes (
    node        INTEGER PRIMARY KEY,
    there_at_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX nodes_by_time ON nodes (there_at_ms);

-- Where a device's pushes go. A token has one device.
CREATE TABLE push_addresses (
    device   INTEGER PRIMARY KEY REFERENCES devices (key),
    -- 1 Android, 2 iOS, 3 web.
    platform INTEGER NOT NULL,
    app_id   TEXT NOT NULL,
    token    TEXT NOT NULL UNIQUE
) STRICT;

-- The last wake of a device. It is answered when the device's cursor passes its
-- position.
CREATE TABLE wakes (
    device    INTEGER PRIMARY KEY REFERENCES devices (key),
    wake_id   INTEGER NOT NULL,
    position  INTEGER NOT NULL,
    tries     INTEGER NOT NULL,
    due_at_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX wakes_by_due ON wakes (due_at_ms);

-- Devices that were woken and not looked at since: they show what they stored
-- behind `behind`, their cursor when they were woken first.
CREATE TABLE notified (
    device     INTEGER PRIMARY KEY REFERENCES devices (key),
    behind     INTEGER NOT NULL,
    -- When it is to be told that something of it was read elsewhere; when it was
    -- told last, and how often without an effect.
    due_at_ms  INTEGER,
    told_at_ms INTEGER,
    tries      INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX notified_by_due ON notified (due_at_ms) WHERE due_at_ms IS NOT NULL;

-- How far it is decided who is owed a wake.
CREATE TABLE wake_cursor (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    position INTEGER NOT NULL
) STRICT;

INSERT INTO wake_cursor (one, position) VALUES (1, 0);

CREATE TABLE conversations (
    key             INTEGER PRIMARY KEY,
    conversation_id BLOB NOT NULL UNIQUE,
    -- 1 direct, 2 group, 3 account log.
    kind            INTEGER NOT NULL,
    title           TEXT NOT NULL,
    -- Open memberships: counting them takes long where there are many.
    member_count    INTEGER NOT NULL DEFAULT 0,
    description     TEXT NOT NULL DEFAULT '',
    -- Of a group: 1 if members without another role do not write in it.
    announcement_only INTEGER NOT NULL DEFAULT 0,
    -- A group's photo.
    photo           INTEGER REFERENCES media (key),
    -- Of a group: 1 if who joins may read what came before.
    history_for_newcomers INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX conversations_by_photo ON conversations (photo) WHERE photo IS NOT NULL;

-- The log, in the order of positions. References are not
-- declared, because checking them would cost two look-ups an event: the one
-- writer has just read both rows.
CREATE TABLE events (
    position        INTEGER PRIMARY KEY,
    conversation    INTEGER NOT NULL,
    seq             INTEGER NOT NULL,
    sender          INTEGER NOT NULL,
    -- 1 message, 2 group created, 3 members added, 4 member removed, 5 member left,
    -- 6 message edited, 7 message deleted, 8 reacted, 20 account changed, 30 role
    -- changed, 31 group updated, 41 friend requested, 42 friendship changed, 50 pinned,
    -- 51 member banned, 52 invite created, 53 invite revoked, 54 member joined.
    kind            INTEGER NOT NULL,
    committed_at_ms INTEGER NOT NULL,
    message_id      BLOB NOT NULL,
    -- Of the request: tells a repeat from a conflict for ever, even if the body
    -- is blanked.
    digest          BLOB NOT NULL,
    -- Encoded EventContent. Of a message that was deleted, and of its edits,
    -- without what they said.
    body            BLOB NOT NULL,
    -- How many messages the conversation has up to here; and of a message, how many
    -- its sender has there. Deleted ones count, so no number ever changes.
    message_count   INTEGER NOT NULL,
    sender_count    INTEGER NOT NULL,
    -- Of a direct conversation: its other member blocked the sender, and does not read it.
    -- Such a message is counted nowhere.
    hidden          INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX events_by_seq ON events (conversation, seq);
CREATE UNIQUE INDEX events_by_message_id ON events (sender, message_id);
-- How many messages a user has in a conversation is written in their last one.
CREATE INDEX events_by_sender ON events (conversation, sender, seq) WHERE kind = 1;

-- How many messages of others mention a user, up to the one at `seq`. The user 0 is
-- everybody: what mentions all is counted there, and, as one less, for its sender.
CREATE TABLE mentions (
    conversation INTEGER NOT NULL,
    user         INTEGER NOT NULL,
    seq          INTEGER NOT NULL,
    count        INTEGER NOT NULL,
    PRIMARY KEY (conversation, user, seq)
) STRICT, WITHOUT ROWID;

-- Which events are edits of which messages: the last one is what is said now.
CREATE TABLE edits (
    conversation INTEGER NOT NULL,
    seq          INTEGER NOT NULL,
    edit_seq     INTEGER NOT NULL,
    -- As the edit's event.
    hidden       INTEGER NOT NULL,
    PRIMARY KEY (conversation, seq, edit_seq)
) STRICT, WITHOUT ROWID;

-- Who reacts to what: from the event at `added_seq` to that at `removed_seq`, which is
-- 9223372036854775807 while the reaction stands.
CREATE TABLE reactions (
    conversation INTEGER NOT NULL,
    seq          INTEGER NOT NULL,
    emoji        TEXT NOT NULL,
    user         INTEGER NOT NULL,
    added_seq    INTEGER NOT NULL,
    removed_seq  INTEGER NOT NULL,
    -- As the event at `added_seq`.
    hidden       INTEGER NOT NULL,
    PRIMARY KEY (conversation, seq, user, emoji, added_seq)
) STRICT, WITHOUT ROWID;

-- Which stand, however often others were taken back.
CREATE INDEX reactions_standing ON reactions (conversation, seq, emoji)
 WHERE removed_seq = 9223372036854775807;

-- Messages that are pinned; none that was deleted. A pin that is `hidden` is there
-- for the user who made it alone; one that is not is its message's only one.
CREATE TABLE pins (
    conversation INTEGER NOT NULL,
    seq          INTEGER NOT NULL,
    user         INTEGER NOT NULL,
    hidden       INTEGER NOT NULL,
    PRIMARY KEY (conversation, seq, user)
) STRICT, WITHOUT ROWID;

-- Who may read what: the events from `history_seq` to `to_seq`. While the user is a
-- member, both ends above are 9223372036854775807. Who comes back gets another
-- row.
CREATE TABLE members (
    user          INTEGER NOT NULL REFERENCES users (key),
    conversation  INTEGER NOT NULL REFERENCES conversations (key),
    -- The event by which the user joined: what follows is sent to them.
    from_seq      INTEGER NOT NULL,
    -- The first event that they may fetch: the same one, or 1.
    history_seq   INTEGER NOT NULL,
    from_position INTEGER NOT NULL,
    to_seq        INTEGER NOT NULL,
    to_position   INTEGER NOT NULL,
    -- How many members were left when it ended.
    left_count    INTEGER,
    -- What the conversation was called then.
    left_title    TEXT,
    -- 1 member, 2 admin, 3 owner: of one that ended, the last. 0 in a direct
    -- conversation, where there are none.
    role          INTEGER NOT NULL,
    PRIMARY KEY (user, conversation, from_seq)
) STRICT, WITHOUT ROWID;

-- Open memberships by role, those of old first: whose a group is when its owner leaves.
CREATE INDEX members_by_role ON members (conversation, role, from_position)
 WHERE to_position = 9223372036854775807;

-- Open memberships by user: a long list is read in pages.
CREATE INDEX members_by_conversation ON members (conversation, to_position, user);

-- Who is kept out of which group, since which event.
CREATE TABLE bans (
    conversation INTEGER NOT NULL,
    user         INTEGER NOT NULL REFERENCES users (key),
    seq          INTEGER NOT NULL,
    PRIMARY KEY (conversation, user)
) STRICT, WITHOUT ROWID;

CREATE INDEX bans_by_seq ON bans (conversation, seq);

-- Who may join a group by themself: whoever has the secret. None that was revoked.
CREATE TABLE invites (
    conversation  INTEGER NOT NULL,
    -- Of the event that created it.
    seq           INTEGER NOT NULL,
    -- SHA-256 of its secret.
    hash          BLOB NOT NULL,
    -- 0: until it is revoked.
    expires_at_ms INTEGER NOT NULL,
    -- 0: any number of times.
    uses_max      INTEGER NOT NULL,
    uses          INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (conversation, seq)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX invites_by_hash ON invites (conversation, hash);

-- How far a user has read; survives leaving and coming back.
CREATE TABLE marks (
    user          INTEGER NOT NULL REFERENCES users (key),
    conversation  INTEGER NOT NULL REFERENCES conversations (key),
    read_seq      INTEGER NOT NULL,
    -- The position that moving it took.
    read_position INTEGER NOT NULL,
    PRIMARY KEY (user, conversation)
) STRICT, WITHOUT ROWID;

CREATE INDEX marks_by_user ON marks (user, read_position);
CREATE INDEX marks_by_change ON marks (read_position);
-- Who has read how much of a conversation.
CREATE INDEX marks_by_conversation ON marks (conversation, read_seq, user);

-- For what users are woken, as their account logs say.
CREATE TABLE notify (
    user            INTEGER NOT NULL REFERENCES users (key),
    -- Empty: in all conversations.
    conversation_id BLOB NOT NULL,
    -- 1 all, 2 mentions, 3 none.
    level           INTEGER NOT NULL,
    -- 0: until it is changed.
    until_ms        INTEGER NOT NULL,
    PRIMARY KEY (user, conversation_id)
) STRICT, WITHOUT ROWID;

-- What users say of themselves, as their account logs say.
CREATE TABLE profiles (
    user         INTEGER PRIMARY KEY REFERENCES users (key),
    -- The seq of the event that says so.
    version      INTEGER NOT NULL,
    display_name TEXT NOT NULL,
    status       TEXT NOT NULL,
    photo        INTEGER REFERENCES media (key)
) STRICT;

CREATE INDEX profiles_by_photo ON profiles (photo) WHERE photo IS NOT NULL;

-- Whom a search by the beginning of a name finds.
CREATE TABLE discoverable (
    name TEXT PRIMARY KEY,
    user INTEGER NOT NULL REFERENCES users (key)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX discoverable_by_user ON discoverable (user);

-- What finds users: SHA-256 of the secret that is in their link.
CREATE TABLE links (
    user INTEGER PRIMARY KEY REFERENCES users (key),
    hash BLOB NOT NULL
) STRICT;

-- Who blocks whom, as their account logs say; and how far the one who blocks had come in
-- their direct conversation: the other is told no more.
CREATE TABLE blocks (
    user          INTEGER NOT NULL REFERENCES users (key),
    blocked       INTEGER NOT NULL REFERENCES users (key),
    delivered_seq INTEGER NOT NULL,
    read_seq      INTEGER NOT NULL,
    PRIMARY KEY (user, blocked)
) STRICT, WITHOUT ROWID;

-- Asked for with every message.
CREATE INDEX blocks_by_blocked ON blocks (blocked, user);

-- What users are to each other, as the events of their direct conversation say: for each of
-- the two what they know.
CREATE TABLE friends (
    conversation INTEGER NOT NULL REFERENCES conversations (key),
    user         INTEGER NOT NULL REFERENCES users (key),
    peer         INTEGER NOT NULL REFERENCES users (key),
    -- 0 nothing, 1 has asked, 2 was asked, 3 friends, 4 friends as far as this one knows:
    -- the peer blocked them when they accepted.
    bond         INTEGER NOT NULL,
    -- The event that says so.
    seq          INTEGER NOT NULL,
    -- How often this one has asked since they were friends last.
    asks         INTEGER NOT NULL,
    PRIMARY KEY (conversation, user)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX friends_by_user ON friends (user, peer);

-- Users whom friends alone reach without being asked to, as their account logs say.
CREATE TABLE friends_only (
    user INTEGER PRIMARY KEY REFERENCES users (key)
) STRICT;

-- Users who hide their read receipts, as their account logs say.
CREATE TABLE hidden_receipts (
    user INTEGER PRIMARY KEY REFERENCES users (key)
) STRICT;

-- Users who hide their presence, as their account logs say.
CREATE TABLE hidden_presence (
    user INTEGER PRIMARY KEY REFERENCES users (key)
) STRICT;

-- What users tell the operators. A closed report holds neither text nor event.
CREATE TABLE reports (
    key          INTEGER PRIMARY KEY,
    reporter     INTEGER NOT NULL REFERENCES users (key),
    user         INTEGER NOT NULL REFERENCES users (key),
    -- Encoded Event, as it was when it was reported.
    event        BLOB,
    -- The number of ReportReason.
    reason       INTEGER NOT NULL,
    text         TEXT NOT NULL,
    at_ms        INTEGER NOT NULL,
    closed_at_ms INTEGER
) STRICT;

CREATE INDEX reports_open ON reports (key) WHERE closed_at_ms IS NULL;

-- What operators say to everybody, with a direct message to each.
CREATE TABLE broadcasts (
    key          INTEGER PRIMARY KEY,
    sender       INTEGER NOT NULL REFERENCES users (key),
    -- The id of the device that says it.
    device       BLOB NOT NULL,
    -- What the ids of its messages are made of.
    secret       BLOB NOT NULL,
    text         TEXT NOT NULL,
    begun_at_ms  INTEGER NOT NULL,
    ended_at_ms  INTEGER,
    -- The last user to whom it is to be said, and how far it has come.
    last_user    INTEGER NOT NULL,
    reached_user INTEGER NOT NULL DEFAULT 0,
    -- How many got it.
    sent         INTEGER NOT NULL DEFAULT 0
) STRICT;

-- What operators did.
CREATE TABLE admin_acts (
    key    INTEGER PRIMARY KEY,
    uid    INTEGER NOT NULL,
    at_ms  INTEGER NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL
) STRICT;

-- Photos and files. One that is not whole has no blob yet, and its parts lie in
-- `media_parts`.
CREATE TABLE media (
    key           INTEGER PRIMARY KEY,
    media_id      BLOB NOT NULL UNIQUE,
    user          INTEGER NOT NULL REFERENCES users (key),
    size          INTEGER NOT NULL,
    -- What its uploader says that it is; may be absent.
    wanted_sha256 BLOB,
    received      INTEGER NOT NULL DEFAULT 0,
    blob          INTEGER REFERENCES blobs (key),
    -- When it goes, unless something refers to it by then; NULL while something does.
    expires_at_ms INTEGER
) STRICT;

CREATE INDEX media_by_user ON media (user);
CREATE INDEX media_by_blob ON media (blob) WHERE blob IS NOT NULL;
CREATE INDEX media_by_expiry ON media (expires_at_ms) WHERE expires_at_ms IS NOT NULL;

-- Each is an object of its own, named at random: of two that begin alike one counts.
CREATE TABLE media_parts (
    media INTEGER NOT NULL REFERENCES media (key),
    start INTEGER NOT NULL,
    size  INTEGER NOT NULL,
    name  BLOB NOT NULL,
    PRIMARY KEY (media, start)
) STRICT, WITHOUT ROWID;

-- What media are, as one object each, named at random and never again. A user has
-- the same bytes once; what others have is not looked at, so that nobody learns of it.
CREATE TABLE blobs (
    key          INTEGER PRIMARY KEY,
    name         BLOB NOT NULL UNIQUE,
    user         INTEGER NOT NULL REFERENCES users (key),
    sha256       BLOB NOT NULL,
    size         INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    UNIQUE (user, sha256)
) STRICT;

-- Objects that are of no use any more, or may turn out to be: written down before
-- they are made, and before what refers to them goes.
CREATE TABLE media_trash (
    -- 1 a blob, 2 all parts of an upload.
    kind      INTEGER NOT NULL,
    -- The blob's name, or the media_id.
    name      BLOB NOT NULL,
    due_at_ms INTEGER NOT NULL,
    -- Somebody is deleting it: nothing may refer to it any more.
    is_going  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX media_trash_by_due ON media_trash (due_at_ms);

-- Which messages refer to which media. Not of those that were deleted. The photos of
-- users and groups are media too.
CREATE TABLE media_uses (
    media        INTEGER NOT NULL REFERENCES media (key),
    conversation INTEGER NOT NULL,
    seq          INTEGER NOT NULL,
    PRIMARY KEY (media, conversation, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX media_uses_by_message ON media_uses (conversation, seq);
