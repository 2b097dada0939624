//! The log under its head's lock: the statements that write it. What may be
//! written is decided in `rules`.

use std::sync::Arc;

use magpie_protocol::{
    id::{ConversationId, MediaId, MessageId},
    role::Role,
    seq::{Position, Seq},
    wire::v1::{self, event_content::Kind},
};
use prost::Message as _;
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    changes, counts,
    rows::{OPEN_END, member_count, signed, unsigned},
    writer::{Caches, find_person},
};
use crate::store::{
    Append, LogEvent, MembershipChange, StoreError,
    event::{EventKind, EventParts, encode_event},
    rules::{
        Aside, Asked, ConversationKind, Count, Effect, Known, Members, Person, Place, Said, Scene,
    },
};

/// The log, in the transaction of one batch.
pub(super) struct Log<'a> {
    pub(super) connection: &'a Connection,
    pub(super) caches: &'a mut Caches,
    /// The last position given out.
    pub(super) head: Position,
    /// Of this batch.
    pub(super) committed_at_ms: i64,
    /// Members that a group may have.
    pub(super) members_max: u64,
    /// What this batch has written.
    pub(super) events: Vec<LogEvent>,
}

/// An event to be.
struct NewEvent {
    id: MessageId,
    kind: EventKind,
    content: Kind,
    change: Option<MembershipChange>,
    hidden: bool,
}

pub(super) const FIND_KNOWN: &str = "
    SELECT digest, seq, committed_at_ms FROM events
     WHERE sender = ?1 AND message_id = ?2";

const INSERT_EVENT: &str = "
    INSERT INTO events (position, conversation, seq, sender, kind, committed_at_ms,
                        message_id, digest, body, message_count, sender_count, hidden)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";

const INSERT_MEMBER: &str = "
    INSERT INTO members (user, conversation, from_seq, from_position, to_seq, to_position, role,
                         history_seq)
    VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7)";

const SET_ROLE: &str = "
    UPDATE members SET role = ?4
     WHERE user = ?1 AND conversation = ?2 AND to_position = ?3";

/// Who of those with a role has been in the group for longest.
pub(super) const FIND_ELDEST: &str = "
    SELECT u.key, u.user_id, u.name
      FROM members m JOIN users u ON u.key = m.user
     WHERE m.conversation = ?1 AND m.role = ?2 AND m.to_position = 9223372036854775807
     ORDER BY m.from_position, m.user LIMIT 1";

const END_MEMBERSHIP: &str = "
    UPDATE members
       SET to_seq = ?4, to_position = ?5,
           left_count = (SELECT member_count FROM conversations WHERE key = ?2),
           left_title = (SELECT title FROM conversations WHERE key = ?2)
     WHERE user = ?1 AND conversation = ?2 AND to_position = ?3";

const COUNT_JOINED: &str = "
    UPDATE conversations SET member_count = member_count + ?2 WHERE key = ?1";

const COUNT_LEFT: &str = "
    UPDATE conversations SET member_count = member_count - 1 WHERE key = ?1";

impl Log<'_> {
    /// What this user's request with this id became.
    pub(super) fn known(
        &self,
        sender: &Person,
        id: MessageId,
        asked: Option<&Asked>,
    ) -> Result<Option<Known>, StoreError> {
        let mut statement = self.connection.prepare_cached(FIND_KNOWN)?;
        let known = statement.query_row(params![sender.key, id.bytes()], |row| {
            let digest: [u8; 16] = row.get(0)?;
            Ok(Known {
                is_same: asked.is_some_and(|asked| asked.digest == digest),
                seq: Seq::new(unsigned(row.get(1)?)),
                committed_at_ms: row.get(2)?,
            })
        });
        Ok(known.optional()?)
    }

    /// Writes what was decided. Returns the event's seq.
    pub(super) fn carry_out(
        &mut self,
        append: &Append,
        asked: &Asked,
        sender: &Person,
        (effect, hidden): (Effect, bool),
    ) -> Result<Seq, StoreError> {
        let Effect {
            scene,
            kind,
            content,
            members,
            aside,
        } = effect;
        let place = match scene {
            Scene::In(place) => place,
            Scene::New(kind, title) => self.create(asked.conversation, kind, &title)?,
        };
        let event = NewEvent {
            id: append.id,
            kind,
            content,
            change: members.change(),
            hidden,
        };
        let seq = self.write(asked, place, sender, event)?;
        match members {
            Members::Same => {}
            Members::Join {
                people,
                from_beginning,
            } => self.join((place, seq), &people, from_beginning)?,
            Members::Leave { person, heir } => {
                self.leave(place, seq, &person)?;
                if let Some(heir) = heir {
                    self.set_role(place, &heir, Role::Owner)?;
                }
            }
            Members::SetRoles(roles) => {
                for (person, role) in roles {
                    self.set_role(place, &person, role)?;
                }
            }
        }
        if let Aside::UpdateGroup(update, _) = &aside {
            let place = Place {
                head: seq,
                announcement_only: update.announcement_only.unwrap_or(place.announcement_only),
                ..place
            };
            self.caches.placed(asked.conversation, place);
        }
        let now_ms = self.committed_at_ms;
        changes::write(self.connection, (place, seq, hidden), sender, aside, now_ms)?;
        Ok(seq)
    }

    /// Makes a conversation without events; the first one follows at once.
    fn create(
        &self,
        id: ConversationId,
        kind: ConversationKind,
        title: &str,
    ) -> Result<Place, StoreError> {
        let sql = "INSERT INTO conversations (conversation_id, kind, title) VALUES (?1, ?2, ?3)";
        let mut statement = self.connection.prepare_cached(sql)?;
        let key = statement.insert(params![id.bytes(), kind.number(), title])?;
        Ok(Place {
            key,
            kind,
            head: Seq::ZERO,
            announcement_only: false,
            messages: 0,
        })
    }

    /// Gives the event the next seq and the next position.
    fn write(
        &mut self,
        asked: &Asked,
        place: Place,
        sender: &Person,
        event: NewEvent,
    ) -> Result<Seq, StoreError> {
        let (position, seq) = (self.head.next(), place.head.next());
        let to = (place, seq);
        if !event.hidden {
            counts::write_mentions(self.connection, self.caches, to, &event.content, sender.id)?;
        }
        let content = v1::EventContent {
            kind: Some(event.content),
        };
        let body = content.encode_to_vec();
        let (messages, own) =
            counts::next(self.connection, place, (event.kind, event.hidden), sender)?;
        let mut statement = self.connection.prepare_cached(INSERT_EVENT)?;
        statement.execute(params![
            signed(position.get()),
            place.key,
            signed(seq.get()),
            sender.key,
            event.kind.number(),
            self.committed_at_ms,
            event.id.bytes(),
            asked.digest,
            body,
            signed(messages),
            signed(own),
            event.hidden,
        ])?;
        let encoded = encode_event(&EventParts {
            conversation: asked.conversation,
            seq,
            sender: sender.id,
            sender_name: &sender.name,
            id: event.id,
            committed_at_ms: self.committed_at_ms,
            body: &body,
        });
        self.head = position;
        let place = Place {
            head: seq,
            messages,
            ..place
        };
        self.caches.placed(asked.conversation, place);
        self.events.push(LogEvent {
            position,
            conversation: asked.conversation,
            seq,
            encoded,
            change: event.change,
            hidden: event.hidden.then_some(sender.id),
        });
        Ok(seq)
    }

    /// From the event just written, at `seq`, these users are members.
    fn join(
        &mut self,
        (place, seq): (Place, Seq),
        joining: &[(Arc<Person>, Option<Role>)],
        from_beginning: bool,
    ) -> Result<(), StoreError> {
        let from = signed(seq.get());
        let history = if from_beginning { 1 } else { from };
        let mut statement = self.connection.prepare_cached(INSERT_MEMBER)?;
        for (person, role) in joining {
            statement.execute(params![
                person.key,
                place.key,
                from,
                signed(self.head.get()),
                OPEN_END,
                role.map_or(0, Role::number),
                history,
            ])?;
            let role = role.unwrap_or(Role::Member);
            self.caches.is_now(place.key, person.key, role);
        }
        let count = signed(joining.len() as u64);
        let mut counted = self.connection.prepare_cached(COUNT_JOINED)?;
        counted.execute([place.key, count])?;
        Ok(())
    }

    /// The event just written, at `seq`, is the last one that this user may read.
    fn leave(&mut self, place: Place, seq: Seq, leaving: &Person) -> Result<(), StoreError> {
        self.caches.left(place.key, leaving.key);
        let mut counted = self.connection.prepare_cached(COUNT_LEFT)?;
        counted.execute([place.key])?;
        let mut statement = self.connection.prepare_cached(END_MEMBERSHIP)?;
        let ended = statement.execute(params![
            leaving.key,
            place.key,
            OPEN_END,
            signed(seq.get()),
            signed(self.head.get()),
        ])?;
        if ended == 1 {
            return Ok(());
        }
        Err(StoreError::Corrupt {
            what: format!("{ended} open memberships of one user in one conversation"),
        })
    }

    /// This member has another role now.
    fn set_role(&mut self, place: Place, person: &Person, role: Role) -> Result<(), StoreError> {
        self.caches.is_now(place.key, person.key, role);
        let mut statement = self.connection.prepare_cached(SET_ROLE)?;
        statement.execute(params![person.key, place.key, OPEN_END, role.number()])?;
        Ok(())
    }

    /// Whose the group is when its owner leaves.
    pub(super) fn heir(&self, place: Place) -> Result<Option<Arc<Person>>, StoreError> {
        for role in [Role::Admin, Role::Member] {
            let params = params![place.key, role.number()];
            let heir = find_person(self.connection, FIND_ELDEST, params)?;
            if heir.is_some() {
                return Ok(heir);
            }
        }
        Ok(None)
    }

    /// What is said of the group.
    pub(super) fn said(&self, place: Place) -> Result<Said, StoreError> {
        let sql = "
            SELECT title, description, history_for_newcomers,
                   (SELECT media_id FROM media m WHERE m.key = c.photo)
              FROM conversations c WHERE key = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.query_row([place.key], |row| {
            let photo: Option<[u8; 16]> = row.get(3)?;
            Ok(Said {
                title: row.get(0)?,
                description: row.get(1)?,
                photo: photo.map(MediaId::new),
                history_for_newcomers: row.get(2)?,
            })
        })?)
    }

    /// How many members the conversation has and may have, and what who joins may read.
    pub(super) fn count(&self, place: Place) -> Result<Count, StoreError> {
        let sql = "SELECT history_for_newcomers FROM conversations WHERE key = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(Count {
            count: unsigned(member_count(self.connection, place.key)?),
            members_max: self.members_max,
            from_beginning: statement.query_row([place.key], |row| row.get(0))?,
        })
    }

    /// Writes the new head down, as the last statement of a batch.
    pub(super) fn store_head(&self) -> Result<(), StoreError> {
        let sql = "UPDATE log_head SET position = ?1, committed_at_ms = ?2 WHERE one = 1";
        let mut statement = self.connection.prepare_cached(sql)?;
        statement.execute(params![signed(self.head.get()), self.committed_at_ms])?;
        Ok(())
    }
}
