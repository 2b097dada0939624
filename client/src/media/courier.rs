//! Uploads what requests of the outbox wait for: one object after the other, each gone on
//! with where it broke off, for as long as there is a connection.

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use hyper::header::HeaderValue;
use magpie_protocol::{
    backoff::Backoff,
    id::{MediaId, MessageId},
    session::Answer,
    wire::v1::{self, Action, ErrorCode, client_frame::Body},
};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

use super::{
    Cache, Http, Stage, direct,
    tus::{self, Halt, Leave, Told},
};
use crate::{
    client::Event,
    database::{Database, Uploading},
    driver::{Bells, Command, Notices, random},
    error::{LocalError, RequestError},
    home::Home,
    model::Refusal,
};

/// How long a token is used. The server lets it live longer.
const LEAVE_TIME: Duration = Duration::from_secs(30 * 60);

/// How often a whole upload may begin anew before it is given up.
const ANEW_MAX: u32 = 3;

/// When nothing says that there is something to do.
const IDLE: Duration = Duration::from_secs(3_600);

/// What goes on with uploads.
pub(crate) struct Courier {
    home: Home,
    http: Http,
    bucket: Http,
    commands: mpsc::WeakSender<Command>,
    notices: Notices,
    bells: Bells,
    watch_interval: Option<Duration>,
    leave: Option<(Leave, Instant)>,
    tries: HashMap<MediaId, Tries>,
    /// As of when the outbox was looked at.
    seen: u64,
}

struct Tries {
    backoff: Backoff,
    next_at: Instant,
    anew: u32,
    /// What the server had.
    offset: u64,
    /// Its bucket took nothing from us: all goes through the server.
    through_server: bool,
}

/// There is no connection.
struct NotConnected;

impl Courier {
    pub(crate) fn new(
        home: Home,
        http: Http,
        commands: &mpsc::Sender<Command>,
        (notices, bells): (Notices, Bells),
        watch_interval: Option<Duration>,
    ) -> Self {
        Self {
            home,
            bucket: http.another(),
            http,
            commands: commands.downgrade(),
            notices,
            bells,
            watch_interval,
            leave: None,
            tries: HashMap::new(),
            seen: 0,
        }
    }

    /// Runs until the client is gone.
    pub(crate) async fn run(mut self) {
        let bell = Arc::clone(&self.bells.uploads);
        loop {
            // Without a connection, the bell rings when there is one.
            let next_at = self.round().await.unwrap_or_default();
            if self.commands.upgrade().is_none() {
                return;
            }
            self.rest(&bell, next_at).await;
        }
    }

    /// Until the bell rings, something is due, or another process has written.
    async fn rest(&mut self, bell: &Notify, next_at: Option<Instant>) {
        let until = next_at.unwrap_or_else(|| Instant::now() + IDLE);
        loop {
            let now = Instant::now();
            let look_at = self
                .watch_interval
                .map_or(until, |interval| until.min(now + interval));
            if timeout_at(look_at, bell.notified()).await.is_ok() || Instant::now() >= until {
                return;
            }
            let seen = self.home.data_version().unwrap_or(self.seen);
            if std::mem::replace(&mut self.seen, seen) != seen {
                return;
            }
        }
    }

    /// Goes on with all that is due. When the next one is.
    async fn round(&mut self) -> Result<Option<Instant>, NotConnected> {
        loop {
            let waiting = match self.database(|database| database.uploads()).await {
                Ok(waiting) => waiting,
                Err(error) => return Ok(self.local(&error)),
            };
            self.tries
                .retain(|id, _| waiting.iter().any(|it| it.object.id == *id));
            let now = Instant::now();
            let due_at = |it: &Uploading| {
                let tries = self.tries.get(&it.object.id);
                tries.map_or(now, |tries| tries.next_at)
            };
            let Some(next) = waiting.iter().find(|it| due_at(it) <= now) else {
                return Ok(waiting.iter().map(due_at).min());
            };
            let next = next.clone();
            if let Err(error) = self.carry(next).await? {
                return Ok(self.local(&error));
            }
        }
    }

    /// The local database cannot be used now: later.
    fn local(&self, error: &LocalError) -> Option<Instant> {
        tracing::debug!(%error, "uploads wait");
        Some(Instant::now() + Duration::from_secs(5))
    }

    /// One step of one upload, and what follows from it.
    async fn carry(&mut self, it: Uploading) -> Result<Result<(), LocalError>, NotConnected> {
        if it.in_doubt {
            let asked = self.is_there(it.object.id).await;
            return match self.answered(&it, asked).await? {
                Ok(Some(true)) => Ok(self.done(it.object.id).await),
                Ok(Some(false)) => Ok(self.take_back(&it).await),
                Ok(None) => Ok(Ok(())),
                Err(error) => Ok(Err(error)),
            };
        }
        let asked = self.leave().await;
        match self.answered(&it, asked).await? {
            Ok(Some(leave)) => Ok(self.go_on(&leave, &it).await),
            Ok(None) => Ok(Ok(())),
            Err(error) => Ok(Err(error)),
        }
    }

    /// What the session answered; `None` if it is no answer to go on with.
    async fn answered<T>(
        &mut self,
        it: &Uploading,
        answer: Result<T, RequestError>,
    ) -> Result<Result<Option<T>, LocalError>, NotConnected> {
        match answer {
            Ok(answer) => Ok(Ok(Some(answer))),
            Err(RequestError::NotConnected) => Err(NotConnected),
            Err(RequestError::Refused(refusal)) if refusal.action == Action::Never => {
                Ok(self.give_up(it.request, refusal).await.map(|()| None))
            }
            Err(error) => {
                self.try_later(it.object.id, Duration::ZERO, &error.to_string());
                Ok(Ok(None))
            }
        }
    }

    async fn go_on(&mut self, leave: &Leave, it: &Uploading) -> Result<(), LocalError> {
        let id = it.object.id;
        match self.step(leave, it).await {
            Ok(()) => Ok(()),
            Err(Halt::Later(reason, after)) => {
                self.try_later(id, after, &reason);
                Ok(())
            }
            Err(Halt::Token) => {
                self.leave = None;
                self.try_later(id, Duration::ZERO, "the token is not good any more");
                Ok(())
            }
            Err(Halt::Gone) => self.anew(it).await,
            Err(Halt::Never(reason)) => {
                let refusal = refusal(ErrorCode::InvalidArgument, reason);
                self.give_up(it.request, refusal).await
            }
        }
    }

    /// The server has lost what it had: it is uploaded again from what is here of it.
    async fn take_back(&mut self, it: &Uploading) -> Result<(), LocalError> {
        let (home, object) = (self.home.clone(), it.object);
        let taking = spawn_blocking(move || {
            let directory = home.directory();
            Stage::of_home(directory).take_back(&Cache::of_home(directory), &object)
        });
        match taking.await.map_err(|_| LocalError::Closed)? {
            Ok(Some(found)) => self.database(move |it| it.upload_again(&found)).await,
            Ok(None) => self.do_without(it.request, it.object.id).await,
            Err(error) => {
                self.try_later(object.id, Duration::ZERO, &error.to_string());
                Ok(())
            }
        }
    }

    /// Neither the server nor this device has it.
    async fn do_without(&mut self, request: MessageId, id: MediaId) -> Result<(), LocalError> {
        let left_out = self.database(move |it| it.leave_out(request, id)).await?;
        let Some(names) = left_out else {
            let reason = "the server does not have a photo or file of it any more, and this \
                          device does not have it either";
            let refusal = refusal(ErrorCode::MediaNotFound, reason.to_owned());
            return self.give_up(request, refusal).await;
        };
        self.sent(&names);
        Ok(())
    }

    async fn done(&self, id: MediaId) -> Result<(), LocalError> {
        let names = self.database(move |database| database.upload_done(id));
        self.sent(&names.await?);
        Ok(())
    }

    async fn step(&mut self, leave: &Leave, it: &Uploading) -> Result<(), Halt> {
        let local = |error: LocalError| Halt::Later(error.to_string(), Duration::from_secs(5));
        let object = it.object;
        let path = Stage::of_home(self.home.directory()).path(object.id);
        if !path.exists() {
            return Err(Halt::Never(
                "its file is not in the home any more".to_owned(),
            ));
        }
        let (named, told) = match it.named {
            Some(named) => (named, tus::ask(&mut self.http, leave, named).await?),
            None => {
                let (named, told) = tus::begin(&mut self.http, leave, &object).await?;
                let note = self.database(move |it| it.name_upload(object.id, Some(named)));
                note.await.map_err(local)?;
                (named, told)
            }
        };
        let offset = told.offset;
        let tries = self.tries(object.id);
        if offset > tries.offset {
            // It goes on, if only piece by piece.
            tries.offset = offset;
            tries.backoff.reset();
        }
        let mut has = self.put(leave, it, (named, &path), told).await?;
        if has < object.size {
            let (progress, bytes) = (self.progress(it), (has, object.size));
            let sent = tus::send(&mut self.http, leave, (named, &path), bytes, progress);
            has = sent.await?;
            self.progress(it)(has);
        }
        if has != object.size {
            return Err(Halt::Later(
                "the server has a part of it".to_owned(),
                Duration::ZERO,
            ));
        }
        self.done(object.id).await.map_err(local)
    }

    /// Puts what is large into the server's bucket, if it has one and for as long as that
    /// works. How many bytes the server has then.
    async fn put(
        &mut self,
        leave: &Leave,
        it: &Uploading,
        named: (MediaId, &Path),
        told: Told,
    ) -> Result<u64, Halt> {
        let (object, mut has) = (it.object, told.offset);
        let part_max = told.part_max.filter(|part_max| *part_max > 0);
        let Some(part_max) = part_max.filter(|_| object.size >= direct::OBJECT_SIZE_MIN) else {
            return Ok(has);
        };
        while has < object.size && !self.tries(object.id).through_server {
            let ways = direct::Ways {
                server: &mut self.http,
                bucket: &mut self.bucket,
            };
            match direct::send_part(ways, leave, named, (has, object.size), part_max).await {
                Ok(now) if now > has => {
                    has = now;
                    self.progress(it)(has);
                }
                Ok(_) => self.tries(object.id).through_server = true,
                Err(Halt::Later(reason, _) | Halt::Never(reason)) => {
                    tracing::debug!(id = %object.id, reason, "an upload goes through the server");
                    self.tries(object.id).through_server = true;
                }
                Err(halt @ (Halt::Token | Halt::Gone)) => return Err(halt),
            }
        }
        Ok(has)
    }

    /// All that a request waited for is there, if there are names: it can go.
    fn sent(&self, names: &[(MediaId, MediaId)]) {
        let directory = self.home.directory();
        let (stage, cache) = (Stage::of_home(directory), Cache::of_home(directory));
        for (local, named) in names {
            cache.adopt(*named, &stage.path(*local));
        }
        self.bells.outbox.notify_one();
    }

    fn progress(&self, it: &Uploading) -> impl Fn(u64) + Send + 'static {
        let (notices, id) = (self.notices.clone(), it.request);
        let (before, size) = (it.done_before, it.size_of_all);
        move |sent| {
            let sent = before.saturating_add(sent).min(size);
            notices.push(Event::Uploading { id, sent, size });
        }
    }

    fn tries(&mut self, id: MediaId) -> &mut Tries {
        self.tries.entry(id).or_insert_with(|| Tries {
            backoff: Backoff::default(),
            next_at: Instant::now(),
            anew: 0,
            offset: 0,
            through_server: false,
        })
    }

    fn try_later(&mut self, id: MediaId, after: Duration, reason: &str) {
        let tries = self.tries(id);
        let delay = tries.backoff.next_delay(random()).max(after);
        tries.next_at = Instant::now() + delay;
        tracing::debug!(%id, reason, ?delay, "an upload waits");
    }

    /// The server has it no more: from the beginning, a few times.
    async fn anew(&mut self, it: &Uploading) -> Result<(), LocalError> {
        let id = it.object.id;
        let tries = self.tries(id);
        tries.anew += 1;
        if tries.anew > ANEW_MAX {
            let reason = "the server lost the upload again and again".to_owned();
            let refusal = refusal(ErrorCode::InvalidArgument, reason);
            return self.give_up(it.request, refusal).await;
        }
        self.try_later(id, Duration::ZERO, "it begins anew");
        self.database(move |database| database.name_upload(id, None))
            .await
    }

    /// The request fails: it stays in the outbox until somebody discards it.
    async fn give_up(&mut self, id: MessageId, refusal: Refusal) -> Result<(), LocalError> {
        let said = refusal.clone();
        let refused = self
            .database(move |database| database.refuse(id, &said))
            .await?;
        if refused {
            self.notices.push(Event::Failed { id, refusal });
        }
        Ok(())
    }

    /// Leave to upload, of the session.
    async fn leave(&mut self) -> Result<Leave, RequestError> {
        if let Some((leave, until)) = &self.leave
            && Instant::now() < *until
        {
            return Ok(leave.clone());
        }
        let asked = self.ask(Body::FetchMediaToken(v1::FetchMediaToken {}));
        let Answer::MediaToken(token) = asked.await? else {
            return Err(RequestError::WrongAnswer);
        };
        let bearer = HeaderValue::try_from(format!("Bearer {}", token.token));
        let leave = Leave {
            url: token.uploads_url,
            token: bearer.map_err(|_| RequestError::WrongAnswer)?,
        };
        self.leave = Some((leave.clone(), Instant::now() + LEAVE_TIME));
        Ok(leave)
    }

    /// Whether the server has it for this user.
    async fn is_there(&self, id: MediaId) -> Result<bool, RequestError> {
        let asked = self.ask(Body::FetchMediaUrls(v1::FetchMediaUrls {
            media_ids: vec![id.to_wire()],
        }));
        let Answer::MediaUrls(urls) = asked.await? else {
            return Err(RequestError::WrongAnswer);
        };
        Ok(urls.urls.iter().any(|url| url.media_id == id.to_wire()))
    }

    async fn ask(&self, body: Body) -> Result<Answer, RequestError> {
        let commands = self.commands.upgrade().ok_or(RequestError::NotConnected)?;
        let (reply, answer) = oneshot::channel();
        let body = Box::new(body);
        let asked = commands.send(Command::Ask { body, reply }).await;
        asked.map_err(|_| RequestError::NotConnected)?;
        drop(commands);
        let answered = answer.await.unwrap_or(Err(RequestError::NotConnected))?;
        Ok(answered.answer)
    }

    /// Does something with the local database, off this thread.
    async fn database<T: Send + 'static>(
        &self,
        what: impl FnOnce(&mut Database) -> Result<T, LocalError> + Send + 'static,
    ) -> Result<T, LocalError> {
        let home = self.home.clone();
        let done = spawn_blocking(move || {
            let _turn = home.turns().lock();
            what(&mut home.database().lock())
        });
        done.await.map_err(|_| LocalError::Closed)?
    }
}

const fn refusal(code: ErrorCode, message: String) -> Refusal {
    Refusal {
        code,
        action: Action::Never,
        after: Duration::ZERO,
        message,
    }
}
