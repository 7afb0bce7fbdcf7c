//! A bucket of an object store: whole objects by their names, read, written, listed, and replaced only while they are
//! still what somebody has read.
//!
//! Its requests run on threads of their own, so that whoever waits for one may stand anywhere.

mod azure;
mod cache;
mod client;
mod files;
mod google;
pub mod lease;
mod probe;
mod profile;
mod s3;
mod trouble;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path as Key;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};
use tokio::runtime::{Builder, Runtime};

pub use files::may_hold;

use super::objects::{Entry, Kind};
use crate::clock::Stopwatch;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::pipeline::BucketSettings;
use client::Size;

/// How long a server that could not be reached is not asked again by this process.
const DOWN: Duration = Duration::from_secs(30);
/// How often a replacement is tried again that met another one under way.
const TRIES: usize = 8;
/// Requests under way at one time.
const AT_ONCE: usize = 8;

/// A part of a bucket that is a store.
pub struct Bucket {
    settings: BucketSettings,
    client: OnceLock<Result<Arc<dyn ObjectStore>>>,
    /// For files.
    carrier: OnceLock<Result<Arc<dyn ObjectStore>>>,
    down: Mutex<Option<(Stopwatch, Error)>>,
}

/// An object with what tells this version of it from others.
#[derive(Debug, Clone)]
pub struct Versioned {
    pub bytes: Vec<u8>,
    pub version: UpdateVersion,
    /// When it was written, by the server's clock.
    pub written: chrono::DateTime<chrono::Utc>,
}

/// How a replacement on condition ended.
#[derive(Debug)]
pub enum Swapped {
    Done(UpdateVersion),
    /// Another writer was there first.
    Lost,
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.settings)
    }
}

static OPEN: Mutex<Vec<Arc<Bucket>>> = Mutex::new(Vec::new());
static RUNTIME: OnceLock<std::result::Result<Runtime, String>> = OnceLock::new();

fn runtime() -> Result<&'static Runtime> {
    let made = RUNTIME.get_or_init(|| {
        let built = Builder::new_multi_thread().worker_threads(2).thread_name("bucket").enable_all().build();
        built.map_err(|error| error.to_string())
    });
    made.as_ref().map_err(|error| {
        Error::new(ErrorKind::Store, "no threads for the requests to the bucket").caused_by(error.as_str())
    })
}

/// Asks again when an answer began and was cut; requests that were not answered at all are tried again below.
async fn again<T, E, F: Future<Output = std::result::Result<T, E>>>(
    is_cut: impl Fn(&E) -> bool,
    work: impl Fn() -> F,
) -> std::result::Result<T, E> {
    for attempt in 0..TRIES {
        match work().await {
            Err(error) if is_cut(&error) => {
                tracing::debug!("an answer was cut");
                tokio::time::sleep(Duration::from_millis(20 << attempt)).await;
            }
            ended => return ended,
        }
    }
    work().await
}

/// What the replacement of an object expects to find.
fn mode(expected: Option<&UpdateVersion>) -> PutOptions {
    let mode = expected.map_or(PutMode::Create, |version| PutMode::Update(version.clone()));
    PutOptions { mode, ..PutOptions::default() }
}

fn version(meta: &ObjectMeta) -> UpdateVersion {
    UpdateVersion { e_tag: meta.e_tag.clone(), version: meta.version.clone() }
}

impl Bucket {
    /// One in a process for each place, with its connections.
    pub fn of(settings: &BucketSettings) -> Arc<Bucket> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = open.iter().find(|bucket| bucket.settings == *settings) {
            return Arc::clone(known);
        }
        let bucket = Arc::new(Bucket {
            settings: settings.clone(),
            client: OnceLock::new(),
            carrier: OnceLock::new(),
            down: Mutex::new(None),
        });
        open.push(Arc::clone(&bucket));
        bucket
    }

    pub fn settings(&self) -> &BucketSettings {
        &self.settings
    }

    /// An object as people name it.
    pub fn shown(&self, name: &str) -> String {
        match name {
            "" => self.settings.to_string(),
            name => format!("{}/{name}", self.settings),
        }
    }

    fn client(&self) -> Result<Arc<dyn ObjectStore>> {
        self.client.get_or_init(|| client::connect(&self.settings, Size::Small)).clone()
    }

    fn key(&self, name: &str) -> Result<Key> {
        let parts = [self.settings.prefix.as_str(), name];
        let whole = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
        Key::parse(&whole)
            .or_error(ErrorKind::Store, || format!("{} is no name of an object", self.shown(name)))
    }

    /// Waits for a request, from wherever.
    fn wait<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T> {
        let (send, receive) = std::sync::mpsc::sync_channel(1);
        runtime()?.spawn(async move {
            let _ = send.send(work.await);
        });
        receive.recv().or_error(ErrorKind::Bug, || "a request to the bucket ended by itself".to_owned())
    }

    /// The same where waiting may be given up.
    async fn awaited<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T> {
        /// Whoever waits no more wants no more.
        struct Stopped(tokio::task::AbortHandle);
        impl Drop for Stopped {
            fn drop(&mut self) {
                self.0.abort();
            }
        }
        let task = runtime()?.spawn(work);
        let _stopped = Stopped(task.abort_handle());
        task.await.or_error(ErrorKind::Bug, || "a request to the bucket ended by itself".to_owned())
    }

    /// What a failed request was, told once for all that follow soon.
    fn failed(&self, doing: &str, name: &str, error: object_store::Error) -> Error {
        let unreachable = trouble::is_out_of_reach(&error) || trouble::is_of_the_bucket(&error);
        let told = trouble::told(&self.settings, &format!("{doing} {}", self.shown(name)), error);
        if unreachable { self.gives_up(told) } else { told }
    }

    /// What is asked of it soon gets the same answer, and nothing is written there.
    fn gives_up(&self, error: Error) -> Error {
        let mut down = self.down.lock().unwrap_or_else(PoisonError::into_inner);
        *down = Some((Stopwatch::start(), error.clone()));
        error
    }

    /// Whether nothing has said just now that it is not there.
    pub fn seems_there(&self) -> bool {
        self.require_reach().is_ok()
    }

    /// The client, unless its server was out of reach just now.
    fn reached(&self) -> Result<Arc<dyn ObjectStore>> {
        self.require_reach()?;
        self.client()
    }

    /// The same for files.
    fn carrier(&self) -> Result<Arc<dyn ObjectStore>> {
        self.require_reach()?;
        self.carrier.get_or_init(|| client::connect(&self.settings, Size::Large)).clone()
    }

    fn require_reach(&self) -> Result<()> {
        match self.down.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some((since, error)) if since.elapsed() < DOWN => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// An object, or none.
    pub fn read(&self, name: &str) -> Result<Option<Versioned>> {
        self.read_by(self.reached()?, name)
    }

    fn read_by(&self, client: Arc<dyn ObjectStore>, name: &str) -> Result<Option<Versioned>> {
        let key = self.key(name)?;
        let read = self.wait(again(trouble::is_cut, move || {
            let (client, key) = (Arc::clone(&client), key.clone());
            async move {
                let found = client.get(&key).await?;
                let (version, written) = (version(&found.meta), found.meta.last_modified);
                let bytes = found.bytes().await?.to_vec();
                Ok(Versioned { bytes, version, written })
            }
        }))?;
        match read {
            Ok(found) => Ok(Some(found)),
            Err(error) if trouble::is_absent(&error) => Ok(None),
            Err(error) => Err(self.failed("cannot read", name, error)),
        }
    }

    /// What lies directly below a name, without what is somebody else's to look into.
    pub fn list(&self, folder: &str) -> Result<Vec<Entry>> {
        let (client, key) = (self.reached()?, self.key(folder)?);
        let below = (!key.as_ref().is_empty()).then_some(key);
        // Consoles make folders by an object of the folder's own name.
        let marker = below.clone();
        let listed = self.wait(again(trouble::is_cut, move || {
            let (client, below) = (Arc::clone(&client), below.clone());
            async move { client.list_with_delimiter(below.as_ref()).await }
        }))?;
        let listed = listed.map_err(|error| self.failed("cannot list", folder, error))?;
        let last = |key: &Key| key.filename().map(str::to_owned);
        let folders = listed
            .common_prefixes
            .iter()
            .filter_map(|key| Some(Entry { name: last(key)?, kind: Kind::Folder, bytes: 0, e_tag: None }));
        let files = listed.objects.iter().filter(|meta| marker.as_ref() != Some(&meta.location));
        let files = files.filter_map(|meta| {
            Some(Entry {
                name: last(&meta.location)?,
                kind: Kind::File,
                bytes: meta.size,
                e_tag: meta.e_tag.clone(),
            })
        });
        let mut entries: Vec<Entry> = folders.chain(files).collect();
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    /// Writes an object, or replaces it.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let (client, key) = (self.reached()?, self.key(name)?);
        let payload = PutPayload::from(bytes.to_vec());
        let written = self.wait(again(trouble::is_cut, move || {
            let (client, key, payload) = (Arc::clone(&client), key.clone(), payload.clone());
            async move { client.put(&key, payload).await }
        }))?;
        written.map(|_| ()).map_err(|error| self.failed("cannot write", name, error))
    }

    /// Replaces an object that is still the one expected, or makes one where none is.
    ///
    /// A request whose answer is lost may have been obeyed, so what lies there afterwards decides.
    pub fn swap(&self, name: &str, bytes: &[u8], expected: Option<&UpdateVersion>) -> Result<Swapped> {
        for attempt in 0..TRIES {
            let (client, key) = (self.reached()?, self.key(name)?);
            let (payload, options) = (PutPayload::from(bytes.to_vec()), mode(expected));
            let error = match self.wait(async move { client.put_opts(&key, payload, options).await })? {
                Ok(put) => return Ok(Swapped::Done(put.into())),
                Err(error) => error,
            };
            let refused = matches!(
                error,
                object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }
            );
            let read = self.read_by(self.client()?, name);
            let there = if refused { read? } else { read.unwrap_or_default() };
            match there {
                Some(there) if there.bytes == bytes => return Ok(Swapped::Done(there.version)),
                // Whether it was refused or obeyed, the answer would have said: asked again it is refused, or done by us.
                _ if trouble::is_cut(&error) && attempt + 1 < TRIES => {
                    std::thread::sleep(Duration::from_millis(50 << attempt.min(5)));
                }
                _ if !refused => return Err(self.failed("cannot replace", name, error)),
                // Two were under way at once, and the server has refused both.
                Some(there) if expected == Some(&there.version) => {
                    std::thread::sleep(Duration::from_millis(50 << attempt.min(5)));
                }
                None if expected.is_none() => std::thread::sleep(Duration::from_millis(50 << attempt.min(5))),
                _ => return Ok(Swapped::Lost),
            }
        }
        Ok(Swapped::Lost)
    }

    /// Removes objects; what is gone already need not go.
    pub fn remove(&self, names: Vec<String>) -> Result<()> {
        let client = self.reached()?;
        let mut work = Vec::new();
        for name in names {
            let (client, key) = (Arc::clone(&client), self.key(&name)?);
            work.push(async move {
                let deleted = again(trouble::is_cut, || client.delete(&key)).await;
                match deleted {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                    Err(error) => Err((name, error)),
                }
            });
        }
        let all = futures::stream::iter(work).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>();
        let removed = self.wait(all)?;
        removed.map(|_| ()).map_err(|(name, error)| self.failed("cannot remove", &name, error))
    }
}
