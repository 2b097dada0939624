//! What members of a group may do.

use crate::wire::v1;

/// A member's role in a group. Each may all that the one before it may.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Role {
    /// One of the members.
    Member,
    /// One who looks after the group.
    Admin,
    /// Whose the group is: exactly one.
    Owner,
}

impl Role {
    /// All of them, the lowest first.
    pub const ALL: [Self; 3] = [Self::Member, Self::Admin, Self::Owner];

    /// The number by which it is known on the wire and stored.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Member => 1,
            Self::Admin => 2,
            Self::Owner => 3,
        }
    }

    /// The role with this number.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        Some(match number {
            1 => Self::Member,
            2 => Self::Admin,
            3 => Self::Owner,
            _ => return None,
        })
    }

    /// As in the schema.
    #[must_use]
    pub const fn to_wire(self) -> v1::Role {
        match self {
            Self::Member => v1::Role::Member,
            Self::Admin => v1::Role::Admin,
            Self::Owner => v1::Role::Owner,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_has_one_number_everywhere() {
        for role in Role::ALL {
            assert_eq!(i32::from(role.to_wire()), i32::from(role.number()));
            assert_eq!(Role::from_number(role.number().into()), Some(role));
        }
        assert_eq!(Role::from_number(0), None);
        assert_eq!(Role::from_number(4), None);
    }
}
