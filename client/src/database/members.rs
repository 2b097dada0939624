//! Who is in a conversation, and how far each has come.
//!
//! A description names the members of a small conversation, and of a large one the
//! user alone: the others are loaded page by page when somebody wants to see them.
//! From the description on (`members_seq`) every event that changes the members is
//! followed, whatever is loaded, in the order of seq. To follow one again changes
//! nothing, so pages of the list and events may cross, and a list that was begun is
//! gone on with after any pause.

mod changes;
mod readers;

use magpie_protocol::{
    id::{ConversationId, UserId},
    limits::MARKED_MEMBERS_MAX,
    role::Role,
    seq::Seq,
    wire::v1,
};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use self::changes::{Change, changes_above};
use super::{
    Database,
    account::Me,
    conversations::Reach,
    epochs,
    events::{self, NewEvent},
    gaps, seq_at, stored, user_at,
};
use crate::{
    error::LocalError,
    model::{ConversationLine, LocalMembers, Member, MembersPlace, User},
};

/// Members of a large conversation, as the server listed them.
#[derive(Clone, Debug)]
pub(crate) struct MembersPage {
    /// Where they belong.
    pub(crate) place: MembersPlace,
    pub(crate) members: Vec<Member>,
    pub(crate) complete: bool,
    /// The newest event that they have taken in.
    pub(crate) at: Seq,
}

impl MembersPage {
    /// What the server answered; `None` if it gets nobody any further.
    pub(crate) fn parse(place: MembersPlace, page: v1::Members) -> Option<Self> {
        let count = page.members.len();
        let members: Vec<Member> = page.members.into_iter().filter_map(member).collect();
        let goes_on = page.complete || !members.is_empty();
        (members.len() == count && goes_on).then_some(Self {
            place,
            members,
            complete: page.complete,
            at: Seq::new(page.at_seq),
        })
    }
}

/// A member as the server names them.
pub(super) fn member(it: v1::Member) -> Option<Member> {
    Some(Member {
        user: it.user.and_then(events::user)?,
        delivered_seq: Seq::new(it.delivered_seq),
        read_seq: Seq::new(it.read_seq),
        role: Role::from_number(it.role.into()),
    })
}

/// How much of the list is here.
struct Listed {
    complete: bool,
    /// The last of the pages that are here.
    after: Option<UserId>,
    /// What is above is followed.
    since: Seq,
    count: u64,
}

fn listed(
    connection: &Connection,
    conversation: ConversationId,
) -> Result<Option<Listed>, LocalError> {
    let listed = connection
        .prepare_cached(
            "SELECT members_complete, members_after, members_seq, member_count
               FROM conversations WHERE id = ?1",
        )?
        .query_row([conversation.bytes()], |row| {
            let count: i64 = row.get(3)?;
            Ok(Listed {
                complete: row.get(0)?,
                after: row.get::<_, Option<_>>(1)?.map(UserId::new),
                since: seq_at(row, 2)?,
                count: count.unsigned_abs(),
            })
        })
        .optional()?;
    Ok(listed)
}

/// Takes over what a description says of the members. `before` is how far the
/// conversation was stored.
pub(super) fn describe(
    transaction: &Transaction<'_>,
    id: ConversationId,
    it: &v1::Conversation,
    before: Option<Reach>,
) -> Result<(), LocalError> {
    let head = Seq::new(it.head_seq);
    let names_all = it.members.len() as u64 >= it.member_count;
    if names_all || !is_followed(transaction, id, head, before)? {
        keep_only(transaction, id, &it.members)?;
        transaction
            .prepare_cached(
                "UPDATE conversations SET members_complete = ?2, members_after = NULL WHERE id = ?1",
            )?
            .execute(params![id.bytes(), names_all])?;
    }
    for member in it.members.iter().cloned().filter_map(member) {
        put(transaction, id, &member)?;
    }
    let since = changes_above(transaction, id, head)?;
    let change = since.iter().map(Change::count).sum::<i64>();
    for change in &since {
        change.apply(transaction, id)?;
    }
    let count = i64::try_from(it.member_count.max(it.members.len() as u64)).unwrap_or(i64::MAX);
    transaction
        .prepare_cached(
            "UPDATE conversations SET members_seq = ?2, member_count = ?3 WHERE id = ?1",
        )?
        .execute(params![
            id.bytes(),
            stored(head),
            count.saturating_add(change)
        ])?;
    Ok(())
}

/// Whether what is here of a long list is as it was at `head`, because every event
/// up to there was followed.
fn is_followed(
    transaction: &Transaction<'_>,
    id: ConversationId,
    head: Seq,
    before: Option<Reach>,
) -> Result<bool, LocalError> {
    let (Some(before), Some(listed)) = (before, listed(transaction, id)?) else {
        return Ok(false);
    };
    let has_list = listed.complete || listed.after.is_some();
    Ok(has_list
        && before.next > head
        && gaps::between(transaction, id, listed.since.next(), head)?.is_empty())
}

/// Forgets all members but these.
fn keep_only(
    transaction: &Transaction<'_>,
    id: ConversationId,
    members: &[v1::Member],
) -> Result<(), LocalError> {
    let known: Vec<UserId> = transaction
        .prepare_cached("SELECT user_id FROM members WHERE conversation = ?1")?
        .query_map([id.bytes()], |row| user_at(row, 0))?
        .collect::<Result<_, _>>()?;
    for user in known {
        let stays = members.iter().any(|member| {
            let user_id = member.user.as_ref().map(|user| user.user_id.as_ref());
            user_id == Some(&user.bytes()[..])
        });
        if !stays {
            remove(transaction, id, user)?;
        }
    }
    Ok(())
}

fn put(
    transaction: &Transaction<'_>,
    id: ConversationId,
    member: &Member,
) -> Result<(), LocalError> {
    add(transaction, id, &member.user)?;
    let (delivered, read) = (member.delivered_seq, member.read_seq);
    raise_marks(transaction, id, member.user.id, delivered, read)?;
    give(transaction, id, member.user.id, member.role)
}

/// The member has this role, if they are listed here.
fn give(
    transaction: &Transaction<'_>,
    id: ConversationId,
    user: UserId,
    role: Option<Role>,
) -> Result<(), LocalError> {
    transaction
        .prepare_cached("UPDATE members SET role = ?3 WHERE conversation = ?1 AND user_id = ?2")?
        .execute(params![
            id.bytes(),
            user.bytes(),
            role.map_or(0, Role::number)
        ])?;
    Ok(())
}

/// The group is this member's. Whoever owned it before is an admin, if they are still there.
fn hand_over(
    transaction: &Transaction<'_>,
    id: ConversationId,
    user: UserId,
) -> Result<(), LocalError> {
    transaction
        .prepare_cached("UPDATE members SET role = ?2 WHERE conversation = ?1 AND role = ?3")?
        .execute(params![
            id.bytes(),
            Role::Admin.number(),
            Role::Owner.number()
        ])?;
    give(transaction, id, user, Some(Role::Owner))
}

/// Adds a member of a group, unless they are there.
fn add(transaction: &Transaction<'_>, id: ConversationId, user: &User) -> Result<(), LocalError> {
    transaction
        .prepare_cached(
            "INSERT INTO members (conversation, user_id, name, role) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            id.bytes(),
            user.id.bytes(),
            user.name,
            Role::Member.number()
        ])?;
    Ok(())
}

fn remove(
    transaction: &Transaction<'_>,
    id: ConversationId,
    user: UserId,
) -> Result<(), LocalError> {
    transaction
        .prepare_cached("DELETE FROM members WHERE conversation = ?1 AND user_id = ?2")?
        .execute(params![id.bytes(), user.bytes()])?;
    Ok(())
}

/// Moves a member's marks forward. Older ones change nothing, so marks may arrive
/// in any order.
pub(super) fn raise_marks(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
    user: UserId,
    delivered: Seq,
    read: Seq,
) -> Result<bool, LocalError> {
    let changed = transaction
        .prepare_cached(
            "UPDATE members
                SET delivered_seq = max(delivered_seq, ?3), read_seq = max(read_seq, ?4)
              WHERE conversation = ?1 AND user_id = ?2
                AND (delivered_seq < ?3 OR read_seq < ?4)",
        )?
        .execute(params![
            conversation.bytes(),
            user.bytes(),
            stored(delivered),
            stored(read)
        ])?;
    Ok(changed > 0)
}

/// Takes a change of the members over from its event, unless a later description
/// has it already.
pub(super) fn follow(
    transaction: &Transaction<'_>,
    me: &Me,
    event: &NewEvent,
    since: Seq,
) -> Result<(), LocalError> {
    let id = event.conversation;
    let sender = event.event.sender.clone().and_then(events::user);
    let Some(change) = Change::of(event.event.content.as_ref(), sender) else {
        return Ok(());
    };
    if event.seq <= since {
        return Ok(());
    }
    if let Change::Created { title, .. } = &change {
        let group = i64::from(i32::from(v1::ConversationKind::Group));
        // It names everybody.
        transaction
            .prepare_cached(
                "UPDATE conversations SET kind = ?2, title = ?3, members_complete = 1 WHERE id = ?1",
            )?
            .execute(params![id.bytes(), group, title])?;
    }
    change.apply(transaction, id)?;
    // Those that came before it, though they happened later.
    for later in changes_above(transaction, id, event.seq)? {
        later.apply(transaction, id)?;
    }
    let is_me = matches!(change, Change::Removed(user, _) if user == me.user);
    transaction
        .prepare_cached(
            "UPDATE conversations
                SET member_count = max(member_count + ?4, 0),
                    last_seq = CASE WHEN ?3 THEN ?2 ELSE last_seq END
              WHERE id = ?1",
        )?
        .execute(params![
            id.bytes(),
            stored(event.seq),
            is_me,
            change.count()
        ])?;
    Ok(())
}

/// Stores a page of a long list, unless it belongs behind something else than what
/// is here now, or is older than the description. Whether it does.
pub(super) fn take_page(
    transaction: &Transaction<'_>,
    me: &Me,
    page: &MembersPage,
) -> Result<bool, LocalError> {
    let MembersPlace {
        conversation: id,
        after,
    } = page.place;
    let fits = |it: &Listed| !it.complete && it.after == after && it.since <= page.at;
    // The list of one history is nothing in another.
    let is_ours = epochs::is_taken_over(transaction, me, id)?;
    if !is_ours {
        return Ok(false);
    }
    // Wherever the page belongs, it says how far they have read by now.
    for it in &page.members {
        raise_marks(transaction, id, it.user.id, Seq::ZERO, it.read_seq)?;
    }
    if !listed(transaction, id)?.is_some_and(|it| fits(&it)) {
        return Ok(false);
    }
    for member in &page.members {
        put(transaction, id, member)?;
    }
    for later in changes_above(transaction, id, page.at)? {
        later.apply(transaction, id)?;
    }
    let last = page.members.last().map(|member| member.user.id).or(after);
    transaction
        .prepare_cached(
            "UPDATE conversations SET members_after = ?2, members_complete = ?3 WHERE id = ?1",
        )?
        .execute(params![
            id.bytes(),
            last.map(|last| last.bytes()),
            page.complete
        ])?;
    Ok(true)
}

/// The members of a small conversation; of a large one, the user.
pub(super) fn few(
    connection: &Connection,
    me: &Me,
    line: &ConversationLine,
) -> Result<Vec<Member>, LocalError> {
    let is_small = line.member_count <= MARKED_MEMBERS_MAX as u64;
    let only = (!is_small).then(|| me.user.bytes());
    all(connection, line.id, only)
}

/// Those that are listed here, or only this one of them.
pub(super) fn all(
    connection: &Connection,
    conversation: ConversationId,
    only: Option<[u8; 16]>,
) -> Result<Vec<Member>, LocalError> {
    let members = connection
        .prepare_cached(
            "SELECT user_id, name, delivered_seq, read_seq, role FROM members
              WHERE conversation = ?1 AND (?2 IS NULL OR user_id = ?2) ORDER BY name",
        )?
        .query_map(params![conversation.bytes(), only], |row| {
            Ok(Member {
                user: User {
                    id: user_at(row, 0)?,
                    name: row.get(1)?,
                },
                delivered_seq: seq_at(row, 2)?,
                read_seq: seq_at(row, 3)?,
                role: Role::from_number(row.get(4)?),
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(members)
}

impl Database {
    pub(crate) fn members(
        &mut self,
        conversation: ConversationId,
    ) -> Result<LocalMembers, LocalError> {
        // One moment's view: the driver may be writing.
        let view = self.connection.transaction()?;
        let Some(listed) = listed(&view, conversation)? else {
            return Ok(LocalMembers::default());
        };
        let members = all(&view, conversation, None)?;
        Ok(LocalMembers {
            count: match listed.complete {
                true => members.len() as u64,
                false => listed.count,
            },
            members,
            rest: (!listed.complete).then_some(MembersPlace {
                conversation,
                after: listed.after,
            }),
        })
    }
}
