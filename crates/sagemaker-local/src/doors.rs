//! Refuses what a web page could send: the same rule as the emulator's own
//! (`emulator/doors.py`), for the servers of this process.

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Router, middleware};

/// Keeps web pages out of a server: they could otherwise ask it whatever the
/// developer who looks at them may.
pub fn without_pages(server: Router) -> Router {
    server.layer(middleware::from_fn(keep_out))
}

async fn keep_out(request: Request, next: Next) -> Response {
    match refusal(request.headers()) {
        Some(why) => (StatusCode::FORBIDDEN, why).into_response(),
        None => next.run(request).await,
    }
}

/// Says why a request goes no further. SDKs and command lines send no `Origin`.
fn refusal(headers: &HeaderMap) -> Option<&'static str> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next().map(|host| host.to_str().unwrap_or_default()), hosts.next()) {
        (Some(host), None) if is_here(host) => {}
        _ => return Some("the local cloud answers to 127.0.0.1 and localhost only"),
    }
    let elsewhere = text("sec-fetch-site").is_some_and(|site| site != "none");
    (headers.contains_key(header::ORIGIN) || elsewhere)
        .then_some("the local cloud answers no web pages")
}

/// Tells whether a Host names this machine, in a way that no page's owner can point
/// anywhere else.
fn is_here(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name == "127.0.0.1" || name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_no_page_sends_goes_on() {
        let headers = |lines: &[(&'static str, &str)]| -> HeaderMap {
            lines
                .iter()
                .map(|(name, value)| {
                    (header::HeaderName::from_static(name), value.parse().unwrap())
                })
                .collect()
        };
        for host in ["127.0.0.1", "127.0.0.1:6001", "localhost:6001", "LOCALHOST"] {
            assert_eq!(refusal(&headers(&[("host", host)])), None, "{host}");
        }
        for host in ["evil.example.com:6001", "127.0.0.1.evil.example.com", "localhost.evil", ""] {
            assert!(refusal(&headers(&[("host", host)])).is_some(), "{host}");
        }
        assert!(refusal(&headers(&[])).is_some());
        let here = ("host", "127.0.0.1:6001");
        for line in [
            ("origin", "null"),
            ("origin", "http://127.0.0.1:6001"),
            ("sec-fetch-site", "cross-site"),
        ] {
            assert!(refusal(&headers(&[here, line])).is_some(), "{line:?}");
        }
        assert_eq!(refusal(&headers(&[here, ("sec-fetch-site", "none")])), None);
        let mut two = headers(&[here]);
        two.append("host", "127.0.0.1".parse().unwrap());
        assert!(refusal(&two).is_some());
    }
}
