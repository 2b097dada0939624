//! Invites to groups.

use std::time::Duration;

use clap::{Args, Subcommand};
use magpie_client::{ConversationId, InviteLink, Seq};

use super::{seq, setting::duration};

#[derive(Debug, Subcommand)]
pub(crate) enum InviteCommand {
    /// Make a link by which others join a group
    ///
    /// Admins and the owner may. Whoever has the link may join, until it expires, is used up
    /// or is revoked: it is printed once, and the server does not know it.
    #[command(
        after_help = "Examples:\n  magpie invite create 0190163d-8694-739b-aea5-966c26f8ad91\n  magpie invite create 0190163d-8694-739b-aea5-966c26f8ad91 --for 7d --uses 10"
    )]
    Create {
        /// The group's id
        #[arg(value_name = "ID")]
        conversation: ConversationId,
        /// Only for so long, such as 30m, 8h or 7d
        #[arg(long = "for", value_name = "TIME", value_parser = duration)]
        time: Option<Duration>,
        /// Only so often
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        uses: Option<u32>,
        /// Only write the outbox; the next command that connects sends it
        #[arg(long)]
        queue: bool,
    },
    /// List the invites to a group that were not revoked, as admins and the owner may
    #[command(after_help = "Example:\n  magpie invite list 0190163d-8694-739b-aea5-966c26f8ad91")]
    List {
        /// The group's id
        #[arg(value_name = "ID")]
        conversation: ConversationId,
    },
    /// End an invite: nobody joins by its link any more
    #[command(
        after_help = "Example:\n  magpie invite revoke 0190163d-8694-739b-aea5-966c26f8ad91 7"
    )]
    Revoke {
        /// The group's id
        #[arg(value_name = "ID")]
        conversation: ConversationId,
        /// The invite's number there, as `magpie invite list` shows it
        #[arg(value_name = "SEQ", value_parser = seq)]
        seq: Seq,
        /// Only write the outbox; the next command that connects sends it
        #[arg(long)]
        queue: bool,
    },
    /// See to which group a link leads, without joining
    #[command(
        after_help = "Example:\n  magpie invite show magpie:join/0190163d8694739baea5966c26f8ad910123456789abcdef0123456789abcdef"
    )]
    Show {
        /// The link
        #[arg(value_name = "LINK", value_parser = link)]
        link: InviteLink,
    },
}

/// Join a group by the link of an invite
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  magpie join magpie:join/0190163d8694739baea5966c26f8ad910123456789abcdef0123456789abcdef"
)]
pub(crate) struct Join {
    /// The link
    #[arg(value_name = "LINK", value_parser = link)]
    pub(crate) link: InviteLink,
    /// Only write the outbox; the next command that connects sends it
    #[arg(long)]
    pub(crate) queue: bool,
}

fn link(text: &str) -> Result<InviteLink, String> {
    text.parse()
        .map_err(|error: magpie_client::InvalidInviteLink| error.to_string())
}
