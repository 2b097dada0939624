//! What becomes of an account once it is there: by its user, who proves that they know
//! the password, or by an operator.

use magpie_protocol::{
    id::DeviceId,
    text::{Password, UserName},
    wire::ChangePassword,
};

use super::{Accounts, SignInError};
use crate::{
    hub::Mailbox,
    store::{Account, AccountChange, CreateUser, SignOut, StoreError, User},
};

impl Accounts {
    /// Changes the password of the user who asks. Returns the devices whose credentials
    /// ended with it.
    ///
    /// # Errors
    ///
    /// [`SignInError`]: nothing has changed.
    pub async fn change_password(
        &self,
        from: &Mailbox,
        it: ChangePassword,
    ) -> Result<Vec<DeviceId>, SignInError> {
        let account = self.prove(from, &it.current).await?;
        let hash = self.hash_new(&it.new, &account.user.name).await?;
        let sign_out = match it.sign_out_others {
            true => SignOut::Others(from.device),
            false => SignOut::Nobody,
        };
        let change = AccountChange::Password { hash, sign_out };
        self.change_proven(&account, &change).await
    }

    /// Deletes the user who asks. Returns their devices, whose credentials have ended.
    ///
    /// # Errors
    ///
    /// [`SignInError`]: nothing has changed.
    pub async fn delete(
        &self,
        from: &Mailbox,
        password: Password,
    ) -> Result<Vec<DeviceId>, SignInError> {
        let account = self.prove(from, &password).await?;
        self.change_proven(&account, &AccountChange::Delete).await
    }

    /// The account of the user who asks, if they know its password.
    async fn prove(&self, from: &Mailbox, password: &Password) -> Result<Account, SignInError> {
        let account = self.store.account_of(from.user).await?;
        let account = account.ok_or(SignInError::WrongCredentials)?;
        let name = account.user.name.clone();
        let known = Some(from.device);
        self.proven(&name, Some(account), password, known).await
    }

    async fn change_proven(
        &self,
        account: &Account,
        change: &AccountChange,
    ) -> Result<Vec<DeviceId>, SignInError> {
        let (user, proven) = (account.user.id, Some(account.password_hash.as_str()));
        let changed = self.store.change_account(user, proven, change).await?;
        let devices = changed.ok_or(SignInError::WrongCredentials)?;
        self.forget(&devices);
        Ok(devices)
    }

    fn forget(&self, devices: &[DeviceId]) {
        for device in devices {
            self.tokens.forget(*device);
        }
    }

    /// Makes a user who has no device yet, for an operator.
    ///
    /// # Errors
    ///
    /// [`SignInError`]: nothing has changed.
    pub async fn create(&self, name: UserName, password: &Password) -> Result<User, SignInError> {
        let hash = self.hash_new(password, &name).await?;
        let account = self.new_account(name, hash)?;
        let at_ms = self.clock.wall_ms();
        match self.store.create_user(&account, None, at_ms).await? {
            CreateUser::Done => Ok(account.user),
            CreateUser::NameTaken | CreateUser::DeviceRefused => Err(SignInError::NameTaken),
        }
    }

    /// Gives a user another password, for an operator, and ends the credentials of all
    /// their devices, which are returned. `None`: there is no such user.
    ///
    /// # Errors
    ///
    /// [`SignInError`]: nothing has changed.
    pub async fn reset_password(
        &self,
        user: &User,
        password: &Password,
    ) -> Result<Option<Vec<DeviceId>>, SignInError> {
        let hash = self.hash_new(password, &user.name).await?;
        let sign_out = SignOut::Everybody;
        let change = AccountChange::Password { hash, sign_out };
        Ok(self.change(user, &change).await?)
    }

    /// Changes an account for an operator. Returns the devices whose credentials ended;
    /// `None`: there is no such user.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing has changed.
    pub async fn change(
        &self,
        user: &User,
        change: &AccountChange,
    ) -> Result<Option<Vec<DeviceId>>, StoreError> {
        let changed = self.store.change_account(user.id, None, change).await?;
        self.forget(changed.as_deref().unwrap_or_default());
        Ok(changed)
    }
}
