-- People, devices, conversations and the log.
--
-- Ids appear once, in the table of what they name; everything else refers to it
-- by its key, so that indexes stay small.
--
-- A position holds the shard of the log that it is of in its upper byte
-- (`position >> 56`), so that each shard's positions are a range. A place in all
-- shards (a cursor, the log's heads) is an array with a position of each, in
-- their order.

-- Facts about the whole: `cursor_key` (32 bytes).
CREATE TABLE facts (
    name  text PRIMARY KEY,
    value bytea NOT NULL
);

-- The identity of the history. A new epoch begins whenever it may have gone back.
CREATE TABLE epochs (
    epoch      bigint PRIMARY KEY,
    base       bigint[] NOT NULL,
    -- How far the log had come in this epoch, if some node found that it went
    -- back: then nobody serves it until another epoch begins.
    reached    bigint[],
    started_at timestamptz NOT NULL DEFAULT now()
);

-- One row for each shard of the log, made with the schema and never afterwards:
-- the last position given out and the time of the last event's commit, which
-- never falls. Whoever takes positions locks the row first: for events, for
-- moved read marks (a batch of them takes one), and for changes of credentials
-- (in shard 0). Nearly empty pages keep its many versions on one page.
CREATE TABLE log_head (
    shard           integer PRIMARY KEY,
    position        bigint NOT NULL,
    committed_at_ms bigint NOT NULL
) WITH (fillfactor = 10);

CREATE FUNCTION heads() RETURNS bigint[]
LANGUAGE sql STABLE AS $$ SELECT array_agg(position ORDER BY shard) FROM log_head $$;

-- The later, and the earlier, of two places, shard by shard.
CREATE FUNCTION later(a bigint[], b bigint[]) RETURNS bigint[]
LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT array_agg(greatest(p.a, p.b) ORDER BY p.shard)
      FROM unnest(a, b) WITH ORDINALITY AS p (a, b, shard)
$$;

CREATE FUNCTION earlier(a bigint[], b bigint[]) RETURNS bigint[]
LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT array_agg(least(p.a, p.b) ORDER BY p.shard)
      FROM unnest(a, b) WITH ORDINALITY AS p (a, b, shard)
$$;

CREATE AGGREGATE latest(bigint[]) (SFUNC = later, STYPE = bigint[]);

-- Every name that was ever given out: none is given out again.
CREATE TABLE names (
    name text COLLATE "C" PRIMARY KEY
);

-- Who is deleted keeps the row, because events refer to it, and nothing else: name
-- and hash are empty.
CREATE TABLE users (
    key              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id          uuid NOT NULL UNIQUE,
    name             text COLLATE "C" NOT NULL,
    password_hash    text NOT NULL,
    created_at_ms    bigint NOT NULL,
    -- 0 active, 1 suspended, 2 deleted.
    state            smallint NOT NULL DEFAULT 0,
    -- The position that their deletion took.
    deleted_position bigint
);

CREATE INDEX users_by_name ON users (name);
CREATE INDEX users_by_deletion ON users (deleted_position) WHERE deleted_position IS NOT NULL;

-- How far any of a user's devices has ever stored: never falls. Narrow, and with
-- room on its pages, because it is written all the time.
CREATE TABLE delivered (
    user_key  bigint PRIMARY KEY REFERENCES users (key),
    positions bigint[] NOT NULL
) WITH (fillfactor = 60);

-- A revoked device keeps its row, so that its id is of no use to anybody.
CREATE TABLE devices (
    key              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id        uuid NOT NULL UNIQUE,
    user_key         bigint NOT NULL REFERENCES users (key),
    name             text NOT NULL,
    token_hash       bytea NOT NULL,
    created_at_ms    bigint NOT NULL,
    -- The log's heads when it was made: what is older is history to it.
    made_positions   bigint[] NOT NULL,
    is_revoked       boolean NOT NULL DEFAULT false,
    -- The position that its revocation took, or its latest token.
    changed_position bigint
);

CREATE INDEX devices_by_user ON devices (user_key);
CREATE INDEX devices_by_change ON devices (changed_position) WHERE changed_position IS NOT NULL;

-- A device's connections. Narrow for the same reason as `delivered`.
CREATE TABLE cursors (
    device_key      bigint PRIMARY KEY REFERENCES devices (key),
    generation      bigint NOT NULL,
    cursor          bigint[] NOT NULL,
    last_seen_at_ms bigint,
    -- 0 away, 1 connected in the background, 2 in the foreground.
    attachment      smallint NOT NULL DEFAULT 0,
    -- When it was last in the foreground, as far as is written: where it is so now, when
    -- that began.
    present_at_ms   bigint,
    -- To which node it is connected; 0: to none that is known.
    node            bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 60);

-- Servers that served this log, each as often as it was started, and when each was there
-- last: where one ended unannounced, its devices were there until then.
CREATE TABLE nodes (
    node        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    there_at_ms bigint NOT NULL
);

CREATE INDEX nodes_by_time ON nodes (there_at_ms);

-- Where a device's pushes go. A token has one device.
CREATE TABLE push_addresses (
    device_key bigint PRIMARY KEY REFERENCES devices (key),
    -- 1 Android, 2 iOS, 3 web.
    platform   smallint NOT NULL,
    app_id     text NOT NULL,
    token      text NOT NULL UNIQUE
);

-- The last wake of a device. It is answered when the device's cursor passes its
-- position. Apart from the cursors, which stay in no index.
CREATE TABLE wakes (
    device_key bigint PRIMARY KEY REFERENCES devices (key),
    wake_id    bigint NOT NULL,
    position   bigint NOT NULL,
    tries      integer NOT NULL,
    due_at_ms  bigint NOT NULL
);

CREATE INDEX wakes_by_due ON wakes (due_at_ms);

-- Devices that were woken and not looked at since: they show what they stored
-- behind `behind`, their cursor when they were woken first.
CREATE TABLE notified (
    device_key bigint PRIMARY KEY REFERENCES devices (key),
    behind     bigint[] NOT NULL,
    -- When it is to be told that something of it was read elsewhere; when it was
    -- told last, and how often without an effect.
    due_at_ms  bigint,
    told_at_ms bigint,
    tries      integer NOT NULL DEFAULT 0
);

CREATE INDEX notified_by_due ON notified (due_at_ms) WHERE due_at_ms IS NOT NULL;

-- How far it is decided who is owed a wake, by whoever holds the duty for a shard.
CREATE TABLE wake_cursors (
    shard      integer PRIMARY KEY,
    position   bigint NOT NULL,
    holder     bigint NOT NULL,
    held_until timestamptz NOT NULL
) WITH (fillfactor = 10);

CREATE TABLE conversations (
    key             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conversation_id uuid NOT NULL UNIQUE,
    -- 1 direct, 2 group.
    kind            smallint NOT NULL,
    title           text NOT NULL,
    -- Open memberships: counting them takes long where there are many.
    member_count    bigint NOT NULL DEFAULT 0,
    description     text NOT NULL DEFAULT '',
    -- Of a group: members without another role do not write in it.
    announcement_only boolean NOT NULL DEFAULT false,
    -- A group's photo, of media.
    photo_key       bigint,
    -- Of a group: who joins may read what came before.
    history_for_newcomers boolean NOT NULL DEFAULT false
);

CREATE INDEX conversations_by_photo ON conversations (photo_key) WHERE photo_key IS NOT NULL;

-- The log. References are not declared, because checking them would cost two
-- look-ups an event: the statement that writes it has just read both rows.
CREATE TABLE events (
    position         bigint NOT NULL,
    conversation_key bigint NOT NULL,
    seq              bigint NOT NULL,
    sender_key       bigint NOT NULL,
    committed_at_ms  bigint NOT NULL,
    message_id       uuid NOT NULL,
    -- 1 message, 2 group created, 3 members added, 4 member removed, 5 member left,
    -- 6 message edited, 7 message deleted, 8 reacted, 30 role changed, 31 group updated,
    -- 50 pinned, 51 member banned, 52 invite created, 53 invite revoked, 54 member joined.
    kind             smallint NOT NULL,
    -- Of the request: tells a repeat from a conflict for ever, even if the body
    -- is blanked.
    digest           bytea NOT NULL,
    -- Encoded EventContent. Of a message that was deleted, and of its edits,
    -- without what they said.
    body             bytea NOT NULL,
    -- How many messages the conversation has up to here; and of a message, how many
    -- its sender has there. Deleted ones count, so no number ever changes.
    message_count    bigint NOT NULL,
    sender_count     bigint NOT NULL,
    -- Of a direct conversation: its other member blocked the sender, and does not read it.
    -- Such a message is counted nowhere.
    hidden           boolean NOT NULL,
    PRIMARY KEY (conversation_key, seq)
);

CREATE UNIQUE INDEX events_by_position ON events (position);
CREATE UNIQUE INDEX events_by_message_id ON events (sender_key, message_id);
-- How many messages a user has in a conversation is written in their last one.
CREATE INDEX events_by_sender ON events (conversation_key, sender_key, seq) WHERE kind = 1;

-- How many messages of others mention a user, up to the one at `seq`. The user 0 is
-- everybody: what mentions all is counted there, and, as one less, for its sender.
CREATE TABLE mentions (
    conversation_key bigint NOT NULL,
    user_key         bigint NOT NULL,
    seq              bigint NOT NULL,
    count            bigint NOT NULL,
    PRIMARY KEY (conversation_key, user_key, seq)
);

-- What there is for a user up to an event: messages of others, and those of them that
-- mention the user.
CREATE FUNCTION messages_upto(reader bigint, conversation bigint, upto bigint) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT e.message_count FROM events e
                      WHERE e.conversation_key = conversation AND e.seq <= upto
                      ORDER BY e.seq DESC LIMIT 1), 0)
         - coalesce((SELECT e.sender_count FROM events e
                      WHERE e.conversation_key = conversation AND e.sender_key = reader
                        AND e.kind = 1 AND e.seq <= upto
                      ORDER BY e.seq DESC LIMIT 1), 0)
$$;

CREATE FUNCTION mentions_upto(reader bigint, conversation bigint, upto bigint) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT m.count FROM mentions m
                      WHERE m.conversation_key = conversation AND m.user_key = 0
                        AND m.seq <= upto ORDER BY m.seq DESC LIMIT 1), 0)
         + coalesce((SELECT m.count FROM mentions m
                      WHERE m.conversation_key = conversation AND m.user_key = reader
                        AND m.seq <= upto ORDER BY m.seq DESC LIMIT 1), 0)
$$;

-- Which events are edits of which messages: the last one is what is said now.
CREATE TABLE edits (
    conversation_key bigint NOT NULL,
    seq              bigint NOT NULL,
    edit_seq         bigint NOT NULL,
    -- As the edit's event.
    hidden           boolean NOT NULL,
    PRIMARY KEY (conversation_key, seq, edit_seq)
);

-- Who reacts to what: from the event at `added_seq` to that at `removed_seq`, which is
-- 9223372036854775807 while the reaction stands.
CREATE TABLE reactions (
    conversation_key bigint NOT NULL,
    seq              bigint NOT NULL,
    emoji            text COLLATE "C" NOT NULL,
    user_key         bigint NOT NULL,
    added_seq        bigint NOT NULL,
    removed_seq      bigint NOT NULL,
    -- As the event at `added_seq`.
    hidden           boolean NOT NULL,
    PRIMARY KEY (conversation_key, seq, user_key, emoji, added_seq)
);

-- Which stand, however often others were taken back.
CREATE INDEX reactions_standing ON reactions (conversation_key, seq, emoji)
 WHERE removed_seq = 9223372036854775807;

-- Messages that are pinned; none that was deleted. A pin that is `hidden` is there
-- for the user who made it alone; one that is not is its message's only one.
CREATE TABLE pins (
    conversation_key bigint  NOT NULL,
    seq              bigint  NOT NULL,
    user_key         bigint  NOT NULL,
    hidden           boolean NOT NULL,
    PRIMARY KEY (conversation_key, seq, user_key)
);

-- Who may read what: the events from `history_seq` to `to_seq`. While the user is a
-- member, both ends above are 9223372036854775807. Who comes back gets another
-- row.
CREATE TABLE members (
    user_key         bigint NOT NULL REFERENCES users (key),
    conversation_key bigint NOT NULL REFERENCES conversations (key),
    -- The event by which the user joined: what follows is sent to them.
    from_seq         bigint NOT NULL,
    -- The first event that they may fetch: the same one, or 1.
    history_seq      bigint NOT NULL,
    from_position    bigint NOT NULL,
    to_seq           bigint NOT NULL,
    to_position      bigint NOT NULL,
    -- How many members were left when it ended.
    left_count       bigint,
    -- What the conversation was called then.
    left_title       text,
    -- 1 member, 2 admin, 3 owner: of one that ended, the last. 0 in a direct
    -- conversation, where there are none.
    role             smallint NOT NULL,
    PRIMARY KEY (user_key, conversation_key, from_seq)
);

-- Open memberships by role, those of old first: whose a group is when its owner leaves.
CREATE INDEX members_by_role ON members (conversation_key, role, from_position, user_key)
 WHERE to_position = 9223372036854775807;

-- Open memberships by user: a long list is read in pages.
CREATE INDEX members_by_conversation ON members (conversation_key, to_position, user_key);

-- Who is kept out of which group, since which event.
CREATE TABLE bans (
    conversation_key bigint NOT NULL,
    user_key         bigint NOT NULL REFERENCES users (key),
    seq              bigint NOT NULL,
    PRIMARY KEY (conversation_key, user_key)
);

CREATE INDEX bans_by_seq ON bans (conversation_key, seq);

-- Who may join a group by themself: whoever has the secret. None that was revoked.
CREATE TABLE invites (
    conversation_key bigint NOT NULL,
    -- Of the event that created it.
    seq              bigint NOT NULL,
    -- SHA-256 of its secret.
    hash             bytea NOT NULL,
    -- 0: until it is revoked.
    expires_at_ms    bigint NOT NULL,
    -- 0: any number of times.
    uses_max         bigint NOT NULL,
    uses             bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (conversation_key, seq)
);

CREATE UNIQUE INDEX invites_by_hash ON invites (conversation_key, hash);

-- How far a user has read; survives leaving and coming back.
CREATE TABLE marks (
    user_key         bigint NOT NULL REFERENCES users (key),
    conversation_key bigint NOT NULL REFERENCES conversations (key),
    read_seq         bigint NOT NULL,
    -- The position that moving it took.
    read_position    bigint NOT NULL,
    PRIMARY KEY (user_key, conversation_key)
);

CREATE INDEX marks_by_user ON marks (user_key, read_position);
CREATE INDEX marks_by_change ON marks (read_position);
-- Who has read how much of a conversation.
CREATE INDEX marks_by_conversation ON marks (conversation_key, read_seq, user_key);

-- For what users are woken, as their account logs say.
CREATE TABLE notify (
    user_key        bigint NOT NULL REFERENCES users (key),
    -- Empty: in all conversations.
    conversation_id bytea NOT NULL,
    -- 1 all, 2 mentions, 3 none.
    level           smallint NOT NULL,
    -- 0: until it is changed.
    until_ms        bigint NOT NULL,
    PRIMARY KEY (user_key, conversation_id)
);

-- What users say of themselves, as their account logs say.
CREATE TABLE profiles (
    user_key     bigint PRIMARY KEY REFERENCES users (key),
    -- The seq of the event that says so.
    version      bigint NOT NULL,
    display_name text NOT NULL,
    status       text NOT NULL,
    -- Of media.
    photo_key    bigint
);

CREATE INDEX profiles_by_photo ON profiles (photo_key) WHERE photo_key IS NOT NULL;

-- Whom a search by the beginning of a name finds.
CREATE TABLE discoverable (
    name     text COLLATE "C" PRIMARY KEY,
    user_key bigint NOT NULL UNIQUE REFERENCES users (key)
);

-- What finds users: SHA-256 of the secret that is in their link.
CREATE TABLE links (
    user_key bigint PRIMARY KEY REFERENCES users (key),
    hash     bytea NOT NULL
);

-- Who blocks whom, as their account logs say; and how far the one who blocks had come in
-- their direct conversation: the other is told no more.
CREATE TABLE blocks (
    user_key      bigint NOT NULL REFERENCES users (key),
    blocked_key   bigint NOT NULL REFERENCES users (key),
    delivered_seq bigint NOT NULL,
    read_seq      bigint NOT NULL,
    PRIMARY KEY (user_key, blocked_key)
);

-- Asked for with every message.
CREATE INDEX blocks_by_blocked ON blocks (blocked_key, user_key);

-- What users are to each other, as the events of their direct conversation say: for each of
-- the two what they know.
CREATE TABLE friends (
    conversation_key bigint NOT NULL REFERENCES conversations (key),
    user_key         bigint NOT NULL REFERENCES users (key),
    peer_key         bigint NOT NULL REFERENCES users (key),
    -- 0 nothing, 1 has asked, 2 was asked, 3 friends, 4 friends as far as this one knows:
    -- the peer blocked them when they accepted.
    bond             smallint NOT NULL,
    -- The event that says so.
    seq              bigint NOT NULL,
    -- How often this one has asked since they were friends last.
    asks             bigint NOT NULL,
    PRIMARY KEY (conversation_key, user_key)
);

CREATE UNIQUE INDEX friends_by_user ON friends (user_key, peer_key);

-- Users whom friends alone reach without being asked to, as their account logs say.
CREATE TABLE friends_only (
    user_key bigint PRIMARY KEY REFERENCES users (key)
);

-- Users who hide their read receipts, as their account logs say.
CREATE TABLE hidden_receipts (
    user_key bigint PRIMARY KEY REFERENCES users (key)
);

-- Users who hide their presence, as their account logs say.
CREATE TABLE hidden_presence (
    user_key bigint PRIMARY KEY REFERENCES users (key)
);

-- What users tell the operators. A closed report holds neither text nor event.
CREATE TABLE reports (
    key          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reporter_key bigint NOT NULL REFERENCES users (key),
    user_key     bigint NOT NULL REFERENCES users (key),
    -- Encoded Event, as it was when it was reported.
    event        bytea,
    -- The number of ReportReason.
    reason       smallint NOT NULL,
    text         text NOT NULL,
    at_ms        bigint NOT NULL,
    closed_at_ms bigint
);

CREATE INDEX reports_open ON reports (key) WHERE closed_at_ms IS NULL;

-- What operators say to everybody, with a direct message to each.
CREATE TABLE broadcasts (
    key          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sender_key   bigint NOT NULL REFERENCES users (key),
    -- The device that says it.
    device_id    uuid NOT NULL,
    -- What the ids of its messages are made of.
    secret       uuid NOT NULL,
    text         text NOT NULL,
    begun_at_ms  bigint NOT NULL,
    ended_at_ms  bigint,
    -- The last user to whom it is to be said, and how far it has come.
    last_user    bigint NOT NULL,
    reached_user bigint NOT NULL DEFAULT 0,
    -- How many got it.
    sent         bigint NOT NULL DEFAULT 0
);

-- What operators did.
CREATE TABLE admin_acts (
    key    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uid    bigint NOT NULL,
    at_ms  bigint NOT NULL,
    action text NOT NULL,
    target text NOT NULL
);

-- The seq of the newest event of a conversation at or below a position; 0 if
-- there is none. `last_seq` is the newest that is looked at.
--
-- Positions rise with seq, so the event is found by bisection; most devices have
-- stored everything, or nothing.
CREATE FUNCTION seq_at(conversation bigint, last_seq bigint, at bigint) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    at_most bigint := 1;
    above   bigint := last_seq;
    middle  bigint;
    found_at bigint;
BEGIN
    IF last_seq < 1 THEN
        RETURN 0;
    END IF;
    SELECT e.position INTO found_at FROM events e
     WHERE e.conversation_key = conversation AND e.seq = last_seq;
    IF found_at <= at THEN
        RETURN last_seq;
    END IF;
    SELECT e.position INTO found_at FROM events e
     WHERE e.conversation_key = conversation AND e.seq = 1;
    IF found_at > at THEN
        RETURN 0;
    END IF;
    WHILE above - at_most > 1 LOOP
        middle := at_most + (above - at_most) / 2;
        SELECT e.position INTO found_at FROM events e
         WHERE e.conversation_key = conversation AND e.seq = middle;
        IF found_at <= at THEN
            at_most := middle;
        ELSE
            above := middle;
        END IF;
    END LOOP;
    RETURN at_most;
END
$$;

-- Photos and files. One that is not whole has no blob yet, and its parts lie in
-- `media_parts`.
CREATE TABLE media (
    key           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    media_id      uuid NOT NULL UNIQUE,
    user_key      bigint NOT NULL REFERENCES users (key),
    size          bigint NOT NULL,
    -- What its uploader says that it is; may be absent.
    wanted_sha256 bytea,
    received      bigint NOT NULL DEFAULT 0,
    blob_key      bigint,
    -- When it goes, unless something refers to it by then; NULL while something does.
    expires_at_ms bigint
);

CREATE INDEX media_by_user ON media (user_key);
CREATE INDEX media_by_blob ON media (blob_key) WHERE blob_key IS NOT NULL;
CREATE INDEX media_by_expiry ON media (expires_at_ms) WHERE expires_at_ms IS NOT NULL;

-- Each is an object of its own, named at random: of two that begin alike one counts.
CREATE TABLE media_parts (
    media_key bigint NOT NULL REFERENCES media (key),
    start     bigint NOT NULL,
    size      bigint NOT NULL,
    name      uuid NOT NULL,
    PRIMARY KEY (media_key, start)
);

-- What media are, as one object each, named at random and never again. A user has
-- the same bytes once; what others have is not looked at, so that nobody learns of it.
CREATE TABLE blobs (
    key          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         uuid NOT NULL UNIQUE,
    user_key     bigint NOT NULL REFERENCES users (key),
    sha256       bytea NOT NULL,
    size         bigint NOT NULL,
    content_type text NOT NULL,
    UNIQUE (user_key, sha256)
);

ALTER TABLE media ADD FOREIGN KEY (blob_key) REFERENCES blobs (key);

-- Objects that are of no use any more, or may turn out to be: written down before
-- they are made, and before what refers to them goes.
CREATE TABLE media_trash (
    -- 1 a blob, 2 all parts of an upload.
    kind      smallint NOT NULL,
    -- The blob's name, or the media_id.
    name      uuid NOT NULL,
    due_at_ms bigint NOT NULL,
    -- Somebody is deleting it: nothing may refer to it any more.
    is_going  boolean NOT NULL DEFAULT false,
    PRIMARY KEY (kind, name)
);

CREATE INDEX media_trash_by_due ON media_trash (due_at_ms);

ALTER TABLE profiles ADD FOREIGN KEY (photo_key) REFERENCES media (key);
ALTER TABLE conversations ADD FOREIGN KEY (photo_key) REFERENCES media (key);

-- Which messages refer to which media. Not of those that were deleted. The photos of
-- users and groups are media too.
CREATE TABLE media_uses (
    media_key        bigint NOT NULL REFERENCES media (key),
    conversation_key bigint NOT NULL,
    seq              bigint NOT NULL,
    PRIMARY KEY (media_key, conversation_key, seq)
);

CREATE INDEX media_uses_by_message ON media_uses (conversation_key, seq);
