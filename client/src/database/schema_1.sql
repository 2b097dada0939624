-- The account of this device, and how far it has come in the server's history.
CREATE TABLE account (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    user_id BLOB NOT NULL,
    name TEXT NOT NULL,
    device_id BLOB NOT NULL,
    device_name TEXT NOT NULL,
    server TEXT NOT NULL,
    -- Absent once the server has said that it is of no use any more.
    device_token BLOB,
    -- 64 bits each, whatever their sign.
    epoch INTEGER NOT NULL DEFAULT 0,
    base INTEGER NOT NULL DEFAULT 0,
    cursor BLOB NOT NULL DEFAULT x''
) STRICT;

-- Devices that were asked for and perhaps made: the answer is not stored yet.
CREATE TABLE sign_in_tries (
    server TEXT NOT NULL,
    name TEXT NOT NULL,
    device_id BLOB NOT NULL,
    PRIMARY KEY (server, name)
) STRICT;

CREATE TABLE conversations (
    id BLOB NOT NULL PRIMARY KEY,
    -- As in magpie.v1.ConversationKind.
    kind INTEGER NOT NULL DEFAULT 0,
    -- The group's title, or the other person's name.
    title TEXT NOT NULL DEFAULT '',
    description TEXT NOT NULL DEFAULT '',
    announcement_only INTEGER NOT NULL DEFAULT 0,
    -- Of a direct one, as in magpie.v1.Friendship, and the event that says so.
    friendship INTEGER NOT NULL DEFAULT 0,
    friendship_seq INTEGER NOT NULL DEFAULT 0,
    -- The user has sent a message there.
    answered INTEGER NOT NULL DEFAULT 0,
    -- The id of a group's photo; empty: none.
    photo BLOB NOT NULL DEFAULT x'',
    history_for_newcomers INTEGER NOT NULL DEFAULT 0,
    first_seq INTEGER NOT NULL DEFAULT 1,
    -- 0: the user is a member.
    last_seq INTEGER NOT NULL DEFAULT 0,
    -- As the last description said.
    head_seq INTEGER NOT NULL DEFAULT 0,
    -- Every event below is stored, or inside a gap.
    next_seq INTEGER NOT NULL DEFAULT 1,
    -- The highest own event that is stored before its predecessors have come;
    -- none if below next_seq. It is shown once they are here.
    ahead_seq INTEGER NOT NULL DEFAULT 0,
    -- Described, and its first event after that has not come: what it leaves
    -- out is history to be fetched on demand.
    described INTEGER NOT NULL DEFAULT 0,
    -- The description of the members has taken in the events up to here; those above
    -- are followed.
    members_seq INTEGER NOT NULL DEFAULT 0,
    -- How many there are, whether they are listed here or not.
    member_count INTEGER NOT NULL DEFAULT 0,
    -- All of them are listed here.
    members_complete INTEGER NOT NULL DEFAULT 0,
    -- The last one whom a page of a long list has brought.
    members_after BLOB,
    printed_seq INTEGER NOT NULL DEFAULT 0,
    -- magpie.v1.Counts: what there is for the user up to `head_seq`; and up to the read
    -- mark `counted_seq`, the newest that the server has told with its counts.
    messages INTEGER NOT NULL DEFAULT 0,
    mentions INTEGER NOT NULL DEFAULT 0,
    counted_seq INTEGER NOT NULL DEFAULT 0,
    read_messages INTEGER NOT NULL DEFAULT 0,
    read_mentions INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX conversations_by_title ON conversations (title) WHERE kind = 1;

CREATE TABLE members (
    conversation BLOB NOT NULL,
    user_id BLOB NOT NULL,
    name TEXT NOT NULL,
    delivered_seq INTEGER NOT NULL DEFAULT 0,
    read_seq INTEGER NOT NULL DEFAULT 0,
    -- As in magpie.v1.Role.
    role INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (conversation, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX members_by_user ON members (user_id);

-- What others say of themselves, as the server told.
CREATE TABLE profiles (
    user_id BLOB NOT NULL PRIMARY KEY,
    -- As in magpie.v1.UserProfile, whatever its sign; -1: of another history.
    version INTEGER NOT NULL,
    display_name TEXT NOT NULL DEFAULT '',
    status TEXT NOT NULL DEFAULT '',
    -- Empty: none.
    photo_id BLOB NOT NULL DEFAULT x''
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    conversation BLOB NOT NULL,
    seq INTEGER NOT NULL,
    message_id BLOB,
    sender BLOB,
    committed_at_ms INTEGER NOT NULL,
    -- The field of EventContent: 1 a message, 6 edited, 7 deleted, 8 reacted, 20 a
    -- setting, 41 a friend request, 42 an answer; but 9 is the place of a message that was deleted.
    kind INTEGER NOT NULL,
    -- 0: history that was fetched on demand.
    printable INTEGER NOT NULL,
    -- The server's history that it was received in.
    epoch INTEGER NOT NULL,
    -- magpie.v1.Event, byte for byte; of a message that was deleted, and of its
    -- edits, without what they said.
    raw BLOB NOT NULL,
    -- The message that it is about, if it is about one.
    target INTEGER,
    -- A message of somebody else that mentions the user, or everybody.
    mentions_me INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (conversation, seq)
) STRICT;

CREATE INDEX events_by_target ON events (conversation, target, seq) WHERE target IS NOT NULL;

-- What became of messages up to `upto`, as the server said when they were fetched
-- from history. What is above it is in events.
CREATE TABLE states (
    conversation BLOB NOT NULL,
    seq INTEGER NOT NULL,
    upto INTEGER NOT NULL,
    -- magpie.v1.MessageState.
    state BLOB NOT NULL,
    PRIMARY KEY (conversation, seq)
) STRICT, WITHOUT ROWID;

-- What exists and is not stored: from_seq to to_seq, both included.
CREATE TABLE gaps (
    conversation BLOB NOT NULL,
    from_seq INTEGER NOT NULL,
    to_seq INTEGER NOT NULL,
    -- 0: history, on demand. 1: missing, to be fetched at once.
    kind INTEGER NOT NULL,
    PRIMARY KEY (conversation, from_seq)
) STRICT, WITHOUT ROWID;

-- Requests in the person's order.
CREATE TABLE outbox (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    -- magpie.v1.ClientFrame with its body alone.
    frame BLOB NOT NULL,
    queued_at_ms INTEGER NOT NULL,
    -- As in magpie.v1.Error once it is refused for good.
    code INTEGER,
    action INTEGER,
    message TEXT,
    -- The message that it is about, if it changes or answers one; of a friendship, the event
    -- that says how it stands.
    conversation BLOB,
    target INTEGER,
    -- The server did not have what it refers to, and was asked what that is.
    was_doubted INTEGER NOT NULL DEFAULT 0
) STRICT;

-- What must be uploaded before a request of the outbox can be sent: files in
-- `media/outgoing`.
CREATE TABLE uploads (
    place INTEGER PRIMARY KEY,
    request BLOB NOT NULL,
    -- What the request, and its file, call it.
    media_id BLOB NOT NULL,
    -- 0 while it is in doubt, if the request does not say it.
    size INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    -- What the server calls it, once it is begun.
    named BLOB,
    is_done INTEGER NOT NULL DEFAULT 0,
    -- The server has named it, and perhaps does not have it any more: it is asked.
    in_doubt INTEGER NOT NULL DEFAULT 0,
    UNIQUE (request, media_id)
) STRICT;

CREATE INDEX uploads_by_media ON uploads (media_id);

CREATE INDEX outbox_by_target ON outbox (conversation, target) WHERE target IS NOT NULL;

-- What the user has set for themself, as the account log says, and the outbox.
CREATE TABLE settings (
    -- The field of magpie.v1.AccountChange: 1 for what to wake, 2 a hidden message, 3 a
    -- contact, 4 a blocked user, 11 who reaches the user, 12 a declined friend request, 20 the user's profile, 21 whether they are discoverable, 22 their link, 30
    -- whether read receipts are hidden.
    kind INTEGER NOT NULL,
    -- The id of what it is about; empty: all conversations.
    about BLOB NOT NULL,
    -- Of a message; else 0.
    about_seq INTEGER NOT NULL,
    -- The newest event that says so, and its magpie.v1.AccountChange; 0 and absent if
    -- there is none.
    seq INTEGER NOT NULL DEFAULT 0,
    change BLOB,
    -- What waits in the outbox to be said instead, and as which request.
    queued BLOB,
    queued_id BLOB,
    PRIMARY KEY (kind, about, about_seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX settings_by_request ON settings (queued_id) WHERE queued_id IS NOT NULL;

-- Read marks that the server has not confirmed.
CREATE TABLE reads (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    conversation BLOB NOT NULL,
    seq INTEGER NOT NULL,
    queued_at_ms INTEGER NOT NULL,
    code INTEGER,
    action INTEGER,
    message TEXT
) STRICT;

-- What became of requests that were done.
CREATE TABLE outcomes (
    id BLOB NOT NULL PRIMARY KEY,
    -- 1: accepted. 2: a read mark, taken. 3: the message was so already.
    kind INTEGER NOT NULL,
    conversation BLOB NOT NULL,
    seq INTEGER NOT NULL,
    committed_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What is pinned, as the last description said and events since.
CREATE TABLE pins (
    conversation BLOB NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (conversation, seq)
) STRICT, WITHOUT ROWID;
