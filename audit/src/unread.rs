//! How much is unread, by the log itself: what a device or a server says of it is held
//! against this.

use std::ops::RangeInclusive;

use magpie_protocol::seq::Seq;

/// An event, as far as counting needs it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Counted {
    /// Its place in the conversation.
    pub seq: Seq,
    /// It is a message of somebody else, deleted or not.
    pub counts: bool,
    /// It is one that counts and mentions the user, or everybody. `None`: it was deleted,
    /// and does where it was counted before.
    pub mentions: Option<bool>,
    /// By it the user became a member.
    pub begins: bool,
}

/// What somebody says is unread.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Said {
    /// How far the user has read, as they know.
    pub read: Seq,
    /// The newest event that they know of.
    pub head: Seq,
    /// So many messages.
    pub unread: u64,
    /// So many of them mention the user, or everybody.
    pub mentions: u64,
}

/// What is unread, by the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Right {
    /// So many messages.
    pub unread: u64,
    /// So many of them mention the user, or everybody: the most includes those of which
    /// nobody can tell any more.
    pub mentions: RangeInclusive<u64>,
}

/// What is unread, if that is not what somebody says.
///
/// `log` is what the user may read, in ascending order, up to `said.head` at least. What
/// stands before the user's last beginning is nothing that they have not read.
#[must_use]
pub fn miscounted(log: &[Counted], said: Said) -> Option<Right> {
    let known = || log.iter().filter(|it| it.seq <= said.head);
    let begins = known().filter(|it| it.begins).map(|it| it.seq).max();
    let read = said.read.max(begins.unwrap_or(Seq::ZERO));
    let unread = || known().filter(|it| it.counts && it.seq > read);
    let least = unread().filter(|it| it.mentions == Some(true)).count() as u64;
    let unsure = unread().filter(|it| it.mentions.is_none()).count() as u64;
    let right = Right {
        unread: unread().count() as u64,
        mentions: least..=least.saturating_add(unsure),
    };
    let is_right = right.unread == said.unread && right.mentions.contains(&said.mentions);
    (!is_right).then_some(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The user joins at 3, is gone after 6, and comes back at 9; 11 is their own. 5 and 12
    /// mention them, and 13 may have.
    fn log() -> Vec<Counted> {
        [3, 4, 5, 6, 9, 10, 11, 12, 13]
            .map(|seq| Counted {
                seq: Seq::new(seq),
                counts: !matches!(seq, 3 | 6 | 9 | 11),
                mentions: (seq != 13).then_some(matches!(seq, 5 | 12)),
                begins: matches!(seq, 3 | 9),
            })
            .into()
    }

    const fn said(read: u64, head: u64, unread: u64, mentions: u64) -> Said {
        Said {
            read: Seq::new(read),
            head: Seq::new(head),
            unread,
            mentions,
        }
    }

    #[test]
    fn a_right_number_is_right() {
        for right in [
            said(0, 5, 2, 1),
            said(4, 6, 1, 1),
            said(5, 6, 0, 0),
            said(4, 12, 2, 1),
            said(4, 13, 3, 1),
            said(4, 13, 3, 2),
            said(10, 13, 2, 1),
            said(12, 13, 1, 1),
            said(13, 13, 0, 0),
            said(0, 2, 0, 0),
        ] {
            assert_eq!(miscounted(&log(), right), None, "{right:?}");
        }
    }

    /// A checker that finds nothing proves nothing.
    #[test]
    fn each_damage_to_a_number_is_found() {
        let right = said(4, 13, 3, 2);
        for (damage, wrong) in [
            ("counted up twice", said(4, 13, 4, 2)),
            ("counted down too often", said(4, 13, 2, 2)),
            ("own messages counted", said(9, 13, 4, 2)),
            ("an earlier membership counted", said(4, 13, 4, 2)),
            ("a mark that moved and changed nothing", said(12, 13, 3, 1)),
            ("events that came and changed nothing", said(4, 10, 3, 0)),
            ("a mention counted up twice", said(4, 12, 2, 2)),
            ("a mention never counted", said(4, 12, 2, 0)),
            ("a mention before the mark counted", said(5, 6, 0, 1)),
            ("one of an earlier membership counted", said(4, 12, 2, 2)),
            ("more than may have been deleted", said(4, 13, 3, 3)),
            ("a mention that was read still counted", said(12, 13, 1, 2)),
        ] {
            assert!(miscounted(&log(), wrong).is_some(), "{damage}");
        }
        assert_eq!(miscounted(&log(), right), None);
    }
}
