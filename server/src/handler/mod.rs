//! What requests do, one file for each group of them. A handler checks, asks the
//! store, and says what became of it in its own words; `dispatch` turns that into
//! frames.

mod account;
mod guessable;
mod hello;
mod password;
mod pushes;
mod reports;

pub use self::{
    account::{Accounts, Credential, SignInError},
    hello::{Greeted, HelloError, Hellos},
    password::HashError,
    pushes::{PushRequest, Pushes},
    reports::Reports,
};
