//! Those who send and those who sleep, and what they note.

mod phone;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use magpie_audit::{Device, Digest, End, History, Membership, Place, Record, Wake};
use magpie_fcm_emulator::{Reach, Standing, World};
use magpie_protocol::{
    id::{ConversationId, DeviceId, MessageId, UserId},
    push::{AppId, Platform, PushAddress, PushToken},
    seq::Seq,
    text::Title,
    wire::Target,
};
use magpie_server::{
    clock::Clock,
    store::{
        Actor, Append, Attachment, Command, DEADLINE_MS_MAX, Outcome, Shard, SharedStore,
        StoreError,
    },
};
use parking_lot::Mutex;

pub(super) use self::phone::ALL_PAGES;
use self::phone::Sleeper;
use super::watch::Written;
use crate::duty::{id, register};

/// How many sleep.
pub(super) const SLEEPERS: usize = 6;

/// The device that sends.
struct Outbox {
    waiting: VecDeque<(Append, Option<usize>)>,
    is_busy: bool,
    notes: Device,
}

/// What somebody does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    /// A message to one of them, or to all.
    Send(Option<usize>),
    /// Connects, stores so many pages, and leaves or stays.
    Sync(usize, Attachment, u64, bool),
    /// Looks whether a push came, and does the same.
    Answer(usize, u64),
    Leave(usize),
    /// FCM gives out another token.
    NewToken(usize),
    /// The user wants no pushes, for now.
    ClearToken(usize),
    /// The device's database is lost.
    Wipe(usize),
}

/// All of them.
pub(super) struct People {
    sender: Actor,
    outbox: Mutex<Outbox>,
    sleepers: Vec<Sleeper>,
    group: ConversationId,
    members: Mutex<HashMap<ConversationId, Option<usize>>>,
    /// Wakes by their ids, as they came in pushes.
    pushed: Mutex<HashSet<u64>>,
    fcm: Arc<World>,
}

impl People {
    pub(super) async fn new(store: &SharedStore, clock: Clock, fcm: Arc<World>) -> Self {
        let (_, sender) = register(store, "sender").await;
        let mut sleepers = Vec::new();
        for number in 0..SLEEPERS {
            let name = format!("sleeper{number}");
            let (name, actor) = register(store, &name).await;
            sleepers.push(Sleeper::new(name, actor, store.shard_count()));
        }
        let names = sleepers.iter().map(|it| it.name.clone()).collect();
        let title = Title::try_from("all".to_owned()).unwrap();
        let made = Append {
            actor: sender,
            id: MessageId::new(id()),
            command: Command::CreateGroup { title, names },
        };
        let (group, _) = append(store, clock, &made).await.unwrap();
        let people = Self {
            sender,
            outbox: Mutex::new(Outbox {
                waiting: VecDeque::new(),
                is_busy: false,
                notes: Device::new("sender", sender.user),
            }),
            sleepers,
            group,
            members: Mutex::new(HashMap::from([(group, None)])),
            pushed: Mutex::default(),
            fcm,
        };
        for number in 0..SLEEPERS {
            let sync = Act::Sync(number, Attachment::Background, ALL_PAGES, true);
            people.act(store, clock, sync).await.unwrap();
            people
                .act(store, clock, Act::NewToken(number))
                .await
                .unwrap();
        }
        people
    }

    /// Does it, unless who is to do it is about something else.
    pub(super) async fn act(
        &self,
        store: &SharedStore,
        clock: Clock,
        act: Act,
    ) -> Result<(), StoreError> {
        let number = match act {
            Act::Send(to) => return self.send(store, clock, to).await,
            Act::Sync(number, ..)
            | Act::Answer(number, _)
            | Act::Leave(number)
            | Act::NewToken(number)
            | Act::ClearToken(number)
            | Act::Wipe(number) => number,
        };
        let sleeper = &self.sleepers[number];
        if std::mem::replace(&mut sleeper.phone.lock().is_busy, true) {
            return Ok(());
        }
        let done = self.act_of(sleeper, store, clock, act).await;
        sleeper.phone.lock().is_busy = false;
        done
    }

    async fn act_of(
        &self,
        sleeper: &Sleeper,
        store: &SharedStore,
        clock: Clock,
        act: Act,
    ) -> Result<(), StoreError> {
        match act {
            Act::Send(_) => Ok(()),
            Act::Sync(_, attachment, pages, leaves) => {
                sleeper.sync(store, clock, attachment, pages).await?;
                if leaves {
                    sleeper.leave(store).await
                } else {
                    Ok(())
                }
            }
            Act::Answer(_, pages) => {
                let wakes = sleeper.phone.lock().look(&self.fcm);
                if wakes.is_empty() {
                    return Ok(());
                }
                self.pushed.lock().extend(wakes);
                let attachment = Attachment::Background;
                sleeper.sync(store, clock, attachment, pages).await?;
                sleeper.leave(store).await
            }
            Act::Leave(_) => sleeper.leave(store).await,
            Act::NewToken(_) => self.new_token(sleeper, store, clock).await,
            Act::ClearToken(_) => {
                let cleared = store.clear_push(sleeper.actor.device, None).await;
                cleared.map(|_| ())
            }
            Act::Wipe(_) => {
                sleeper.phone.lock().wipe(store.shard_count());
                let attachment = Attachment::Background;
                sleeper.sync(store, clock, attachment, 0).await
            }
        }
    }

    /// Sends what waits, in its order: what may have been accepted already is sent
    /// again as it was.
    async fn send(
        &self,
        store: &SharedStore,
        clock: Clock,
        to: Option<usize>,
    ) -> Result<(), StoreError> {
        if self.outbox.lock().write(self.message(to), to) {
            let sent = self.send_waiting(store, clock).await;
            self.outbox.lock().is_busy = false;
            return sent;
        }
        Ok(())
    }

    fn message(&self, to: Option<usize>) -> Append {
        let to = match to {
            Some(number) => Target::User(self.sleepers[number].name.clone()),
            None => Target::Conversation(self.group),
        };
        let message_id = MessageId::new(id());
        let message = message_id.to_string().as_str().try_into().unwrap();
        Append {
            actor: self.sender,
            id: message_id,
            command: Command::SendMessage { to, message },
        }
    }

    async fn send_waiting(&self, store: &SharedStore, clock: Clock) -> Result<(), StoreError> {
        loop {
            let Some((request, to)) = self.outbox.lock().waiting.front().cloned() else {
                return Ok(());
            };
            let (conversation, seq) = append(store, clock, &request).await?;
            self.members.lock().insert(conversation, to);
            let accepted = Record::Accepted {
                message_id: request.id,
                place: Place { conversation, seq },
                epoch: 1,
            };
            let mut outbox = self.outbox.lock();
            outbox.notes.note(0, accepted);
            outbox.waiting.pop_front();
        }
    }

    async fn new_token(
        &self,
        sleeper: &Sleeper,
        store: &SharedStore,
        clock: Clock,
    ) -> Result<(), StoreError> {
        let token = sleeper.phone.lock().new_token();
        self.fcm
            .set_device(&token, Standing::Registered, Reach::Doze);
        let address = PushAddress {
            platform: Platform::Android,
            app: AppId::parse("org.example.chat").unwrap(),
            token: PushToken::parse(&token).unwrap(),
        };
        let look_at_ms = clock.wall_ms() + DEADLINE_MS_MAX;
        store
            .set_push(sleeper.actor.device, &address, look_at_ms)
            .await
    }

    /// The server is gone, and with it whatever anybody was about.
    pub(super) fn cut_off(&self) {
        self.outbox.lock().is_busy = false;
        for sleeper in &self.sleepers {
            sleeper.phone.lock().is_busy = false;
        }
    }

    /// What apps do by themselves: those whose token was forgotten ask for another
    /// one, those who were pushed sync, and what was not sent is.
    pub(super) async fn do_their_part(&self, store: &SharedStore, clock: Clock) {
        self.outbox.lock().is_busy = true;
        let sent = self.send_waiting(store, clock).await;
        self.outbox.lock().is_busy = false;
        sent.unwrap();
        for (number, sleeper) in self.sleepers.iter().enumerate() {
            let address = store.push_address(sleeper.actor.device).await.unwrap();
            let token = sleeper.phone.lock().token.clone();
            if address.is_none_or(|it| it.token.as_str() != token) {
                let act = Act::NewToken(number);
                self.act(store, clock, act).await.unwrap();
            }
            let act = Act::Answer(number, ALL_PAGES);
            self.act(store, clock, act).await.unwrap();
        }
    }

    /// Whether each has what was sent to it.
    pub(super) fn have_all(&self) -> bool {
        let outbox = self.outbox.lock();
        let members = self.members.lock();
        outbox.waiting.is_empty()
            && outbox.notes.lines.iter().all(|line| {
                let Record::Accepted {
                    message_id, place, ..
                } = &line.record
                else {
                    return true;
                };
                let to = members.get(&place.conversation).copied().flatten();
                let sleepers = self.sleepers.iter().enumerate();
                let mut entitled = sleepers.filter(|(it, _)| to.is_none_or(|to| to == *it));
                entitled.all(|(_, it)| it.phone.lock().stored.contains(message_id))
            })
    }

    /// Messages that were accepted.
    pub(super) fn sent(&self) -> u64 {
        let notes = &self.outbox.lock().notes;
        let is_accepted = |it: &Record| matches!(it, Record::Accepted { .. });
        notes
            .lines
            .iter()
            .filter(|it| is_accepted(&it.record))
            .count() as u64
    }

    /// Pushes that nobody had written down before.
    pub(super) fn pushed_without(&self, written: &[Written]) -> Vec<u64> {
        let written: HashSet<u64> = written.iter().map(|it| it.id).collect();
        self.pushed.lock().difference(&written).copied().collect()
    }

    /// What the checker judges.
    pub(super) fn history(&self, written: &[Written]) -> History {
        let sender = self.outbox.lock().notes.clone();
        let mut devices = vec![sender];
        for sleeper in &self.sleepers {
            let mut notes = sleeper.phone.lock().notes.clone();
            notes.end = Some(End {
                caught_up: true,
                lines: notes.lines.len() as u64,
                ..End::default()
            });
            devices.push(notes);
        }
        let mut members = Vec::new();
        for (conversation, to) in &*self.members.lock() {
            let to = to.map_or(0..SLEEPERS, |it| it..it + 1);
            let users = self.sleepers[to].iter().map(|it| it.actor.user);
            members.extend(users.chain([self.sender.user]).map(|user| Membership {
                user,
                conversation: *conversation,
                from: Seq::new(1),
                to: None,
            }));
        }
        let wakes = self.wakes(written, &mut devices);
        History {
            devices,
            members,
            wakes,
            settled: true,
            ..History::default()
        }
    }

    /// A wake goes to a token, and stands for what is in one shard. A device that was
    /// put back is another one.
    fn wakes(&self, written: &[Written], devices: &mut Vec<Device>) -> Vec<Wake> {
        let mut indexes: BTreeMap<(&str, Shard, usize), usize> = BTreeMap::new();
        let mut put_back: HashMap<DeviceId, usize> = HashMap::new();
        let mut wakes = Vec::new();
        for (number, it) in written.iter().enumerate() {
            let times = put_back.entry(it.device).or_default();
            if it.is_put_back() {
                *times += 1;
                continue;
            }
            let shard = Shard::of(it.position);
            let device = *indexes
                .entry((it.token.as_str(), shard, *times))
                .or_insert_with(|| {
                    let user = self.user_of(it);
                    let name = format!("{} (shard {shard})", it.token);
                    devices.push(Device::new(name, user));
                    devices.len() - 1
                });
            wakes.push(Wake {
                device,
                at: number as u64,
                epoch: 1,
                owed: it.position.get(),
                confirmed: it.confirmed.get(),
                again: it.again,
            });
        }
        wakes
    }

    fn user_of(&self, written: &Written) -> UserId {
        let mut sleepers = self.sleepers.iter();
        let of = sleepers.find(|it| it.actor.device == written.device);
        of.map_or(self.sender.user, |it| it.actor.user)
    }
}

impl Outbox {
    /// Keeps what is to be sent; whether to begin to send.
    fn write(&mut self, request: Append, to: Option<usize>) -> bool {
        if let Command::SendMessage { message, .. } = &request.command {
            let sent = Record::Sent {
                message_id: request.id,
                conversation: None,
                digest: Digest::of(message.text().as_bytes()),
            };
            self.notes.note(0, sent);
        }
        self.waiting.push_back((request, to));
        !std::mem::replace(&mut self.is_busy, true)
    }
}

/// Appends one request; where it is then.
async fn append(
    store: &SharedStore,
    clock: Clock,
    request: &Append,
) -> Result<(ConversationId, Seq), StoreError> {
    let batch: Arc<[Append]> = [request.clone()].into();
    let shard = store.shards_of(&batch).await?[0];
    let committed = store.append(shard, batch, clock.wall_ms()).await?;
    match committed.outcomes[0] {
        Outcome::Accepted {
            conversation, seq, ..
        } => Ok((conversation, seq)),
        Outcome::Refused(refusal) => panic!("{refusal}"),
    }
}
