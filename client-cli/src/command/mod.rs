//! One file for each command.

mod account;
mod audit;
mod background;
mod chat;
mod devices;
mod export;
mod friends;
mod group;
mod history;
mod input;
mod invite;
mod listen;
mod manual;
mod media;
mod members;
mod message;
mod offline;
mod outbox;
mod people;
mod presence;
mod push;
mod read;
mod readers;
mod report;
mod send;
mod setting;
mod sync;

use crate::{
    args::{Arguments, Command, Task},
    context::Context,
    failure::{Exit, Failure},
};

/// Does what was typed.
pub(crate) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    match arguments.task {
        Task::Home(command) => with_home(&Context::open(arguments.global)?, command).await,
        Task::FcmEmulator {
            listen,
            account,
            tls,
        } => push::emulate(&arguments.global, listen, &account, tls.as_deref()).await,
        Task::Torture(options) => crate::torture::run(&arguments.global, options).await,
        Task::Completions { shell } => manual::completions(shell),
        Task::Man { directory } => manual::pages(&directory),
    }
}

async fn with_home(context: &Context, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Register {
            credentials,
            invitation,
        } => account::register(context, credentials, &invitation).await,
        Command::Login(credentials) => account::login(context, credentials).await,
        Command::Logout { force } => account::logout(context, force).await,
        Command::Whoami => offline::whoami(context),
        Command::Devices { command } => devices::run(context, command).await,
        Command::Group { command } => group::run(context, command).await,
        Command::Invite { command } => invite::run(context, command).await,
        Command::Join(asked) => invite::join(context, asked).await,
        Command::Send(asked) => send::run(context, asked).await,
        Command::Photo(asked) => media::photo(context, asked).await,
        Command::File(asked) => media::file(context, asked).await,
        Command::Save(asked) => media::save(context, asked).await,
        Command::Reply(asked) => message::reply(context, asked).await,
        Command::Forward(asked) => message::forward(context, asked).await,
        Command::Edit(asked) => message::edit(context, asked).await,
        Command::Delete(asked) => message::delete(context, asked).await,
        Command::React(asked) => message::react(context, asked).await,
        Command::Pin(asked) => message::pin(context, &asked.which, true, asked.queue).await,
        Command::Unpin(asked) => message::pin(context, &asked.which, false, asked.queue).await,
        Command::Pins(asked) => message::pins(context, &asked),
        Command::Edits(asked) => message::edits(context, &asked),
        Command::Hide(asked) => setting::hide(context, asked).await,
        Command::Notify(asked) => setting::notify(context, asked).await,
        Command::Mute(asked) => setting::mute(context, asked).await,
        Command::Unmute(asked) => setting::unmute(context, asked).await,
        Command::Contact(asked) => setting::contact(context, asked).await,
        Command::Profile(asked) => people::profile(context, asked).await,
        Command::Link(asked) => people::link(context, &asked).await,
        Command::Find(asked) => people::find(context, &asked).await,
        Command::Friends(asked) => friends::run(context, asked.command).await,
        Command::Privacy(asked) => friends::privacy(context, &asked).await,
        Command::Block(asked) => setting::block(context, asked).await,
        Command::Unblock(asked) => setting::unblock(context, asked).await,
        Command::Contacts => setting::contacts(context),
        Command::Readers(which) => readers::run(context, &which).await,
        Command::Receipts(asked) => setting::receipts(context, asked).await,
        Command::Presence(asked) => presence::run(context, asked).await,
        Command::Chat { to } => chat::run(context, to).await,
        Command::Listen {
            until_idle,
            ephemeral,
        } => listen::run(context, until_idle, ephemeral).await,
        Command::Typing(asked) => people::typing(context, &asked).await,
        Command::Sync => sync::run(context).await,
        Command::Conversations => offline::conversations(context),
        Command::Members { of } => members::run(context, &of).await,
        Command::History { of, before, limit } => history::run(context, &of, before, limit).await,
        Command::Read { of, queue } => read::run(context, &of, queue).await,
        Command::Outbox { command } => outbox::run(context, command),
        Command::Push { command } => push::run(context, command).await,
        Command::Background {
            emulator,
            emulator_ca,
            token,
        } => background::run(context, &emulator, emulator_ca.as_deref(), &token).await,
        Command::Password(typed) => account::password(context, typed).await,
        Command::DeleteAccount(typed) => account::delete(context, typed).await,
        Command::Report(typed) => report::run(context, typed).await,
        Command::Export(typed) => export::run(context, typed).await,
        Command::Audit => audit::run(context).await,
    }
}
