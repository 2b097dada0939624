//! Registration and sign-in: from a name and a password to a device's credential.

mod changes;

use std::{net::IpAddr, sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use magpie_protocol::{
    id::{DeviceId, UserId},
    text::{Password, UserName},
    wire::Authenticate,
};
use tokio::sync::{Mutex, Semaphore};

use super::{
    guessable::is_guessable,
    password::{HashError, Passwords},
};
use crate::{
    clock::{Blocking, Clock, within},
    config::Registration,
    limits::{Limited, Limiter},
    random::{NoRandomness, Random},
    store::{Account, CreateUser, NewDevice, PutDevice, SharedStore, Standing, StoreError, User},
    tokens::Tokens,
};

/// How long somebody stays away while too many passwords wait to be hashed.
const HASHING_PAUSE: Duration = Duration::from_secs(2);

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
    /// An operator suspended the user. Told to who knows the password.
    #[error("the user is suspended")]
    Suspended,
    /// The device id was revoked, or is somebody else's: make a new one.
    #[error("the device id cannot be used")]
    DeviceRefused,
    /// Too many at a time, of this account, this address, or in all.
    #[error(transparent)]
    Limited(#[from] Limited),
    /// Nobody may register, or only who is invited.
    #[error("registration is closed, or needs another invitation")]
    RegistrationClosed,
    /// The user must sign another device out first.
    #[error("the user has {max} devices, which is as many as there may be: sign one out first")]
    TooManyDevices {
        /// How many there may be.
        max: u32,
    },
    /// Others would try this password among their first.
    #[error("anybody would soon guess this password: choose another one")]
    GuessablePassword,
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
    limiter: Arc<Limiter>,
    /// Bounds the cores and the memory that hashing takes.
    hashing: Semaphore,
    /// Bounds who hashes or waits for it.
    waiting: Semaphore,
    /// Held while a user's devices are counted and one is added.
    placing: Mutex<()>,
    /// Compared with when there is no such user, so that this takes as long.
    nobody: String,
}

impl Accounts {
    /// Accounts in `store`.
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
        limiter: Arc<Limiter>,
    ) -> Result<Self, SignInError> {
        let passwords = Arc::new(Passwords::default());
        let nobody = Password::try_from(format!("{:032x}", u128::from_ne_bytes(random.bytes()?)))
            .map_err(|error| HashError {
            reason: error.to_string(),
        })?;
        let nobody = passwords.hash(&nobody, &random.bytes()?)?;
        let limits = &limiter.limits;
        let hashing_max = limits.password_hashes_max as usize;
        let waiting_max = limits.password_hashes_waiting_max as usize;
        Ok(Self {
            hashing: Semaphore::new(hashing_max),
            waiting: Semaphore::new(hashing_max + waiting_max),
            placing: Mutex::default(),
            limiter,
            store,
            tokens,
            random,
            clock,
            blocking,
            passwords,
            nobody,
        })
    }

    /// Makes a user and their first device. The same registration again (same
    /// device, name and password) gives the same device a fresh token.
    ///
    /// # Errors
    ///
    /// [`SignInError`].
    pub async fn register(
        &self,
        it: Authenticate,
        from: IpAddr,
    ) -> Result<Credential, SignInError> {
        self.may_register(&it)?;
        self.limiter.registration(from, self.clock.now())?;
        if let Some(account) = self.store.account(&it.name).await? {
            return self.register_again(account, it).await;
        }
        let password_hash = self.hash_new(&it.password, &it.name).await?;
        let account = self.new_account(it.name.clone(), password_hash)?;
        let (token, device) = self.new_device(&it)?;
        let at_ms = self.clock.wall_ms();
        let created = self.store.create_user(&account, Some(&device), at_ms);
        match created.await? {
            CreateUser::Done => Ok(Credential {
                user: account.user,
                device: device.id,
                token,
            }),
            CreateUser::NameTaken => Err(SignInError::NameTaken),
            CreateUser::DeviceRefused => Err(SignInError::DeviceRefused),
        }
    }

    fn new_account(&self, name: UserName, password_hash: String) -> Result<Account, SignInError> {
        let id = UserId::new(self.random.bytes()?);
        Ok(Account {
            user: User { id, name },
            password_hash,
            standing: Standing::Active,
        })
    }

    fn may_register(&self, it: &Authenticate) -> Result<(), SignInError> {
        let limits = &self.limiter.limits;
        let may = match limits.registration {
            Registration::Open => true,
            Registration::Invitation => limits.invitations.holds(it.invitation.reveal()),
            Registration::Off => false,
        };
        if may {
            return Ok(());
        }
        Limited::new("registration", Duration::ZERO).counted();
        Err(SignInError::RegistrationClosed)
    }

    /// The name exists: it is a repeat whose answer was lost, or it is taken.
    async fn register_again(
        &self,
        account: Account,
        it: Authenticate,
    ) -> Result<Credential, SignInError> {
        if self.known_device(Some(&account), &it).await?.is_none() {
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
    pub async fn sign_in(&self, it: Authenticate, from: IpAddr) -> Result<Credential, SignInError> {
        self.limiter.sign_in(from, self.clock.now())?;
        let account = self.store.account(&it.name).await?;
        let result = self.sign_in_to(account, it).await;
        if result.is_ok() {
            self.limiter.forgive_address(from);
        }
        result
    }

    /// The device that asks, if it is the account's already. Takes as long if there
    /// is no account.
    async fn known_device(
        &self,
        account: Option<&Account>,
        it: &Authenticate,
    ) -> Result<Option<DeviceId>, SignInError> {
        let device = self.store.device(it.device).await?;
        let is_theirs = device
            .zip(account)
            .is_some_and(|(device, account)| device.user == account.user);
        Ok(is_theirs.then_some(it.device))
    }

    async fn sign_in_to(
        &self,
        account: Option<Account>,
        it: Authenticate,
    ) -> Result<Credential, SignInError> {
        let known = self.known_device(account.as_ref(), &it).await?;
        let account = self.proven(&it.name, account, &it.password, known).await?;
        if account.standing == Standing::Suspended {
            return Err(SignInError::Suspended);
        }
        let _placing = self.placing.lock().await;
        if known.is_none() {
            self.has_room(&account).await?;
        }
        let (token, device) = self.new_device(&it)?;
        let at_ms = self.clock.wall_ms();
        let put = self.store.put_device(&account, &device, at_ms).await;
        self.tokens.forget(device.id);
        match put? {
            PutDevice::Done => Ok(Credential {
                user: account.user,
                device: device.id,
                token,
            }),
            PutDevice::Refused => Err(SignInError::DeviceRefused),
            // Somebody changed the password meanwhile, or ended the account.
            PutDevice::Stale => Err(SignInError::WrongCredentials),
        }
    }

    /// The account, if there is one and this is its password: a try of the account's,
    /// unless it is right. `known` is the device that asks, if it is one of the
    /// account's. Takes as long if there is no account.
    async fn proven(
        &self,
        name: &UserName,
        account: Option<Account>,
        password: &Password,
        known: Option<DeviceId>,
    ) -> Result<Account, SignInError> {
        self.limiter.password(name, known, self.clock.now())?;
        let expected = account
            .as_ref()
            .map_or(&self.nobody, |account| &account.password_hash);
        let verified = self.verify(password, expected.clone()).await;
        if !matches!(verified, Ok(false)) {
            self.limiter.forgive_password(name, known);
        }
        let is_right = verified?;
        account
            .filter(|_| is_right)
            .ok_or(SignInError::WrongCredentials)
    }

    /// Whether the user may have another device.
    async fn has_room(&self, account: &Account) -> Result<(), SignInError> {
        let max = self.limiter.limits.devices_per_user_max;
        if self.store.devices(account.user.id).await?.len() < max as usize {
            return Ok(());
        }
        Limited::new("devices_per_user_max", Duration::ZERO).counted();
        Err(SignInError::TooManyDevices { max })
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

    /// The hash of a password that is to be somebody's.
    async fn hash_new(&self, password: &Password, name: &UserName) -> Result<String, SignInError> {
        let salt = self.random.bytes()?;
        let (password, name) = (password.clone(), name.clone());
        self.hashing(move |passwords| {
            if is_guessable(&password, &name) {
                return Err(SignInError::GuessablePassword);
            }
            Ok(passwords.hash(&password, &salt)?)
        })
        .await?
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
        let busy = |limit| Limited::new(limit, HASHING_PAUSE).counted();
        let Ok(_place) = self.waiting.try_acquire() else {
            return Err(busy("password_hashes_waiting_max").into());
        };
        let wait = self.limiter.limits.password_hash_wait;
        let turn = within(wait, self.hashing.acquire()).await;
        let Some(Ok(_turn)) = turn else {
            return Err(busy("password_hash_wait").into());
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
