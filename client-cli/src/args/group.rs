//! Groups, and who is in them.

use clap::Subcommand;
use magpie_client::{ConversationId, Role, Title, UserName};

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
    },
    /// Leave a group
    #[command(after_help = "Example:\n  magpie group leave 0190163d-8694-739b-aea5-966c26f8ad91")]
    Leave {
        /// The group's id
        #[arg(value_name = "ID")]
        conversation: ConversationId,
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
    },
}

fn role(text: &str) -> Result<Role, String> {
    let found = Role::ALL.into_iter().find(|it| role_name(*it) == text);
    found.ok_or_else(|| "write member, admin or owner".to_owned())
}
