//! Conversations.

use magpie_protocol::{
    friendship::Friendship,
    id::{ConversationId, MediaId, UserId},
    seq::Seq,
    setting::Notify,
    wire::v1,
};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::{
    Database,
    account::{self, Me},
    conversation_at, events, friends, gaps, members, pins, profiles, seq_at,
    settings::{self, ACCOUNT},
    stored, unread,
};
use crate::{
    error::LocalError,
    model::{ConversationKind, ConversationLine, Member, Profile},
    request::Recipient,
};

/// A direct conversation, as in `magpie.v1.ConversationKind`.
pub(super) const DIRECT: i64 = 1;

/// How far a conversation is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    pub(super) next: Seq,
    pub(super) first: Seq,
    /// What the next event leaves out is history to be fetched on demand.
    pub(super) described: bool,
    /// What is above changes the list of members.
    pub(super) members: Seq,
    /// The highest own event stored before its predecessors.
    pub(super) ahead: Seq,
    /// It is the account log: all of it is needed.
    pub(super) is_account: bool,
}

impl Reach {
    /// Of a conversation that was not described.
    pub(super) const UNKNOWN: Self = Self {
        next: Seq::new(1),
        first: Seq::new(1),
        described: false,
        members: Seq::ZERO,
        ahead: Seq::ZERO,
        is_account: false,
    };

    /// The kind of gap that the next event leaves.
    pub(super) const fn left_out(&self) -> i64 {
        if self.described && !self.is_account {
            gaps::ON_DEMAND
        } else {
            gaps::MISSING
        }
    }
}

pub(super) fn reach(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
) -> Result<Option<Reach>, LocalError> {
    let reach = transaction
        .prepare_cached(
            "SELECT next_seq, first_seq, described, members_seq, ahead_seq, kind = 3
               FROM conversations WHERE id = ?1",
        )?
        .query_row([conversation.bytes()], |row| {
            Ok(Reach {
                next: seq_at(row, 0)?,
                first: seq_at(row, 1)?,
                described: row.get(2)?,
                members: seq_at(row, 3)?,
                ahead: seq_at(row, 4)?,
                is_account: row.get(5)?,
            })
        })
        .optional()?;
    Ok(reach)
}

/// Makes sure that the conversation is in the table; one that is stays as it is.
pub(super) fn ensure(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
) -> Result<(), LocalError> {
    transaction
        .prepare_cached("INSERT INTO conversations (id) VALUES (?1) ON CONFLICT DO NOTHING")?
        .execute([conversation.bytes()])?;
    Ok(())
}

/// As [`ensure`], a direct one with this user, who is known by name alone.
pub(super) fn ensure_direct(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
    peer: &str,
) -> Result<(), LocalError> {
    ensure(transaction, conversation)?;
    transaction
        .prepare_cached(
            "UPDATE conversations SET kind = ?2, title = ?3 WHERE id = ?1 AND kind = 0",
        )?
        .execute(params![conversation.bytes(), DIRECT, peer])?;
    Ok(())
}

/// All below `next` is stored or inside a gap; goes on over own events that were
/// stored ahead. Returns where it ended.
pub(super) fn advance(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
    mut next: Seq,
    ahead: Seq,
) -> Result<Seq, LocalError> {
    while next <= ahead && events::is_stored(transaction, conversation, next)? {
        next = next.next();
    }
    transaction
        .prepare_cached("UPDATE conversations SET next_seq = ?2, described = 0 WHERE id = ?1")?
        .execute(params![conversation.bytes(), stored(next)])?;
    Ok(next)
}

/// An own event is stored before its predecessors have come.
pub(super) fn set_ahead(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
    ahead: Seq,
) -> Result<(), LocalError> {
    transaction
        .prepare_cached("UPDATE conversations SET ahead_seq = max(ahead_seq, ?2) WHERE id = ?1")?
        .execute(params![conversation.bytes(), stored(ahead)])?;
    Ok(())
}

/// Conversations with own events ahead of their predecessors.
pub(super) fn with_events_ahead(
    transaction: &Transaction<'_>,
) -> Result<Vec<ConversationId>, LocalError> {
    let found = transaction
        .prepare_cached("SELECT id FROM conversations WHERE ahead_seq >= next_seq")?
        .query_map([], |row| conversation_at(row, 0))?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// Conversations that were described and whose events were not sent, with the
/// head that the description named.
pub(super) fn described_alone(
    transaction: &Transaction<'_>,
) -> Result<Vec<(ConversationId, Seq)>, LocalError> {
    let found = transaction
        .prepare_cached(
            "SELECT id, head_seq FROM conversations WHERE described = 1 AND head_seq >= next_seq",
        )?
        .query_map([], |row| Ok((conversation_at(row, 0)?, seq_at(row, 1)?)))?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// Takes a description over. Returns its conversation.
pub(super) fn describe(
    transaction: &Transaction<'_>,
    me: &Me,
    id: ConversationId,
    it: &v1::Conversation,
) -> Result<(), LocalError> {
    let before = reach(transaction, id)?;
    let first = Seq::new(it.first_seq.max(1));
    ensure(transaction, id)?;
    let has_events = before.is_some_and(|reach| reach.next > reach.first);
    let next = match before {
        Some(reach) if has_events => {
            // More may be read than before: the part in front is history.
            gaps::open(
                transaction,
                id,
                first,
                reach.first.previous(),
                gaps::ON_DEMAND,
            )?;
            reach.next.max(first)
        }
        _ => first,
    };
    let title = match it.kind() {
        v1::ConversationKind::Direct => peer_name(me, it),
        v1::ConversationKind::Group
        | v1::ConversationKind::Account
        | v1::ConversationKind::Unspecified => it.title.clone(),
    };
    transaction
        .prepare_cached(
            "UPDATE conversations
                SET kind = ?2, title = ?3, first_seq = ?4, last_seq = ?5, head_seq = ?6,
                    next_seq = ?7, described = ?8, description = ?9, announcement_only = ?10,
                    photo = ?11, history_for_newcomers = ?12
              WHERE id = ?1",
        )?
        .execute(params![
            id.bytes(),
            i64::from(it.kind),
            title,
            stored(first),
            stored(Seq::new(it.last_seq)),
            stored(Seq::new(it.head_seq)),
            stored(next),
            // Nothing is left out of what is all here.
            it.head_seq >= next.get(),
            it.description,
            it.announcement_only,
            it.photo.as_ref(),
            it.history_for_newcomers,
        ])?;
    pins::describe(transaction, id, &it.pinned_seqs)?;
    members::describe(transaction, id, it, before)?;
    friends::describe(transaction, me, id, it)?;
    unread::describe(transaction, me, id, it)
}

fn peer_name(me: &Me, it: &v1::Conversation) -> String {
    let mut names = it.members.iter().filter_map(|member| member.user.as_ref());
    names
        .find(|user| user.user_id.as_ref() != me.user.bytes())
        .map_or_else(|| me.name.clone(), |user| user.name.clone())
}

pub(super) fn kind(number: i64) -> ConversationKind {
    match number {
        DIRECT => ConversationKind::Direct,
        2 => ConversationKind::Group,
        ACCOUNT => ConversationKind::Account,
        _ => ConversationKind::Unknown,
    }
}

/// A description that is not stored.
pub(crate) fn line(me: UserId, it: v1::Conversation) -> Option<ConversationLine> {
    let id = ConversationId::try_from(it.conversation_id.as_ref()).ok()?;
    let number = i64::from(it.kind);
    let (first_seq, last_seq) = (Seq::new(it.first_seq), Seq::new(it.last_seq));
    let (unread, unread_mentions) = unread::described(&it);
    let members = it.members.into_iter();
    let members: Vec<Member> = members.filter_map(members::member).collect();
    let peer = members.iter().find(|member| member.user.id != me);
    let title = match (kind(number), peer) {
        (ConversationKind::Direct, Some(peer)) => peer.user.name.clone(),
        _ => it.title,
    };
    Some(ConversationLine {
        id,
        kind: kind(number),
        title,
        description: it.description,
        announcement_only: it.announcement_only,
        photo: MediaId::try_from(it.photo.as_ref()).ok(),
        history_for_newcomers: it.history_for_newcomers,
        members,
        member_count: it.member_count,
        first_seq,
        last_seq: (last_seq > Seq::ZERO).then_some(last_seq),
        head_seq: Seq::new(it.head_seq),
        last_event_at_ms: None,
        unread,
        unread_mentions,
        notify: Notify::default(),
        friendship: Friendship::from_number(it.friendship.into()).unwrap_or_default(),
        request: false,
        contact: None,
        profile: Profile::default(),
    })
}

fn line_at(row: &Row<'_>) -> rusqlite::Result<ConversationLine> {
    let last_seq = seq_at(row, 4)?;
    let member_count: i64 = row.get(7)?;
    Ok(ConversationLine {
        id: conversation_at(row, 0)?,
        kind: kind(row.get(1)?),
        title: row.get(2)?,
        description: row.get(8)?,
        announcement_only: row.get(9)?,
        photo: MediaId::try_from(row.get::<_, Vec<u8>>(10)?.as_slice()).ok(),
        history_for_newcomers: row.get(11)?,
        members: Vec::new(),
        member_count: member_count.unsigned_abs(),
        first_seq: seq_at(row, 3)?,
        last_seq: (last_seq > Seq::ZERO).then_some(last_seq),
        head_seq: seq_at(row, 5)?,
        last_event_at_ms: row.get(6)?,
        unread: 0,
        unread_mentions: 0,
        notify: Notify::default(),
        friendship: Friendship::None,
        request: false,
        contact: None,
        profile: Profile::default(),
    })
}

impl Database {
    /// The newest seq that is known of each conversation, also of those that are not listed.
    pub(crate) fn heads(&self) -> Result<Vec<(ConversationId, Seq)>, LocalError> {
        let heads = self
            .connection
            .prepare_cached("SELECT id, max(head_seq, next_seq - 1) FROM conversations")?
            .query_map([], |row| Ok((conversation_at(row, 0)?, seq_at(row, 1)?)))?
            .collect::<Result<_, _>>()?;
        Ok(heads)
    }

    pub(crate) fn conversations(&mut self) -> Result<Vec<ConversationLine>, LocalError> {
        let view = self.connection.transaction()?;
        let Ok(me) = account::me(&view) else {
            return Ok(Vec::new());
        };
        let mut lines: Vec<ConversationLine> = view
            .prepare_cached(
                "SELECT id, kind, title, first_seq, last_seq, max(head_seq, next_seq - 1),
                        (SELECT committed_at_ms FROM events WHERE conversation = id AND kind <> 40
                          ORDER BY seq DESC LIMIT 1) AS at, member_count,
                        description, announcement_only, photo, history_for_newcomers
                   FROM conversations
                  WHERE kind <> 3
                    -- Who was blocked before they said anything is not there.
                    AND NOT (EXISTS (SELECT 1 FROM events WHERE conversation = id AND kind = 40)
                             AND NOT EXISTS (SELECT 1 FROM events
                                              WHERE conversation = id AND kind <> 40)
                             AND NOT EXISTS (SELECT 1 FROM gaps WHERE conversation = id))
                  ORDER BY at DESC, id",
            )?
            .query_map([], line_at)?
            .collect::<Result<_, _>>()?;
        for line in &mut lines {
            line.members = members::few(&view, &me, line)?;
            let unread = unread::of(&view, &me, line.id)?;
            line.unread = unread.messages.unsigned_abs();
            line.unread_mentions = unread.mentions.unsigned_abs();
            line.notify = settings::notify(&view, Some(line.id))?;
            let mut others = line.members.iter().filter(|it| it.user.id != me.user);
            if let (ConversationKind::Direct, Some(peer)) = (line.kind, others.next()) {
                line.friendship = friends::friendship(&view, line.id)?;
                line.request = friends::is_request(&view, line.id, line.friendship)?;
                line.contact = settings::contact(&view, &peer.user)?;
                line.profile = profiles::profile(&view, peer.user.id)?;
            }
        }
        Ok(lines)
    }

    /// What is unread in all conversations but those that are requests.
    pub(crate) fn unread(&mut self) -> Result<(u64, u64), LocalError> {
        let lines = self.conversations()?;
        let counted = lines.iter().filter(|line| !line.request);
        Ok(counted.fold((0, 0), |(messages, mentions), line| {
            (messages + line.unread, mentions + line.unread_mentions)
        }))
    }

    /// The members of a conversation that are known here.
    pub(crate) fn mentionable(&self, to: &Recipient) -> Result<Vec<Member>, LocalError> {
        match resolve(&self.connection, to)? {
            Some(id) => members::all(&self.connection, id, None),
            None => Ok(Vec::new()),
        }
    }

    pub(crate) fn resolve(&self, to: &Recipient) -> Result<Option<ConversationId>, LocalError> {
        resolve(&self.connection, to)
    }
}

pub(super) fn resolve(
    connection: &Connection,
    to: &Recipient,
) -> Result<Option<ConversationId>, LocalError> {
    let name = match to {
        Recipient::Conversation(id) => return Ok(Some(*id)),
        Recipient::User(name) => name,
    };
    let found = connection
        .prepare_cached("SELECT id FROM conversations WHERE kind = 1 AND title = ?1")?
        .query_row([name.as_str()], |row| conversation_at(row, 0))
        .optional()?;
    Ok(found)
}
