//! One device's copy of a conversation against the server's log, by seq.

use std::{fmt, iter::Peekable};

use magpie_protocol::{
    id::{MessageId, UserId},
    seq::Seq,
};

use crate::digest::Digest;

/// One event, as far as comparing needs it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Its place in the conversation.
    pub seq: Seq,
    /// The id of the request that made it, if the event names one.
    pub message_id: Option<MessageId>,
    /// Who made it, if the event says so.
    pub sender: Option<UserId>,
    /// Its content.
    pub digest: Digest,
}

/// A gap marker: seqs, both included, that the device knows it has not fetched.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Gap {
    /// The first that is not there.
    pub from: Seq,
    /// The last that is not there.
    pub to: Seq,
}

/// One place where the two sides do not say the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Difference {
    /// The server has it, the device does not, and no gap marker covers it (D2, D5).
    Missing(Entry),
    /// The device has it, the server does not (D11).
    Extra(Entry),
    /// Both have something at this seq, not the same (D4).
    Different {
        /// What the device holds.
        local: Entry,
        /// What the server holds.
        server: Entry,
    },
}

impl Difference {
    /// Where it is.
    #[must_use]
    pub const fn seq(&self) -> Seq {
        match self {
            Self::Missing(entry) | Self::Extra(entry) | Self::Different { local: entry, .. } => {
                entry.seq
            }
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "seq {}: ", self.seq())?;
        match self {
            Self::Missing(entry) => {
                write!(formatter, "{} is on the server and not here", name(entry))
            }
            Self::Extra(entry) => {
                write!(formatter, "{} is here and not on the server", name(entry))
            }
            Self::Different { local, server } if local.message_id != server.message_id => write!(
                formatter,
                "{} is here, {} on the server",
                name(local),
                name(server)
            ),
            Self::Different { local, server } if local.sender != server.sender => write!(
                formatter,
                "{} is from {} here, from {} on the server",
                name(local),
                sender(local),
                sender(server)
            ),
            Self::Different { local, .. } => write!(
                formatter,
                "{} has another content here than on the server",
                name(local)
            ),
        }
    }
}

fn name(entry: &Entry) -> String {
    entry.message_id.map_or_else(
        || "an event without an id".to_owned(),
        |id| format!("message {id}"),
    )
}

fn sender(entry: &Entry) -> String {
    entry
        .sender
        .map_or_else(|| "nobody".to_owned(), |id| format!("user {id}"))
}

/// What comparing found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Verdict {
    /// Seqs looked at that both sides hold alike.
    pub alike: u64,
    /// Seqs that a gap marker covers: known to be not fetched, no fault.
    pub unfetched: u64,
    /// All else, in the order of seq.
    pub differences: Vec<Difference>,
}

/// Compares a device's copy with the server's log.
///
/// All three are in ascending order of seq and cover the same range of one
/// conversation, so that a long one can be compared page by page. What both
/// sides lack is nothing to this function: that the server's log is dense is
/// for the caller to see, who asked for the range.
#[must_use]
pub fn compare(local: &[Entry], gaps: &[Gap], server: &[Entry]) -> Verdict {
    let mut verdict = Verdict::default();
    let mut gaps = gaps.iter().peekable();
    let mut ours = local.iter().peekable();
    let mut theirs = server.iter().peekable();
    loop {
        match (ours.peek().copied(), theirs.peek().copied()) {
            (None, None) => return verdict,
            (Some(local), Some(server)) if local.seq == server.seq => {
                if local == server {
                    verdict.alike = verdict.alike.saturating_add(1);
                } else {
                    verdict.differences.push(Difference::Different {
                        local: *local,
                        server: *server,
                    });
                }
                ours.next();
                theirs.next();
            }
            (Some(local), server) if server.is_none_or(|server| local.seq < server.seq) => {
                verdict.differences.push(Difference::Extra(*local));
                ours.next();
            }
            (_, Some(server)) => {
                if is_covered(&mut gaps, server.seq) {
                    verdict.unfetched = verdict.unfetched.saturating_add(1);
                } else {
                    verdict.differences.push(Difference::Missing(*server));
                }
                theirs.next();
            }
            // Not reached: the arm with the guard above takes every local entry
            // that has no server entry beside or before it.
            (Some(_), None) => return verdict,
        }
    }
}

/// Whether a gap covers `seq`. Gaps below it are let go: callers ask in order.
fn is_covered<'gap>(gaps: &mut Peekable<impl Iterator<Item = &'gap Gap>>, seq: Seq) -> bool {
    while gaps.next_if(|gap| gap.to < seq).is_some() {}
    gaps.peek().is_some_and(|gap| gap.from <= seq)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(seq: u64) -> Entry {
        let mut id = [0; 16];
        id[8..].copy_from_slice(&seq.to_be_bytes());
        Entry {
            seq: Seq::new(seq),
            message_id: Some(MessageId::new(id)),
            sender: Some(UserId::new([7; 16])),
            digest: Digest::of(&seq.to_be_bytes()),
        }
    }

    fn entries(seqs: impl IntoIterator<Item = u64>) -> Vec<Entry> {
        seqs.into_iter().map(entry).collect()
    }

    #[test]
    fn equal_copies_have_no_difference() {
        let verdict = compare(&entries(1..=3), &[], &entries(1..=3));
        assert_eq!(verdict.alike, 3);
        assert_eq!(verdict.differences, []);
    }

    /// D5.
    #[test]
    fn a_dropped_event_is_missing_unless_a_gap_marker_covers_it() {
        let local = entries([1, 3]);
        let verdict = compare(&local, &[], &entries(1..=3));
        assert_eq!(verdict.differences, [Difference::Missing(entry(2))]);

        let gap = Gap {
            from: Seq::new(2),
            to: Seq::new(2),
        };
        let verdict = compare(&local, &[gap], &entries(1..=3));
        assert_eq!(verdict.differences, []);
        assert_eq!((verdict.alike, verdict.unfetched), (2, 1));
    }

    #[test]
    fn an_event_that_the_server_does_not_have_is_extra() {
        let verdict = compare(&entries(1..=3), &[], &entries([1, 3]));
        assert_eq!(verdict.differences, [Difference::Extra(entry(2))]);
        let verdict = compare(&entries(1..=2), &[], &[]);
        assert_eq!(verdict.differences.len(), 2);
    }

    /// D4.
    #[test]
    fn swapped_and_forged_events_are_different() {
        let server = entries(1..=2);
        let mut swapped = server.clone();
        swapped[0].message_id = server[1].message_id;
        swapped[1].message_id = server[0].message_id;
        assert_eq!(compare(&swapped, &[], &server).differences.len(), 2);

        let mut forged = server.clone();
        forged[1].sender = Some(UserId::new([8; 16]));
        let verdict = compare(&forged, &[], &server);
        assert_eq!(verdict.differences.len(), 1);
        assert!(verdict.differences[0].to_string().contains("from user"));

        let mut edited = server.clone();
        edited[0].digest = Digest::of(b"something else");
        let verdict = compare(&edited, &[], &server);
        assert!(
            verdict.differences[0]
                .to_string()
                .contains("another content")
        );
    }

    proptest! {
        /// Every seq on either side is counted exactly once.
        #[test]
        fn nothing_is_counted_twice_or_passed_over(
            local in prop::collection::btree_set(1_u64..60, 0..40),
            server in prop::collection::btree_set(1_u64..60, 0..40),
            from in 1_u64..60,
            length in 0_u64..20,
        ) {
            let gap = Gap { from: Seq::new(from), to: Seq::new(from + length) };
            let verdict = compare(
                &entries(local.iter().copied()),
                &[gap],
                &entries(server.iter().copied()),
            );
            let seqs = local.union(&server).count() as u64;
            let counted = verdict.alike + verdict.unfetched + verdict.differences.len() as u64;
            prop_assert_eq!(counted, seqs);
            prop_assert!(verdict.differences.is_sorted_by_key(Difference::seq));
        }
    }
}
