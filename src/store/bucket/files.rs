//! Data files on their way to a bucket and back, hashed as they come.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{AT_ONCE, Bucket, again, trouble};
use crate::error::Result;
use crate::star::shelf::hex;
use crate::store::objects::Entry;
use crate::store::store_error;

/// Larger files are sent in parts of this size.
const PART: u64 = 16 << 20;

/// Whether an object may hold the bytes of a file, by its ETag: of what was sent whole and is encrypted with no key of its
/// own that is the MD5 of its bytes. Of any other it says nothing.
pub fn may_hold(entry: &Entry, path: &Path) -> bool {
    let Some(tag) = entry.e_tag.as_deref().map(|tag| tag.trim_matches('"').to_ascii_lowercase()) else {
        return true;
    };
    if tag.len() != 32 || !tag.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return true;
    }
    let hashed = || {
        let bytes = std::fs::read(path)?;
        std::io::Result::Ok(hex(&<md5::Md5 as md5::Digest>::digest(bytes)))
    };
    hashed().is_ok_and(|hash| hash == tag)
}

impl Bucket {
    /// Sends files to their names, some at once.
    pub async fn send(self: &Arc<Self>, files: Vec<(PathBuf, String)>) -> Result<()> {
        let client = self.carrier()?;
        let mut work = Vec::new();
        for (path, name) in files {
            let (client, key, bucket) = (Arc::clone(&client), self.key(&name)?, Arc::clone(self));
            work.push(async move { bucket.send_one(client.as_ref(), &key, &path, &name).await });
        }
        let all = futures::stream::iter(work).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>();
        self.awaited(all).await?.map(|_| ())
    }

    async fn send_one(&self, client: &dyn ObjectStore, key: &Key, path: &Path, name: &str) -> Result<()> {
        let unread = |error| store_error("cannot read", path, error);
        let mut file = tokio::fs::File::open(path).await.map_err(unread)?;
        let bytes = file.metadata().await.map_err(unread)?.len();
        let failed = |error| self.failed("cannot write", name, error);
        if bytes <= PART {
            let mut whole = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default());
            file.read_to_end(&mut whole).await.map_err(unread)?;
            return client.put(key, PutPayload::from(whole)).await.map(|_| ()).map_err(failed);
        }
        let mut upload = client.put_multipart(key).await.map_err(failed)?;
        let sent: Result<()> = async {
            loop {
                let mut part = Vec::new();
                (&mut file).take(PART).read_to_end(&mut part).await.map_err(unread)?;
                if part.is_empty() {
                    break;
                }
                upload.put_part(PutPayload::from(part)).await.map_err(failed)?;
            }
            upload.complete().await.map(|_| ()).map_err(failed)
        }
        .await;
        if sent.is_err() {
            // Parts of what will never be whole cost money.
            let _ = upload.abort().await;
        }
        sent
    }

    /// Brings an object into a file, whole; says how many bytes it has and their hash, or nothing where it is not there.
    pub fn bring(&self, name: &str, path: &Path) -> Result<Option<(u64, String)>> {
        self.carry(name, Some(path.to_owned()))
    }

    /// The same of an object that stays where it is.
    pub fn digest(&self, name: &str) -> Result<Option<(u64, String)>> {
        self.carry(name, None)
    }

    fn carry(&self, name: &str, path: Option<PathBuf>) -> Result<Option<(u64, String)>> {
        let (client, key) = (self.carrier()?, self.key(name)?);
        let is_cut = |poured: &Poured| matches!(poured, Poured::Request(error) if trouble::is_cut(error));
        let carried = self.wait(again(is_cut, move || {
            let (client, key, path) = (Arc::clone(&client), key.clone(), path.clone());
            async move { pour(client.as_ref(), &key, path.as_deref()).await }
        }))?;
        match carried {
            Ok(read) => Ok(Some(read)),
            Err(Poured::Request(error)) if trouble::is_absent(&error) => Ok(None),
            Err(Poured::Request(error)) => Err(self.failed("cannot read", name, error)),
            Err(Poured::File(path, error)) => Err(store_error("cannot write", &path, error)),
        }
    }
}

enum Poured {
    Request(object_store::Error),
    File(PathBuf, std::io::Error),
}

/// Reads an object from its first byte to its last, into a file if one is named.
async fn pour(
    client: &dyn ObjectStore,
    key: &Key,
    path: Option<&Path>,
) -> std::result::Result<(u64, String), Poured> {
    let at = |error| Poured::File(path.unwrap_or(Path::new("")).to_owned(), error);
    let mut stream = client.get(key).await.map_err(Poured::Request)?.into_stream();
    let mut file = match path {
        Some(path) => Some(tokio::fs::File::create(path).await.map_err(at)?),
        None => None,
    };
    let (mut bytes, mut hash) = (0, Sha256::new());
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(Poured::Request)?;
        bytes += chunk.len() as u64;
        hash.update(&chunk);
        if let Some(file) = &mut file {
            file.write_all(&chunk).await.map_err(at)?;
        }
    }
    if let Some(file) = &mut file {
        file.flush().await.map_err(at)?;
    }
    Ok((bytes, hex(&hash.finalize())))
}
