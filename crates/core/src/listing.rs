//! The objects of a bucket, whatever their keys hold.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Error;
use aws_sdk_s3::operation::list_objects_v2::builders::ListObjectsV2FluentBuilder;
use aws_sdk_s3::types::{EncodingType, Object};

use crate::ids::AccountId;

type Failure = SdkError<ListObjectsV2Error>;

/// A listing, page by page. S3 answers in XML 1.0, which cannot carry every key
/// that an object may have: one control character would make the whole answer
/// unreadable. So S3 is asked to encode the keys (API reference, ListObjectsV2,
/// `encoding-type`), and they are decoded here, which the SDK does not do.
#[derive(Debug)]
pub struct Listing {
    /// The request for the next page; nothing after the last.
    next: Option<ListObjectsV2FluentBuilder>,
}

impl Listing {
    /// The objects under a prefix of a bucket.
    #[expect(clippy::disallowed_methods, reason = "everybody else lists by this")]
    pub fn under(s3: &Client, bucket: &str, prefix: &str) -> Self {
        let request = s3.list_objects_v2().bucket(bucket).prefix(prefix);
        Self { next: Some(request.encoding_type(EncodingType::Url)) }
    }

    /// Lists only if the bucket is this account's: a name that its owner gave up is
    /// anybody's.
    #[must_use]
    pub fn owned_by(self, account: &AccountId) -> Self {
        Self { next: self.next.map(|request| request.expected_bucket_owner(account.as_str())) }
    }

    /// The next page's objects, in S3's own order.
    pub async fn next(&mut self) -> Option<Result<Vec<Object>, Failure>> {
        let request = self.next.take()?;
        let page = match request.clone().send().await {
            Ok(page) => page,
            Err(error) => return Some(Err(error)),
        };
        let more = page.next_continuation_token.filter(|token| !token.is_empty());
        self.next = more.map(|token| request.continuation_token(token));
        let mut objects = page.contents.unwrap_or_default();
        for object in &mut objects {
            object.key = object.key.take().map(|key| decoded(&key));
        }
        Some(Ok(objects))
    }
}

/// Decodes a key that S3 encoded as forms are: a plus is a space.
pub fn decoded(key: &str) -> String {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let [first, others @ ..] = rest {
        let digits = others.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        rest = match (first, byte) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                &others[2..]
            }
            (b'+', _) => {
                bytes.push(b' ');
                others
            }
            (other, _) => {
                bytes.push(*other);
                others
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Tells whether a request in XML can name a key, as DeleteObjects has to. What XML
/// 1.0 does not take, or not as it is, S3 refuses or mistakes for another key.
pub fn fits_xml(key: &str) -> bool {
    key.chars().all(|c| c >= ' ' && !matches!(c, '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_as_they_were() {
        for (sent, key) in [
            ("crosspilot/churn/train/a.csv", "crosspilot/churn/train/a.csv"),
            ("test_file%283%29.png", "test_file(3).png"),
            ("a+b%2Bc%20d.csv", "a b+c d.csv"),
            ("a%1B%5B31m.csv", "a\u{1b}[31m.csv"),
            ("%C3%A9t%C3%A9%E2%80%AE", "été\u{202e}"),
            ("100%25", "100%"),
            // Nothing that S3 sends, and nothing that stops a listing.
            ("50%", "50%"),
            ("%zz%4", "%zz%4"),
            ("%FF", "\u{fffd}"),
            ("%+1", "% 1"),
        ] {
            assert_eq!(decoded(sent), key, "{sent}");
        }
    }

    #[test]
    fn xml_takes_what_it_can_write_as_it_is() {
        assert!(fits_xml("a b/été (1).csv") && fits_xml(""));
        for odd in ["a\u{1b}b", "a\nb", "a\rb", "a\tb", "\0", "\u{85}", "\u{ffff}"] {
            assert!(!fits_xml(odd), "{odd:?}");
        }
    }
}
