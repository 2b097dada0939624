//! The log under its head's lock: the statements of one command. What may be
//! written is decided in `rules`.

use std::{collections::HashMap, sync::Arc};

use magpie_protocol::{
    id::{ConversationId, MediaId},
    role::Role,
    seq::{Position, Seq},
    wire::v1::{self, event_content::Kind},
};
use prost::Message as _;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    batch::ShardOf,
    counts::Mentions,
    known::{Known, person},
    session::{Failure, Params, Session, get, get_count, signed, uuid},
};
use crate::store::{
    Append, LogEvent, MembershipChange,
    event::{EventKind, EventParts, encode_event},
    rules::{
        self, Asked, ConversationKind, Count, Effect, Members, Person, Place, Said, Scene,
        stored_role,
    },
};

/// What a user is in a conversation, from a column that is absent if they are no member.
pub(super) fn role(row: &Row, column: usize) -> Result<Option<Role>, Failure> {
    let number: Option<i16> = get(row, column)?;
    Ok(match number {
        Some(number) => Some(stored_role(number.into())?),
        None => None,
    })
}

const INSERT_CONVERSATION: &str = "
    INSERT INTO conversations (conversation_id, kind, title) VALUES ($1, $2, $3) RETURNING key";

/// Writes an event, and the new head with it. $10 is how many messages there are up to
/// it; a message has one more of its sender's than their last one, unless it
/// is hidden ($11).
const INSERT_EVENT: &str = "
    WITH moved AS (
        UPDATE log_head SET position = $1, committed_at_ms = $6 WHERE shard = $1::bigint >> 56
    )
    INSERT INTO events (position, conversation_key, seq, sender_key, kind, committed_at_ms,
                        message_id, digest, body, message_count, sender_count, hidden)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
            CASE WHEN $5::smallint = 1 THEN (NOT $11::boolean)::integer + coalesce((
                SELECT e.sender_count FROM events e
                 WHERE e.conversation_key = $2 AND e.sender_key = $4 AND e.kind = 1
                 ORDER BY e.seq DESC LIMIT 1), 0) ELSE 0 END, $11)";

const INSERT_MEMBERS: &str = "
    WITH counted AS (
        UPDATE conversations SET member_count = member_count + cardinality($1::bigint[])
         WHERE key = $2
    )
    INSERT INTO members (user_key, conversation_key, from_seq, from_position, to_seq, to_position,
                         role, history_seq)
    SELECT user_key, $2, $3, $4, 9223372036854775807, 9223372036854775807, role, $6
      FROM unnest($1::bigint[], $5::smallint[]) AS joining (user_key, role)";

const SET_ROLES: &str = "
    UPDATE members m SET role = given.role
      FROM unnest($1::bigint[], $2::smallint[]) AS given (user_key, role)
     WHERE m.user_key = given.user_key AND m.conversation_key = $3
       AND m.to_position = 9223372036854775807";

/// Who of those with a role has been in the group for longest.
pub(super) const FIND_ELDEST: &str = "
    SELECT u.key, u.user_id, u.name
      FROM (SELECT m.user_key FROM members m
             WHERE m.conversation_key = $1 AND m.role = $2
               AND m.to_position = 9223372036854775807
             ORDER BY m.from_position, m.user_key LIMIT 1) eldest
      JOIN users u ON u.key = eldest.user_key";

const END_MEMBERSHIP: &str = "
    WITH counted AS (
        UPDATE conversations SET member_count = member_count - 1 WHERE key = $2
        RETURNING member_count, title
    )
    UPDATE members
       SET to_seq = $3, to_position = $4, left_count = (SELECT member_count FROM counted),
           left_title = (SELECT title FROM counted)
     WHERE user_key = $1 AND conversation_key = $2 AND to_position = 9223372036854775807";

/// Which of these users are members, and in which role.
const FIND_MEMBERS: &str = "
    SELECT user_key, role FROM members
     WHERE conversation_key = $1 AND user_key = ANY($2) AND to_position = 9223372036854775807";

const COUNT_MEMBERS: &str = "
    SELECT member_count, history_for_newcomers FROM conversations WHERE key = $1";

/// The log, for one command of a batch.
pub(super) struct Log<'a> {
    pub(super) session: Session<'a>,
    pub(super) known: &'a Known,
    /// The only one that it writes to.
    pub(super) shard: ShardOf,
    /// The last position given out.
    pub(super) head: Position,
    /// Of this batch.
    pub(super) committed_at_ms: i64,
}

/// A command whose names are found.
pub(super) struct Request<'a> {
    pub(super) append: &'a Append,
    pub(super) sender: &'a Arc<Person>,
    pub(super) asked: Asked,
}

/// What is to be written.
struct NewEvent {
    kind: EventKind,
    content: Kind,
    change: Option<MembershipChange>,
    hidden: bool,
}

impl<'a> Log<'a> {
    /// Which of them are members now, by their keys, and in which role.
    pub(super) async fn roles(
        &self,
        place: Place,
        people: &[Arc<Person>],
    ) -> Result<HashMap<i64, Role>, Failure> {
        let keys: Vec<i64> = people.iter().map(|person| person.key).collect();
        let rows = self
            .session
            .rows(FIND_MEMBERS, &[&place.key, &keys])
            .await?;
        let roles = rows.iter().map(|row| {
            let number: i16 = get(row, 1)?;
            Ok((get(row, 0)?, stored_role(number.into())?))
        });
        roles.collect()
    }

    /// Whose the group is when its owner leaves.
    pub(super) async fn heir(&self, place: Place) -> Result<Option<Arc<Person>>, Failure> {
        for role in [Role::Admin, Role::Member] {
            let number = i16::from(role.number());
            let params: Params<'_> = &[&place.key, &number];
            if let Some(row) = self.session.first(FIND_ELDEST, params).await? {
                return Ok(Some(Arc::new(person(&row)?)));
            }
        }
        Ok(None)
    }

    /// What is said of the group.
    pub(super) async fn said(&self, place: Place) -> Result<Said, Failure> {
        let sql = "
            SELECT title, description, history_for_newcomers,
                   (SELECT media_id FROM media m WHERE m.key = c.photo_key)
              FROM conversations c WHERE key = $1";
        let row = self.session.one(sql, &[&place.key]).await?;
        let photo: Option<Uuid> = get(&row, 3)?;
        Ok(Said {
            title: get(&row, 0)?,
            description: get(&row, 1)?,
            photo: photo.map(|id| MediaId::new(id.into_bytes())),
            history_for_newcomers: get(&row, 2)?,
        })
    }

    /// How many members the conversation has and may have, and what who joins may read.
    pub(super) async fn count(&self, place: Place) -> Result<Count, Failure> {
        let row = self.session.one(COUNT_MEMBERS, &[&place.key]).await?;
        Ok(Count {
            count: get_count(&row, 0)?,
            members_max: self.known.members_max,
            from_beginning: get(&row, 1)?,
        })
    }

    /// Writes what was decided.
    pub(super) async fn carry_out(
        &mut self,
        request: &Request<'a>,
        (effect, hidden): (Effect, bool),
    ) -> Result<LogEvent, Failure> {
        let Effect {
            scene,
            kind,
            content,
            members,
            aside,
        } = effect;
        let place = match scene {
            Scene::In(place) => place,
            Scene::New(kind, title) => {
                self.create(request.asked.conversation, kind, &title)
                    .await?
            }
        };
        let event = NewEvent {
            kind,
            content,
            change: members.change(),
            hidden,
        };
        let event = self.write(request, place, event).await?;
        match members {
            Members::Same => {}
            Members::Join {
                people,
                from_beginning,
            } => self.join((place, &event), &people, from_beginning).await?,
            Members::Leave { person, heir } => {
                self.leave(place, &event, &person).await?;
                if let Some(heir) = heir {
                    self.set_roles(place, &[(heir, Role::Owner)]).await?;
                }
            }
            Members::SetRoles(roles) => self.set_roles(place, &roles).await?,
        }
        self.write_aside(place, &event, request.sender, aside)
            .await?;
        Ok(event)
    }

    /// Makes a conversation without events; the first one follows at once.
    async fn create(
        &self,
        id: ConversationId,
        kind: ConversationKind,
        title: &str,
    ) -> Result<Place, Failure> {
        let (id, number) = (uuid(id.bytes()), i16::from(kind.number()));
        let row = self
            .session
            .one(INSERT_CONVERSATION, &[&id, &number, &title])
            .await?;
        Ok(Place {
            key: get(&row, 0)?,
            kind,
            head: Seq::ZERO,
            announcement_only: false,
            messages: 0,
        })
    }

    /// Gives the event the next seq and the next position.
    async fn write(
        &mut self,
        request: &Request<'a>,
        place: Place,
        event: NewEvent,
    ) -> Result<LogEvent, Failure> {
        let (position, seq) = (self.head.next(), place.head.next());
        let mentioned = rules::mentioned(&event.content, request.sender.id);
        let content = v1::EventContent {
            kind: Some(event.content),
        };
        let body = content.encode_to_vec();
        let messages =
            place.messages + u64::from(event.kind == EventKind::Message && !event.hidden);
        self.session
            .execute(
                INSERT_EVENT,
                &[
                    &signed(position.get()),
                    &place.key,
                    &signed(seq.get()),
                    &request.sender.key,
                    &i16::from(event.kind.number()),
                    &self.committed_at_ms,
                    &uuid(request.append.id.bytes()),
                    &request.asked.digest.as_slice(),
                    &body,
                    &signed(messages),
                    &event.hidden,
                ],
            )
            .await?;
        self.head = position;
        let encoded = encode_event(&EventParts {
            conversation: request.asked.conversation,
            seq,
            sender: request.sender.id,
            sender_name: &request.sender.name,
            id: request.append.id,
            committed_at_ms: self.committed_at_ms,
            body: &body,
        });
        let event = LogEvent {
            position,
            conversation: request.asked.conversation,
            seq,
            encoded,
            change: event.change,
            hidden: event.hidden.then_some(request.sender.id),
        };
        if event.hidden.is_none() {
            let mut mentions = Mentions::default();
            mentions.add(&event, &mentioned);
            mentions.write(self.session).await?;
        }
        Ok(event)
    }

    /// From this event on these users are members.
    async fn join(
        &self,
        (place, event): (Place, &LogEvent),
        joining: &[(Arc<Person>, Option<Role>)],
        from_beginning: bool,
    ) -> Result<(), Failure> {
        let keys: Vec<i64> = joining.iter().map(|(person, _)| person.key).collect();
        let roles = joining.iter().map(|(_, role)| role.map_or(0, Role::number));
        let roles: Vec<i16> = roles.map(i16::from).collect();
        let (seq, position) = (signed(event.seq.get()), signed(event.position.get()));
        let history = if from_beginning { 1 } else { seq };
        self.session
            .execute(
                INSERT_MEMBERS,
                &[&keys, &place.key, &seq, &position, &roles, &history],
            )
            .await?;
        Ok(())
    }

    /// These members have other roles now.
    async fn set_roles(&self, place: Place, given: &[(Arc<Person>, Role)]) -> Result<(), Failure> {
        let keys: Vec<i64> = given.iter().map(|(person, _)| person.key).collect();
        let roles = given.iter().map(|(_, role)| i16::from(role.number()));
        let roles: Vec<i16> = roles.collect();
        self.session
            .execute(SET_ROLES, &[&keys, &roles, &place.key])
            .await?;
        Ok(())
    }

    /// This event is the last one that this user may read.
    async fn leave(&self, place: Place, event: &LogEvent, leaving: &Person) -> Result<(), Failure> {
        let (seq, position) = (signed(event.seq.get()), signed(event.position.get()));
        let ended = self
            .session
            .execute(END_MEMBERSHIP, &[&leaving.key, &place.key, &seq, &position])
            .await?;
        if ended == 1 {
            return Ok(());
        }
        Err(Failure::corrupt(format!(
            "{ended} open memberships of one user in one conversation"
        )))
    }
}
