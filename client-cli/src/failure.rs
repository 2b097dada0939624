//! Why a command ended early, and the exit code of each reason.

use std::{io, process::ExitCode};

use magpie_client::{
    Action, ConnectError, HomeError, InvalidAttachment, InvalidMessage, InvalidText, LocalError,
    MediaError, MessageId, Refusal, RequestError, Seq, SignInError, UserName,
};
use magpie_fcm_emulator::ControlError;

/// How a command ended. Scripts rely on the numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exit {
    Done = 0,
    Refused = 1,
    Usage = 2,
    NotSignedIn = 3,
    NotReached = 4,
    Local = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("nobody is signed in in {home}; use `magpie register` or `magpie login`")]
    NotSignedIn { home: String },
    #[error("this device was signed out by the server; use `magpie login {name}`")]
    SignedOut { name: String },
    #[error("this program is too old for the server: {0}")]
    TooOld(Refusal),
    #[error("another connection of this device took over; is its home copied elsewhere?")]
    Replaced,
    #[error("{home} belongs to {name} already; use another --home, or `magpie logout` first")]
    Held { home: String, name: String },
    #[error("another process holds the connection of {home}; end it first")]
    InUse { home: String },
    #[error(
        "{count} in the outbox would be lost: `magpie outbox` lists them, `magpie sync` sends what \
         waits, --force gives up all"
    )]
    OutboxHolds { count: u64 },
    #[error("{0}")]
    Refused(Refusal),
    #[error("{0}")]
    Invalid(#[from] InvalidText),
    #[error("{0}")]
    InvalidMessage(#[from] InvalidMessage),
    #[error("message text is not UTF-8")]
    NotUtf8,
    #[error("no conversation with {name} is known here")]
    UnknownConversation { name: String },
    #[error("nobody called @{name} is known here")]
    UnknownUser { name: UserName },
    #[error("@{name} has not asked you to be friends, or not any more")]
    NotAsked { name: UserName },
    #[error("no message {seq} of it is here; `magpie history` fetches what is not")]
    UnknownMessage { seq: Seq },
    #[error("{reason}; gave up after {seconds} s")]
    TimedOut { reason: String, seconds: u64 },
    #[error("{0}")]
    Connect(ConnectError),
    #[error("{0}")]
    Lost(String),
    #[error("no password: set MAGPIE_PASSWORD, use --password-stdin, or run it on a terminal")]
    NoPassword,
    #[error("no password was typed")]
    NotTyped,
    #[error("nothing is deleted: type the name when asked for it, or use --yes")]
    NotConfirmed,
    #[error("a conversation is not reported: name a user, or give --seq")]
    NothingReported,
    #[error("the two passwords differ")]
    PasswordsDiffer,
    #[error("no home: set --home or MAGPIE_HOME")]
    NoHome,
    #[error("{0}")]
    Home(#[from] HomeError),
    #[error("{0}")]
    Local(LocalError),
    #[error("{0}")]
    LocalDatabase(String),
    #[error("{id} is not refused; `magpie outbox` lists what is")]
    NotRefused { id: MessageId },
    #[error("{0}")]
    Attachment(#[from] InvalidAttachment),
    #[error(
        "no photo or file of message {id} is here: it has none, or was deleted, or is still to be fetched by `magpie history`"
    )]
    NoMedia { id: MessageId },
    #[error("{0}")]
    Media(MediaError),
    #[error("{path}: {error}")]
    File { path: String, error: io::Error },
    #[error("{program} did not start: {reason}; {log} has what it said")]
    NoServer {
        program: String,
        reason: String,
        log: String,
    },
    #[error("the FCM emulator cannot listen: {0}")]
    Emulator(io::Error),
    #[error("{0}")]
    Control(ControlError),
    #[error("standard input: {0}")]
    Input(io::Error),
    /// Nobody reads on: the end of this program, and not worth a word.
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::NotSignedIn { .. } | Self::SignedOut { .. } => Exit::NotSignedIn,
            Self::Refused(refusal) if refusal.action == Action::SignIn => Exit::NotSignedIn,
            Self::Refused(refusal) if is_retryable(refusal) => Exit::NotReached,
            Self::TooOld(_)
            | Self::Replaced
            | Self::Held { .. }
            | Self::OutboxHolds { .. }
            | Self::Refused(_)
            | Self::Invalid(_)
            | Self::InvalidMessage(_)
            | Self::NotUtf8
            | Self::UnknownConversation { .. }
            | Self::UnknownUser { .. }
            | Self::NotAsked { .. }
            | Self::UnknownMessage { .. }
            | Self::Attachment(_)
            | Self::NoMedia { .. }
            | Self::Media(_)
            | Self::NotRefused { .. } => Exit::Refused,
            Self::NoPassword
            | Self::NotTyped
            | Self::NotConfirmed
            | Self::NothingReported
            | Self::PasswordsDiffer
            | Self::NoHome => Exit::Usage,
            Self::Connect(ConnectError::Address { .. }) => Exit::Usage,
            Self::TimedOut { .. } | Self::Connect(_) | Self::Lost(_) | Self::NoServer { .. } => {
                Exit::NotReached
            }
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::InUse { .. }
            | Self::Home(_)
            | Self::Local(_)
            | Self::LocalDatabase(_)
            | Self::File { .. }
            | Self::Input(_)
            | Self::Emulator(_)
            | Self::Control(_)
            | Self::Output(_) => Exit::Local,
        }
    }

    /// Whether the same may succeed later.
    pub(crate) fn may_pass(&self) -> bool {
        if let Self::Refused(refusal) = self {
            is_retryable(refusal)
        } else if let Self::Connect(error) = self {
            !error.is_permanent()
        } else {
            matches!(self, Self::TimedOut { .. } | Self::Lost(_))
        }
    }

    /// Its name for programs: the server's, where the server said it.
    pub(crate) fn code(&self) -> String {
        match self {
            Self::Refused(refusal) | Self::TooOld(refusal) => refusal.code_name(),
            Self::NotSignedIn { .. } => "not_signed_in".to_owned(),
            Self::SignedOut { .. } => "unauthenticated".to_owned(),
            Self::Replaced => "replaced".to_owned(),
            Self::Held { .. } => "home_held".to_owned(),
            Self::InUse { .. } => "home_in_use".to_owned(),
            Self::OutboxHolds { .. } => "outbox_not_empty".to_owned(),
            Self::Invalid(_) | Self::InvalidMessage(_) | Self::Attachment(_) | Self::NotUtf8 => {
                "invalid_argument".to_owned()
            }
            Self::UnknownConversation { .. }
            | Self::UnknownUser { .. }
            | Self::NotAsked { .. }
            | Self::UnknownMessage { .. }
            | Self::NoMedia { .. }
            | Self::Media(_)
            | Self::NotRefused { .. } => "not_found".to_owned(),
            Self::TimedOut { .. } => "timed_out".to_owned(),
            Self::Connect(_) | Self::Lost(_) | Self::NoServer { .. } => "not_reached".to_owned(),
            Self::NoPassword
            | Self::NotTyped
            | Self::NotConfirmed
            | Self::NothingReported
            | Self::PasswordsDiffer
            | Self::NoHome => "usage".to_owned(),
            Self::Home(_) | Self::Local(_) | Self::LocalDatabase(_) => "local_database".to_owned(),
            Self::File { .. }
            | Self::Input(_)
            | Self::Output(_)
            | Self::Emulator(_)
            | Self::Control(_) => "input_output".to_owned(),
        }
    }

    /// What to do about it, for programs: the server's word, or one like it.
    pub(crate) fn action(&self) -> String {
        match self {
            Self::Refused(refusal) | Self::TooOld(refusal) => return refusal.action_name(),
            Self::Connect(error) if error.is_permanent() => "never",
            Self::NotSignedIn { .. } | Self::SignedOut { .. } => "sign_in",
            Self::TimedOut { .. } | Self::Connect(_) | Self::Lost(_) | Self::InUse { .. } => {
                "retry"
            }
            Self::Replaced
            | Self::Held { .. }
            | Self::OutboxHolds { .. }
            | Self::Invalid(_)
            | Self::InvalidMessage(_)
            | Self::NotUtf8
            | Self::UnknownConversation { .. }
            | Self::UnknownUser { .. }
            | Self::NotAsked { .. }
            | Self::UnknownMessage { .. }
            | Self::NotRefused { .. }
            | Self::Attachment(_)
            | Self::NoMedia { .. }
            | Self::Media(_)
            | Self::File { .. }
            | Self::NoServer { .. }
            | Self::NoPassword
            | Self::NotTyped
            | Self::NotConfirmed
            | Self::NothingReported
            | Self::PasswordsDiffer
            | Self::NoHome
            | Self::Home(_)
            | Self::Local(_)
            | Self::LocalDatabase(_)
            | Self::Input(_)
            | Self::Emulator(_)
            | Self::Control(_)
            | Self::Output(_) => "never",
        }
        .to_owned()
    }
}

fn is_retryable(refusal: &Refusal) -> bool {
    match refusal.action {
        Action::Retry | Action::RetryAfter | Action::Reconnect => true,
        Action::Unspecified | Action::Never | Action::SignIn | Action::Resync | Action::Upgrade => {
            false
        }
    }
}

impl From<LocalError> for Failure {
    fn from(error: LocalError) -> Self {
        match error {
            LocalError::UnknownConversation { recipient } => {
                Self::UnknownConversation { name: recipient }
            }
            error @ (LocalError::DiskFull
            | LocalError::Damaged
            | LocalError::ReadOnly
            | LocalError::Busy
            | LocalError::NoRandomness
            | LocalError::NoAccount
            | LocalError::Sqlite(_)
            | LocalError::Closed) => Self::Local(error),
        }
    }
}

impl From<MediaError> for Failure {
    fn from(error: MediaError) -> Self {
        match error {
            MediaError::Request(error) => error.into(),
            MediaError::Broken(_) => Self::Lost(error.to_string()),
            error @ (MediaError::NotThere
            | MediaError::Other
            | MediaError::Refused(_)
            | MediaError::Local(_)) => Self::Media(error),
        }
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Refused(refusal) => Self::Refused(refusal),
            RequestError::Local(sentence) => Self::LocalDatabase(sentence),
            error @ (RequestError::NotConnected | RequestError::WrongAnswer) => {
                Self::Lost(error.to_string())
            }
        }
    }
}

impl Failure {
    /// A registration or sign-in into `home` did not succeed.
    pub(crate) fn from_sign_in(error: SignInError, home: String) -> Self {
        match error {
            SignInError::Held { name } => Self::Held { home, name },
            SignInError::Connect(error) => Self::Connect(error),
            SignInError::Refused(refusal) => Self::Refused(refusal),
            SignInError::Lost { .. } => Self::Lost(error.to_string()),
            SignInError::Local(error) => Self::Local(error),
            SignInError::Home(error) => Self::Home(error),
        }
    }
}
