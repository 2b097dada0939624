//! What the server tells and may lose.
//!
//! A hint is a control frame: it has no number, is not acknowledged and is never sent
//! again. Whoever missed it learns the same otherwise, or does not need it any more.

use crate::wire::v1;

/// What may be lost.
#[derive(Clone, Debug, PartialEq)]
pub enum Hint {
    /// Somebody says something else of themself now.
    ProfileChanged(v1::ProfileChanged),
    /// Somebody types, or does not any more.
    Typing(v1::Typing),
    /// Somebody is there, or not any more.
    Presence(v1::Presence),
}
