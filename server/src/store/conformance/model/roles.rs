//! Who is what in a group, as the events say, and whose it must be.

use std::cmp::Reverse;

use magpie_protocol::{
    id::{ConversationId, UserId},
    role::Role,
    wire::v1::{self, event_content::Kind},
};

use super::Model;
use crate::store::{LogEvent, MembershipChange, conformance::decoded};

/// The members of a group in the order in which they came, those who came together
/// in that in which they were registered.
pub(super) type Roles = Vec<(UserId, Role)>;

pub(super) fn id_of(user: Option<&v1::User>) -> Option<UserId> {
    user.map(|user| UserId::try_from(user.user_id.as_ref()).unwrap())
}

impl Model<'_> {
    /// What somebody is in a conversation, if they are a member.
    pub(super) fn role(&self, conversation: ConversationId, user: UserId) -> Option<Role> {
        let roles = self.roles.get(&conversation)?;
        let found = roles.iter().find(|(member, _)| *member == user);
        found.map(|(_, role)| *role)
    }

    /// Takes over what a new event does to the roles of the members.
    pub(super) fn follow_roles(&mut self, event: &LogEvent) {
        let number = |user: &UserId| {
            let mut players = self.players.iter();
            players.position(|player| player.id() == *user)
        };
        let decoded = decoded(event);
        let sender = id_of(decoded.sender.as_ref()).unwrap();
        let roles = self.roles.entry(event.conversation).or_default();
        match &event.change {
            Some(MembershipChange::Joined(joined)) => {
                let mut joined = joined.clone();
                joined.sort_by_key(number);
                // A direct conversation is nobody's.
                let is_made = event.seq.get() == 1 && self.groups.contains(&event.conversation);
                roles.extend(
                    joined
                        .into_iter()
                        .map(|user| match is_made && user == sender {
                            true => (user, Role::Owner),
                            false => (user, Role::Member),
                        }),
                );
            }
            Some(MembershipChange::Left(left)) => {
                let owned = roles.contains(&(*left, Role::Owner));
                roles.retain(|(member, _)| member != left);
                let heir = roles.iter_mut().min_by_key(|(_, role)| Reverse(*role));
                let heir = heir.filter(|_| owned).map(|heir| {
                    heir.1 = Role::Owner;
                    heir.0
                });
                if let Some(Kind::MemberLeft(it)) = decoded.content.unwrap().kind {
                    assert_eq!(id_of(it.heir.as_ref()), heir);
                }
            }
            None => {
                let Some(Kind::RoleChanged(it)) = decoded.content.unwrap().kind else {
                    return;
                };
                let (member, role) = (id_of(it.member.as_ref()).unwrap(), it.role);
                let role = Role::from_number(role.into()).unwrap();
                for (user, its) in roles.iter_mut() {
                    if *user == member {
                        *its = role;
                    } else if role == Role::Owner && *its == Role::Owner {
                        *its = Role::Admin;
                    }
                }
            }
        }
    }
}
