//! What was typed. Each flag, name and bound is checked here, once.

mod account;
pub(crate) mod friends;
mod group;
pub(crate) mod invite;
pub(crate) mod media;
pub(crate) mod message;
pub(crate) mod people;
mod push;
pub(crate) mod setting;
pub(crate) mod torture;
mod values;

use std::{env, net::SocketAddr, path::PathBuf};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use magpie_client::{DeviceId, DeviceName, MessageId, Recipient, Seq, UserName};

use self::values::{address, device_name, limit, seq, title, user_name};
pub(crate) use self::{
    account::{DeleteArgs, ExportArgs, PasswordArgs, ReportArgs},
    group::{GroupChange, GroupCommand},
    push::{PlatformName, PushCommand},
};
use crate::colour::ColourChoice;

/// Chat from the command line.
///
/// A home is a directory that is one device of one user. What you send is
/// written there first, so nothing is lost when the network or this program is.
#[derive(Debug, Parser)]
#[command(name = "magpie", version, max_term_width = 90, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,

    #[command(subcommand)]
    pub(crate) task: Task,
}

impl Arguments {
    /// What was typed; help and wrong usage are answered here, in the colours
    /// that were asked for, and end the process.
    pub(crate) fn of_process() -> Self {
        let choice = ColourChoice::typed(env::args_os());
        let command = Self::command().color(choice.into());
        Self::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
    }
}

const EXAMPLES: &str = "\
Examples:
  magpie --home ./alice register alice
  magpie --home ./alice send @bob 'hello'
  magpie --home ./bob listen

Exit codes:
  0 done · 1 refused, or audit or torture found something · 2 usage ·
  3 not signed in, or revoked · 4 not reached or timed out ·
  5 local database or home";

/// Flags that every command takes, before or after its name.
#[derive(Args, Debug)]
pub(crate) struct Global {
    /// The server [default: the home's own, else 127.0.0.1:7443]
    #[arg(long, global = true, env = "MAGPIE_SERVER", value_name = "HOST:PORT", value_parser = address)]
    pub(crate) server: Option<String>,

    /// Certificates (PEM) to trust the server by [default: those stored in the
    /// home, else ./magpie-data/ca.pem for a loopback server, else the system's]
    #[arg(long, global = true, env = "MAGPIE_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,

    /// The directory of this device [default: ~/.magpie]
    #[arg(long, global = true, env = "MAGPIE_HOME", value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,

    /// One JSON object per line, for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Whether to colour what people read; `auto` asks `NO_COLOR`, `CLICOLOR_FORCE`
    /// and the terminal
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    pub(crate) color: ColourChoice,

    /// How long to wait for the server without an answer; 0: for ever
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) timeout: u64,
}

/// What to do: something with a home, or something about this program.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    #[command(flatten)]
    Home(Command),

    /// Run an emulator of Firebase Cloud Messaging, for tests of pushes
    ///
    /// It listens on a loopback address until it is ended. Give the account's
    /// file to `magpied --push-account`, and the printed URL to `--push-url`.
    #[command(
        name = "fcm-emulator",
        after_help = "Example:\n  magpie fcm-emulator --account ./fcm.json"
    )]
    FcmEmulator {
        /// Where; port 0 takes a free one
        #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// Where to write its service-account file
        #[arg(long, value_name = "FILE")]
        account: PathBuf,
        /// Speak TLS, and write here whom to trust, for `magpied --push-ca`
        #[arg(long, value_name = "CA_FILE")]
        tls: Option<PathBuf>,
    },

    Torture(torture::Torture),

    /// Print a script that completes commands and flags in a shell
    #[command(
        after_help = "Examples:\n  magpie completions bash > ~/.local/share/bash-completion/completions/magpie\n  magpie completions fish > ~/.config/fish/completions/magpie.fish"
    )]
    Completions {
        /// For which shell
        shell: Shell,
    },

    /// Write a manual page for each command
    #[command(after_help = "Example:\n  magpie man ~/.local/share/man/man1 && man magpie-send")]
    Man {
        /// Where to; made if it is absent
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a user, and this home their first device
    ///
    /// Refused if the home holds somebody, naming them. Repeating it after a lost
    /// answer is the same registration.
    #[command(after_help = "Example:\n  magpie --home ./alice register alice")]
    Register {
        #[command(flatten)]
        credentials: Credentials,

        /// What the operator gave you, where not everybody may register
        #[arg(
            long,
            env = "MAGPIE_INVITATION",
            value_name = "TOKEN",
            default_value = "",
            hide_env_values = true
        )]
        invitation: String,
    },

    /// Make this home another device of a user
    ///
    /// A home that the server has signed out may be signed in again by the same
    /// user and keeps its history and outbox.
    #[command(after_help = "Example:\n  magpie --home ./phone login alice --device-name phone")]
    Login(Credentials),

    /// End this device's credential and empty the home
    ///
    /// Refused while the outbox holds something, failed entries included, unless
    /// it is forced.
    #[command(after_help = "Example:\n  magpie logout")]
    Logout {
        /// Even though the outbox holds something, which is lost then
        #[arg(long)]
        force: bool,
    },

    /// Whose device this is (works offline)
    #[command(after_help = "Example:\n  magpie whoami --json")]
    Whoami,

    /// List your devices, or end the credential of one
    #[command(
        after_help = "Examples:\n  magpie devices\n  magpie devices revoke 0190163d-8694-739b-aea5-966c26f8ad91"
    )]
    Devices {
        #[command(subcommand)]
        command: Option<DevicesCommand>,
    },

    /// Make a group, or change who is in it
    #[command(
        after_help = "Examples:\n  magpie group create 'Book club' @bob @carol\n  magpie group leave 0190163d-8694-739b-aea5-966c26f8ad91"
    )]
    Group {
        #[command(subcommand)]
        command: GroupCommand,
    },

    /// Let others join a group by a link
    #[command(
        after_help = "Examples:\n  magpie invite create 0190163d-8694-739b-aea5-966c26f8ad91 --for 7d\n  magpie invite list 0190163d-8694-739b-aea5-966c26f8ad91"
    )]
    Invite {
        #[command(subcommand)]
        command: invite::InviteCommand,
    },

    Join(invite::Join),

    Send(message::Send),

    Photo(media::Photo),

    File(media::SendFile),

    Save(media::Save),

    Reply(message::Reply),

    Forward(message::Forward),

    Edit(message::Edit),

    Delete(message::Delete),

    React(message::React),

    Pin(message::Pin),

    Unpin(message::Unpin),

    Pins(message::Pins),

    Edits(message::Edits),

    Hide(setting::Hide),

    Notify(setting::Notify),

    Mute(setting::Mute),

    Unmute(setting::Unmute),

    Contact(setting::Contact),

    Profile(people::Profile),

    Link(people::Link),

    Find(people::Find),

    Friends(friends::Friends),

    Privacy(friends::Privacy),

    Block(setting::Block),

    Unblock(setting::Unblock),

    Receipts(setting::Receipts),

    Presence(people::Presence),

    /// Show who has read a message
    ///
    /// Of a group of more than 64 members: how many. Those who hide their read receipts are
    /// not among them, and whoever hides theirs is not told.
    #[command(after_help = "Example:\n  magpie readers @bob 7")]
    Readers(message::Which),

    /// List your favourites, whom you gave another name and whom you block (works offline)
    #[command(after_help = "Example:\n  magpie contacts")]
    Contacts,

    /// Chat with a person or a group; /quit ends it
    ///
    /// Shows the newest 20 events, then what comes, and of a person whether they are
    /// online. Each line typed is sent; the end of the input ends it too.
    #[command(after_help = "Example:\n  magpie chat @bob")]
    Chat {
        /// @NAME or a conversation's id
        #[arg(value_name = "WHOM")]
        to: Recipient,
    },

    /// Print messages as they come, each once per home
    ///
    /// Connects again for ever. Ctrl-C ends it.
    #[command(
        after_help = "Examples:\n  magpie listen\n  magpie listen --until-idle 2 --json\n  magpie listen --ephemeral"
    )]
    Listen {
        /// End once caught up and this long without an event
        #[arg(long, value_name = "SECONDS")]
        until_idle: Option<u64>,
        /// Also who types, as it is hinted at
        #[arg(long)]
        ephemeral: bool,
    },

    Typing(people::Typing),

    /// Connect, send what is queued, fetch what is new, end
    #[command(after_help = "Example:\n  magpie sync")]
    Sync,

    /// List the conversations known here (works offline)
    #[command(after_help = "Example:\n  magpie conversations")]
    Conversations,

    /// List the members of a conversation (works offline)
    ///
    /// The list of a group of more than 64 is fetched the first time, if the server
    /// can be reached within 5 seconds, and kept up to date from then on.
    #[command(after_help = "Example:\n  magpie members 0190163d-8694-739b-aea5-966c26f8ad91")]
    Members {
        /// @NAME or a conversation's id
        #[arg(value_name = "WHOM")]
        of: Recipient,
    },

    /// Print a conversation, oldest first (works offline)
    ///
    /// The newest events of those asked for. What is not here is fetched if the
    /// server can be reached within 5 seconds, else shown as a gap.
    #[command(after_help = "Examples:\n  magpie history @bob\n  magpie history @bob --before 51")]
    History {
        /// @NAME or a conversation's id
        #[arg(value_name = "WHOM")]
        of: Recipient,
        /// Only events below this seq
        #[arg(long, value_name = "SEQ", value_parser = seq)]
        before: Option<Seq>,
        /// At most this many
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = limit)]
        limit: usize,
    },

    /// Mark all of a conversation that is here as read
    #[command(after_help = "Example:\n  magpie read @bob")]
    Read {
        /// @NAME or a conversation's id
        #[arg(value_name = "WHOM")]
        of: Recipient,
        /// Only write the outbox; the next command that connects sends it
        #[arg(long)]
        queue: bool,
    },

    /// List what is queued and not done (works offline)
    ///
    /// In the order in which it was queued. What was refused stays until it is
    /// discarded.
    #[command(
        after_help = "Examples:\n  magpie outbox\n  magpie outbox discard 0190163d-8694-739b-aea5-966c26f8ad91"
    )]
    Outbox {
        #[command(subcommand)]
        command: Option<OutboxCommand>,
    },

    /// Say where this device's pushes go, or that it wants none
    #[command(
        after_help = "Examples:\n  magpie push set --app org.example.chat TOKEN\n  magpie push clear"
    )]
    Push {
        #[command(subcommand)]
        command: PushCommand,
    },

    /// Behave like an app on a phone that sleeps, with an emulator's pushes
    ///
    /// Connects, stores and prints what came, detaches, closes the connection,
    /// and waits for the emulator to wake it. Ctrl-C ends it.
    #[command(after_help = "Example:\n  magpie background --emulator http://127.0.0.1:9099 TOKEN")]
    Background {
        /// Where `magpie fcm-emulator` is
        #[arg(long, value_name = "URL")]
        emulator: String,
        /// The certificate authority to trust, if it speaks TLS
        #[arg(long, value_name = "FILE")]
        emulator_ca: Option<PathBuf>,
        /// The token that `magpie push set` was given
        token: String,
    },

    /// Change your password
    #[command(after_help = "Example:\n  magpie password --sign-out-others")]
    Password(PasswordArgs),

    /// Delete your user for ever, and empty the home
    ///
    /// You leave your groups, and what you wrote keeps its place as from a deleted user.
    /// Nobody is given your name again.
    #[command(
        name = "delete-account",
        after_help = "Example:\n  magpie delete-account"
    )]
    DeleteAccount(DeleteArgs),

    /// Tell the operators of a user or a message
    ///
    /// They get your name, the message and what you say to it. Whether it was kept is
    /// not told: only what you may read is.
    #[command(
        after_help = "Examples:\n  magpie report @mallory --reason spam\n  magpie report @mallory --seq 7 --reason abuse 'this one'"
    )]
    Report(ReportArgs),

    /// Write all that the server and this home hold of you into a directory, as JSON
    ///
    /// The account, your devices, your conversations, what is in the outbox, and a file
    /// for each conversation with an event on each line. Run again after it was
    /// interrupted, it goes on where it stopped.
    #[command(
        after_help = "Examples:\n  magpie export ./my-data\n  magpie export ./my-data --media"
    )]
    Export(ExportArgs),

    /// Compare the local database with the server's log
    ///
    /// Each difference is a line; the last line has the totals.
    #[command(after_help = "Example:\n  magpie audit && echo 'nothing is missing'")]
    Audit,
}

#[derive(Args, Debug)]
pub(crate) struct Credentials {
    /// The user's name: 3 to 32 of a-z, 0-9, '_' and '.'
    #[arg(value_parser = user_name)]
    pub(crate) name: UserName,

    /// What this device is called in the list of devices
    #[arg(long, value_name = "TEXT", value_parser = device_name, default_value = "")]
    pub(crate) device_name: DeviceName,

    /// Read the password from the first line of standard input
    ///
    /// Else it is taken from `MAGPIE_PASSWORD`, else asked for.
    #[arg(long)]
    pub(crate) password_stdin: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DevicesCommand {
    /// End a device's credential: it is signed out at once
    #[command(
        after_help = "Example:\n  magpie devices revoke 0190163d-8694-739b-aea5-966c26f8ad91"
    )]
    Revoke {
        /// As `magpie devices` shows it
        id: DeviceId,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum OutboxCommand {
    /// Give up what was refused (works offline)
    #[command(
        after_help = "Examples:\n  magpie outbox discard 0190163d-8694-739b-aea5-966c26f8ad91\n  magpie outbox discard --all"
    )]
    Discard {
        /// As `magpie outbox` shows it; what is pending cannot be discarded
        #[arg(
            value_name = "ID",
            required_unless_present = "all",
            conflicts_with = "all"
        )]
        ids: Vec<MessageId>,
        /// Everything that was refused
        #[arg(long)]
        all: bool,
    },
}

#[cfg(test)]
mod tests;
