//! A directory for one local cloud: as long as it runs, or for its next start.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Removed when dropped, unless it is kept. What a killed process left behind is
/// removed by the next one: its lock is free.
#[derive(Debug)]
pub(crate) struct OwnDirectory {
    path: PathBuf,
    kept: bool,
    _lock: File,
}

impl OwnDirectory {
    /// A new directory under `home`.
    pub(crate) fn claim(home: &Path) -> io::Result<Self> {
        let clouds = home.join("clouds");
        create_private(&clouds)?;
        sweep(&clouds);
        // A process may hold more than one.
        let mut number = 0;
        let path = loop {
            let path = clouds.join(format!("{}-{number}", std::process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => break path,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        };
        let path = fs::canonicalize(path)?;
        let lock = File::create(path.join("lock"))?;
        lock.lock()?;
        Ok(Self { path, kept: false, _lock: lock })
    }

    /// Takes this directory, which stays. An error if another local cloud has it now.
    pub(crate) fn keep(path: &Path) -> io::Result<Self> {
        create_private(path)?;
        let path = fs::canonicalize(path)?;
        // What an earlier release kept may be open to everybody.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        let lock = File::create(path.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::Error(error) => error,
            TryLockError::WouldBlock => {
                io::Error::other("a local cloud that is up keeps its state there")
            }
        })?;
        Ok(Self { path, kept: true, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for OwnDirectory {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Makes a directory that is its owner's only, with those above it that are missing.
pub(crate) fn create_private(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Removes the directories whose owner is gone. One that cannot be removed is
/// left to the next time.
fn sweep(clouds: &Path) {
    let entries = fs::read_dir(clouds).into_iter().flatten().flatten();
    for directory in entries.map(|entry| entry.path()) {
        let abandoned =
            File::open(directory.join("lock")).is_ok_and(|lock| lock.try_lock().is_ok());
        if abandoned {
            let _ = fs::remove_dir_all(&directory);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn it_goes_with_its_owner_and_an_abandoned_one_with_the_next() {
        let home = tempfile::tempdir().unwrap();
        let abandoned = home.path().join("clouds/1-0");
        fs::create_dir_all(&abandoned).unwrap();
        File::create(abandoned.join("lock")).unwrap();

        let first = OwnDirectory::claim(home.path()).unwrap();
        let second = OwnDirectory::claim(home.path()).unwrap();
        assert!(!abandoned.exists());
        assert!(first.path().exists() && second.path().exists());
        let path = first.path().to_owned();
        drop(first);
        assert!(!path.exists() && second.path().exists());
    }
    #[test]
    fn a_kept_one_stays_and_has_one_owner() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("kept");
        let first = OwnDirectory::keep(&path).unwrap();
        assert!(OwnDirectory::keep(&path).is_err());
        drop(first);
        assert!(path.exists());
        assert!(OwnDirectory::keep(&path).is_ok());
    }
}
