//! Conversations, as people read them.

use std::fmt::{self, Write as _};

use magpie_client::date::short;

use super::{
    ConversationFields,
    people::{MOMENT_WIDTH, aside, members},
};
use crate::paint::{Painter, Part};

impl ConversationFields {
    pub(super) fn paint(&self, to: &mut Painter) -> fmt::Result {
        let at = self
            .last_event_at
            .as_deref()
            .map_or_else(String::new, short);
        let unread = match (self.unread, self.unread_mentions) {
            (0, _) => String::new(),
            (unread, 0) => format!("{unread} unread"),
            (unread, mentions) => format!("{unread} unread, @{mentions}"),
        };
        aside(to, &self.conversation_id)?;
        to.write_str("  ")?;
        to.column(Part::Aside, at, MOMENT_WIDTH)?;
        to.write_str("  ")?;
        to.column(Part::Waits, unread, "100 unread, @1".len())?;
        to.write_str("  ")?;
        let sign = if self.kind == "direct" { "@" } else { "" };
        to.paint(Part::Place, format_args!("{sign}{}", self.title))?;
        self.paint_settings(to)?;
        if self.kind == "group" {
            aside(
                to,
                format_args!("  {}", members(self.member_count, self.member_count)),
            )?;
        }
        if self.last_seq.is_some() {
            aside(to, "  no longer a member")?;
        }
        Ok(())
    }
}
