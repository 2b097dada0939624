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
    /// `notify`, `hide`, `contact` or `receipts`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) setting: Option<&'static str>,
    /// The conversation that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) about: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) level: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) favourite: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nickname: Option<String>,
    /// The user's read receipts, and those of others from them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hidden: Option<bool>,
}

/// What a change of the user's own does.
pub(super) fn changed(setting: Option<Setting>) -> EventFields {
    let kind = "account_changed";
    let (fields, target_seq) = match setting {
        Some(Setting::Notify {
            conversation,
            notify,
        }) => {
            let fields = SettingFields {
                setting: Some("notify"),
                about: conversation.map(|id| id.to_string()),
                level: Some(notify.level.name()),
                until: notify.until_ms.map(rfc3339),
                ..SettingFields::default()
            };
            (fields, None)
        }
        Some(Setting::Hide { conversation, seq }) => {
            let fields = SettingFields {
                setting: Some("hide"),
                about: Some(conversation.to_string()),
                ..SettingFields::default()
            };
            (fields, Some(seq.get()))
        }
        Some(Setting::Contact {
            user,
            favourite,
            nickname,
        }) => {
            let fields = SettingFields {
                setting: Some("contact"),
                about: Some(user.to_string()),
                favourite: Some(favourite),
                nickname: Some(nickname.as_str().to_owned()),
                ..SettingFields::default()
            };
            (fields, None)
        }
        Some(Setting::Receipts { hidden }) => {
            let fields = SettingFields {
                setting: Some("receipts"),
                hidden: Some(hidden),
                ..SettingFields::default()
            };
            (fields, None)
        }
        None => (SettingFields::default(), None),
    };
    EventFields {
        kind,
        target_seq,
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
        Setting::Contact { user, nickname, .. } => {
            let nickname = nickname.as_str().to_owned();
            (
                "contact",
                None,
                Some(vec![user.to_string()]),
                Some(nickname),
            )
        }
        Setting::Receipts { hidden } => {
            let told = if hidden { "hide" } else { "show" };
            ("receipts", None, None, Some(told.to_owned()))
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
        }
    }

    /// What somebody is to the user.
    pub(super) fn paint_contact(&self, to: &mut Painter) -> fmt::Result {
        let Self::Contact {
            user,
            user_id,
            favourite,
            nickname,
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
        Ok(())
    }
}

impl ConversationFields {
    /// What the user has set for it, behind its name.
    pub(super) fn paint_settings(&self, to: &mut Painter) -> fmt::Result {
        if !self.nickname.is_empty() {
            write!(to, "  {}", self.nickname)?;
        }
        if self.favourite {
            to.write_str("  *")?;
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
