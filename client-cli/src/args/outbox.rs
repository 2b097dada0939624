//! Commands about what is queued.

use clap::Subcommand;
use magpie_client::MessageId;

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
