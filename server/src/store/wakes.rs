//! Where pushes go, and which devices are owed one: what the duty to wake needs
//! of the log.

use async_trait::async_trait;
use magpie_protocol::{
    id::{ConversationId, DeviceId, UserId},
    push::{PushAddress, PushToken},
    seq::{Position, Seq},
    setting::NotifyLevel,
    wire::v1,
};

use super::{Generation, Shard, StoreError};

/// How a device is there, as far as its wakes are concerned.
///
/// It only says how long to wait for a confirmation: one that is stale, because
/// a server was killed, delays a wake and loses none.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Attachment {
    /// Not connected, or about to go.
    #[default]
    Away,
    /// Connected; nobody looks at the app.
    Background,
    /// Connected; somebody looks at the app.
    Foreground,
}

impl Attachment {
    pub(in crate::store) const fn number(self) -> u8 {
        match self {
            Self::Away => 0,
            Self::Background => 1,
            Self::Foreground => 2,
        }
    }

    /// Its name, for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::Background => "background",
            Self::Foreground => "foreground",
        }
    }

    pub(in crate::store) const fn from_number(number: i64) -> Option<Self> {
        Some(match number {
            0 => Self::Away,
            1 => Self::Background,
            2 => Self::Foreground,
            _ => return None,
        })
    }
}

/// An event for which devices may be woken: a message, or a friend request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WorthyEvent {
    /// Its place in the log.
    pub position: Position,
    /// Its conversation.
    pub conversation: ConversationId,
    /// Its place there.
    pub seq: Seq,
    /// Whose it is.
    pub sender: UserId,
    /// Milliseconds since 1970.
    pub committed_at_ms: i64,
    /// It is a message.
    pub is_message: bool,
}

/// Worthy events of a stretch of a shard.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WorthyStretch {
    /// In order of position.
    pub events: Vec<WorthyEvent>,
    /// All up to here are in it.
    pub upto: Position,
}

/// A member's device that gets pushes, has not confirmed an event, and is not
/// being woken already, or was connected lately and may be about to answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Candidate {
    /// Which device.
    pub device: DeviceId,
    /// Whose.
    pub user: UserId,
    /// How far it has confirmed the shard.
    pub cursor: Position,
    /// The first event of the conversation that the member may read.
    pub from_seq: Seq,
    /// How it is there.
    pub attachment: Attachment,
    /// How far its user has read the conversation.
    pub read_seq: Seq,
    /// Somebody looks at the app on another device of the user.
    pub has_company: bool,
    /// It has a wake that is not answered.
    pub is_woken: bool,
    /// For what its user is woken in this conversation.
    pub level: NotifyLevel,
    /// Messages here are requests to its user, who lets friends alone write.
    pub is_request: bool,
}

/// Candidates, in the store's own order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CandidatePage {
    /// Some of them.
    pub candidates: Vec<Candidate>,
    /// Where the next ones are; `None` if these are the last.
    pub next: Option<CandidatePlace>,
}

/// For whom a message is meant in particular.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Addressed {
    /// The message's place in the log.
    pub position: Position,
    /// For all members.
    pub everybody: bool,
    /// For those whom it mentions, and for whose message it answers.
    pub users: Vec<UserId>,
}

impl Addressed {
    /// Of a message that answers one of this user.
    pub(in crate::store) fn of(
        position: Position,
        message: &v1::Message,
        answered: Option<UserId>,
    ) -> Self {
        let mentions = message.mentions.iter();
        let mentioned = mentions.filter_map(|it| UserId::try_from(it.user_id.as_ref()).ok());
        Self {
            position,
            everybody: message.mentions_everybody,
            users: mentioned.chain(answered).collect(),
        }
    }

    /// Whether it is meant for this user.
    #[must_use]
    pub fn is_for(&self, user: UserId) -> bool {
        self.everybody || self.users.contains(&user)
    }
}

/// A place among a conversation's candidates.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CandidatePlace(pub(in crate::store) i64);

/// A wake to be written down.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NewWake {
    /// Whom.
    pub device: DeviceId,
    /// Because of the event here.
    pub position: Position,
    /// Its identity, random.
    pub id: u64,
}

/// A wake that is written down, and is to be sent now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DueWake {
    /// Whom.
    pub device: DeviceId,
    /// Where it goes.
    pub address: PushAddress,
    /// Its identity.
    pub id: u64,
    /// 1 for the first try, 2 for the next, ...
    pub tries: u32,
    /// The place of the event that it is for.
    pub position: Position,
}

/// What a message says, for apps whose wakes show it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Preview {
    /// The message's place in the log.
    pub position: Position,
    /// Its conversation.
    pub conversation: ConversationId,
    /// Its place there.
    pub seq: Seq,
    /// The name of who sent it.
    pub sender: String,
    /// What it says.
    pub text: String,
}

/// When a wake that is not answered is sent again: after each try, so many
/// milliseconds later; after the last, as after that.
pub type Schedule = [i64];

/// What an engine must do for wakes. All of it is durable when it returns.
///
/// A device has at most one wake. It is answered when the device's cursor passes
/// its position; nobody needs to write that down.
#[async_trait]
pub trait WakeStore {
    /// Sets where a device's pushes go, and takes the token from any other device.
    /// At `look_at_ms` it is due to be looked at: what came before may be owed.
    async fn set_push(
        &self,
        device: DeviceId,
        address: &PushAddress,
        look_at_ms: i64,
    ) -> Result<(), StoreError>;

    /// Where a device's pushes go.
    async fn push_address(&self, device: DeviceId) -> Result<Option<PushAddress>, StoreError>;

    /// A device gets no pushes any more; with `token`, only if it is still that
    /// one. Whether it got some.
    async fn clear_push(
        &self,
        device: DeviceId,
        token: Option<&PushToken>,
    ) -> Result<bool, StoreError>;

    /// These connections go: unless a newer one came, the device is away, and was there
    /// until now if it was in the foreground.
    async fn detach(&self, gone: &[(DeviceId, Generation)], at_ms: i64) -> Result<(), StoreError>;

    /// Takes the duty for a shard, for so long, or prolongs it: how far all that
    /// is owed is written down. `None` while another holder has it.
    async fn lease_wakes(
        &self,
        shard: Shard,
        holder: u64,
        for_ms: i64,
    ) -> Result<Option<Position>, StoreError>;

    /// Everything owed up to here is written down. False if the lease is lost.
    async fn advance_wakes(
        &self,
        shard: Shard,
        holder: u64,
        to: Position,
    ) -> Result<bool, StoreError>;

    /// Events behind `after` for which devices may be woken; looks at no more
    /// than `count` events.
    async fn worthy_events(
        &self,
        after: Position,
        count: usize,
    ) -> Result<WorthyStretch, StoreError>;

    /// Devices of a conversation's members that may be owed a wake for the event
    /// at `position`, at most `count` of them behind `place`. Those with an
    /// unanswered wake are among them if they said hello since `seen_since_ms`. What
    /// their users have set counts as it stands at `now_ms`.
    async fn wake_candidates(
        &self,
        conversation: ConversationId,
        position: Position,
        place: CandidatePlace,
        count: usize,
        seen_since_ms: i64,
        now_ms: i64,
    ) -> Result<CandidatePage, StoreError>;

    /// For whom the messages at these places are meant; what is no message is left
    /// out.
    async fn addressed(&self, positions: &[Position]) -> Result<Vec<Addressed>, StoreError>;

    /// Writes wakes down as sent, before they are: those whose device gets
    /// pushes, has not confirmed the position even now, and has no unanswered
    /// wake. Returns them.
    async fn record_wakes(
        &self,
        wakes: &[NewWake],
        now_ms: i64,
        schedule: &Schedule,
    ) -> Result<Vec<DueWake>, StoreError>;

    /// Takes wakes that are due again, at most `count`, and writes the next try
    /// down. What is answered is forgotten, or becomes a wake for an event that its
    /// device has not confirmed: in each conversation the first. What is due later
    /// than the schedule's longest step is due now: the clock was set back. One for
    /// a conversation that was muted since is as good as answered.
    async fn due_wakes(
        &self,
        now_ms: i64,
        count: usize,
        schedule: &Schedule,
    ) -> Result<Vec<DueWake>, StoreError>;

    /// What the messages at these places say; what is no message is left out.
    async fn previews(&self, positions: &[Position]) -> Result<Vec<Preview>, StoreError>;

    /// A wake was not sent: the try does not count, and it is due again then.
    async fn postpone_wakes(
        &self,
        wakes: &[(DeviceId, u64)],
        due_at_ms: i64,
    ) -> Result<(), StoreError>;
}

/// The longest that a device is given to confirm an event.
pub const DEADLINE_MS_MAX: i64 = 30_000;

/// An event that was committed then is one whose device had all its time.
pub(in crate::store) const fn ripe_ms(now_ms: i64) -> i64 {
    now_ms.saturating_sub(DEADLINE_MS_MAX)
}

/// How many events of a conversation are looked at for the next one that is worth a
/// wake.
pub(in crate::store) const NEXT_EVENTS_MAX: i64 = if cfg!(test) { 8 } else { 1_000 };

/// No wake is due later than this, unless the clock was ahead when it was tried.
pub(in crate::store) fn latest_due(now_ms: i64, schedule: &Schedule) -> i64 {
    let longest_ms = schedule.iter().copied().max().unwrap_or(i64::MAX);
    now_ms.saturating_add(longest_ms)
}

/// When the wake is due again that was tried so often.
pub(in crate::store) fn next_due(now_ms: i64, tries: u32, schedule: &Schedule) -> i64 {
    let step = usize::try_from(tries)
        .unwrap_or(usize::MAX)
        .saturating_sub(1);
    let wait = schedule.get(step).or(schedule.last());
    now_ms.saturating_add(wait.copied().unwrap_or(i64::MAX))
}
