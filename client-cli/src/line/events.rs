//! Events that are no messages, as people read them.

use std::fmt::{self, Write as _};

use super::{
    EventFields,
    people::{aside, head, name},
};
use crate::paint::{Painter, Part};

impl EventFields {
    /// The members whom it is about, without who did it.
    fn others(&self, sender: &str) -> Vec<&str> {
        let members = self.members.as_deref().unwrap_or_default();
        let names = members.iter().map(String::as_str);
        names.filter(|name| *name != sender).collect()
    }

    pub(super) fn paint(&self, to: &mut Painter) -> fmt::Result {
        head(to, &self.sent_at, self.place.as_deref(), self.seq)?;
        let sender = name(self.sender.as_ref());
        to.write_str("* ")?;
        to.paint(Part::User(sender), self.called.shown(sender))?;
        let members = self.others(sender).join(", ");
        match self.kind {
            "group_created" => {
                to.write_str(" made ")?;
                to.paint(Part::Place, self.title.as_deref().unwrap_or_default())?;
                write!(to, " with {members}")
            }
            "members_added" => write!(to, " added {members}"),
            "member_removed" => write!(to, " removed {members}"),
            "member_banned" if self.removed == Some(true) => {
                write!(to, " removed and banned {members}")
            }
            "member_banned" => write!(to, " banned {members}"),
            "member_unbanned" => write!(to, " ended the ban of {members}"),
            "invite_created" | "invite_revoked" | "member_joined" => self.paint_invite(to),
            "member_left" => {
                write!(to, " left")?;
                match &self.heir {
                    Some(heir) => write!(to, ", and {heir} owns the group"),
                    None => Ok(()),
                }
            }
            "group_updated" => self.paint_group(to),
            "role_changed" => match self.role {
                Some(role) => write!(to, " made {members} the group's {role}"),
                None => write!(to, " gave {members} a role that this version does not know"),
            },
            "message_edited" | "message_deleted" | "reacted" | "pinned" => self.paint_change(to),
            "friend_requested" => write!(to, " asks to be friends"),
            "friendship_changed" => match self.friends {
                Some(true) => write!(to, " accepted: you are friends"),
                _ => write!(to, " ended it: you are not friends"),
            },
            "hidden" => aside(to, " (hidden)"),
            "account_changed" => write!(to, " changed a setting"),
            _ => write!(to, " did something that this version does not know"),
        }
    }
}

impl EventFields {
    /// What is otherwise in a group.
    fn paint_group(&self, to: &mut Painter) -> fmt::Result {
        let mut more = "";
        if let Some(title) = &self.title {
            to.write_str(" called the group ")?;
            to.paint(Part::Place, title)?;
            more = ",";
        }
        if let Some(description) = &self.description {
            write!(to, "{more} described it: {description}")?;
            more = ",";
        }
        for (flag, on, off) in [
            (
                self.announcement_only,
                "lets admins alone write",
                "lets all members write",
            ),
            (
                self.history_for_newcomers,
                "lets who joins read what came before",
                "keeps what came before from who joins",
            ),
            (
                self.photo.as_ref().map(Option::is_some),
                "changed its photo",
                "removed its photo",
            ),
        ] {
            if let Some(flag) = flag {
                write!(to, "{more} {}", if flag { on } else { off })?;
                more = ",";
            }
        }
        Ok(())
    }
}
