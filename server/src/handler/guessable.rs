//! Passwords that others would try among their first.

use magpie_protocol::text::{Password, UserName};

/// The 3,000 most common ones that are long enough, in lower case and in order, as OWASP's
/// Application Security Verification Standard asks for (5.0, 6.2.4). They are those that the
/// zxcvbn project (MIT licence) ranks first.
const COMMON: &str = include_str!("common_passwords.txt");

/// What a user name may be followed by without being another password.
const TAIL_LENGTH_MAX: usize = 4;

/// Whether anybody would soon guess this password: a common one, the user's own name, a
/// character or a pair again and again, or a row of the alphabet or of numbers.
pub(super) fn is_guessable(password: &Password, name: &UserName) -> bool {
    let folded = password.reveal().to_lowercase();
    is_common(&folded) || is_own_name(&folded, name) || is_pattern(&folded)
}

fn is_common(folded: &str) -> bool {
    COMMON.lines().any(|common| common == folded)
}

fn is_own_name(folded: &str, name: &UserName) -> bool {
    let tail = folded.strip_prefix(name.as_str());
    tail.is_some_and(|tail| tail.chars().count() <= TAIL_LENGTH_MAX)
}

/// Each character is as far from the next as every other, or it is that of two before.
fn is_pattern(folded: &str) -> bool {
    let characters: Vec<u32> = folded.chars().map(u32::from).collect();
    let mut pairs = characters.windows(2);
    let step = |pair: &[u32]| match pair {
        [one, next] => i64::from(*next) - i64::from(*one),
        _ => 0,
    };
    let first = pairs.next().map(step);
    let is_row =
        first.is_some_and(|first| first.abs() <= 1) && pairs.all(|pair| Some(step(pair)) == first);
    let repeats = characters.iter().zip(characters.iter().skip(2));
    let is_pair = repeats.clone().all(|(one, later)| one == later);
    is_row || is_pair
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_anybody_would_guess_is_no_password() {
        let alice = UserName::parse("alice.liddell").unwrap();
        let is_guessable = |text: &str| {
            let password = Password::try_from(text.to_owned()).unwrap();
            is_guessable(&password, &alice)
        };
        for common in [
            "password",
            "Password1",
            "12345678",
            "QWERTYUIOP",
            "iloveyou",
            "aaaaaaaaaaaaaaaaaaaa",
            "abababababab",
            "abcdefghijk",
            "987654321",
            "alice.liddell",
            "Alice.Liddell2024",
        ] {
            assert!(is_guessable(common), "{common}");
        }
        for other in [
            "correct horse",
            "안녕하세요 여러분",
            "wx8-Lfq2",
            "alice.liddell and her cat",
            "2 4 6 8 who do we",
        ] {
            assert!(!is_guessable(other), "{other}");
        }
    }

    #[test]
    fn the_common_ones_are_long_enough_and_in_order() {
        let all: Vec<&str> = COMMON.lines().collect();
        assert!(all.len() >= 2_900, "{}", all.len());
        assert!(all.is_sorted());
        for one in all {
            assert!(
                one.chars().count() >= magpie_protocol::limits::PASSWORD_LENGTH_MIN,
                "{one}"
            );
            assert_eq!(one, one.to_lowercase());
        }
    }
}
