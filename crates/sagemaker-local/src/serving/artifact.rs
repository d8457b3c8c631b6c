//! `model.tar.gz`: what training leaves in S3 and an endpoint starts from.

use std::io;
use std::io::Read;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use crate::serving::predictor::Predictor;

/// The member that tells what an archive holds.
const MANIFEST: &str = "crosspilot.json";
/// The member with the engine's model.
const MODEL: &str = "model.json";
/// Far above any model of the engine; a bomb stops here.
const MAX_UNPACKED: u64 = 2 << 30;

/// The content of one `model.tar.gz`.
pub(crate) enum Artifact {
    /// An ensembling model: everything in one container.
    Predictor(Predictor),
    /// The algorithm's container of a hyperparameter tuning pipeline.
    Algorithm(Predictor),
    /// The containers before and after it.
    Processor { columns: usize, labels: Vec<String> },
}

/// The reason why an archive is not a model.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArtifactError {
    #[error("the archive cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("the archive is not a model that was trained here: {0}")]
    Foreign(String),
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Manifest {
    Predictor,
    Algorithm,
    Processor { columns: usize, labels: Vec<String> },
}

impl Artifact {
    /// A `model.tar.gz` of a trained model (the bytes of [`Predictor::save`]).
    pub(crate) fn pack_model(model: &[u8], ensembling: bool) -> io::Result<Vec<u8>> {
        let manifest = if ensembling { Manifest::Predictor } else { Manifest::Algorithm };
        pack(&manifest, Some(model))
    }

    /// A `model.tar.gz` of the data processing around a model.
    pub(crate) fn pack_processor(columns: usize, labels: &[String]) -> io::Result<Vec<u8>> {
        pack(&Manifest::Processor { columns, labels: labels.to_vec() }, None)
    }

    /// The content of a `model.tar.gz`.
    pub(crate) fn unpack(archive: &[u8]) -> Result<Self, ArtifactError> {
        let mut tar = tar::Archive::new(GzDecoder::new(archive).take(MAX_UNPACKED));
        let (mut manifest, mut model) = (None, None);
        for entry in tar.entries()? {
            let mut entry = entry?;
            let mut content = Vec::new();
            match entry.path()?.to_str() {
                Some(MANIFEST) => {
                    entry.read_to_end(&mut content)?;
                    let read = serde_json::from_slice(&content);
                    manifest =
                        Some(read.map_err(|error| ArtifactError::Foreign(error.to_string()))?);
                }
                Some(MODEL) => {
                    entry.read_to_end(&mut content)?;
                    model = Some(content);
                }
                _ => {}
            }
        }
        let predictor = || {
            let model = model
                .as_deref()
                .ok_or_else(|| ArtifactError::Foreign(format!("it has no {MODEL}")))?;
            Predictor::load(model).map_err(ArtifactError::Foreign)
        };
        match manifest {
            Some(Manifest::Predictor) => predictor().map(Self::Predictor),
            Some(Manifest::Algorithm) => predictor().map(Self::Algorithm),
            Some(Manifest::Processor { columns, labels }) => {
                Ok(Self::Processor { columns, labels })
            }
            None => Err(ArtifactError::Foreign(format!("it has no {MANIFEST}"))),
        }
    }
}

fn pack(manifest: &Manifest, model: Option<&[u8]>) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let manifest = serde_json::to_vec(manifest)?;
    for (name, content) in [(MANIFEST, Some(manifest.as_slice())), (MODEL, model)] {
        let Some(content) = content else { continue };
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, content)?;
    }
    tar.into_inner()?.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_processor_survives_its_archive() {
        let labels = vec!["True.".to_owned(), " <=50K".to_owned()];
        let archive = Artifact::pack_processor(20, &labels).unwrap();
        match Artifact::unpack(&archive).unwrap() {
            Artifact::Processor { columns, labels: read } => {
                assert_eq!((columns, read), (20, labels))
            }
            _ => panic!("not a processor"),
        }
    }

    #[test]
    fn what_is_not_a_model_is_refused() {
        let model_without_model = pack(&Manifest::Predictor, None).unwrap();
        let empty = pack(&Manifest::Processor { columns: 1, labels: vec![] }, None).unwrap();
        assert!(Artifact::unpack(&model_without_model).is_err());
        assert!(Artifact::unpack(&empty[..20]).is_err());
        assert!(Artifact::unpack(b"not a tar").is_err());
        assert!(Artifact::unpack(&[]).is_err());
    }
}
