//! Commands about what a user sets for themself, on all their devices.

use std::time::Duration;

use clap::{Args, ValueEnum};
use magpie_client::{Nickname, NotifyLevel, Recipient, UserName};

use super::{message::Which, user_name};

/// For which messages there are notifications.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Level {
    /// For every message
    All,
    /// For those that mention you, or everybody, or answer one of yours
    Mentions,
    /// For none
    None,
}

impl From<Level> for NotifyLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::All => Self::All,
            Level::Mentions => Self::Mentions,
            Level::None => Self::None,
        }
    }
}

/// One conversation, or all of them.
#[derive(Args, Debug)]
pub(crate) struct Scope {
    /// @NAME or a conversation's id
    #[arg(value_name = "WHERE", required_unless_present = "all")]
    pub(crate) of: Option<Recipient>,
    /// In all conversations: the stricter of this and what is set for one holds
    #[arg(long, conflicts_with = "of")]
    pub(crate) all: bool,
    /// Only write the outbox; the next command that connects sends it
    #[arg(long)]
    pub(crate) queue: bool,
}

/// Say for which messages you are notified
///
/// On all your devices. Whoever writes to you does not learn of it.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  magpie notify mentions 0190163d-8694-739b-aea5-966c26f8ad91\n  magpie notify mentions --all"
)]
pub(crate) struct Notify {
    /// For which
    #[arg(value_name = "LEVEL")]
    pub(crate) level: Level,
    #[command(flatten)]
    pub(crate) scope: Scope,
    /// Only for so long, such as 30m, 8h or 7d
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(crate) time: Option<Duration>,
}

/// Be notified of nothing
///
/// Messages come all the same. As `magpie notify none`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  magpie mute @bob --for 8h\n  magpie mute --all --for 1h")]
pub(crate) struct Mute {
    #[command(flatten)]
    pub(crate) scope: Scope,
    /// Only for so long, such as 30m, 8h or 7d
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(crate) time: Option<Duration>,
}

/// Be notified of everything again
///
/// As `magpie notify all`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  magpie unmute @bob")]
pub(crate) struct Unmute {
    #[command(flatten)]
    pub(crate) scope: Scope,
}

/// Hide a message from yourself, on all your devices
///
/// Others see it still. `magpie delete` is for everybody.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  magpie hide @bob 7")]
pub(crate) struct Hide {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Only write the outbox; the next command that connects sends it
    #[arg(long)]
    pub(crate) queue: bool,
}

/// Say what somebody is to you: a favourite, or another name
///
/// Whatever is not given is not so any more. Nobody else learns of it. It must be
/// somebody with whom you share a conversation.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  magpie contact @bob --favourite --nickname 'Bob from work'\n  magpie contact @bob"
)]
pub(crate) struct Contact {
    /// Whom, as @NAME
    #[arg(value_name = "@NAME", value_parser = user_name)]
    pub(crate) name: UserName,
    /// They are a favourite
    #[arg(long)]
    pub(crate) favourite: bool,
    /// What you call them: at most 64 characters
    #[arg(long, value_name = "NAME", default_value = "", value_parser = nickname)]
    pub(crate) nickname: Nickname,
    /// Only write the outbox; the next command that connects sends it
    #[arg(long)]
    pub(crate) queue: bool,
}

/// Block somebody: see nothing of what they write to you any more
///
/// They are not told, and learn neither what reaches you nor what you read. What they write
/// to you meanwhile you will never see; in groups it is there, folded, and does not
/// notify you. On all your devices. It must be somebody with whom you share a
/// conversation.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  magpie block @mallory")]
pub(crate) struct Block {
    /// Whom, as @NAME
    #[arg(value_name = "@NAME", value_parser = user_name)]
    pub(crate) name: UserName,
    /// Only write the outbox; the next command that connects sends it
    #[arg(long)]
    pub(crate) queue: bool,
}

/// Block somebody no more
///
/// You see what they write from now on, and not what they wrote meanwhile. They are not
/// told. `magpie contacts` lists whom you block.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  magpie unblock @mallory")]
pub(crate) struct Unblock {
    /// Whom, as @NAME
    #[arg(value_name = "@NAME", value_parser = user_name)]
    pub(crate) name: UserName,
    /// Only write the outbox; the next command that connects sends it
    #[arg(long)]
    pub(crate) queue: bool,
}

/// Whether there are read receipts.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Told {
    /// Others see how far you have read, and you how far they have
    Show,
    /// Neither
    Hide,
}

/// Hide how far you have read from others, and how far they have from yourself
///
/// In all conversations, on all your devices. What was told before stays told; shown again,
/// others learn how far you have read by then. Without an argument: say how it is.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  magpie receipts hide\n  magpie receipts show\n  magpie receipts"
)]
pub(crate) struct Receipts {
    /// How it is to be from now on
    #[arg(value_name = "WHETHER")]
    pub(crate) told: Option<Told>,
    /// Only write the outbox; the next command that connects sends it
    #[arg(long, requires = "told")]
    pub(crate) queue: bool,
}

fn nickname(text: &str) -> Result<Nickname, String> {
    Nickname::try_from(text.to_owned()).map_err(|error| error.to_string())
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];
    let parsed = UNITS.iter().find_map(|(unit, seconds)| {
        let count: u64 = text.strip_suffix(*unit)?.parse().ok()?;
        count.checked_mul(*seconds)
    });
    match parsed {
        Some(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        Some(_) | None => Err("write a number and s, m, h or d, such as 8h".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        assert_eq!(duration("8h"), Ok(Duration::from_secs(28_800)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        for wrong in ["", "8", "h", "0h", "1w", "-1h", "99999999999999999999d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
