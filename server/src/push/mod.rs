//! Push: how a device that sleeps is told to connect.
//!
//! A wake says nothing but "connect and sync"; the log has the rest. So a wake
//! that is lost, late, doubled or useless costs an empty sync and no message.

mod access;
mod account;
mod answer;
mod answers;
mod check;
mod decide;
mod duty;
mod fcm;
mod message;
mod pace;
mod pending;
mod sender;
mod skew;

pub use self::{
    account::{AccountError, ServiceAccount},
    answer::Outcome,
    answers::Answers,
    check::check,
    decide::Deadlines,
    duty::{Duty, Parts},
    fcm::{Endpoints, EndpointsError, Fcm},
    message::{Form, PushMessage, WakeId},
    pace::Pace,
};
