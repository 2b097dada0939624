//! What a user sets for themself.

use std::fmt::{self, Write as _};

use magpie_client::{
    Contact, Setting,
    date::{rfc3339, short},
};
use serde::Serialize;

use super::{ConversationFields, EventFields, Line, Shown, people::aside};
use crate::paint::{Painter, Part};

/// What an event of the account log sets.
#[derive(Debug, Default, Serialize)]
pub(crate) struct SettingFields {
    /// `notify`, `hide`, `contact`, `block`, `privacy`, `declined_request`, `profile`,
    /// `discoverable`, `link`, `receipts` or `presence`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) setting: Option<&'static str>,
    /// The conversation that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) about: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) messages: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) level: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) favourite: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nickname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) discoverable: Option<bool>,
    /// The user's read receipts or presence, and those of others from them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hidden: Option<bool>,
}

/// What a change of the user's own does.
pub(super) fn changed(setting: Option<Setting>) -> EventFields {
    let named = |setting| SettingFields {
        setting: Some(setting),
        ..SettingFields::default()
    };
    let about = |setting, id| SettingFields {
        about: Some(id),
        ..named(setting)
    };
    let hides = |setting, hidden| SettingFields {
        hidden: Some(hidden),
        ..named(setting)
    };
    let (mut target_seq, mut is_blocked) = (None, None);
    let fields = match setting {
        Some(Setting::Notify {
            conversation,
            notify,
        }) => SettingFields {
            about: conversation.map(|id| id.to_string()),
            level: Some(notify.level.name()),
            until: notify.until_ms.map(rfc3339),
            ..named("notify")
        },
        Some(Setting::Hide { conversation, seq }) => {
            target_seq = Some(seq.get());
            about("hide", conversation.to_string())
        }
        Some(Setting::Contact {
            user,
            favourite,
            nickname,
        }) => SettingFields {
            about: Some(user.to_string()),
            favourite: Some(favourite),
            nickname: Some(nickname.as_str().to_owned()),
            ..named("contact")
        },
        Some(Setting::Block { user, blocked }) => {
            is_blocked = Some(blocked);
            about("block", user.to_string())
        }
        Some(Setting::Privacy { messages }) => SettingFields {
            messages: Some(messages.name()),
            ..named("privacy")
        },
        Some(Setting::Declined { user, seq }) => {
            target_seq = Some(seq.get());
            about("declined_request", user.to_string())
        }
        Some(Setting::Profile(it)) => SettingFields {
            display_name: Some(it.display_name.as_str().to_owned()),
            status: Some(it.status.as_str().to_owned()),
            ..named("profile")
        },
        Some(Setting::Discoverable(discoverable)) => SettingFields {
            discoverable: Some(discoverable),
            ..named("discoverable")
        },
        Some(Setting::Link(_)) => named("link"),
        Some(Setting::Receipts { hidden }) => hides("receipts", hidden),
        Some(Setting::Presence { hidden }) => hides("presence", hidden),
        None => SettingFields::default(),
    };
    EventFields {
        kind: "account_changed",
        target_seq,
        blocked: is_blocked,
        setting: fields,
        ..EventFields::default()
    }
}

/// Kind, recipient, users and text of a setting in the outbox.
pub(super) fn queued(
    setting: Setting,
) -> (
    &'static str,
    Option<String>,
    Option<Vec<String>>,
    Option<String>,
) {
    match setting {
        Setting::Notify {
            conversation,
            notify,
        } => {
            let level = notify.level.name().to_owned();
            let to = conversation.map(|id| id.to_string());
            ("notify", to, None, Some(level))
        }
        Setting::Hide { conversation, .. } => ("hide", Some(conversation.to_string()), None, None),
        Setting::Block { user, blocked } => {
            let kind = if blocked { "block" } else { "unblock" };
            (kind, None, Some(vec![user.to_string()]), None)
        }
        Setting::Privacy { messages } => ("privacy", None, None, Some(messages.name().to_owned())),
        Setting::Declined { user, .. } => {
            ("declined_request", None, Some(vec![user.to_string()]), None)
        }
        Setting::Contact { user, nickname, .. } => {
            let nickname = nickname.as_str().to_owned();
            (
                "contact",
                None,
                Some(vec![user.to_string()]),
                Some(nickname),
            )
        }
        Setting::Profile(it) => {
            let name = it.display_name.as_str().to_owned();
            ("profile", None, None, Some(name))
        }
        Setting::Discoverable(it) => {
            let answer = if it { "yes" } else { "no" };
            ("discoverable", None, None, Some(answer.to_owned()))
        }
        Setting::Link(_) => ("link", None, None, None),
        Setting::Receipts { hidden } => {
            let told = if hidden { "hide" } else { "show" };
            ("receipts", None, None, Some(told.to_owned()))
        }
        Setting::Presence { hidden } => {
            let told = if hidden { "hide" } else { "show" };
            ("presence", None, None, Some(told.to_owned()))
        }
    }
}

impl Line {
    pub(crate) fn contact(contact: Contact) -> Self {
        Self::Contact {
            user: contact.user.name,
            user_id: Shown(contact.user.id),
            favourite: contact.favourite,
            nickname: contact.nickname,
            blocked: contact.blocked,
        }
    }

    /// What somebody is to the user.
    pub(super) fn paint_contact(&self, to: &mut Painter) -> fmt::Result {
        let Self::Contact {
            user,
            user_id,
            favourite,
            nickname,
            blocked,
        } = self
        else {
            return Ok(());
        };
        aside(to, if *favourite { "* " } else { "  " })?;
        match user.is_empty() {
            true => aside(to, user_id)?,
            false => to.paint(Part::User(user), format_args!("@{user}"))?,
        }
        if !nickname.is_empty() {
            write!(to, "  {nickname}")?;
        }
        if *blocked {
            aside(to, "  blocked")?;
        }
        Ok(())
    }
}

impl ConversationFields {
    /// What the user has set for it, behind its name.
    pub(super) fn paint_settings(&self, to: &mut Painter) -> fmt::Result {
        // What the user calls them, else what they want to be called.
        let name = match self.nickname.is_empty() {
            true => &self.display_name,
            false => &self.nickname,
        };
        if !name.is_empty() {
            write!(to, "  {name}")?;
        }
        if self.favourite {
            to.write_str("  *")?;
        }
        if self.blocked {
            aside(to, "  blocked")?;
        }
        let what = match self.notify {
            "none" => "muted",
            "mentions" => "mentions only",
            _ => return Ok(()),
        };
        aside(to, format_args!("  {what}"))?;
        match &self.notify_until {
            Some(until) => aside(to, format_args!(" until {}", short(until))),
            None => Ok(()),
        }
    }
}

impl Line {
    /// What the user has set for themself.
    pub(super) fn paint_setting(&self, to: &mut Painter) -> fmt::Result {
        if let Self::Link { link } = self {
            to.write_str(link.as_deref().unwrap_or("no link"))?;
        }
        if let Self::Privacy { messages } = self {
            write!(to, "messages from {messages}")?;
        }
        if let Self::Receipts { hidden } | Self::OwnPresence { hidden } = self {
            to.write_str(if *hidden { "hidden" } else { "shown" })?;
        }
        Ok(())
    }
}
