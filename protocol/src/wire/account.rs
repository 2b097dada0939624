//! What a user does with their own account, and tells of others, checked.

use super::{
    convert::{InvalidRequest, conversation_id, device_id, message_id},
    v1,
};
use crate::{
    id::{ConversationId, DeviceId, MessageId},
    seq::Seq,
    setting::Setting,
    text::{DeviceName, Invitation, Password, ReportText, UserName},
};

/// Register or sign in, checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Authenticate {
    /// Made by the client before the first try.
    pub device: DeviceId,
    /// Whose account.
    pub name: UserName,
    /// What proves it.
    pub password: Password,
    /// For the list of devices.
    pub device_name: DeviceName,
    /// For a registration where not everybody may.
    pub invitation: Invitation,
}

impl Authenticate {
    fn parse(
        device: &[u8],
        name: &str,
        password: String,
        device_name: String,
    ) -> Result<Self, InvalidRequest> {
        Ok(Self {
            device: device_id(device)?,
            name: UserName::parse(name)?,
            password: password.try_into()?,
            device_name: device_name.try_into()?,
            invitation: Invitation::default(),
        })
    }
}

impl TryFrom<v1::Register> for Authenticate {
    type Error = InvalidRequest;

    fn try_from(it: v1::Register) -> Result<Self, InvalidRequest> {
        let parsed = Self::parse(&it.device_id, &it.name, it.password, it.device_name)?;
        Ok(Self {
            invitation: it.invitation.try_into()?,
            ..parsed
        })
    }
}

impl TryFrom<v1::SignIn> for Authenticate {
    type Error = InvalidRequest;

    fn try_from(it: v1::SignIn) -> Result<Self, InvalidRequest> {
        Self::parse(&it.device_id, &it.name, it.password, it.device_name)
    }
}

/// A password to change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChangePassword {
    /// The password as it is.
    pub current: Password,
    /// What it is to be.
    pub new: Password,
    /// End the credentials of the user's other devices.
    pub sign_out_others: bool,
}

impl TryFrom<v1::ChangePassword> for ChangePassword {
    type Error = InvalidRequest;

    fn try_from(it: v1::ChangePassword) -> Result<Self, InvalidRequest> {
        Ok(Self {
            current: it.current.try_into()?,
            new: it.new.try_into()?,
            sign_out_others: it.sign_out_others,
        })
    }
}

/// A setting of the user's own to change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChangeAccount {
    /// The request's identity.
    pub id: MessageId,
    /// What is to be.
    pub setting: Setting,
}

impl TryFrom<v1::ChangeAccount> for ChangeAccount {
    type Error = InvalidRequest;

    fn try_from(it: v1::ChangeAccount) -> Result<Self, InvalidRequest> {
        Ok(Self {
            id: message_id(&it.message_id)?,
            setting: it.change.unwrap_or_default().try_into()?,
        })
    }
}

/// What a report is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reported {
    /// A user.
    User(UserName),
    /// A message, and who wrote it.
    Event(ConversationId, Seq),
}

/// Why somebody reports.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ReportReason {
    /// Unwanted advertising.
    Spam,
    /// Threats, insults, harassment.
    Abuse,
    /// Against the law.
    Illegal,
    /// The text says.
    Other,
}

impl ReportReason {
    /// The reason with this number in the schema.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        Some(match number {
            1 => Self::Spam,
            2 => Self::Abuse,
            3 => Self::Illegal,
            4 => Self::Other,
            _ => return None,
        })
    }

    /// Its number in the schema.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Spam => 1,
            Self::Abuse => 2,
            Self::Illegal => 3,
            Self::Other => 4,
        }
    }

    /// Its name, for people and programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spam => "spam",
            Self::Abuse => "abuse",
            Self::Illegal => "illegal",
            Self::Other => "other",
        }
    }
}

/// Something to tell the operators.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// What it is about.
    pub about: Reported,
    /// Why.
    pub reason: ReportReason,
    /// In the reporter's own words.
    pub text: ReportText,
}

impl TryFrom<v1::Report> for Report {
    type Error = InvalidRequest;

    fn try_from(it: v1::Report) -> Result<Self, InvalidRequest> {
        use v1::report::About;
        let missing = |field| InvalidRequest::Missing { field };
        let about = match it.about.ok_or(missing("about"))? {
            About::UserName(name) => Reported::User(UserName::parse(&name)?),
            About::Event(place) => {
                let conversation = conversation_id(&place.conversation_id)?;
                Reported::Event(conversation, Seq::new(place.seq))
            }
        };
        Ok(Self {
            about,
            reason: ReportReason::from_number(it.reason.into()).ok_or(missing("reason"))?,
            text: it.text.try_into()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_the_number_of_the_schema() {
        for number in 1..=4 {
            let reason = ReportReason::from_number(number).unwrap();
            assert_eq!(i64::from(reason.number()), number);
            let wire = v1::ReportReason::try_from(i32::from(reason.number())).unwrap();
            let name = format!("REPORT_REASON_{}", reason.name().to_ascii_uppercase());
            assert_eq!(wire.as_str_name(), name);
        }
        assert_eq!(ReportReason::from_number(0), None);
    }

    #[test]
    fn a_report_without_a_reason_or_a_subject_is_none() {
        let report = v1::Report {
            about: Some(v1::report::About::UserName("bob".to_owned())),
            ..Default::default()
        };
        let refused = Report::try_from(report).unwrap_err();
        assert_eq!(refused.to_string(), "reason is missing");
        let refused = Report::try_from(v1::Report::default()).unwrap_err();
        assert_eq!(refused.to_string(), "about is missing");
    }
}
