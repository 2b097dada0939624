//! Who types, as the server hints; each of them until they say that they do not any more,
//! or nothing for a while.

use magpie_protocol::{
    id::{ConversationId, UserId},
    limits::TYPING_TIMEOUT,
    moment::Moment,
    wire::v1,
};

use super::{Reply, connection::Connection};
use crate::{client::Event, error::RequestError};

/// Of further ones nothing is told.
const TYPISTS_MAX: usize = 256;

/// Those who type, and until when it is believed.
#[derive(Debug, Default)]
pub(super) struct Typists(Vec<(ConversationId, UserId, Moment)>);

impl Typists {
    /// Takes a hint; true if it says something new.
    fn take(&mut self, who: (ConversationId, UserId), typing: bool, now: Moment) -> bool {
        let before = self.0.len();
        let until = now + TYPING_TIMEOUT;
        let known = self.0.iter_mut().find(|it| (it.0, it.1) == who);
        match (known, typing) {
            (Some(known), true) => known.2 = until,
            (Some(_), false) => self.0.retain(|it| (it.0, it.1) != who),
            (None, true) if before < TYPISTS_MAX => self.0.push((who.0, who.1, until)),
            (None, _) => {}
        }
        self.0.len() != before
    }

    /// Those who have said nothing for too long.
    fn expired(&mut self, now: Moment) -> Vec<(ConversationId, UserId)> {
        let expired = self.0.extract_if(.., |it| it.2 <= now);
        expired.map(|it| (it.0, it.1)).collect()
    }

    /// When the next one will have.
    pub(super) fn next_at(&self) -> Option<Moment> {
        self.0.iter().map(|it| it.2).min()
    }
}

impl Connection<'_> {
    pub(super) fn take_typing(&mut self, it: &v1::Typing) {
        let conversation = ConversationId::try_from(it.conversation_id.as_ref());
        let user = UserId::try_from(it.user_id.as_ref());
        let (Ok(conversation), Ok(user)) = (conversation, user) else {
            return;
        };
        let now = self.now();
        if self.typists.take((conversation, user), it.typing, now) {
            self.tell_typing(conversation, user, it.typing);
        }
    }

    /// Nobody types for ever.
    pub(super) fn expire_typists(&mut self) {
        let now = self.now();
        for (conversation, user) in self.typists.expired(now) {
            self.tell_typing(conversation, user, false);
        }
    }

    /// Without a connection nobody is seen to type.
    pub(super) fn forget_typists(&mut self) {
        for (conversation, user, _) in std::mem::take(&mut self.typists.0) {
            self.tell_typing(conversation, user, false);
        }
    }

    fn tell_typing(&self, conversation: ConversationId, user: UserId, typing: bool) {
        self.driver.notices.push(Event::Typing {
            conversation,
            user,
            typing,
        });
    }

    /// The user types, or does not any more: told now, or never.
    pub(super) fn type_in(&mut self, conversation: ConversationId, typing: bool, reply: Reply<()>) {
        let now = self.now();
        let told = if self.session.is_open() {
            if self.typing_pace.passes(conversation, typing, now) {
                let typing = v1::Typing {
                    conversation_id: conversation.to_wire(),
                    typing,
                    ..Default::default()
                };
                self.session.typing(typing, &mut self.out);
            }
            Ok(())
        } else {
            Err(RequestError::NotConnected)
        };
        // Whoever asked may have gone.
        drop(reply.send(told));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn whoever_says_nothing_for_six_seconds_does_not_type_any_more() {
        let mut typists = Typists::default();
        let who = (ConversationId::new([1; 16]), UserId::new([2; 16]));
        let at = |seconds| Moment::START + Duration::from_secs(seconds);
        assert!(typists.take(who, true, at(0)));
        assert!(!typists.take(who, true, at(3)), "nothing new");
        assert_eq!(typists.expired(at(8)), []);
        assert_eq!(typists.next_at(), Some(at(9)));
        assert_eq!(typists.expired(at(9)), [who]);
        assert!(!typists.take(who, false, at(9)));
        assert!(typists.take(who, true, at(10)));
        assert!(typists.take(who, false, at(11)));
        assert_eq!(typists.next_at(), None);
    }
}
