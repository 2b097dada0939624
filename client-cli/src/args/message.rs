//! Commands about messages that are there.

use std::path::PathBuf;

use clap::Args;
use magpie_client::{Emoji, Recipient, Seq};

use super::seq;

/// Which message.
#[derive(Args, Debug)]
pub(crate) struct Which {
    /// @NAME or a conversation's id
    #[arg(value_name = "WHERE")]
    pub(crate) of: Recipient,
    /// The message's number there, as `magpie history` shows it
    #[arg(value_name = "SEQ", value_parser = seq)]
    pub(crate) seq: Seq,
}

/// What a message is besides its text.
#[derive(Args, Debug, Default)]
pub(crate) struct Attached {
    /// A file that goes with it, as bytes that the server does not look at: at most
    /// 32 KiB, of your app's own format or encrypted
    #[arg(long, value_name = "FILE", requires = "content_type")]
    pub(crate) body: Option<PathBuf>,
    /// What the file is, for the app that gets it, such as application/json
    #[arg(long, value_name = "TYPE", requires = "body")]
    pub(crate) content_type: Option<String>,
}

/// Send a message, or each line of standard input
///
/// Ends when each is accepted or refused. What an earlier run left in the
/// outbox goes first, in order. Whom the text names with @NAME is mentioned, if
/// they are a member; @everybody is meant for all, if an admin of the group says so.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  magpie send @bob 'hello'\n  seq 1000 | magpie send @bob\n  magpie send --queue @bob 'later'\n  magpie send @bob 'my key' --body key.bin --content-type application/x-key"
)]
pub(crate) struct Send {
    /// @NAME or a conversation's id
    #[arg(value_name = "WHOM")]
    pub(crate) to: Recipient,
    /// The message; without it, each line of standard input is one
    pub(crate) text: Option<String>,
    #[command(flatten)]
    pub(crate) attached: Attached,
    /// Only write the outbox; the next command that connects sends it
    #[arg(long)]
    pub(crate) queue: bool,
}

/// Answer a message
///
/// Whom the text names with @NAME is mentioned, if they are a member; @everybody
/// is meant for all, if an admin of the group says so.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  magpie reply @bob 7 'yes, at noon'")]
pub(crate) struct Reply {
    #[command(flatten)]
    pub(crate) which: Which,
    /// What you answer
    pub(crate) text: String,
    #[command(flatten)]
    pub(crate) attached: Attached,
    /// Only write the outbox; the next command that connects sends it
    #[arg(long)]
    pub(crate) queue: bool,
}

/// Send a message on to somebody else
///
/// With the name of whoever wrote it. It must be here; `magpie history` fetches it.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  magpie forward @bob 7 @carol")]
pub(crate) struct Forward {
    #[command(flatten)]
    pub(crate) which: Which,
    /// To whom: @NAME or a conversation's id
    #[arg(value_name = "WHOM")]
    pub(crate) to: Recipient,
    /// Only write the outbox; the next command that connects sends it
    #[arg(long)]
    pub(crate) queue: bool,
}

/// Say otherwise what a message of yours said
///
/// Everybody sees that and when it was changed, and what it said before. The server
/// allows it for a while, two days if it is not set otherwise.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  magpie edit @bob 7 'yes, at one'")]
pub(crate) struct Edit {
    #[command(flatten)]
    pub(crate) which: Which,
    /// What it says now
    pub(crate) text: String,
    #[command(flatten)]
    pub(crate) attached: Attached,
    /// Only write the outbox; the next command that connects sends it
    #[arg(long)]
    pub(crate) queue: bool,
}

/// Delete a message for everybody
///
/// One of yours, or, as an admin of a group, anybody's.
/// What it and its edits said is removed from the server and from every device that
/// learns of it; that there was a message stays.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  magpie delete @bob 7")]
pub(crate) struct Delete {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Only write the outbox; the next command that connects sends it
    #[arg(long)]
    pub(crate) queue: bool,
}

/// React to a message, or take a reaction back
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  magpie react @bob 7 👍\n  magpie react @bob 7 👍 --remove")]
pub(crate) struct React {
    #[command(flatten)]
    pub(crate) which: Which,
    /// How: an emoji, or a few characters without spaces
    #[arg(value_parser = emoji)]
    pub(crate) emoji: Emoji,
    /// Take it back
    #[arg(long)]
    pub(crate) remove: bool,
    /// Only write the outbox; the next command that connects sends it
    #[arg(long)]
    pub(crate) queue: bool,
}

/// Pin a message for everybody
///
/// In a group its admins and the owner may, in a direct conversation both. At most 50 are
/// pinned.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  magpie pin @bob 7")]
pub(crate) struct Pin {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Only write the outbox; the next command that connects sends it
    #[arg(long)]
    pub(crate) queue: bool,
}

/// Take a pinned message off
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  magpie unpin @bob 7")]
pub(crate) struct Unpin {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Only write the outbox; the next command that connects sends it
    #[arg(long)]
    pub(crate) queue: bool,
}

/// Print what is pinned in a conversation (works offline)
///
/// What is not here is shown as a gap; `magpie history` fetches it.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  magpie pins @bob")]
pub(crate) struct Pins {
    /// @NAME or a conversation's id
    #[arg(value_name = "WHERE")]
    pub(crate) of: Recipient,
}

/// Print a message and what it was edited to, oldest first (works offline)
///
/// As far as the edits are here.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  magpie edits @bob 7")]
pub(crate) struct Edits {
    #[command(flatten)]
    pub(crate) which: Which,
}

fn emoji(text: &str) -> Result<Emoji, String> {
    Emoji::try_from(text.to_owned()).map_err(|error| error.to_string())
}
