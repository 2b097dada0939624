//! Groups, and who is in them.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use magpie_client::{ConversationId, Description, Role, Title, UserName};

use super::{title, user_name};
use crate::line::role_name;

#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// Make a group; you are its first member
    #[command(after_help = "Example:\n  magpie group create 'Book club' @bob @carol")]
    Create {
        /// 1 to 128 characters
        #[arg(value_parser = title)]
        title: Title,
        /// The other members
        #[arg(value_name = "@NAME", value_parser = user_name, required = true)]
        names: Vec<UserName>,
        /// Only write the outbox; the next command that connects sends it
        #[arg(long)]
        queue: bool,
    },
    /// Add members
    #[command(
        after_help = "Example:\n  magpie group add 0190163d-8694-739b-aea5-966c26f8ad91 @dave"
    )]
    Add {
        /// The group's id
        #[arg(value_name = "ID")]
        conversation: ConversationId,
        /// Whom
        #[arg(value_name = "@NAME", value_parser = user_name, required = true)]
        names: Vec<UserName>,
        /// Only write the outbox; the next command that connects sends it
        #[arg(long)]
        queue: bool,
    },
    /// Remove a member
    #[command(
        after_help = "Example:\n  magpie group remove 0190163d-8694-739b-aea5-966c26f8ad91 @dave"
    )]
    Remove {
        /// The group's id
        #[arg(value_name = "ID")]
        conversation: ConversationId,
        /// Whom
        #[arg(value_name = "@NAME", value_parser = user_name)]
        name: UserName,
        /// Only write the outbox; the next command that connects sends it
        #[arg(long)]
        queue: bool,
    },
    /// Keep somebody out: remove them if they are a member, and let nobody add them
    ///
    /// Admins and the owner may.
    #[command(
        after_help = "Example:\n  magpie group ban 0190163d-8694-739b-aea5-966c26f8ad91 @mallory"
    )]
    Ban {
        /// The group's id
        #[arg(value_name = "ID")]
        conversation: ConversationId,
        /// Whom
        #[arg(value_name = "@NAME", value_parser = user_name)]
        name: UserName,
        /// Only write the outbox; the next command that connects sends it
        #[arg(long)]
        queue: bool,
    },
    /// End a ban: they may be added again
    #[command(
        after_help = "Example:\n  magpie group unban 0190163d-8694-739b-aea5-966c26f8ad91 @mallory"
    )]
    Unban {
        /// The group's id
        #[arg(value_name = "ID")]
        conversation: ConversationId,
        /// Whose
        #[arg(value_name = "@NAME", value_parser = user_name)]
        name: UserName,
        /// Only write the outbox; the next command that connects sends it
        #[arg(long)]
        queue: bool,
    },
    /// List who is banned, as admins and the owner may
    #[command(after_help = "Example:\n  magpie group bans 0190163d-8694-739b-aea5-966c26f8ad91")]
    Bans {
        /// The group's id
        #[arg(value_name = "ID")]
        conversation: ConversationId,
    },
    /// Leave a group
    #[command(after_help = "Example:\n  magpie group leave 0190163d-8694-739b-aea5-966c26f8ad91")]
    Leave {
        /// The group's id
        #[arg(value_name = "ID")]
        conversation: ConversationId,
        /// Only write the outbox; the next command that connects sends it
        #[arg(long)]
        queue: bool,
    },
    /// Give a member a role
    ///
    /// The owner may. An admin adds and removes members, deletes messages of others, and
    /// mentions everybody. Whoever makes somebody else the owner is an admin from there on.
    #[command(
        after_help = "Example:\n  magpie group role 0190163d-8694-739b-aea5-966c26f8ad91 @dave admin"
    )]
    Role {
        /// The group's id
        #[arg(value_name = "ID")]
        conversation: ConversationId,
        /// Whom
        #[arg(value_name = "@NAME", value_parser = user_name)]
        name: UserName,
        /// member, admin or owner
        #[arg(value_parser = role)]
        role: Role,
        /// Only write the outbox; the next command that connects sends it
        #[arg(long)]
        queue: bool,
    },
    /// Change what a group is called, says of itself, and lets its members do
    ///
    /// Admins and the owner may.
    #[command(
        after_help = "Examples:\n  magpie group update 0190163d-8694-739b-aea5-966c26f8ad91 --title 'Chess club'\n  magpie group update 0190163d-8694-739b-aea5-966c26f8ad91 --announcement-only on\n  magpie group update 0190163d-8694-739b-aea5-966c26f8ad91 --history on\n  magpie group update 0190163d-8694-739b-aea5-966c26f8ad91 --photo club.jpg"
    )]
    Update {
        /// The group's id
        #[arg(value_name = "ID")]
        conversation: ConversationId,
        #[command(flatten)]
        change: GroupChange,
        /// Only write the outbox; the next command that connects sends it
        #[arg(long)]
        queue: bool,
    },
}

/// What of a group is to be otherwise.
#[derive(Args, Debug)]
pub(crate) struct GroupChange {
    /// 1 to 128 characters
    #[arg(
        long,
        value_name = "TEXT",
        value_parser = title,
        required_unless_present_any = ["description", "announcement_only", "photo", "no_photo", "history"]
    )]
    pub(crate) title: Option<Title>,
    /// At most 500 characters; empty: none
    #[arg(long, value_name = "TEXT", value_parser = description)]
    pub(crate) description: Option<Description>,
    /// on: admins and the owner alone write; off: all do
    #[arg(long, value_name = "ON", value_parser = switch)]
    pub(crate) announcement_only: Option<bool>,
    /// Its photo: JPEG, PNG, WebP or GIF, made smaller, and without what the camera wrote
    #[arg(long, value_name = "FILE")]
    pub(crate) photo: Option<PathBuf>,
    /// It has no photo
    #[arg(long, conflicts_with = "photo")]
    pub(crate) no_photo: bool,
    /// on: who joins from now on may read what came before; off: they may not
    #[arg(long, value_name = "ON", value_parser = switch)]
    pub(crate) history: Option<bool>,
}

fn description(text: &str) -> Result<Description, String> {
    Description::try_from(text.to_owned()).map_err(|error| error.to_string())
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("write on or off".to_owned()),
    }
}

fn role(text: &str) -> Result<Role, String> {
    let found = Role::ALL.into_iter().find(|it| role_name(*it) == text);
    found.ok_or_else(|| "write member, admin or owner".to_owned())
}
