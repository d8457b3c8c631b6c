//! The body of a request, without the coding that it was sent in, and in bounded memory: a
//! few bytes of gzip may promise gigabytes.

use std::io::Read as _;

use flate2::bufread::MultiGzDecoder;

use super::event::Event;
use super::problem::Problem;

/// Bytes in one call: of the body as it came, unpacked, and as CSV.
pub(super) const MAX_BYTES: usize = 2 << 20;

/// Gives the body, unpacked.
///
/// An HTTP API hands `application/json` and `text/*` over as UTF-8 text, whatever their
/// Content-Encoding, and gzip does not survive that; any other type comes in base64. So packed
/// records have types of their own, with the suffix `+gzip`.
pub(super) fn body(event: &Event) -> Result<Vec<u8>, Problem> {
    let coding = event.content_coding();
    let is_coded = match coding.as_deref() {
        None | Some("" | "identity") => false,
        Some("gzip") => true,
        Some(other) => return Err(Problem::content_coding(other)),
    };
    let is_packed = is_coded || event.media_type().is_some_and(|name| name.ends_with("+gzip"));
    if is_packed && !event.is_base64_encoded() {
        return Err(Problem::packed_text());
    }
    let mut body = event.body()?;
    if is_packed && body.len() <= MAX_BYTES {
        body = unpacked(&body)?;
    }
    if body.len() > MAX_BYTES {
        return Err(Problem::too_large(
            "the body has more than 2 MB: send fewer records at a time",
        ));
    }
    Ok(body)
}

/// Unpacks as much as shows whether it is too much.
fn unpacked(packed: &[u8]) -> Result<Vec<u8>, Problem> {
    let mut text = Vec::new();
    let mut decoder = MultiGzDecoder::new(packed).take(MAX_BYTES as u64 + 1);
    match decoder.read_to_end(&mut text) {
        Ok(_) => Ok(text),
        Err(_) => Err(Problem::bad_request(
            "the body is not the gzip that its headers name, or it breaks off: pack it again, or send it plain",
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write as _;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn sent(coding: &str, bytes: &[u8]) -> Result<Vec<u8>, (u16, String)> {
        let event = json!({"headers": {"Content-Encoding": coding},
            "body": STANDARD.encode(bytes), "isBase64Encoded": true});
        body(&serde_json::from_value(event).unwrap())
            .map_err(|problem| (problem.status, problem.detail))
    }

    #[test]
    fn a_body_is_unpacked_whatever_its_members_and_the_case_of_its_coding() {
        for coding in ["gzip", "GZip", " gzip "] {
            let members = [gzip(b"plan,a"), gzip(b""), gzip(b"ge\n")].concat();
            assert_eq!(sent(coding, &members).unwrap(), b"plan,age\n");
        }
        for coding in ["identity", "Identity", ""] {
            assert_eq!(sent(coding, b"plan").unwrap(), b"plan");
        }
        for coding in ["br", "deflate", "gzip, gzip", &"x".repeat(1000)] {
            let (status, detail) = sent(coding, &gzip(b"plan")).unwrap_err();
            assert!(status == 415 && detail.contains("gzip"), "{status} {detail}");
            assert!(detail.chars().count() <= 200);
        }
    }

    #[test]
    fn a_type_with_the_suffix_is_packed_and_what_came_as_text_is_not_what_was_sent() {
        let event = |media_type: &str, body: String, is_base64_encoded: bool| {
            json!({"headers": {"Content-Type": media_type}, "body": body,
                "isBase64Encoded": is_base64_encoded})
        };
        let packed = event("application/csv+gzip", STANDARD.encode(gzip(b"plan\n")), true);
        assert_eq!(body(&serde_json::from_value(packed).unwrap()).unwrap(), b"plan\n");
        let damaged = String::from_utf8_lossy(&gzip(b"plan\n")).into_owned();
        let mut coded = event("text/csv", damaged.clone(), false);
        coded["headers"]["Content-Encoding"] = "gzip".into();
        for event in [coded, event("application/csv+gzip", damaged, false)] {
            let problem = body(&serde_json::from_value(event).unwrap()).unwrap_err();
            assert_eq!(problem.status, 415);
            assert!(problem.detail.contains("application/csv+gzip"), "{}", problem.detail);
        }
    }

    #[test]
    fn what_is_too_much_is_refused_before_it_is_unpacked() {
        let most = gzip(&vec![b'x'; MAX_BYTES]);
        assert_eq!(sent("gzip", &most).unwrap().len(), MAX_BYTES);
        // Nobody comes to its end, which is broken.
        let mut bomb = gzip(&vec![b'x'; 8 * MAX_BYTES]);
        bomb.truncate(bomb.len() - 100);
        let members = [most, gzip(b"x"), b"broken".to_vec()].concat();
        let plain = sent("identity", &vec![b'x'; MAX_BYTES + 1]).unwrap_err();
        assert_eq!(plain.0, 413);
        for packed in [bomb, members, vec![0; MAX_BYTES + 1]] {
            assert_eq!(sent("gzip", &packed).unwrap_err(), plain);
        }
    }

    #[test]
    fn broken_gzip_is_refused() {
        let good = gzip(b"plan,age\nbasic,7\n");
        let mut changed = good.clone();
        let crc = changed.len() - 8;
        changed[crc] ^= 1;
        let trailing = [&good[..], b"more"].concat();
        for packed in [b"", &b"plan,age\n"[..], &good[..good.len() - 1], &changed, &trailing] {
            let (status, detail) = sent("gzip", packed).unwrap_err();
            assert!(status == 400 && detail.contains("pack it again"), "{status} {detail}");
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked_and_nothing_makes_it_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>()
        ) {
            let _ = sent("gzip", &bytes);
            let mut packed = gzip(&bytes);
            prop_assert_eq!(sent("gzip", &packed).unwrap(), bytes);
            let at = at.index(packed.len());
            packed[at] ^= 0x10;
            let _ = sent("gzip", &packed);
        }
    }
}
