//! Whether a bucket can hold a store: that nobody else's things lie there, and that its server keeps conditions.

use object_store::{ObjectStore, PutPayload, UpdateVersion};

use super::{Bucket, mode};
use crate::error::{Error, ErrorKind, Result};
use crate::name::RunId;

/// What a store has directly below its prefix.
const OURS: [&str; 8] =
    ["tables", "snapshots", "keys", "runs", "latest.json", "delivery.json", "incident.json", "schedule.json"];

impl Bucket {
    /// Refuses a prefix where things lie that no store has, unless a store is there.
    pub fn require_ours(&self, is_store: bool) -> Result<()> {
        if is_store {
            return Ok(());
        }
        let strange = self
            .list("")?
            .into_iter()
            .find(|entry| !OURS.contains(&entry.name.as_str()) && !entry.name.starts_with('.'));
        let Some(strange) = strange else { return Ok(()) };
        let message =
            format!("{} is no store, and has something of somebody else's: {}", self.settings, strange.name);
        let error =
            Error::new(ErrorKind::Store, message).hint("name a prefix of the store's own: `url` in [store]");
        Err(self.gives_up(error))
    }

    /// Refuses a server that replaces an object though it was asked to replace another one: two writers of it would both
    /// believe that they have published.
    pub fn require_conditions(&self, run: &RunId) -> Result<()> {
        let name = format!(".probe-{run}");
        // One service tells versions by their ETag, another by their number.
        let wrong = UpdateVersion {
            e_tag: Some(format!("\"{:032x}\"", fastrand::u128(..))),
            version: Some("1".to_owned()),
        };
        let probe = |what: &str| format!("{what} probe, {:032x}\n", fastrand::u128(..));
        let made = self.put_if(&name, probe("a first").as_bytes(), None)?;
        let again = self.put_if(&name, probe("a second").as_bytes(), None)?;
        let other = self.put_if(&name, probe("a third").as_bytes(), Some(&wrong))?;
        self.remove(vec![name])?;
        let told = |problem: &str| {
            let message = format!("the server of {} {problem}", self.settings);
            Err(self.gives_up(Error::new(ErrorKind::Store, message).hint(
                "a store needs a server that obeys conditions (If-None-Match and If-Match, or Google's generations), as \
                 the services themselves do; or a folder",
            )))
        };
        match (made, again, other) {
            (true, false, false) => Ok(()),
            (_, true, _) => told("writes an object that is there already, though it was asked not to"),
            (_, _, true) => told("replaces an object that is not the one that was read"),
            (false, ..) => told("does not write an object that is not there"),
        }
    }

    /// Whether an object was written on a condition.
    fn put_if(&self, name: &str, bytes: &[u8], expected: Option<&UpdateVersion>) -> Result<bool> {
        let (client, key) = (self.reached()?, self.key(name)?);
        let (payload, options) = (PutPayload::from(bytes.to_vec()), mode(expected));
        match self.wait(async move { client.put_opts(&key, payload, options).await })? {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                // One that was obeyed and not answered was sent again.
                Ok(self.read(name)?.is_some_and(|there| there.bytes == bytes))
            }
            Err(error) => Err(self.failed("cannot write", name, error)),
        }
    }
}
