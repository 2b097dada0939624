//! Does what operators want, and writes down that they wanted it.

use std::sync::Arc;

use magpie_protocol::{
    id::ConversationId,
    text::{InvalidText, MessageText, Password, UserName},
    wire::v1::{self, event_content::Kind},
};

use crate::{
    clock::Clock,
    handler::{Accounts, SignInError},
    hub::{Ending, Hub},
    log::Broadcasts,
    operate::{
        ActTold, BroadcastTold, COUNT_MAX, DeviceTold, Errand, MessageTold, ReportTold, StatsTold,
        Told, UserTold,
    },
    store::{
        Account, AccountChange, AdminAct, Broadcast, Report, SharedStore, Standing, StoreError,
        User,
    },
};

/// Does errands.
pub struct Errands {
    /// What there is.
    pub store: SharedStore,
    /// Changes accounts.
    pub accounts: Arc<Accounts>,
    /// Says something to everybody.
    pub broadcasts: Arc<Broadcasts>,
    /// Ends connections.
    pub hub: Arc<Hub>,
    /// For when.
    pub clock: Clock,
}

/// Why an errand is not done.
#[derive(Debug, thiserror::Error)]
enum NotDone {
    #[error("there is no user {name}")]
    NoUser { name: String },
    #[error("{name} may not sign in, or has changed just now")]
    MayNotSay { name: String },
    #[error("there is no open report {id}")]
    NoReport { id: u64 },
    #[error(transparent)]
    Invalid(#[from] InvalidText),
    #[error(transparent)]
    Account(#[from] SignInError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Errands {
    /// Does an errand of this user of the operating system. What is not written down
    /// first is not done.
    pub(super) async fn run(&self, uid: u32, errand: Errand) -> Told {
        let act = AdminAct {
            uid,
            at_ms: self.clock.wall_ms(),
            action: errand.action().to_owned(),
            target: errand.target(),
        };
        tracing::info!(uid, action = act.action, target = act.target, "an operator");
        let noted = self.store.note_act(&act).await;
        let done = match noted {
            Ok(()) => self.carry_out(errand).await,
            Err(error) => Err(error.into()),
        };
        done.unwrap_or_else(|reason| Told::Refused {
            message: reason.to_string(),
        })
    }

    async fn carry_out(&self, errand: Errand) -> Result<Told, NotDone> {
        match errand {
            Errand::CreateUser { name, password } => {
                let password = Password::try_from(password)?;
                let user = self.accounts.create(UserName::parse(&name)?, &password);
                Ok(done(&user.await?, "exists now"))
            }
            Errand::ShowUser { name } => self.show(&name).await,
            Errand::SuspendUser { name } => self.change(&name, AccountChange::Suspend).await,
            Errand::ResumeUser { name } => self.change(&name, AccountChange::Resume).await,
            Errand::DeleteUser { name } => self.change(&name, AccountChange::Delete).await,
            Errand::ResetPassword { name, password } => self.reset(&name, password).await,
            Errand::ListReports { after, limit } => {
                let reports = self.store.reports(after, limit.min(COUNT_MAX)).await?;
                let reports = reports.into_iter().map(report_told).collect();
                Ok(Told::Reports { reports })
            }
            Errand::CloseReport { id } => {
                match self.store.close_report(id, self.clock.wall_ms()).await? {
                    true => Ok(Told::Done {
                        message: format!("report {id} is closed"),
                    }),
                    false => Err(NotDone::NoReport { id }),
                }
            }
            Errand::Broadcast { from, text } => self.broadcast(&from, text).await,
            Errand::ListBroadcasts { limit } => {
                let said = self.store.broadcasts(false, limit.min(COUNT_MAX)).await?;
                let broadcasts = said.into_iter().map(broadcast_told).collect();
                Ok(Told::Broadcasts { broadcasts })
            }
            Errand::Count => self.count().await,
            Errand::ListActs { limit } => {
                let acts = self.store.acts(limit.min(COUNT_MAX)).await?;
                let acts = acts.into_iter().map(|act| ActTold {
                    at_ms: act.at_ms,
                    uid: act.uid,
                    action: act.action,
                    target: act.target,
                });
                let acts = acts.collect();
                Ok(Told::Acts { acts })
            }
        }
    }

    async fn account(&self, name: &str) -> Result<Account, NotDone> {
        let name = UserName::parse(name)?;
        let account = self.store.account(&name).await?;
        account.ok_or_else(|| NotDone::NoUser {
            name: name.to_string(),
        })
    }

    async fn user(&self, name: &str) -> Result<(User, Standing), NotDone> {
        let account = self.account(name).await?;
        Ok((account.user, account.standing))
    }

    async fn broadcast(&self, from: &str, text: String) -> Result<Told, NotDone> {
        let text = MessageText::try_from(text)?;
        let account = self.account(from).await?;
        match self.broadcasts.begin(&account, text).await? {
            true => Ok(done(
                &account.user,
                "says it to everybody; `broadcasts list` tells how far it has come",
            )),
            false => Err(NotDone::MayNotSay {
                name: from.to_owned(),
            }),
        }
    }

    async fn show(&self, name: &str) -> Result<Told, NotDone> {
        let (user, standing) = self.user(name).await?;
        let devices = self.store.devices(user.id).await?;
        let devices = devices.into_iter().map(|device| DeviceTold {
            id: device.id.to_string(),
            name: device.name,
            created_at_ms: device.created_at_ms,
            last_seen_at_ms: device.last_seen_at_ms,
        });
        let standing = match standing {
            Standing::Active => "active",
            Standing::Suspended => "suspended",
        };
        Ok(Told::User(UserTold {
            id: user.id.to_string(),
            name: user.name.to_string(),
            standing: standing.to_owned(),
            devices: devices.collect(),
        }))
    }

    async fn change(&self, name: &str, change: AccountChange) -> Result<Told, NotDone> {
        let (user, _) = self.user(name).await?;
        let changed = self.accounts.change(&user, &change).await?;
        let devices = changed.ok_or_else(|| NotDone::NoUser {
            name: name.to_owned(),
        })?;
        for device in devices {
            self.hub.end(user.id, device, Ending::Revoked);
        }
        Ok(match change {
            AccountChange::Suspend => done(&user, "is suspended and signed out everywhere"),
            AccountChange::Resume => done(&user, "may sign in again"),
            AccountChange::Delete => done(&user, "is deleted"),
            AccountChange::Password { .. } => done(&user, "has another password"),
        })
    }

    async fn reset(&self, name: &str, password: String) -> Result<Told, NotDone> {
        let password = Password::try_from(password)?;
        let (user, _) = self.user(name).await?;
        let changed = self.accounts.reset_password(&user, &password).await?;
        let devices = changed.ok_or_else(|| NotDone::NoUser {
            name: name.to_owned(),
        })?;
        for device in devices {
            self.hub.end(user.id, device, Ending::Revoked);
        }
        Ok(done(
            &user,
            "has another password and is signed out everywhere",
        ))
    }

    async fn count(&self) -> Result<Told, NotDone> {
        let counted = self.store.statistics().await?;
        Ok(Told::Stats(StatsTold {
            users_active: counted.users_active,
            users_suspended: counted.users_suspended,
            users_deleted: counted.users_deleted,
            devices: counted.devices,
            devices_with_pushes: counted.devices_with_pushes,
            devices_connected: self.hub.connected() as u64,
            direct_conversations: counted.direct_conversations,
            groups: counted.groups,
            reports_open: counted.reports_open,
        }))
    }
}

fn done(user: &User, what: &str) -> Told {
    Told::Done {
        message: format!("{} {what}", user.name),
    }
}

fn broadcast_told(it: Broadcast) -> BroadcastTold {
    BroadcastTold {
        id: it.id,
        from: it.sender.1,
        text: it.text,
        begun_at_ms: it.begun_at_ms,
        ended_at_ms: it.ended_at_ms,
        sent: it.sent,
    }
}

fn report_told(report: Report) -> ReportTold {
    let (user_id, user) = report.user;
    ReportTold {
        id: report.id,
        at_ms: report.at_ms,
        reporter: report.reporter,
        user,
        user_id: user_id.to_string(),
        reason: report.reason.name().to_owned(),
        text: report.text,
        message: report.event.map(message_told),
    }
}

fn message_told(event: v1::Event) -> MessageTold {
    let conversation = ConversationId::try_from(event.conversation_id.as_ref());
    let text = match event.content.and_then(|content| content.kind) {
        Some(Kind::Message(message)) => message.text,
        Some(Kind::MessageEdited(edit)) => edit.message.unwrap_or_default().text,
        Some(
            Kind::GroupCreated(_)
            | Kind::MembersAdded(_)
            | Kind::MemberRemoved(_)
            | Kind::MemberBanned(_)
            | Kind::InviteCreated(_)
            | Kind::InviteRevoked(_)
            | Kind::MemberJoined(_)
            | Kind::MemberLeft(_)
            | Kind::MessageDeleted(_)
            | Kind::Reacted(_)
            | Kind::RoleChanged(_)
            | Kind::GroupUpdated(_)
            | Kind::Pinned(_)
            | Kind::AccountChanged(_)
            | Kind::FriendRequested(_)
            | Kind::FriendshipChanged(_)
            | Kind::Hidden(_),
        )
        | None => String::new(),
    };
    MessageTold {
        conversation_id: conversation.map_or_else(|_| String::new(), |id| id.to_string()),
        seq: event.seq,
        committed_at_ms: event.committed_at_ms,
        text,
    }
}
