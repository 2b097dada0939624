//! What a person reads: columns that line up, what varies in width last.

use std::fmt::{self, Display, Write};

use magpie_client::{ConversationKind, ConversationLine, date::short};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{AccountFields, AuditFields, DeviceFields, DroppedFields, Line};
use crate::{
    paint::{Painter, Part},
    printable::Printable,
};

/// Columns that most names, titles and numbers fit in; a wider one pushes the
/// rest of its line.
pub(super) const NAME_WIDTH: usize = 10;
const PLACE_WIDTH: usize = 14;
const SEQ_WIDTH: usize = 4;
pub(super) const MOMENT_WIDTH: usize = 19;

/// Columns of a title in `listen`; the rest of a longer one is left out.
const PLACE_WIDTH_MAX: usize = 24;

impl Line {
    /// The line for people, without its end. What others wrote cannot move their
    /// cursor or change colours.
    pub(crate) fn for_people(&self, coloured: bool) -> Result<String, fmt::Error> {
        let mut to = Painter::new(coloured);
        self.paint(&mut to)?;
        Ok(to.finish())
    }

    fn paint(&self, to: &mut Painter) -> fmt::Result {
        match self {
            Self::Registered(fields) => fields.paint("registered ", to),
            Self::LoggedIn(fields) => fields.paint("logged in ", to),
            Self::Whoami(fields) => fields.paint("", to),
            Self::LoggedOut { .. }
            | Self::PasswordChanged { .. }
            | Self::AccountDeleted { .. }
            | Self::Reported { .. }
            | Self::Exported { .. } => self.paint_account(to),
            Self::Device(fields) => fields.paint(to),
            Self::Revoked { device_id } => write!(to, "revoked {device_id}"),
            Self::Queued { .. }
            | Self::Discarded { .. }
            | Self::Accepted { .. }
            | Self::Pending { .. }
            | Self::NothingToDo { .. }
            | Self::Read { .. }
            | Self::Error { .. } => self.paint_request(to),
            Self::Message(fields) => fields.paint(to),
            Self::Event(fields) => fields.paint(to),
            Self::Gap {
                from_seq, to_seq, ..
            } => gap(to, *from_seq, *to_seq),
            Self::Dropped(fields) => fields.paint(to),
            Self::CaughtUp => aside(to, "-- caught up --"),
            Self::Progress { .. } | Self::Fetching { .. } | Self::Saved { .. } => {
                self.paint_media(to)
            }
            Self::PushSet { .. }
            | Self::PushCleared
            | Self::Asleep
            | Self::Wake { .. }
            | Self::Emulator { .. } => self.paint_push(to),
            Self::Conversation(fields) => fields.paint(to),
            Self::Member { .. } | Self::Members { .. } | Self::Banned { .. } => {
                self.paint_members(to)
            }
            Self::InviteLink { .. } | Self::Invite(_) | Self::InvitePreview { .. } => {
                self.paint_invites(to)
            }
            Self::Outbox(fields) => fields.paint(to),
            Self::Contact { .. } => self.paint_contact(to),
            Self::Friend(fields) => fields.paint(to),
            Self::Profile(fields) => fields.paint(to),
            Self::Typing { .. } => self.paint_typing(to),
            Self::Link { .. }
            | Self::Privacy { .. }
            | Self::Receipts { .. }
            | Self::OwnPresence { .. } => self.paint_setting(to),
            Self::Readers(fields) => fields.paint(to),
            Self::Presence(fields) => fields.paint(to),
            Self::Difference {
                conversation_id,
                message,
                ..
            } => {
                aside(to, conversation_id)?;
                to.write_char(' ')?;
                to.paint(Part::Wrong, message)
            }
            Self::Synced { .. } => self.paint_synced(to),
            Self::Audit(fields) => fields.paint(to),
            Self::TortureBegun(_)
            | Self::Fault(_)
            | Self::Healed(_)
            | Self::Faults(_)
            | Self::Violation { .. }
            | Self::Torture(_) => self.paint_torture(to),
        }
    }

    /// What is about the members of a conversation.
    fn paint_members(&self, to: &mut Painter) -> fmt::Result {
        if let Self::Member {
            user,
            role,
            display_name,
            ..
        } = self
        {
            to.paint(Part::User(user), user)?;
            if !display_name.is_empty() {
                write!(to, "  {display_name}")?;
            }
            return match role {
                Some("member") | None => Ok(()),
                Some(role) => aside(to, format_args!("  {role}")),
            };
        }
        if let Self::Banned { user, seq, .. } = self {
            to.paint(Part::User(user), user)?;
            aside(to, format_args!("  by {seq}"))?;
        }
        if let Self::Members { count, listed, .. } = self {
            aside(to, members(*count, *listed))?;
        }
        Ok(())
    }

    /// What became of the account.
    fn paint_account(&self, to: &mut Painter) -> fmt::Result {
        if let Self::LoggedOut { user } = self {
            write!(to, "logged out {user}")?;
        }
        if let Self::PasswordChanged {
            user,
            others_signed_out,
        } = self
        {
            write!(to, "changed the password of {user}")?;
            if *others_signed_out {
                write!(to, " and signed their other devices out")?;
            }
        }
        if let Self::AccountDeleted { user } = self {
            write!(to, "deleted {user}")?;
        }
        if let Self::Reported { about, seq } = self {
            write!(to, "reported {about}")?;
            if let Some(seq) = seq {
                write!(to, ", message {seq}")?;
            }
        }
        if let Self::Exported {
            directory,
            conversations,
            events,
            media,
        } = self
        {
            write!(
                to,
                "exported {events} events of {conversations} conversations"
            )?;
            if let Some(media) = media {
                write!(to, " and {media} photos and files")?;
            }
            write!(to, " to {directory}")?;
        }
        Ok(())
    }

    /// What is about pushes.
    fn paint_push(&self, to: &mut Painter) -> fmt::Result {
        if let Self::PushSet { app_id } = self {
            return write!(to, "pushes to {app_id} wake this device");
        }
        if let Self::Emulator { url, account, .. } = self {
            return write!(to, "the FCM emulator is ready: {url}, account {account}");
        }
        if let Self::Wake {
            delay_ms, priority, ..
        } = self
        {
            return aside(
                to,
                format_args!("-- woken after {delay_ms} ms, priority {priority} --"),
            );
        }
        let is_asleep = matches!(self, Self::Asleep);
        aside(
            to,
            if is_asleep {
                "-- asleep --"
            } else {
                "no pushes"
            },
        )
    }
}

impl DeviceFields {
    fn paint(&self, to: &mut Painter) -> fmt::Result {
        let seen = self.last_seen_at.as_deref();
        let seen = seen.map_or_else(|| "never seen".to_owned(), short);
        aside(to, &self.device_id)?;
        write!(to, "  {seen:MOMENT_WIDTH$}  ")?;
        let here = if self.current { "this one" } else { "" };
        to.column(Part::Done, here, "this one".len())?;
        write!(to, "  {}", self.device_name)
    }
}

impl DroppedFields {
    fn paint(&self, to: &mut Painter) -> fmt::Result {
        to.paint(Part::Wrong, "forgotten")?;
        let (events, place, above) = (self.events, &self.place, self.above_seq);
        write!(
            to,
            ": an older backup of the server does not hold {events} events of "
        )?;
        to.paint(Part::Place, place)?;
        write!(
            to,
            " above {above}; {} of your messages are sent again",
            self.resent
        )?;
        if self.changes == 0 {
            return Ok(());
        }
        let changes = self.changes;
        to.paint(
            Part::Wrong,
            format_args!(", {changes} of your changes of groups and messages are not made again"),
        )
    }
}

impl AuditFields {
    fn paint(&self, to: &mut Painter) -> fmt::Result {
        let (conversations, events) = (self.conversations, self.events);
        write!(to, "{conversations} conversations, {events} events: ")?;
        count_of_wrong(to, self.missing, "missing, ")?;
        count_of_wrong(to, self.extra, "extra, ")?;
        count_of_wrong(to, self.different, "different, ")?;
        count_of_wrong(to, self.miscounted, "miscounted; ")?;
        write!(to, "{} not fetched yet", self.unfetched)
    }
}

impl AccountFields {
    fn paint(&self, done: &str, to: &mut Painter) -> fmt::Result {
        write!(to, "{done}")?;
        to.paint(Part::User(&self.user), &self.user)?;
        write!(to, " on {}", self.server)?;
        aside(to, format_args!(", device {}", self.device_id))?;
        if !self.device_name.is_empty() {
            write!(to, " ({})", self.device_name)?;
        }
        if !self.signed_in {
            to.write_str(", ")?;
            to.paint(Part::Wrong, "signed out by the server")?;
        }
        Ok(())
    }
}

fn gap(to: &mut Painter, from_seq: u64, to_seq: u64) -> fmt::Result {
    aside(
        to,
        format_args!("... {from_seq} to {to_seq} are not fetched yet"),
    )
}

/// How many members there are, and whether all of them are listed.
pub(super) fn members(count: u64, listed: u64) -> String {
    match count {
        1 => "1 member".to_owned(),
        _ if listed < count => format!("{listed} of {count} members are here"),
        _ => format!("{count} members"),
    }
}

/// How a conversation is called beside what happens in it; not all of a long
/// title.
pub(crate) fn place(line: &ConversationLine) -> String {
    place_of(line.kind, &line.title)
}

/// As [`place`].
pub(super) fn place_of(kind: ConversationKind, title: &str) -> String {
    let sign = match kind {
        ConversationKind::Direct => "@",
        ConversationKind::Group | ConversationKind::Account | ConversationKind::Unknown => "",
    };
    if kind == ConversationKind::Direct && title.is_empty() {
        return "(deleted)".to_owned();
    }
    let whole = format!("{sign}{}", Printable(title));
    if whole.width() <= PLACE_WIDTH_MAX {
        return whole;
    }
    let mut cut = String::new();
    for character in whole.chars() {
        if cut.width() + character.width().unwrap_or(0) >= PLACE_WIDTH_MAX {
            break;
        }
        cut.push(character);
    }
    cut + "…"
}

/// When, where if several conversations are shown, and the number.
pub(super) fn head(to: &mut Painter, at: &str, place: Option<&str>, seq: u64) -> fmt::Result {
    aside(to, short(at))?;
    if let Some(place) = place {
        to.write_str("  ")?;
        to.column(Part::Place, place, PLACE_WIDTH)?;
    }
    aside(to, format_args!(" {seq:SEQ_WIDTH$} "))
}

impl Line {
    fn paint_synced(&self, to: &mut Painter) -> fmt::Result {
        let Self::Synced {
            events,
            sent,
            failed,
        } = self
        else {
            return Ok(());
        };
        write!(to, "synced: {events} new, {sent} sent, ")?;
        count_of_wrong(to, *failed, "failed")
    }
}

pub(super) fn aside(to: &mut Painter, text: impl Display) -> fmt::Result {
    to.paint(Part::Aside, text)
}

/// A count that had better be 0.
fn count_of_wrong(to: &mut Painter, count: u64, of: &str) -> fmt::Result {
    if count == 0 {
        write!(to, "0 {of}")
    } else {
        to.paint(Part::Wrong, format_args!("{count} {of}"))
    }
}

pub(super) fn name(sender: Option<&String>) -> &str {
    match sender.map(String::as_str) {
        None => "somebody",
        // Who is deleted has no name.
        Some("") => "(deleted)",
        Some(name) => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{line::samples, printable::is_harmless};

    /// Without the colours: an escape, `[`, numbers, `m`.
    fn plain(coloured: &str) -> String {
        let mut parts = coloured.split("\u{1b}[");
        let mut plain = parts.next().unwrap().to_owned();
        for part in parts {
            let (numbers, rest) = part.split_once('m').unwrap();
            assert!(numbers.chars().all(|it| it.is_ascii_digit() || it == ';'));
            plain.push_str(rest);
        }
        plain
    }

    #[test]
    fn nothing_that_others_chose_is_obeyed_by_a_terminal() {
        for line in samples::all() {
            let people = line.for_people(false).unwrap();
            assert!(people.chars().all(is_harmless), "{people:?}");
        }
    }

    #[test]
    fn a_coloured_line_says_what_a_plain_one_says() {
        let mut coloured_count = 0;
        for line in samples::all() {
            let coloured = line.for_people(true).unwrap();
            assert_eq!(plain(&coloured), line.for_people(false).unwrap());
            coloured_count += usize::from(coloured.contains('\u{1b}'));
        }
        assert!(coloured_count > 10, "{coloured_count}");
    }

    fn named(kind: ConversationKind, title: &str) -> ConversationLine {
        ConversationLine {
            id: magpie_client::ConversationId::new([1; 16]),
            kind,
            title: title.to_owned(),
            description: String::new(),
            announcement_only: false,
            photo: None,
            history_for_newcomers: false,
            members: Vec::new(),
            member_count: 0,
            first_seq: magpie_client::Seq::ZERO,
            last_seq: None,
            head_seq: magpie_client::Seq::ZERO,
            last_event_at_ms: None,
            unread: 0,
            unread_mentions: 0,
            notify: magpie_client::Notify::default(),
            friendship: magpie_client::Friendship::None,
            request: false,
            contact: None,
            profile: magpie_client::Profile::default(),
        }
    }

    #[test]
    fn a_long_title_does_not_push_what_happened_off_the_screen() {
        use ConversationKind::{Direct, Group};
        assert_eq!(place(&named(Direct, "bob")), "@bob");
        assert_eq!(place(&named(Group, "Book\nclub")), "Book\\nclub");
        for long in ["x".repeat(128), "世".repeat(128)] {
            let place = place(&named(Group, &long));
            assert!(place.width() <= PLACE_WIDTH_MAX, "{place}");
            assert!(place.ends_with('…'));
        }
    }
}
