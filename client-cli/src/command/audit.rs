//! `audit`: this device's copy against the server's log, by conversation and
//! seq. The judging is done by the `audit` crate; here is the fetching.

use std::{collections::BTreeMap, time::Duration};

use magpie_audit::{
    Digest,
    compare::{self, Difference, Entry, compare},
    unread::{Counted, Said, miscounted},
};
use magpie_client::{
    AuditConversation, AuditLine, Client, Content, ConversationId, ConversationLine, ErrorCode,
    From as HistoryFrom, Operation, RequestError, Seq, StoredEvent, User, UserId,
};
use tokio::time::{Instant, sleep};

use crate::{
    carrier::{Carrier, Patience},
    context::Context,
    failure::{Exit, Failure},
    line::{AuditFields, Line, Shown},
};

const HISTORY_MAX: u32 = 200;
const CONVERSATIONS_MAX: u32 = 100;

/// How long what was just sent by others may take to arrive here.
const ARRIVAL_MAX: Duration = Duration::from_secs(5);

/// What is readable of a conversation on the server: first and newest seq.
#[derive(Clone, Copy)]
struct Readable {
    first: Seq,
    head: Seq,
    /// What it says is unread, of a member.
    said: Option<Said>,
}

pub(crate) async fn run(context: &Context) -> Result<Exit, Failure> {
    let mut carrier = Carrier::own(context)?;
    let patience = Patience::new(context.timeout());
    carrier.until_caught_up(&patience).await?;
    let mut totals = Totals::default();
    let me = context.home.account()?.map(|account| account.user_id);
    let audited = Auditing {
        context,
        me,
        client: carrier.client()?,
        totals: &mut totals,
    }
    .run()
    .await;
    carrier.shutdown().await;
    audited?;
    let exit = totals.exit();
    context.output.line(&Line::Audit(totals.0))?;
    Ok(exit)
}

struct Auditing<'run> {
    context: &'run Context,
    me: Option<UserId>,
    client: &'run Client,
    totals: &'run mut Totals,
}

impl Auditing<'_> {
    async fn run(&mut self) -> Result<(), Failure> {
        let server = self.readable().await?;
        self.until_arrived(&server).await?;
        let mut local: BTreeMap<ConversationId, AuditConversation> = self
            .context
            .home
            .audit()?
            .into_iter()
            .map(|conversation| (conversation.id, conversation))
            .collect();
        let shown = self.shown()?;
        for (id, readable) in &server {
            let log = self.conversation(*id, *readable, local.remove(id)).await?;
            self.unread(*id, &log, [readable.said, shown.get(id).copied()])?;
        }
        // What the server does not list is compared with what it gives.
        for (id, conversation) in local {
            let readable = Readable {
                first: conversation.first_seq,
                head: Seq::ZERO,
                said: None,
            };
            self.conversation(id, readable, Some(conversation)).await?;
        }
        Ok(())
    }

    /// The conversations that the server has for this user.
    async fn readable(&self) -> Result<BTreeMap<ConversationId, Readable>, Failure> {
        let mut readable = BTreeMap::new();
        let mut after = None;
        loop {
            let asking = self.client.fetch_conversations(after, CONVERSATIONS_MAX);
            let page = in_time(self.context, asking).await?;
            for line in &page.conversations {
                let head = line.last_seq.unwrap_or(line.head_seq);
                let first = line.first_seq;
                let said = self.said(line);
                readable.insert(line.id, Readable { first, head, said });
            }
            after = page.conversations.last().map(|line| line.id);
            if page.complete || after.is_none() {
                return Ok(readable);
            }
        }
    }

    /// Waits a moment for what others sent just now; what does not come is
    /// found to be missing.
    async fn until_arrived(
        &self,
        server: &BTreeMap<ConversationId, Readable>,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + ARRIVAL_MAX;
        loop {
            let heads: BTreeMap<ConversationId, Seq> =
                self.context.home.heads()?.into_iter().collect();
            let arrived = server
                .iter()
                .all(|(id, readable)| heads.get(id).is_some_and(|head| *head >= readable.head));
            if arrived || Instant::now() >= deadline {
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn conversation(
        &mut self,
        id: ConversationId,
        readable: Readable,
        local: Option<AuditConversation>,
    ) -> Result<Vec<StoredEvent>, Failure> {
        let stored = local
            .as_ref()
            .and_then(|local| local.events.last())
            .map_or(Seq::ZERO, |line| line.seq);
        // What came after both sides were asked belongs to neither.
        let head = readable.head.max(stored);
        let log = self.fetch(id, readable.first, head).await?;
        let server: Vec<Entry> = log.iter().map(server_entry).collect();
        let (events, gaps) = local.map_or_else(Default::default, |local| {
            let events: Vec<Entry> = local.events.iter().map(local_entry).collect();
            let gaps: Vec<compare::Gap> = local
                .gaps
                .iter()
                .map(|gap| compare::Gap {
                    from: gap.from,
                    to: gap.to,
                })
                .collect();
            (events, gaps)
        });
        let verdict = compare(&events, &gaps, &server);
        self.totals.0.conversations += 1;
        self.totals.0.events += u64::try_from(events.len()).unwrap_or(u64::MAX);
        self.totals.0.unfetched += verdict.unfetched;
        for difference in &verdict.differences {
            self.context
                .output
                .line(&self.totals.difference(id, difference))?;
        }
        Ok(log)
    }

    /// What this device says is unread. A mark that waits in the outbox is one that the
    /// members' list does not show yet.
    fn shown(&self) -> Result<BTreeMap<ConversationId, Said>, Failure> {
        for entry in self.context.home.outbox() {
            if matches!(entry?.operation, Operation::MarkRead { .. }) {
                return Ok(BTreeMap::new());
            }
        }
        let lines = self.context.home.conversations()?;
        let said = lines.iter().map(|line| (line.id, self.said(line)));
        Ok(said.filter_map(|(id, said)| Some((id, said?))).collect())
    }

    /// What a line says is unread; `None` if the user is no member any more.
    fn said(&self, line: &ConversationLine) -> Option<Said> {
        let mut members = line.members.iter();
        let own = members.find(|member| Some(member.user.id) == self.me)?;
        Some(Said {
            read: own.read_seq,
            head: line.head_seq,
            unread: line.unread,
            mentions: line.unread_mentions,
        })
    }

    /// What the server and the device say is unread, against the log.
    fn unread(
        &mut self,
        id: ConversationId,
        log: &[StoredEvent],
        said: [Option<Said>; 2],
    ) -> Result<(), Failure> {
        let counted: Vec<Counted> = log.iter().map(|event| self.counted(event)).collect();
        let end = log.last().map_or(Seq::ZERO, |event| event.seq);
        for (said, who) in said.into_iter().zip(["the server", "this device"]) {
            // What came meanwhile was not fetched.
            let Some(said) = said.filter(|said| said.head <= end) else {
                continue;
            };
            if let Some(right) = miscounted(&counted, said) {
                self.totals.0.miscounted += 1;
                self.context.output.line(&Line::Difference {
                    kind: "miscounted",
                    conversation_id: Shown(id),
                    seq: said.read.get(),
                    message_id: None,
                    message: format!(
                        "{who} says that {} are unread behind seq {}, {} of them mentions; the \
                         log has {}, {} of them mentions",
                        said.unread,
                        said.read,
                        said.mentions,
                        right.unread,
                        range(&right.mentions)
                    ),
                })?;
            }
        }
        Ok(())
    }

    fn counted(&self, event: &StoredEvent) -> Counted {
        let is_me = |user: &User| Some(user.id) == self.me;
        let is_message = matches!(event.content, Content::Message(_) | Content::DeletedMessage);
        let (Content::GroupCreated { members, .. } | Content::MembersAdded { members }) =
            &event.content
        else {
            let counts = is_message && !event.sender.as_ref().is_some_and(is_me);
            let names_me = if let Content::Message(message) = &event.content {
                let mut mentions = message.mentions.iter();
                message.mentions_everybody || mentions.any(|it| Some(it.user) == self.me)
            } else {
                false
            };
            // Whom it mentioned is gone with it.
            let is_deleted = matches!(event.content, Content::DeletedMessage);
            let mentions = (!is_deleted).then_some(counts && names_me);
            return Counted {
                seq: event.seq,
                counts,
                mentions,
                begins: false,
            };
        };
        Counted {
            seq: event.seq,
            counts: false,
            mentions: Some(false),
            begins: members.iter().any(is_me),
        }
    }

    /// The server's events from `first` to `head`.
    async fn fetch(
        &self,
        id: ConversationId,
        first: Seq,
        head: Seq,
    ) -> Result<Vec<StoredEvent>, Failure> {
        let mut events: Vec<StoredEvent> = Vec::new();
        let mut after = first.previous();
        while after < head {
            let asking = self
                .client
                .fetch_history(id, HistoryFrom::After(after), HISTORY_MAX);
            let page = match in_time(self.context, asking).await {
                // It is not (any more) for this user: the server has nothing.
                Err(Failure::Refused(refusal)) if refusal.code == ErrorCode::NotFound => break,
                page => page?,
            };
            let last = page.events.last().map(|event| event.seq);
            let wanted = page.events.into_iter().filter(|event| event.seq <= head);
            events.extend(wanted);
            match last {
                Some(last) if !page.complete && last > after => after = last,
                Some(_) | None => break,
            }
        }
        Ok(events)
    }
}

fn range(numbers: &std::ops::RangeInclusive<u64>) -> String {
    match (numbers.start(), numbers.end()) {
        (least, most) if least == most => least.to_string(),
        (least, most) => format!("{least} to {most}"),
    }
}

pub(super) async fn in_time<T>(
    context: &Context,
    asking: impl Future<Output = Result<T, RequestError>>,
) -> Result<T, Failure> {
    let patience = Patience::new(context.timeout());
    tokio::select! {
        biased;
        answer = asking => Ok(answer?),
        () = patience.over() => Err(patience.timed_out("the server did not answer")),
    }
}

fn local_entry(line: &AuditLine) -> Entry {
    Entry {
        seq: line.seq,
        message_id: line.message_id,
        sender: line.sender,
        digest: Digest::new(line.digest),
    }
}

fn server_entry(event: &StoredEvent) -> Entry {
    Entry {
        seq: event.seq,
        message_id: event.message_id,
        sender: event.sender.as_ref().map(|user| user.id),
        digest: Digest::new(event.digest()),
    }
}

#[derive(Debug, Default)]
struct Totals(AuditFields);

impl Totals {
    /// Counts a difference and describes it.
    fn difference(&mut self, id: ConversationId, difference: &Difference) -> Line {
        let (kind, entry) = match difference {
            Difference::Missing(entry) => {
                self.0.missing += 1;
                ("missing", entry)
            }
            Difference::Extra(entry) => {
                self.0.extra += 1;
                ("extra", entry)
            }
            Difference::Different { local, .. } => {
                self.0.different += 1;
                ("different", local)
            }
        };
        Line::Difference {
            kind,
            conversation_id: Shown(id),
            seq: entry.seq.get(),
            message_id: entry.message_id.map(Shown),
            message: difference.to_string(),
        }
    }

    const fn exit(&self) -> Exit {
        let AuditFields {
            missing,
            extra,
            different,
            miscounted,
            ..
        } = self.0;
        if missing + extra + different + miscounted == 0 {
            Exit::Done
        } else {
            Exit::Refused
        }
    }
}
