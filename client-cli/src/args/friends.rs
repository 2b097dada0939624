//! Commands about friends.

use clap::{Args, Subcommand, ValueEnum};
use magpie_client::{Reach, UserName};

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

/// Who reaches you without being asked to.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum From {
    /// Everybody
    Everybody,
    /// Friends; and those whom you have asked to be
    Friends,
}

impl std::convert::From<From> for Reach {
    fn from(from: From) -> Self {
        match from {
            From::Everybody => Self::Everybody,
            From::Friends => Self::Friends,
        }
    }
}

/// Say who may write to you and add you to groups, or show it
///
/// With `friends`, what anybody else writes to you is a request: it comes, and notifies you
/// of nothing until you answer it or are friends. Nobody is told. On all your devices.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  magpie privacy\n  magpie privacy --messages friends")]
pub(crate) struct Privacy {
    /// Who may, from now on
    #[arg(long, value_name = "WHO")]
    pub(crate) messages: Option<From>,
    /// Only write the outbox; the next command that connects sends it
    #[arg(long, requires = "messages")]
    pub(crate) queue: bool,
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
