//! How often it is told that somebody types: the same on both sides, whatever an app
//! or a peer asks for.

use crate::{
    id::ConversationId,
    limits::{TYPING_CONVERSATIONS_MAX, TYPING_INTERVAL},
    moment::Moment,
};

/// What was told lately, of a few conversations.
#[derive(Debug, Default)]
pub struct TypingPace(Vec<Told>);

#[derive(Debug)]
struct Told {
    conversation: ConversationId,
    /// That somebody types.
    at: Moment,
    /// And not that they do not any more.
    is_typing: bool,
}

impl TypingPace {
    /// Whether it is to be told that somebody types, or does not any more: at most each
    /// once within [`TYPING_INTERVAL`], the end only behind the beginning.
    pub fn passes(&mut self, conversation: ConversationId, typing: bool, now: Moment) -> bool {
        let told = self.0.iter_mut().find(|it| it.conversation == conversation);
        match (told, typing) {
            (Some(told), true) => {
                let passes = now.since(told.at) >= TYPING_INTERVAL;
                if passes {
                    (told.at, told.is_typing) = (now, true);
                }
                passes
            }
            (Some(told), false) => std::mem::replace(&mut told.is_typing, false),
            (None, true) => {
                if self.0.len() >= TYPING_CONVERSATIONS_MAX {
                    self.0.remove(0);
                }
                self.0.push(Told {
                    conversation,
                    at: now,
                    is_typing: true,
                });
                true
            }
            (None, false) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::START + Duration::from_millis(ms)
    }

    #[test]
    fn whoever_types_on_and_on_is_told_of_every_three_seconds() {
        let mut pace = TypingPace::default();
        let chat = ConversationId::new([1; 16]);
        let told = (0..100).filter(|tenth| pace.passes(chat, true, at(tenth * 100)));
        assert_eq!(told.collect::<Vec<_>>(), [0, 30, 60, 90]);
        // The end is told once, and a beginning right behind it is not.
        assert!(pace.passes(chat, false, at(10_000)));
        assert!(!pace.passes(chat, false, at(10_000)));
        assert!(!pace.passes(chat, true, at(10_100)));
        assert!(!pace.passes(chat, false, at(10_200)));
        assert!(pace.passes(chat, true, at(12_000)));
        assert!(!pace.passes(ConversationId::new([2; 16]), false, at(12_000)));
    }

    /// D9.
    #[test]
    fn only_a_few_conversations_are_remembered() {
        let mut pace = TypingPace::default();
        for byte in 0..100 {
            assert!(pace.passes(ConversationId::new([byte; 16]), true, at(0)));
        }
        assert_eq!(pace.0.len(), TYPING_CONVERSATIONS_MAX);
    }
}
