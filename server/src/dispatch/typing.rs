//! Who types: told to the others in the conversation who are connected here, now or never.

use std::sync::Arc;

use magpie_protocol::{id::ConversationId, limits::MARKED_MEMBERS_MAX, session::Hint, wire::v1};

use super::Dispatch;
use crate::hub::{Mailbox, Wakeups};

impl Dispatch {
    /// Tells it, unless the server has more important things to do. Whoever is no member,
    /// or has used up what they may ask for, tells nobody and is told nothing.
    pub fn typing(
        self: &Arc<Self>,
        from: &Arc<Mailbox>,
        conversation: ConversationId,
        typing: bool,
    ) {
        if self.limiter.hint(from.device, self.clock.now()).is_err() {
            return;
        }
        let Ok(turn) = Arc::clone(&self.reads).try_acquire_owned() else {
            return;
        };
        let (dispatch, user) = (Arc::clone(self), from.user);
        tokio::spawn(async move {
            let _turn = turn;
            let others = dispatch
                .store
                .companions(user, conversation, MARKED_MEMBERS_MAX)
                .await;
            let others = match others {
                Ok(others) => others,
                Err(error) => {
                    tracing::debug!(%error, "nobody is told who types");
                    return;
                }
            };
            let hint = Hint::Typing(v1::Typing {
                conversation_id: conversation.to_wire(),
                user_id: user.to_wire(),
                typing,
            });
            let mut wakeups = Wakeups::default();
            for other in others {
                dispatch.hub.each_of(other, |mailbox| {
                    wakeups.note(mailbox, mailbox.put_hint(&hint));
                });
            }
            wakeups.ring();
        });
    }
}
