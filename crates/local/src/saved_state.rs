//! The state that a local cloud keeps for its next start: its directory, and what must not
//! change between two starts.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::identity::Signer;
use crate::install;
use crate::state::{StateError, write_private};

/// The reason why a kept local cloud does not start again.
#[derive(Debug, thiserror::Error)]
pub enum SavedStateError {
    /// Addresses in the kept state hold its ports.
    #[error(
        "port {port} is in use, and the local cloud kept in {directory} is bound to it: stop what uses it, or keep a new one in another directory"
    )]
    PortTaken {
        /// The port.
        port: u16,
        /// The folder of the state.
        directory: PathBuf,
    },
    /// A port was asked for that is not the kept one.
    #[error(
        "the local cloud kept in {directory} is bound to port {kept}: leave out --port, or keep a new one in another directory"
    )]
    OtherPort {
        /// The kept port.
        kept: u16,
        /// The folder of the state.
        directory: PathBuf,
    },
    /// The emulator's files are those of another release.
    #[error(
        "the local cloud kept in {0} was made with another release of the emulator: remove the directory, or keep a new one in another"
    )]
    OtherRelease(PathBuf),
    /// The files of the state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
}

/// The ports that a local cloud listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ports {
    pub(crate) emulator: u16,
    pub(crate) sagemaker: u16,
    pub(crate) identity: u16,
}

impl Ports {
    pub(crate) fn all(self) -> [u16; 3] {
        [self.emulator, self.sagemaker, self.identity]
    }
}

/// The state that every start of a kept local cloud has in common. Resources in the kept state
/// name its addresses, and its tokens are checked against its key.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedState {
    pub(crate) ports: Ports,
    pub(crate) signer: Signer,
    /// The emulator's release, whose files only it can read.
    release: String,
}

impl SavedState {
    pub(crate) fn new(ports: Ports, signer: Signer) -> Self {
        Self { ports, signer, release: install::release() }
    }

    /// Reads what an earlier start left in this directory, if it can be used now.
    pub(crate) fn load(
        directory: &Path,
        wanted: Option<u16>,
    ) -> Result<Option<Self>, SavedStateError> {
        let path = file(directory);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StateError::new(&path, error).into()),
        };
        let kept: Self =
            serde_json::from_str(&text).map_err(|error| StateError::new(&path, error))?;
        let directory = directory.to_owned();
        if kept.release != install::release() {
            return Err(SavedStateError::OtherRelease(directory));
        }
        if wanted.is_some_and(|wanted| wanted != kept.ports.emulator) {
            return Err(SavedStateError::OtherPort { kept: kept.ports.emulator, directory });
        }
        let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
        match kept.ports.all().into_iter().find(|port| !free(port)) {
            Some(port) => Err(SavedStateError::PortTaken { port, directory }),
            None => Ok(Some(kept)),
        }
    }

    pub(crate) fn save(&self, directory: &Path) -> Result<(), StateError> {
        let path = file(directory);
        let text =
            serde_json::to_string_pretty(self).map_err(|error| StateError::new(&path, error))?;
        write_private(&path, &text)
    }
}

fn file(directory: &Path) -> PathBuf {
    directory.join("kept.json")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_starts_again_only_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert!(SavedState::load(path, Some(1)).unwrap().is_none());
        let busy = TcpListener::bind("127.0.0.1:0").unwrap();
        let free = || {
            let probe = TcpListener::bind("127.0.0.1:0").unwrap();
            probe.local_addr().unwrap().port()
        };
        let (emulator, sagemaker) = (free(), busy.local_addr().unwrap().port());
        let ports = Ports { emulator, sagemaker, identity: free() };
        SavedState::new(ports, Signer::for_tests()).save(path).unwrap();

        let taken = SavedState::load(path, None).unwrap_err();
        assert!(matches!(taken, SavedStateError::PortTaken { port, .. } if port == sagemaker));
        drop(busy);
        assert_eq!(SavedState::load(path, Some(emulator)).unwrap().unwrap().ports, ports);
        let other = SavedState::load(path, Some(emulator ^ 1)).unwrap_err();
        assert!(matches!(other, SavedStateError::OtherPort { kept, .. } if kept == emulator));

        let text = fs::read_to_string(file(path)).unwrap();
        fs::write(file(path), text.replace(&install::release(), "another")).unwrap();
        let release = SavedState::load(path, None).unwrap_err();
        assert!(matches!(release, SavedStateError::OtherRelease(_)));
    }
}
