//! Hashing passwords in memory that is kept: argon2 wants 19 MiB for each, and
//! an allocator that is asked for it on ever other threads keeps gigabytes.

use argon2::{
    ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash, Salt},
};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use magpie_protocol::text::Password;
use parking_lot::Mutex;

/// Bytes of a hash.
const HASH_SIZE: usize = 32;

/// A hash could not be made or read: a bug, or damage.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a password could not be hashed: {reason}")]
pub struct HashError {
    /// What happened; for the operator.
    pub reason: String,
}

impl HashError {
    fn new(error: impl ToString) -> Self {
        Self {
            reason: error.to_string(),
        }
    }
}

/// Hashes passwords with argon2id, with OWASP's first choice of parameters
/// (19 MiB, 2 passes, 1 lane; "Password Storage Cheat Sheet"), which are the
/// crate's defaults.
#[derive(Debug, Default)]
pub(super) struct Passwords {
    /// One for each that was ever hashed at the same time.
    memory: Mutex<Vec<Vec<Block>>>,
}

impl Passwords {
    /// A password's hash, in PHC string format.
    pub(super) fn hash(&self, password: &Password, salt: &[u8; 16]) -> Result<String, HashError> {
        let params = Params::default();
        let hash = self.argon2(&params, password, salt)?;
        let hash = PasswordHash {
            algorithm: ARGON2ID_IDENT,
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&params).map_err(HashError::new)?,
            salt: Some(Salt::new(salt).map_err(HashError::new)?),
            hash: Some(Output::new(&hash).map_err(HashError::new)?),
        };
        Ok(hash.to_string())
    }

    /// Whether the password is the one that `expected` is the hash of.
    pub(super) fn verify(&self, password: &Password, expected: &str) -> Result<bool, HashError> {
        let expected = PasswordHash::new(expected).map_err(HashError::new)?;
        let params = Params::try_from(&expected).map_err(HashError::new)?;
        let (Some(salt), Some(hash)) = (expected.salt, expected.hash) else {
            return Err(HashError::new("the stored hash has no salt or no hash"));
        };
        let found = self.argon2(&params, password, salt.as_ref())?;
        Ok(verify_slices_are_equal(&found, hash.as_bytes()).is_ok())
    }

    fn argon2(
        &self,
        params: &Params,
        password: &Password,
        salt: &[u8],
    ) -> Result<[u8; HASH_SIZE], HashError> {
        let mut memory = self.memory.lock().pop().unwrap_or_default();
        memory.resize(params.block_count().max(memory.len()), Block::default());
        let mut hash = [0; HASH_SIZE];
        let result = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
            .hash_password_into_with_memory(
                password.reveal().as_bytes(),
                salt,
                &mut hash,
                &mut memory,
            );
        self.memory.lock().push(memory);
        result.map(|()| hash).map_err(HashError::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn a_password_fits_its_own_hash_and_no_other() {
        let passwords = Passwords::default();
        let hash = passwords
            .hash(&password("correct horse"), &[7; 16])
            .unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert_eq!(
            passwords.verify(&password("correct horse"), &hash),
            Ok(true)
        );
        assert_eq!(
            passwords.verify(&password("correct house"), &hash),
            Ok(false)
        );
    }

    #[test]
    fn memory_is_kept_for_the_next() {
        let passwords = Passwords::default();
        for salt in 0..3 {
            passwords
                .hash(&password("correct horse"), &[salt; 16])
                .unwrap();
        }
        assert_eq!(passwords.memory.lock().len(), 1);
    }
}
