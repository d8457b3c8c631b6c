//! Unpacks a file that comes in parts, plain or in gzip, recognised by its first bytes.

use std::io::Write as _;

use flate2::write::MultiGzDecoder;

use crate::format::{self, Magic};

/// Bytes by which a file is recognised.
const HEAD: usize = 512;
/// Packed bytes that are unpacked at a time: a few may promise gigabytes.
const AT_ONCE: usize = 1024;

/// The reason why a file cannot be unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotUnpacked {
    /// The file is something else than text, in words.
    NoText(&'static str),
    /// The file is a gzip file that is damaged or breaks off; what the decoder says.
    Gzip(String),
}

impl std::fmt::Display for NotUnpacked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoText(what) => write!(f, "is {what}"),
            Self::Gzip(why) => write!(f, "is a gzip file that is damaged or breaks off ({why})"),
        }
    }
}

/// A file as its parts come in.
pub enum Unpack {
    /// Too little of it to be recognised.
    Unknown(Vec<u8>),
    /// A plain file, taken as it is.
    Plain,
    /// A file compressed with gzip.
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
}

impl Default for Unpack {
    fn default() -> Self {
        Self::Unknown(Vec::new())
    }
}

impl Unpack {
    /// Takes the file's next part, and hands on its text, a little at a time.
    pub fn take<E: From<NotUnpacked>>(
        &mut self,
        part: &[u8],
        each: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match self {
            Self::Unknown(head) => {
                head.extend_from_slice(part);
                if head.len() < HEAD { Ok(()) } else { self.recognise(each) }
            }
            Self::Plain => each(part),
            Self::Gzip(decoder) => {
                for piece in part.chunks(AT_ONCE) {
                    decoder.write_all(piece).map_err(broken)?;
                    each(decoder.get_ref())?;
                    decoder.get_mut().clear();
                }
                Ok(())
            }
        }
    }

    /// Ends the file, and hands on the text that only its end completes.
    pub fn end<E: From<NotUnpacked>>(
        mut self,
        each: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Self::Unknown(_) = self {
            self.recognise(each)?;
        }
        match self {
            Self::Gzip(decoder) => each(&decoder.finish().map_err(broken)?),
            _ => Ok(()),
        }
    }

    fn recognise<E: From<NotUnpacked>>(
        &mut self,
        each: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self::Unknown(head) = self else { return Ok(()) };
        let head = std::mem::take(head);
        *self = match format::recognise(&head) {
            Magic::Text => Self::Plain,
            Magic::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
            Magic::Parquet => return Err(NotUnpacked::NoText("a Parquet file").into()),
            Magic::Other(what) => return Err(NotUnpacked::NoText(what).into()),
        };
        self.take(&head, each)
    }
}

fn broken(error: std::io::Error) -> NotUnpacked {
    NotUnpacked::Gzip(error.to_string())
}
