//! The newest image, kept on disk, so that a gateway can start while the coordinator is away.
//!
//! One file in a directory that one process holds at a time. When it was changed last is when the
//! image was last known to be current.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::handle::ImageHandle;
use super::image::ClusterImage;
use super::image_file;
use crate::durable_file;
use crate::limits;

/// The name of the file.
const FILE: &str = "cluster.image";
/// The file whose lock says that the directory is in use.
const LOCK: &str = ".lock";

/// Where the image is kept.
#[derive(Debug)]
pub struct ImageStore {
    path: PathBuf,
    source: String,
    _lock: File,
}

impl ImageStore {
    /// The store in this directory, which is made. `source` names the cluster: an image of another
    /// one is not read.
    ///
    /// # Errors
    /// The directory can't be had, or another process holds it.
    pub fn open(directory: &Path, source: String) -> io::Result<ImageStore> {
        durable_file::create_directory(directory)?;
        let lock = File::create(directory.join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            Errno::WOULDBLOCK => io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another process keeps its image here: each needs a directory of its own",
            ),
            error => error.into(),
        })?;
        Ok(ImageStore { path: directory.join(FILE), source, _lock: lock })
    }

    /// The image that was kept, and how long ago it was known to be current. One that can't be read
    /// is named in the log and counts as none.
    pub fn load(&self) -> Option<(ClusterImage, Duration)> {
        let (bytes, current) = match self.read() {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                let path = self.path.display();
                tracing::warn!(%path, %error, "the image on disk can't be read");
                return None;
            }
        };
        match image_file::decode(&bytes, &self.source) {
            Ok(image) => Some((image, current.elapsed().unwrap_or_default())),
            Err(error) => {
                let path = self.path.display();
                tracing::warn!(%path, %error, "the image on disk is of no use");
                None
            }
        }
    }

    fn read(&self) -> io::Result<(Vec<u8>, SystemTime)> {
        let file = File::open(&self.path)?;
        let metadata = file.metadata()?;
        if metadata.len() > limits::IMAGE_FILE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large"));
        }
        let mut bytes = Vec::new();
        file.take(metadata.len()).read_to_end(&mut bytes)?;
        Ok((bytes, metadata.modified()?))
    }

    /// Writes the image, which was current `age` ago.
    fn save(&self, image: &ClusterImage, age: Duration) -> io::Result<()> {
        durable_file::write(&self.path, &image_file::encode(image, &self.source))?;
        if age.is_zero() { Ok(()) } else { self.mark(age) }
    }

    /// Notes that the image that was written was current `age` ago.
    fn mark(&self, age: Duration) -> io::Result<()> {
        let moment = SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
        File::options().write(true).open(&self.path)?.set_modified(moment)
    }

    /// Writes every new image, not too often, until [`Keeper::finish`].
    pub fn keep(self, images: ImageHandle) -> Keeper {
        let (stop, stopped) = watch::channel(());
        // Before anything else is published: what is there now was loaded, and is on disk already.
        let (changed, saved) = (images.changed(), images.load().version);
        let keeping = keep(Arc::new(self), images, changed, saved, stopped);
        Keeper { stop, task: tokio::spawn(keeping) }
    }
}

/// Writes images until it is finished or dropped.
#[derive(Debug)]
pub struct Keeper {
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Keeper {
    /// Writes the newest image if that was not done yet, and ends.
    pub async fn finish(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            tracing::warn!(%error, "keeping the image on disk failed");
        }
    }
}

async fn keep(
    store: Arc<ImageStore>,
    images: ImageHandle,
    mut changed: watch::Receiver<u64>,
    mut saved: u64,
    mut stopped: watch::Receiver<()>,
) {
    let mut failed = false;
    let mut stop = false;
    while !stop {
        tokio::select! {
            _ = stopped.changed() => stop = true,
            gone = changed.changed() => stop = gone.is_err(),
            () = tokio::time::sleep(limits::IMAGE_MARK_INTERVAL) => {}
        }
        let (image, age) = (images.load(), images.age());
        let version = image.version;
        if version == 0 || (version == saved && !age.is_zero()) {
            continue;
        }
        let writing = store.clone();
        let written = tokio::task::spawn_blocking(move || {
            if version == saved { writing.mark(age) } else { writing.save(&image, age) }
        });
        match written.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(()) => {
                saved = version;
                failed = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut failed, true) {
                    let path = store.path.display();
                    tracing::error!(%path, %error, "the image can't be kept on disk");
                }
            }
        }
        if !stop {
            tokio::select! {
                _ = stopped.changed() => {}
                () = tokio::time::sleep(limits::IMAGE_SAVE_INTERVAL) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(version: u64, id: &str) -> ClusterImage {
        ClusterImage { version, cluster_id: Some(id.into()), ..ClusterImage::default() }
    }

    fn store(directory: &Path) -> ImageStore {
        ImageStore::open(&directory.join("a/b"), "zk:2181".to_owned()).unwrap()
    }

    #[tokio::test]
    async fn what_was_published_is_there_at_the_next_start() {
        let directory = tempfile::tempdir().unwrap();
        let first = store(directory.path());
        assert!(first.load().is_none());
        let images = ImageHandle::new();
        let keeper = first.keep(images.clone());
        images.publish(image(1, "one"));
        images.set_connected(true);
        images.publish(image(2, "two"));
        keeper.finish().await;

        let second = store(directory.path());
        let (found, age) = second.load().unwrap();
        assert_eq!((found.version, found.cluster_id.as_deref()), (1, Some("two")));
        assert!(age < Duration::from_secs(3_600), "{age:?}");

        // What was restored and never followed is not said to be any younger.
        let images = ImageHandle::new();
        let long = Duration::from_secs(100_000);
        second.mark(long).unwrap();
        images.restore(found, second.load().unwrap().1);
        assert!(images.age() >= long && !images.connected());
        second.keep(images).finish().await;
        assert!(store(directory.path()).load().unwrap().1 >= long);
    }

    #[test]
    fn what_can_not_be_read_counts_as_none() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        store.save(&image(1, "one"), Duration::ZERO).unwrap();
        assert!(store.load().is_some());
        let mut bytes = std::fs::read(&store.path).unwrap();
        bytes.pop();
        std::fs::write(&store.path, bytes).unwrap();
        assert!(store.load().is_none());
        std::fs::remove_file(&store.path).unwrap();
        std::fs::create_dir(&store.path).unwrap();
        assert!(store.load().is_none());
        assert!(store.save(&image(1, "one"), Duration::ZERO).is_err());
    }

    #[test]
    fn a_directory_has_one_holder() {
        let directory = tempfile::tempdir().unwrap();
        let held = store(directory.path());
        assert!(ImageStore::open(&directory.path().join("a/b"), String::new()).is_err());
        drop(held);
        assert!(ImageStore::open(&directory.path().join("a/b"), String::new()).is_ok());
    }
}
