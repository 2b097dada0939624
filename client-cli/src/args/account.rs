//! What becomes of the account, and what is told of others.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use magpie_client::{Recipient, ReportReason, Seq};

use super::seq;

#[derive(Args, Debug)]
pub(crate) struct PasswordArgs {
    /// Also sign your other devices out
    #[arg(long)]
    pub(crate) sign_out_others: bool,

    /// Read both passwords from standard input: the current one, and on the next line
    /// the new one
    ///
    /// Else they are asked for.
    #[arg(long)]
    pub(crate) password_stdin: bool,
}

#[derive(Args, Debug)]
pub(crate) struct DeleteArgs {
    /// Do not ask whether you mean it
    #[arg(long)]
    pub(crate) yes: bool,

    /// Read the password from the first line of standard input; needs --yes
    ///
    /// Else it is taken from `MAGPIE_PASSWORD`, else asked for.
    #[arg(long, requires = "yes")]
    pub(crate) password_stdin: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ReportArgs {
    /// @NAME, or with --seq the conversation that the message is in
    #[arg(value_name = "WHOM")]
    pub(crate) of: Recipient,

    /// What to say to it
    #[arg(default_value = "")]
    pub(crate) text: String,

    /// The message with this seq, not the user
    #[arg(long, value_name = "SEQ", value_parser = seq)]
    pub(crate) seq: Option<Seq>,

    /// Why
    #[arg(long, value_enum)]
    pub(crate) reason: ReasonName,
}

#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    /// Where to; made if it is absent
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,

    /// Also fetch the photos and files that you have sent, and your profile photo
    #[arg(long)]
    pub(crate) media: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ReasonName {
    Spam,
    Abuse,
    Illegal,
    Other,
}

impl From<ReasonName> for ReportReason {
    fn from(name: ReasonName) -> Self {
        match name {
            ReasonName::Spam => Self::Spam,
            ReasonName::Abuse => Self::Abuse,
            ReasonName::Illegal => Self::Illegal,
            ReasonName::Other => Self::Other,
        }
    }
}
