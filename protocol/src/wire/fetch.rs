//! Requests for a part of something long, checked.

use super::{
    convert::{InvalidRequest, Request, conversation_id, event_seq},
    v1,
};
use crate::{
    id::{ConversationId, UserId},
    limits::{CONVERSATIONS_COUNT_MAX, HISTORY_COUNT_MAX, MEMBERS_COUNT_MAX, READERS_COUNT_MAX},
    seq::Seq,
};

/// Which way to read history.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HistoryFrom {
    /// The newest events below this seq.
    Before(Seq),
    /// The oldest events above this seq.
    After(Seq),
}

/// Events to read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FetchHistory {
    /// Of which conversation.
    pub conversation: ConversationId,
    /// Which ones.
    pub from: HistoryFrom,
    /// How many at the most.
    pub limit: u32,
}

/// Members to list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FetchMembers {
    /// Of which conversation.
    pub conversation: ConversationId,
    /// Those behind this one.
    pub after: Option<UserId>,
    /// How many at the most.
    pub limit: u32,
}

/// What a group's admins look at, by the events that began it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FetchListed {
    /// Of which group.
    pub conversation: ConversationId,
    /// What began behind this event.
    pub after: Seq,
    /// How many at the most.
    pub limit: u32,
}

pub(super) fn parse_bans(it: &v1::FetchBans) -> Result<Request, InvalidRequest> {
    Ok(Request::FetchBans(FetchListed {
        conversation: conversation_id(&it.conversation_id)?,
        after: Seq::new(it.after_seq),
        limit: limit(it.limit, MEMBERS_COUNT_MAX)?,
    }))
}

pub(super) fn parse_invites(it: &v1::FetchInvites) -> Result<Request, InvalidRequest> {
    Ok(Request::FetchInvites(FetchListed {
        conversation: conversation_id(&it.conversation_id)?,
        after: Seq::new(it.after_seq),
        limit: limit(it.limit, MEMBERS_COUNT_MAX)?,
    }))
}

/// Messages whose readers to count.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CountReaders {
    /// Of which conversation.
    pub conversation: ConversationId,
    /// 1 to [`READERS_COUNT_MAX`], rising.
    pub seqs: Vec<Seq>,
}

pub(super) fn parse_history(it: v1::FetchHistory) -> Result<Request, InvalidRequest> {
    use v1::fetch_history::From;
    let from = match it.from.ok_or(InvalidRequest::Missing { field: "from" })? {
        From::BeforeSeq(seq) => HistoryFrom::Before(Seq::new(seq)),
        From::AfterSeq(seq) => HistoryFrom::After(Seq::new(seq)),
    };
    Ok(Request::FetchHistory(FetchHistory {
        conversation: conversation_id(&it.conversation_id)?,
        from,
        limit: limit(it.limit, HISTORY_COUNT_MAX)?,
    }))
}

pub(super) fn parse_conversations(it: v1::FetchConversations) -> Result<Request, InvalidRequest> {
    let after = match it.after_conversation_id.as_ref() {
        [] => None,
        id => Some(conversation_id(id)?),
    };
    let limit = limit(it.limit, CONVERSATIONS_COUNT_MAX)?;
    Ok(Request::FetchConversations { after, limit })
}

pub(super) fn parse_members(it: v1::FetchMembers) -> Result<Request, InvalidRequest> {
    let after = match it.after_user_id.as_ref() {
        [] => None,
        id => Some(user_id(id)?),
    };
    Ok(Request::FetchMembers(FetchMembers {
        conversation: conversation_id(&it.conversation_id)?,
        after,
        limit: limit(it.limit, MEMBERS_COUNT_MAX)?,
    }))
}

pub(super) fn parse_readers(it: v1::CountReaders) -> Result<Request, InvalidRequest> {
    let count = it.seqs.len();
    if !(1..=READERS_COUNT_MAX).contains(&count) {
        return Err(InvalidRequest::OutOfBounds {
            field: "seqs",
            value: count as u64,
            min: 1,
            max: READERS_COUNT_MAX as u64,
        });
    }
    if !it.seqs.is_sorted_by(|one, next| one < next) {
        return Err(InvalidRequest::NotRising { field: "seqs" });
    }
    let seqs = it.seqs.into_iter().map(event_seq);
    Ok(Request::CountReaders(CountReaders {
        conversation: conversation_id(&it.conversation_id)?,
        seqs: seqs.collect::<Result<_, _>>()?,
    }))
}

fn user_id(bytes: &[u8]) -> Result<UserId, InvalidRequest> {
    let field = "after_user_id";
    UserId::try_from(bytes).map_err(|reason| InvalidRequest::Id { field, reason })
}

fn limit(value: u32, max: u32) -> Result<u32, InvalidRequest> {
    if (1..=max).contains(&value) {
        return Ok(value);
    }
    Err(InvalidRequest::OutOfBounds {
        field: "limit",
        value: value.into(),
        min: 1,
        max: max.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_out_of_bounds_says_what_is_allowed() {
        let refused = parse_conversations(v1::FetchConversations::default()).unwrap_err();
        assert_eq!(refused.to_string(), "limit is 0, allowed is 1 to 100");
    }

    #[test]
    fn a_page_of_members_begins_behind_somebody_or_at_the_first() {
        let page = |after: &[u8]| v1::FetchMembers {
            conversation_id: vec![1; 16].into(),
            after_user_id: after.to_vec().into(),
            limit: MEMBERS_COUNT_MAX,
        };
        let first = parse_members(page(&[])).unwrap();
        let Request::FetchMembers(FetchMembers { after: None, .. }) = first else {
            panic!("{first:?}");
        };
        let refused = parse_members(page(&[2; 15])).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "after_user_id: an id has 16 bytes, not 15"
        );
    }

    #[test]
    fn readers_are_counted_of_some_messages_in_their_order() {
        let refused = |seqs: &[u64]| {
            let it = v1::CountReaders {
                conversation_id: vec![1; 16].into(),
                seqs: seqs.to_vec(),
            };
            parse_readers(it).err().map(|error| error.to_string())
        };
        let many: Vec<u64> = (1..=51).collect();
        assert_eq!(refused(&[3, 5]), None);
        assert_eq!(refused(&many[..50]), None);
        for (seqs, why) in [
            (&[][..], "seqs is 0, allowed is 1 to 50"),
            (&many, "seqs is 51, allowed is 1 to 50"),
            (&[3, 3], "seqs must rise"),
            (&[5, 3], "seqs must rise"),
        ] {
            assert_eq!(refused(seqs).as_deref(), Some(why));
        }
        assert!(refused(&[0]).is_some());
    }
}
