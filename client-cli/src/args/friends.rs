//! Commands about friends.

use clap::{Args, Subcommand};
use magpie_client::UserName;

use super::user_name;

/// List your friends and what you were asked, or ask somebody to be friends
///
/// The list works offline. Whoever asks, or is asked, need not know the other from
/// elsewhere: the user name is enough.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  magpie friends\n  magpie friends request @bob\n  magpie friends accept @carol"
)]
pub(crate) struct Friends {
    #[command(subcommand)]
    pub(crate) command: Option<FriendsCommand>,
}

/// What to do about one.
#[derive(Debug, Subcommand)]
pub(crate) enum FriendsCommand {
    /// List friends, and who has asked whom (works offline)
    ///
    /// Without those whom you declined.
    #[command(after_help = "Example:\n  magpie friends list --json")]
    List,
    /// Ask somebody to be friends
    ///
    /// If they have asked you, you are friends at once. You may ask three times until you
    /// are; then it is for them to ask.
    #[command(after_help = "Example:\n  magpie friends request @bob")]
    Request(Whom),
    /// Accept what somebody has asked you
    #[command(after_help = "Example:\n  magpie friends accept @carol")]
    Accept(Whom),
    /// Do not want to be friends with somebody who has asked you
    ///
    /// They are not told, and may take it back. You may accept it still.
    #[command(after_help = "Example:\n  magpie friends decline @mallory")]
    Decline(Whom),
    /// Take back what you have asked somebody
    #[command(after_help = "Example:\n  magpie friends cancel @bob")]
    Cancel(Whom),
    /// Be friends no more; they see it
    #[command(after_help = "Example:\n  magpie friends remove @bob")]
    Remove(Whom),
}

/// With whom.
#[derive(Args, Debug)]
pub(crate) struct Whom {
    /// Whom, as @NAME
    #[arg(value_name = "@NAME", value_parser = user_name)]
    pub(crate) name: UserName,
    /// Only write the outbox; the next command that connects sends it
    #[arg(long)]
    pub(crate) queue: bool,
}
