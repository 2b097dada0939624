//! Mistakes built into the world, to see that they are found.

/// A mistake. Each was made somewhere, or nearly here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mutant {
    /// No mistake.
    None,
    /// The device acknowledges a frame when it arrives.
    AcksBeforeStoring,
    /// The device stores a page's cursor before its events.
    CursorBeforeEvents,
    /// The device stores a pong's cursor before the frames that it stands behind.
    AppliesCheckpointAtOnce,
    /// The device sends only once what a connection loses.
    SkipsResend,
    /// The device puts what was under way behind what was not.
    ResendsLast,
    /// The device sends again under a new id.
    ResendsAnew,
    /// The device sends everything again while the connection lives.
    ResendsOnTimer,
    /// The device takes a refusal out of its outbox and says nothing.
    ForgetsRefusals,
    /// The device believes that what one epoch accepted is in the next.
    TrustsOldEpoch,
    /// The server appends again what it knows already.
    ForgetsIds,
    /// The server goes on with a connection behind a request that it could not do.
    GoesOnAfterFailure,
    /// The server takes an unknown outcome for a failure.
    UnknownIsRefused,
    /// The server takes an unknown outcome for a success.
    UnknownIsAccepted,
    /// The server answers before the commit: a crash forgets what was accepted.
    AnswersBeforeCommit,
    /// The server takes positions and seqs before the commit.
    NumbersBeforeCommit,
    /// The server puts the log's head into pongs instead of the session's place.
    PongOvertakes,
    /// The server begins a session at the log's head: what a session missed was
    /// in the queue of the one before.
    QueuePerSession,
    /// The server looks at the log when the doorbell rings, and only then.
    TrustsTheDoorbell,
    /// The server sends what the doorbell names, without looking at what is before.
    SendsWhatTheBellNames,
    /// The server never sends a user's own messages to their devices.
    NeverPagesOwn,
    /// The server never lowers a device's cursor at hello.
    HelloNeverLowers,
    /// The server takes what an older connection confirms.
    NoFence,
    /// The server takes a page that was sent for one that was confirmed.
    ConfirmsWhenSent,
    /// The server tells others of what it sent, not of what was stored.
    TicksWhenSent,
    /// The server sends one wake and never another.
    WakesOnce,
    /// The server wakes a device whatever it has confirmed.
    WakesForNothing,
    /// The server is restored and goes on in the same epoch.
    RestoresSilently,
    /// The server takes a cursor of an older epoch as far as its log reaches.
    HeadInsteadOfBase,
    /// The server compares only with the last base.
    LastBaseOnly,
    /// The server takes an epoch that a restore undid for one that it knows.
    TakesUndoneEpochForKnown,
    /// The server believes that a device holds of a restored history what it had
    /// confirmed of another.
    TrustsRestoredCursors,
    /// The server lets a device write that does not know yet what it must send again.
    NoEarlyWriteGate,
    /// The server lets it write once all was sent, and not only once it is stored.
    OpensGateWhenSent,
    /// The device names the new epoch before it holds all of it.
    NamesEpochTooSoon,
    /// The server keeps one position for all shards.
    OnePositionForAllShards,
    /// The server goes on sending to those who have left.
    SendsToLeavers,
    /// The server accepts messages of those who have left.
    TakesFromLeavers,
    /// The device sends its outbox in the order of its clock.
    OrdersByTheClock,
    /// The server commits at an earlier time than before.
    LetsTimeFall,
}

impl Mutant {
    /// All but [`Mutant::None`].
    pub const ALL: [Self; 39] = [
        Self::AcksBeforeStoring,
        Self::CursorBeforeEvents,
        Self::AppliesCheckpointAtOnce,
        Self::SkipsResend,
        Self::ResendsLast,
        Self::ResendsAnew,
        Self::ResendsOnTimer,
        Self::ForgetsRefusals,
        Self::TrustsOldEpoch,
        Self::ForgetsIds,
        Self::GoesOnAfterFailure,
        Self::UnknownIsRefused,
        Self::UnknownIsAccepted,
        Self::AnswersBeforeCommit,
        Self::NumbersBeforeCommit,
        Self::PongOvertakes,
        Self::QueuePerSession,
        Self::TrustsTheDoorbell,
        Self::SendsWhatTheBellNames,
        Self::NeverPagesOwn,
        Self::HelloNeverLowers,
        Self::NoFence,
        Self::ConfirmsWhenSent,
        Self::TicksWhenSent,
        Self::WakesOnce,
        Self::WakesForNothing,
        Self::RestoresSilently,
        Self::HeadInsteadOfBase,
        Self::LastBaseOnly,
        Self::TakesUndoneEpochForKnown,
        Self::TrustsRestoredCursors,
        Self::NoEarlyWriteGate,
        Self::OpensGateWhenSent,
        Self::NamesEpochTooSoon,
        Self::OnePositionForAllShards,
        Self::SendsToLeavers,
        Self::TakesFromLeavers,
        Self::OrdersByTheClock,
        Self::LetsTimeFall,
    ];
}
