//! What the user, and others, say of themselves.

use magpie_protocol::{
    id::UserId,
    profile::{self, LinkSecret, UserLink},
    text::UserName,
};

use super::Home;
use crate::{
    error::LocalError,
    model::{Friend, Profile, User},
};

impl Home {
    /// What the user says of themself; set it with
    /// [`Setting::Profile`](crate::Setting::Profile).
    ///
    /// # Errors
    ///
    /// [`LocalError`], as for every method here.
    pub fn own_profile(&self) -> Result<profile::Profile, LocalError> {
        self.database.lock().own_profile()
    }

    /// Somebody who is known here, and what they say of themself, as far as the server
    /// has told; `None` if nobody with whom the user shares a conversation has this id.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn profile(&self, user: UserId) -> Result<Option<(User, Profile)>, LocalError> {
        let database = self.database.lock();
        match database.account()? {
            Some(me) if me.user_id == user => {
                let profile = database.own_profile()?.into();
                let (id, name) = (me.user_id, me.name);
                Ok(Some((User { id, name }, profile)))
            }
            Some(_) | None => database.profile(user),
        }
    }

    /// The user's friends, those whom the user has asked, and those who have asked and were not
    /// declined, by their names. What waits in the outbox counts, of those who are known here.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn friends(&self) -> Result<Vec<Friend>, LocalError> {
        self.database.lock().friends()
    }

    /// How the user and somebody who is known here stand; `None` if there is no direct
    /// conversation with them here.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn friend(&self, name: &UserName) -> Result<Option<Friend>, LocalError> {
        self.database.lock().friend(name)
    }

    /// Whether a search by the beginning of a name finds the user
    /// ([`Setting::Discoverable`](crate::Setting::Discoverable)).
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn is_discoverable(&self) -> Result<bool, LocalError> {
        self.database.lock().is_discoverable()
    }

    /// The user's link, if there is one ([`Setting::Link`](crate::Setting::Link)): the
    /// same on all their devices.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn link(&self) -> Result<Option<UserLink>, LocalError> {
        let database = self.database.lock();
        let name = database.account()?.map(|account| account.name);
        let name = name.and_then(|name| UserName::parse(&name).ok());
        let secret = database.link()?;
        Ok(name
            .zip(secret)
            .map(|(name, secret)| UserLink { name, secret }))
    }

    /// What another link is made of.
    ///
    /// # Errors
    ///
    /// [`LocalError::NoRandomness`]: a broken operating system.
    pub fn new_link(&self) -> Result<LinkSecret, LocalError> {
        let mut secret = [0; 16];
        aws_lc_rs::rand::fill(&mut secret).map_err(|_| LocalError::NoRandomness)?;
        Ok(LinkSecret::new(secret))
    }
}
