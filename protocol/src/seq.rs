//! Numbers that look alike and live differently, each in a type of its own.

/// Makes a 64-bit counter type.
macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(u64);

        impl $name {
            /// Before the first.
            pub const ZERO: Self = Self(0);

            /// The one with this number.
            #[must_use]
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// Its number.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The one after it. Stays at the last number there is.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }

            /// The one before it; zero stays zero.
            #[must_use]
            pub const fn previous(self) -> Self {
                Self(self.0.saturating_sub(1))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(formatter)
            }
        }
    };
}

counter! {
    /// A sequenced frame's place in one direction of one connection: 1, 2, 3, ...
    /// Dies with the connection.
    FrameNumber
}

counter! {
    /// An event's place in its conversation: 1, 2, 3, ... without a gap, for ever.
    Seq
}

counter! {
    /// An event's place in the server's whole history, in commit order. Known to
    /// the server alone; a cursor hides it from clients.
    Position
}
