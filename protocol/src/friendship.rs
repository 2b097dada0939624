//! What two users are to each other, and what they do about it.

/// What another user is to one, as far as they know.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Friendship {
    /// Nothing.
    #[default]
    None,
    /// The user has asked them.
    Asked,
    /// They have asked the user.
    WasAsked,
    /// They are friends.
    Friends,
}

impl Friendship {
    /// The one with this number in the schema.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        Some(match number {
            0 => Self::None,
            1 => Self::Asked,
            2 => Self::WasAsked,
            3 => Self::Friends,
            _ => return None,
        })
    }

    /// Its number in the schema.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Asked => 1,
            Self::WasAsked => 2,
            Self::Friends => 3,
        }
    }

    /// Its name, for people and programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Asked => "asked",
            Self::WasAsked => "was_asked",
            Self::Friends => "friends",
        }
    }
}

/// What a user does about a friendship.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum FriendAction {
    /// Asks the other one; accepts, if they have asked.
    Request,
    /// Accepts what the other one has asked.
    Accept,
    /// Takes back what they have asked.
    Cancel,
    /// Is no friend any more.
    Remove,
}

impl FriendAction {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Request, Self::Accept, Self::Cancel, Self::Remove];

    /// The one with this number in the schema.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        Some(match number {
            1 => Self::Request,
            2 => Self::Accept,
            3 => Self::Cancel,
            4 => Self::Remove,
            _ => return None,
        })
    }

    /// Its number in the schema.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Request => 1,
            Self::Accept => 2,
            Self::Cancel => 3,
            Self::Remove => 4,
        }
    }

    /// Its name, for people and programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Accept => "accept",
            Self::Cancel => "cancel",
            Self::Remove => "remove",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::v1;

    #[test]
    fn a_friendship_has_the_number_of_the_schema() {
        for number in 1..=3 {
            let friendship = Friendship::from_number(number).unwrap();
            assert_eq!(i64::from(friendship.number()), number);
            let wire = v1::Friendship::try_from(i32::from(friendship.number())).unwrap();
            let name = format!("FRIENDSHIP_{}", friendship.name().to_ascii_uppercase());
            assert_eq!(wire.as_str_name(), name);
        }
        assert_eq!(Friendship::from_number(0), Some(Friendship::None));
        assert_eq!(Friendship::from_number(4), None);
    }

    #[test]
    fn an_action_has_the_number_of_the_schema() {
        for action in FriendAction::ALL {
            let number = action.number();
            assert_eq!(FriendAction::from_number(number.into()), Some(action));
            let wire = v1::FriendAction::try_from(i32::from(number)).unwrap();
            let name = format!("FRIEND_ACTION_{}", action.name().to_ascii_uppercase());
            assert_eq!(wire.as_str_name(), name);
        }
        assert_eq!(FriendAction::from_number(0), None);
    }
}
