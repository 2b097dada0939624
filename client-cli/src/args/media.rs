//! Commands about photos and files.

use std::path::PathBuf;

use clap::Args;
use magpie_client::{MessageId, Recipient};

/// Send photos, up to ten in one message
///
/// JPEG, PNG, WebP and GIF. They are turned upright, made smaller (at most 2048 pixels wide
/// and high) and written anew, without the place, the time and the camera; of one that moves
/// the first picture is sent. They are copied into the home first and uploaded from there, so
/// nothing is lost when the network or this program is; what is sent meanwhile goes before them.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  magpie photo @bob beach.jpg\n  magpie photo @bob one.jpg two.jpg --caption 'the beach'\n  magpie photo @bob map.png --original"
)]
pub(crate) struct Photo {
    #[command(flatten)]
    pub(crate) what: Sent,
    /// Send the files as they are, to the last byte, with all that the camera wrote, such as
    /// the place
    #[arg(long)]
    pub(crate) original: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Sent {
    /// @NAME or a conversation's id
    #[arg(value_name = "WHOM")]
    pub(crate) to: Recipient,
    /// What to send
    #[arg(value_name = "FILE", required = true, num_args = 1..=10)]
    pub(crate) files: Vec<PathBuf>,
    /// What you say with them
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) caption: String,
    /// Only write the outbox; the next command that connects sends it
    #[arg(long)]
    pub(crate) queue: bool,
}

/// Send files as they are, up to ten in one message
///
/// With their names. Otherwise as `magpie photo`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  magpie file @bob report.pdf\n  magpie file @bob notes.txt --caption 'as promised'"
)]
pub(crate) struct SendFile {
    #[command(flatten)]
    pub(crate) what: Sent,
}

/// Save the photos and files of a message, or the photo of a user or group
///
/// They are fetched unless they are here, and compared with what was sent. No file is
/// written over.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  magpie save 0190163d-8694-739b-aea5-966c26f8ad91\n  magpie save 0190163d-8694-739b-aea5-966c26f8ad91 ~/Pictures"
)]
pub(crate) struct Save {
    /// The message's id, as `magpie history` shows it beside photos and files; or the id of a
    /// photo, as `magpie profile` and `magpie conversations` show it with --json
    #[arg(value_name = "ID")]
    pub(crate) id: MessageId,
    /// Where to; made if it is absent
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) directory: PathBuf,
}
