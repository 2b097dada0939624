//! Commands about what people say of themselves, and how they are found.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use magpie_client::{DisplayName, NamePrefix, Recipient, StatusLine, UserLink, UserName};

use super::user_name;

/// Whether something is so.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Answer {
    /// It is
    Yes,
    /// It is not
    No,
}

/// Show what you or somebody else says of themself, or change what you say
///
/// Those with whom you share a conversation see it. Without an option it works offline.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  magpie profile\n  magpie profile @bob\n  magpie profile --name 'Ann Lee' --status 'at sea until May'\n  magpie profile --photo me.jpg\n  magpie profile --discoverable yes"
)]
pub(crate) struct Profile {
    /// Whose, as @NAME; yours if it is left out
    #[arg(value_name = "@NAME", value_parser = user_name)]
    pub(crate) of: Option<UserName>,
    /// What you want to be called: at most 64 characters that can be seen; empty: by your user name
    #[arg(long, value_name = "NAME", value_parser = display_name, conflicts_with = "of")]
    pub(crate) name: Option<DisplayName>,
    /// What you say in a line: at most 140 characters; may be empty
    #[arg(long, value_name = "TEXT", value_parser = status_line, conflicts_with = "of")]
    pub(crate) status: Option<StatusLine>,
    /// Your photo: JPEG, PNG, WebP or GIF, made smaller, and without what the camera wrote
    #[arg(long, value_name = "FILE", conflicts_with = "of")]
    pub(crate) photo: Option<PathBuf>,
    /// Have no photo
    #[arg(long, conflicts_with_all = ["of", "photo"])]
    pub(crate) no_photo: bool,
    /// Whether anybody finds you by the beginning of your user name
    #[arg(long, value_name = "ANSWER", conflicts_with = "of")]
    pub(crate) discoverable: Option<Answer>,
    /// Only write the outbox; the next command that connects sends it
    #[arg(long)]
    pub(crate) queue: bool,
}

/// Show your link: whoever has it finds you, and sees what you say of yourself
///
/// As text, for a message or a QR code. It is the same on all your devices.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  magpie link\n  magpie link --new\n  magpie link --none")]
pub(crate) struct Link {
    /// Make another one: the link that you had finds nobody any more
    #[arg(long)]
    pub(crate) new: bool,
    /// Have none
    #[arg(long, conflicts_with = "new")]
    pub(crate) none: bool,
    /// Only write the outbox; the next command that connects sends it
    #[arg(long)]
    pub(crate) queue: bool,
}

/// Tell the others in a conversation that you type
///
/// Those who are connected, if there are at most 64 members. It is forgotten after six
/// seconds, and may be lost.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  magpie typing @bob\n  magpie typing @bob --end")]
pub(crate) struct Typing {
    /// @NAME or a conversation's id
    #[arg(value_name = "WHERE")]
    pub(crate) of: Recipient,
    /// You do not any more
    #[arg(long)]
    pub(crate) end: bool,
}

/// Show who is online, or when they were last; or hide when you are
///
/// Of friends, and of those who have written to you and to whom you have written. Nobody is
/// told of whoever hides it, or of whom one has blocked; and who hides it is told of
/// nobody. Without an argument: say whether you hide it.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  magpie presence @bob @carol\n  magpie presence @bob --follow --json\n  magpie presence --hide\n  magpie presence"
)]
pub(crate) struct Presence {
    /// Of whom: at most 64
    #[arg(value_name = "@NAME", value_parser = user_name, num_args = 0..=64)]
    pub(crate) of: Vec<UserName>,
    /// Go on, and print what becomes otherwise; Ctrl-C ends it
    #[arg(long, requires = "of")]
    pub(crate) follow: bool,
    /// Nobody sees when you are there from now on, and you of nobody
    #[arg(long, conflicts_with = "of")]
    pub(crate) hide: bool,
    /// Others see it again, and you
    #[arg(long, conflicts_with_all = ["of", "hide"])]
    pub(crate) show: bool,
    /// Only write the outbox; the next command that connects sends it
    #[arg(long, conflicts_with = "of")]
    pub(crate) queue: bool,
}

/// Look for people: by a whole user name, a link, or the beginning of a name
///
/// By the beginning of a name you find those who allow it.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  magpie find @bob\n  magpie find magpie:user/bob/4d0c6a9ad2f34ab9a1f7d1f0a6a1c2e3\n  magpie find bo. --prefix"
)]
pub(crate) struct Find {
    /// @NAME, or the text of a link
    #[arg(value_name = "WHOM")]
    pub(crate) whom: String,
    /// Everybody whose name begins so: 3 characters at least
    #[arg(long)]
    pub(crate) prefix: bool,
}

impl Find {
    pub(crate) fn by(&self) -> Result<magpie_client::FindUsers, magpie_client::InvalidText> {
        use magpie_client::FindUsers;
        if let Ok(link) = self.whom.parse::<UserLink>() {
            return Ok(FindUsers::Link(link));
        }
        let name = self.whom.strip_prefix('@').unwrap_or(&self.whom);
        Ok(match self.prefix {
            true => FindUsers::Prefix(NamePrefix::parse(name)?),
            false => FindUsers::Name(UserName::parse(name)?),
        })
    }
}

fn display_name(text: &str) -> Result<DisplayName, String> {
    DisplayName::try_from(text.to_owned()).map_err(|error| error.to_string())
}

fn status_line(text: &str) -> Result<StatusLine, String> {
    StatusLine::try_from(text.to_owned()).map_err(|error| error.to_string())
}
