//! What is asked of other people, checked.

use super::{
    convert::{InvalidRequest, Request, message_id},
    v1,
};
use crate::{
    friendship::FriendAction,
    id::{MessageId, UserId},
    limits::{PROFILES_COUNT_MAX, WATCHED_COUNT_MAX},
    profile::{FindUsers, NamePrefix, UserLink},
    text::UserName,
};

/// A user, and the version of their profile that the asker holds; 0: none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KnownProfile {
    /// Whose.
    pub user: UserId,
    /// Which one.
    pub version: u64,
}

/// What to do about a friendship.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChangeFriendship {
    /// The request's identity.
    pub id: MessageId,
    /// With whom.
    pub name: UserName,
    /// What.
    pub action: FriendAction,
}

pub(super) fn parse_friendship(it: &v1::ChangeFriendship) -> Result<Request, InvalidRequest> {
    let missing = InvalidRequest::Missing { field: "action" };
    Ok(Request::ChangeFriendship(ChangeFriendship {
        id: message_id(&it.message_id)?,
        name: UserName::parse(&it.user_name)?,
        action: FriendAction::from_number(it.action.into()).ok_or(missing)?,
    }))
}

pub(super) fn parse_profiles(it: v1::FetchProfiles) -> Result<Request, InvalidRequest> {
    let count = it.known.len();
    if !(1..=PROFILES_COUNT_MAX).contains(&count) {
        return Err(InvalidRequest::OutOfBounds {
            field: "known",
            value: count as u64,
            min: 1,
            max: PROFILES_COUNT_MAX as u64,
        });
    }
    let known = it.known.iter().map(|it| {
        let (user, version) = (user_id(&it.user_id)?, it.version);
        Ok(KnownProfile { user, version })
    });
    let known: Result<_, InvalidRequest> = known.collect();
    Ok(Request::FetchProfiles(known?))
}

pub(super) fn parse_watch(it: &v1::WatchPresence) -> Result<Request, InvalidRequest> {
    let count = it.user_ids.len();
    if count > WATCHED_COUNT_MAX {
        return Err(InvalidRequest::OutOfBounds {
            field: "user_ids",
            value: count as u64,
            min: 0,
            max: WATCHED_COUNT_MAX as u64,
        });
    }
    let users = it.user_ids.iter().map(|id| user_id(id));
    let users: Result<_, InvalidRequest> = users.collect();
    Ok(Request::WatchPresence(users?))
}

fn user_id(bytes: &[u8]) -> Result<UserId, InvalidRequest> {
    let field = "user_id";
    UserId::try_from(bytes).map_err(|reason| InvalidRequest::Id { field, reason })
}

pub(super) fn parse_find(it: v1::FindUsers) -> Result<Request, InvalidRequest> {
    use v1::find_users::By;
    let by = match it.by.ok_or(InvalidRequest::Missing { field: "by" })? {
        By::UserName(name) => FindUsers::Name(UserName::parse(&name)?),
        By::Link(it) => FindUsers::Link(UserLink {
            name: UserName::parse(&it.user_name)?,
            secret: it.secret.as_ref().try_into()?,
        }),
        By::Prefix(prefix) => FindUsers::Prefix(NamePrefix::parse(&prefix)?),
    };
    Ok(Request::FindUsers(by))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_asked_for_by_at_most_256_ids() {
        let known = |count| v1::FetchProfiles {
            known: vec![
                v1::KnownProfile {
                    user_id: vec![1; 16].into(),
                    version: 3,
                };
                count
            ],
        };
        assert!(parse_profiles(known(256)).is_ok());
        for count in [0, 257] {
            let refused = parse_profiles(known(count)).unwrap_err();
            let expected = format!("known is {count}, allowed is 1 to 256");
            assert_eq!(refused.to_string(), expected);
        }
    }

    #[test]
    fn at_most_64_users_are_watched() {
        let watch = |count| v1::WatchPresence {
            user_ids: vec![vec![1; 16].into(); count],
        };
        assert!(parse_watch(&watch(0)).is_ok());
        assert!(parse_watch(&watch(64)).is_ok());
        let refused = parse_watch(&watch(65)).unwrap_err();
        assert_eq!(refused.to_string(), "user_ids is 65, allowed is 0 to 64");
        let short = v1::WatchPresence {
            user_ids: vec![vec![1; 15].into()],
        };
        let refused = parse_watch(&short).unwrap_err();
        assert_eq!(refused.to_string(), "user_id: an id has 16 bytes, not 15");
    }

    #[test]
    fn nobody_is_looked_for_by_nothing_or_by_two_letters() {
        let refused = parse_find(v1::FindUsers::default()).unwrap_err();
        assert_eq!(refused.to_string(), "by is missing");
        let by = |by| parse_find(v1::FindUsers { by: Some(by) });
        assert!(by(v1::find_users::By::Prefix("al".to_owned())).is_err());
        assert!(by(v1::find_users::By::Prefix("ALI".to_owned())).is_ok());
        let link = v1::UserLink {
            user_name: "alice".to_owned(),
            secret: vec![1; 15].into(),
        };
        let refused = by(v1::find_users::By::Link(link)).unwrap_err();
        assert_eq!(refused.to_string(), "secret is 15, allowed is 16 to 16");
    }
}
