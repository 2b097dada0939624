//! What every command starts from: the flags, the home, the output.

use std::{collections::HashMap, env, path::PathBuf, time::Duration};

use magpie_client::{Account, ConversationId, Home, Recipient, Server};

use crate::{
    args::Global,
    failure::Failure,
    line::place,
    output::Output,
    trust::{self, DEFAULT_SERVER},
};

/// The flags, the home, the output.
#[derive(Debug)]
pub(crate) struct Context {
    global: Global,
    pub(crate) home: Home,
    pub(crate) output: Output,
}

impl Context {
    pub(crate) fn open(global: Global) -> Result<Self, Failure> {
        let directory = match &global.home {
            Some(directory) => directory.clone(),
            None => default_home()?,
        };
        Ok(Self {
            home: Home::open(&directory)?,
            output: Output::new(&global),
            global,
        })
    }

    /// The home's directory, for sentences.
    pub(crate) fn home_name(&self) -> String {
        self.home.directory().display().to_string()
    }

    /// The account in this home, whether its credential is still good or not.
    pub(crate) fn account(&self) -> Result<Account, Failure> {
        self.home.account()?.ok_or_else(|| Failure::NotSignedIn {
            home: self.home_name(),
        })
    }

    /// The account in this home; its credential is good as far as is known.
    pub(crate) fn signed_in(&self) -> Result<Account, Failure> {
        let account = self.account()?;
        if account.signed_in {
            return Ok(account);
        }
        Err(Failure::SignedOut { name: account.name })
    }

    /// The server of this home, or the one that the flags name.
    pub(crate) fn server(&self, account: Option<&Account>) -> Server {
        let address = self
            .global
            .server
            .clone()
            .or_else(|| account.map(|account| account.server.clone()))
            .unwrap_or_else(|| DEFAULT_SERVER.to_owned());
        trust::server(address, self.global.ca.as_deref(), self.home.ca_file())
    }

    /// How long to wait for the server; `None`: for ever.
    pub(crate) const fn timeout(&self) -> Option<Duration> {
        match self.global.timeout {
            0 => None,
            seconds => Some(Duration::from_secs(seconds)),
        }
    }

    /// A conversation that is known here.
    pub(crate) fn conversation(&self, of: &Recipient) -> Result<ConversationId, Failure> {
        let unknown = || Failure::UnknownConversation {
            name: of.to_string(),
        };
        let id = self.home.resolve(of)?.ok_or_else(unknown)?;
        let lines = self.home.conversations()?;
        let known = lines.iter().any(|line| line.id == id);
        if known { Ok(id) } else { Err(unknown()) }
    }
}

/// How conversations are called; asked for once.
#[derive(Debug)]
pub(crate) struct Places<'context> {
    pub(crate) context: &'context Context,
    known: HashMap<ConversationId, String>,
}

impl<'context> Places<'context> {
    pub(crate) fn new(context: &'context Context) -> Self {
        Self {
            context,
            known: HashMap::new(),
        }
    }

    /// Its name, or its id while it has none.
    pub(crate) fn of(&mut self, id: ConversationId) -> Result<String, Failure> {
        if !self.known.contains_key(&id) {
            let named = self.context.home.conversations()?.into_iter();
            let named = named.filter(|line| !line.title.is_empty());
            self.known = named.map(|line| (line.id, place(&line))).collect();
        }
        let place = self.known.get(&id).cloned();
        Ok(place.unwrap_or_else(|| id.to_string()))
    }
}

fn default_home() -> Result<PathBuf, Failure> {
    env::home_dir()
        .filter(|directory| !directory.as_os_str().is_empty())
        .map(|directory| directory.join(".magpie"))
        .ok_or(Failure::NoHome)
}
