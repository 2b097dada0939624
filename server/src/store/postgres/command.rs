//! One command under the log head's lock: groups, what begins a direct conversation,
//! and what is done to messages that are there. Its facts are found here, `rules` decides, and `log` writes.

use std::sync::Arc;

use magpie_protocol::{id::ConversationId, seq::Seq, text::UserName};
use tokio_postgres::Row;

use super::{
    log::{Log, Request},
    session::{Failure, get, get_count, uuid},
};
use crate::store::{
    Append, Command, LogEvent, Outcome, Refusal,
    rules::{
        self, Asked, Change, ConversationKind, Effect, Known, Permit, Person, Place, Reacted,
        Standing,
    },
};

/// What a request with the same id became before, and how the actor stands: whether
/// the device may act, the conversation, whether the actor is a member, and the
/// newest event's seq. For a deleted user the server acts, and leaves groups.
const JUDGE: &str = "
    SELECT k.seq, k.committed_at_ms, k.digest,
           EXISTS (SELECT FROM devices d
                    WHERE d.device_id = $3 AND d.user_key = $1 AND NOT d.is_revoked)
               OR ($5 AND EXISTS (SELECT FROM users u WHERE u.key = $1 AND u.state = 2)),
           c.key, c.kind,
           EXISTS (SELECT FROM members m
                    WHERE m.user_key = $1 AND m.conversation_key = c.key
                      AND m.to_position = 9223372036854775807),
           coalesce(last.seq, 0), coalesce(last.message_count, 0)
      FROM (SELECT 1) one
      LEFT JOIN LATERAL (
          SELECT e.seq, e.committed_at_ms, e.digest FROM events e
           WHERE e.sender_key = $1 AND e.message_id = $2 LIMIT 1
      ) k ON true
      LEFT JOIN conversations c ON c.conversation_id = $4
      LEFT JOIN LATERAL (
          SELECT e.seq, e.message_count FROM events e WHERE e.conversation_key = c.key
           ORDER BY e.seq DESC LIMIT 1
      ) last ON true";

/// Why a command ends early. Until its effect is decided a command may stop with a
/// refusal; behind that only with a failure, which undoes the whole batch.
enum Stop {
    Refused(Refusal),
    Failed(Failure),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

fn known(row: &Row, asked: Option<&Asked>) -> Result<Option<Known>, Failure> {
    if get::<Option<i64>>(row, 0)?.is_none() {
        return Ok(None);
    }
    let digest: &[u8] = get(row, 2)?;
    Ok(Some(Known {
        is_same: asked.is_some_and(|asked| asked.digest == digest),
        seq: Seq::new(get_count(row, 0)?),
        committed_at_ms: get(row, 1)?,
    }))
}

fn standing(row: &Row) -> Result<Standing, Failure> {
    let place = match get::<Option<i64>>(row, 4)? {
        Some(key) => Some(Place {
            key,
            kind: ConversationKind::from_number(get::<i16>(row, 5)?.into())?,
            head: Seq::new(get_count(row, 7)?),
            messages: get_count(row, 8)?,
        }),
        None => None,
    };
    Ok(Standing {
        may_act: get(row, 3)?,
        place,
        is_member: get(row, 6)?,
    })
}

impl<'a> Log<'a> {
    /// Does it, or says why not.
    pub(super) async fn append(
        &mut self,
        append: &'a Append,
    ) -> Result<(Outcome, Option<LogEvent>), Failure> {
        match self.try_append(append).await {
            Ok(done) => Ok(done),
            Err(Stop::Refused(refusal)) => Ok((Outcome::Refused(refusal), None)),
            Err(Stop::Failed(failure)) => Err(failure),
        }
    }

    async fn try_append(
        &mut self,
        append: &'a Append,
    ) -> Result<(Outcome, Option<LogEvent>), Stop> {
        let sender = self.known.person(append.actor.user);
        let sender = sender.ok_or(Refusal::DeviceRevoked)?;
        let asked = self.known.asked(append);
        let nowhere = ConversationId::new([0; 16]);
        let conversation = asked.map_or(nowhere, |asked| asked.conversation);
        let judged = self
            .session
            .one(
                JUDGE,
                &[
                    &sender.key,
                    &uuid(append.id.bytes()),
                    &uuid(append.actor.device.bytes()),
                    &uuid(conversation.bytes()),
                    &matches!(append.command, Command::LeaveGroup { .. }),
                ],
            )
            .await?;
        let known = known(&judged, asked.as_ref())?;
        let asked = match rules::to_do(asked, known.as_ref()) {
            Ok(asked) => asked,
            Err(outcome) => return Ok((outcome, None)),
        };
        let permit = rules::permit(append, &asked, &standing(&judged)?)?;
        let effect = self.decide(permit, sender).await?;
        let request = Request {
            append,
            sender,
            asked,
        };
        let event = self.carry_out(&request, effect).await?;
        let outcome = Outcome::Accepted {
            conversation: asked.conversation,
            seq: event.seq,
            committed_at_ms: self.committed_at_ms,
        };
        Ok((outcome, Some(event)))
    }

    /// Finds the rest of the facts.
    async fn decide(&self, permit: Permit<'_>, sender: &Arc<Person>) -> Result<Effect, Stop> {
        Ok(match permit {
            Permit::Post(place, message) => rules::post(place, message),
            Permit::BeginDirect(peer, message) => {
                let peer = self.known.named(peer).ok_or(Refusal::NotFound)?;
                rules::begin_direct(sender, peer, message)
            }
            Permit::Change(place, seq, change) => {
                let subject = self.subject(place, seq, sender).await?;
                let reacted = match change {
                    Change::React(emoji) | Change::Unreact(emoji) => {
                        self.reacted(place, seq, sender, emoji.as_str()).await?
                    }
                    Change::Edit(..) | Change::Delete => Reacted::default(),
                };
                let facts = (subject, reacted);
                rules::change((place, seq), change, sender, facts, self.committed_at_ms)?
            }
            Permit::CreateGroup(title, names) => {
                let members_max = self.known.members_max;
                rules::create_group(sender, title, self.people(names)?, members_max)?
            }
            Permit::AddMembers(place, names) => {
                let people = self.people(names)?;
                let present = self.present(place, &people).await?;
                let count = rules::Count {
                    count: self.member_count(place).await?,
                    members_max: self.known.members_max,
                };
                rules::add_members(place, people, &present, count)?
            }
            Permit::RemoveMember(place, name) => {
                let person = self.known.named(name).ok_or(Refusal::NotFound)?;
                let present = self.present(place, std::slice::from_ref(person)).await?;
                let is_member = present.contains(&person.key);
                rules::remove_member(place, sender, Arc::clone(person), is_member)?
            }
            Permit::Leave(place) => rules::leave(place, sender),
        })
    }

    /// The people with these names, each once.
    fn people(&self, names: &[UserName]) -> Result<Vec<Arc<Person>>, Refusal> {
        rules::each_once(names.iter().map(|name| self.known.named(name).cloned()))
    }
}
