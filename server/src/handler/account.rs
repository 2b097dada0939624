//! Registration and sign-in: from a name and a password to a device's credential.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use magpie_protocol::{
    id::{DeviceId, UserId},
    text::Password,
    wire::Authenticate,
};
use tokio::sync::Semaphore;

use super::password::{HashError, Passwords};
use crate::{
    clock::{Blocking, Clock, within},
    random::{NoRandomness, Random},
    store::{Account, CreateUser, NewDevice, PutDevice, SharedStore, StoreError, User},
    tokens::Tokens,
};

/// How long a sign-in waits for its turn at hashing before it is told to come
/// back.
const HASHING_WAIT: Duration = Duration::from_secs(8);

/// A device that may say hello.
#[derive(Clone, Eq, PartialEq)]
pub struct Credential {
    /// Whose.
    pub user: User,
    /// Which.
    pub device: DeviceId,
    /// What proves it; only its hash is kept.
    pub token: [u8; 32],
}

/// Why there is no credential.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SignInError {
    /// The name belongs to somebody.
    #[error("the user name is taken")]
    NameTaken,
    /// Name or password: which one is not told.
    #[error("name or password is wrong")]
    WrongCredentials,
    /// The device id was revoked, or is somebody else's: make a new one.
    #[error("the device id cannot be used")]
    DeviceRefused,
    /// Too many at a time.
    #[error("too many people are signing in")]
    Busy,
    /// Nothing has changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A bug, or damage; for the operator.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// A broken operating system.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// Users and their passwords.
pub struct Accounts {
    store: SharedStore,
    tokens: Arc<Tokens>,
    random: Random,
    clock: Clock,
    blocking: Blocking,
    passwords: Arc<Passwords>,
    /// Bounds the cores and the memory that hashing takes.
    hashing: Semaphore,
    /// Compared with when there is no such user, so that this takes as long.
    nobody: String,
}

impl Accounts {
    /// Accounts in `store`; at most `hashing_max` passwords are hashed at once.
    ///
    /// # Errors
    ///
    /// [`SignInError::Hash`] or [`SignInError::NoRandomness`].
    pub fn new(
        store: SharedStore,
        tokens: Arc<Tokens>,
        random: Random,
        clock: Clock,
        blocking: Blocking,
        hashing_max: usize,
    ) -> Result<Self, SignInError> {
        let passwords = Arc::new(Passwords::default());
        let nobody = Password::try_from(format!("{:032x}", u128::from_ne_bytes(random.bytes()?)))
            .map_err(|error| HashError {
            reason: error.to_string(),
        })?;
        let nobody = passwords.hash(&nobody, &random.bytes()?)?;
        let hashing = Semaphore::new(hashing_max);
        Ok(Self {
            store,
            tokens,
            random,
            clock,
            blocking,
            passwords,
            hashing,
            nobody,
        })
    }

    /// Makes a user and their first device. The same registration again (same
    /// device, name and password) gives the same device a fresh token.
    ///
    /// # Errors
    ///
    /// [`SignInError`].
    pub async fn register(&self, it: Authenticate) -> Result<Credential, SignInError> {
        if let Some(account) = self.store.account(&it.name).await? {
            return self.register_again(account, it).await;
        }
        let password_hash = self.hash(&it.password).await?;
        let user = User {
            id: UserId::new(self.random.bytes()?),
            name: it.name.clone(),
        };
        let account = Account {
            user: user.clone(),
            password_hash,
        };
        let (token, device) = self.new_device(&it)?;
        let at_ms = self.clock.wall_ms();
        match self.store.create_user(&account, &device, at_ms).await? {
            CreateUser::Done => Ok(Credential {
                user,
                device: device.id,
                token,
            }),
            CreateUser::NameTaken => Err(SignInError::NameTaken),
            CreateUser::DeviceRefused => Err(SignInError::DeviceRefused),
        }
    }

    /// The name exists: it is a repeat whose answer was lost, or it is taken.
    async fn register_again(
        &self,
        account: Account,
        it: Authenticate,
    ) -> Result<Credential, SignInError> {
        let device = self.store.device(it.device).await?;
        if device.is_none_or(|device| device.user != account.user) {
            return Err(SignInError::NameTaken);
        }
        match self.sign_in_to(Some(account), it).await {
            Err(SignInError::WrongCredentials) => Err(SignInError::NameTaken),
            result => result,
        }
    }

    /// Makes a device of an existing user, or gives the same one a fresh token.
    ///
    /// # Errors
    ///
    /// [`SignInError`].
    pub async fn sign_in(&self, it: Authenticate) -> Result<Credential, SignInError> {
        let account = self.store.account(&it.name).await?;
        self.sign_in_to(account, it).await
    }

    async fn sign_in_to(
        &self,
        account: Option<Account>,
        it: Authenticate,
    ) -> Result<Credential, SignInError> {
        let expected = account
            .as_ref()
            .map_or(&self.nobody, |account| &account.password_hash);
        let is_right = self.verify(&it.password, expected.clone()).await?;
        let Some(account) = account.filter(|_| is_right) else {
            return Err(SignInError::WrongCredentials);
        };
        let (token, device) = self.new_device(&it)?;
        let at_ms = self.clock.wall_ms();
        let put = self.store.put_device(account.user.id, &device, at_ms);
        let put = put.await;
        self.tokens.forget(device.id);
        match put? {
            PutDevice::Done => Ok(Credential {
                user: account.user,
                device: device.id,
                token,
            }),
            PutDevice::Refused => Err(SignInError::DeviceRefused),
        }
    }

    fn new_device(&self, it: &Authenticate) -> Result<([u8; 32], NewDevice), SignInError> {
        let token = self.random.bytes()?;
        let name = it.device_name.clone();
        Ok((
            token,
            NewDevice {
                id: it.device,
                name,
                token_hash: token_hash(&token),
            },
        ))
    }

    async fn hash(&self, password: &Password) -> Result<String, SignInError> {
        let salt = self.random.bytes()?;
        let password = password.clone();
        Ok(self
            .hashing(move |passwords| passwords.hash(&password, &salt))
            .await??)
    }

    async fn verify(&self, password: &Password, expected: String) -> Result<bool, SignInError> {
        let password = password.clone();
        Ok(self
            .hashing(move |passwords| passwords.verify(&password, &expected))
            .await??)
    }

    async fn hashing<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Passwords) -> T + Send + 'static,
    ) -> Result<T, SignInError> {
        let turn = within(HASHING_WAIT, self.hashing.acquire()).await;
        let Some(Ok(_turn)) = turn else {
            return Err(SignInError::Busy);
        };
        let passwords = Arc::clone(&self.passwords);
        let died = || HashError {
            reason: "its task died".to_owned(),
        };
        Ok(self
            .blocking
            .run(move || work(&passwords))
            .await
            .ok_or_else(died)?)
    }
}

/// What is stored of a device's token.
pub(super) fn token_hash(token: &[u8; 32]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token).as_ref());
    hash
}
