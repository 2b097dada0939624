//! Requests, and what becomes of them, as a person reads them.

use std::fmt::{self, Write as _};

use super::{Line, OutboxFields, people::aside};
use crate::paint::{Painter, Part};

impl Line {
    /// What became of a request.
    pub(super) fn paint_request(&self, to: &mut Painter) -> fmt::Result {
        if let Self::Queued { message_id } = self {
            to.paint(Part::Waits, "queued")?;
            aside(to, format_args!(" {message_id}"))?;
        }
        if let Self::Discarded { message_id } = self {
            write!(to, "discarded {message_id}")?;
        }
        if let Self::Accepted {
            conversation_id,
            seq,
            ..
        } = self
        {
            to.paint(Part::Done, "accepted")?;
            write!(to, ": {seq}")?;
            aside(to, format_args!(" in {conversation_id}"))?;
        }
        if let Self::Pending { message_id } = self {
            to.paint(Part::Waits, "pending")?;
            write!(to, ": it stays queued")?;
            aside(to, format_args!(" as {message_id}"))?;
        }
        if let Self::NothingToDo { seq, .. } = self {
            to.paint(Part::Done, "done already")?;
            write!(to, ": {seq}")?;
        }
        if let Self::Read { seq, .. } = self {
            write!(to, "read up to {seq}")?;
        }
        if let Self::Error { message, .. } = self {
            to.paint(Part::Wrong, "refused")?;
            write!(to, ": {message}")?;
        }
        Ok(())
    }
}

impl OutboxFields {
    pub(super) fn paint(&self, to: &mut Painter) -> fmt::Result {
        aside(to, &self.message_id)?;
        to.write_str("  ")?;
        let part = if self.code.is_some() {
            Part::Wrong
        } else {
            Part::Waits
        };
        to.column(part, self.state, "pending".len())?;
        write!(to, "  {:13}", self.kind)?;
        if let Some(whom) = &self.to {
            write!(to, " to ")?;
            to.paint(Part::Place, whom)?;
        }
        if let Some(users) = &self.users {
            write!(to, " {}", users.join(", "))?;
        }
        if let Some(text) = &self.text {
            write!(to, ": {text}")?;
        }
        if let Some(code) = &self.code {
            to.write_str("  ")?;
            to.paint(Part::Wrong, format_args!("({code})"))?;
        }
        Ok(())
    }
}
