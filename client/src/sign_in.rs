//! Making this home a device of a user.

use crate::{
    error::{LocalError, SignInError},
    home::Home,
    server::Server,
    types::Account,
};

/// Makes a user, and this home its first device.
///
/// May be repeated after any error: the device's id is in the home before the
/// first try, so a repeat after a lost answer is the same registration. The
/// certificate to trust is stored in the home (`ca.pem`).
///
/// # Errors
///
/// [`SignInError`]; [`SignInError::Refused`] with `NAME_TAKEN` if the name is
/// somebody else's.
pub async fn register(
    home: &Home,
    server: &Server,
    name: &str,
    password: &str,
    device_name: &str,
) -> Result<Account, SignInError> {
    let _ = (home, server, name, password, device_name);
    Err(SignInError::Local(LocalError::Closed))
}

/// Makes this home a device of a user who exists.
///
/// As [`register`], may be repeated. A home whose credential was ended by the
/// server ([`Account::signed_in`] is false) may be signed in again by the same
/// user, and keeps its history and outbox.
///
/// # Errors
///
/// [`SignInError`]; [`SignInError::Refused`] with `WRONG_CREDENTIALS` if name or
/// password is wrong.
pub async fn sign_in(
    home: &Home,
    server: &Server,
    name: &str,
    password: &str,
    device_name: &str,
) -> Result<Account, SignInError> {
    let _ = (home, server, name, password, device_name);
    Err(SignInError::Local(LocalError::Closed))
}
