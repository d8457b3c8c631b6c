//! `crosspilot check-issuer`: can API Gateway take tokens of this issuer? It asks when
//! the vendor's stack is made, and fails the stack if it cannot.

use std::time::Duration;

use serde_json::{Value, json};

use crate::output;

/// The time that API Gateway waits for the document of keys, and the bytes that it reads of it
/// (API Gateway Developer Guide, "Control access to HTTP APIs with JWT authorizers").
const PATIENCE: Duration = Duration::from_millis(1500);
const LARGEST: usize = 150_000;

/// The flaw of an issuer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IssuerFlaw {
    #[error("{0} is no https address: API Gateway takes https only")]
    NotHttps(String),
    #[error("{0} cannot be read: {1}; it must answer everybody, from the internet, within 1.5 s")]
    Unreachable(String, String),
    #[error("{0} answers {1}: publish it there, or correct the issuer")]
    Status(String, u16),
    #[error("{0} has more than 150,000 bytes, which API Gateway does not read")]
    TooLarge(String),
    #[error("{0} is no JSON object: publish OpenID Connect discovery there")]
    NoDocument(String),
    #[error(
        "the document names {found:?} as its issuer and not {wanted:?}: use the name that it gives, to the slash, since tokens carry that"
    )]
    OtherIssuer { wanted: String, found: String },
    #[error("the document has no jwks_uri: API Gateway finds no keys")]
    NoKeys,
    #[error("{0} lists no keys: tokens cannot be verified")]
    EmptyKeys(String),
}

/// Reads the issuer's discovery document and its keys as API Gateway does.
pub(crate) async fn check(issuer: &str) -> Result<Value, IssuerFlaw> {
    if !issuer.starts_with("https://") {
        return Err(IssuerFlaw::NotHttps(issuer.to_owned()));
    }
    let discovery = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let keys = keys_of(issuer, &fetch(&discovery).await?)?;
    if !keys.starts_with("https://") {
        return Err(IssuerFlaw::NotHttps(keys));
    }
    let found = fetch(&keys).await?;
    match found["keys"].as_array().map(Vec::len) {
        Some(count @ 1..) => Ok(json!({"issuer": issuer, "jwks_uri": keys, "keys": count})),
        _ => Err(IssuerFlaw::EmptyKeys(keys)),
    }
}

/// Checks it, and says what was found.
pub(crate) async fn run(issuer: &str, json: bool) -> Result<(), IssuerFlaw> {
    let found = check(issuer).await?;
    if json {
        output::json(&found);
    } else {
        let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
        output::pairs(&[
            ("issuer", text("issuer").as_str()),
            ("keys", &format!("{} at {}", found["keys"], text("jwks_uri"))),
        ]);
    }
    Ok(())
}

fn keys_of(issuer: &str, document: &Value) -> Result<String, IssuerFlaw> {
    let found = document["issuer"].as_str().unwrap_or_default();
    if found != issuer {
        let (wanted, found) = (issuer.to_owned(), found.to_owned());
        return Err(IssuerFlaw::OtherIssuer { wanted, found });
    }
    document["jwks_uri"].as_str().map(str::to_owned).ok_or(IssuerFlaw::NoKeys)
}

async fn fetch(address: &str) -> Result<Value, IssuerFlaw> {
    let unreachable = |error: reqwest::Error| {
        IssuerFlaw::Unreachable(address.to_owned(), error.without_url().to_string())
    };
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        // Whether API Gateway follows one is not documented.
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(unreachable)?;
    let mut answer = client.get(address).send().await.map_err(unreachable)?;
    let status = answer.status().as_u16();
    if status != 200 {
        return Err(IssuerFlaw::Status(address.to_owned(), status));
    }
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(unreachable)? {
        body.extend_from_slice(&part);
        if body.len() > LARGEST {
            return Err(IssuerFlaw::TooLarge(address.to_owned()));
        }
    }
    let document: Value = serde_json::from_slice(&body).unwrap_or_default();
    if document.is_object() {
        Ok(document)
    } else {
        Err(IssuerFlaw::NoDocument(address.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// An address that gives one answer.
    async fn answering(status: &str, body: String) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/d", listener.local_addr().unwrap());
        let text = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = socket.read(&mut request).await;
            let _ = socket.write_all(text.as_bytes()).await;
        });
        address
    }

    #[test]
    fn the_document_must_name_the_same_issuer_and_its_keys() {
        let issuer = "https://login.example.com";
        let document = |name: &str| json!({"issuer": name, "jwks_uri": "https://k.example.com"});
        assert_eq!(keys_of(issuer, &document(issuer)).unwrap(), "https://k.example.com");
        let slash = keys_of(issuer, &document("https://login.example.com/")).unwrap_err();
        assert!(slash.to_string().contains("to the slash"), "{slash}");
        assert_eq!(keys_of(issuer, &json!({"issuer": issuer})), Err(IssuerFlaw::NoKeys));
    }

    #[test]
    fn the_vendors_template_takes_no_issuer_that_api_gateway_refuses() {
        let template = include_str!("../../../infra/saas.yaml");
        let of = &template[template.find("\n  JwtIssuer:\n").unwrap()..];
        let pattern = of.lines().find_map(|line| line.trim().strip_prefix("AllowedPattern: "));
        let pattern: String = serde_json::from_str(pattern.unwrap()).unwrap();
        // CloudFormation matches all of a value.
        let pattern = regex::Regex::new(&format!("^(?:{pattern})$")).unwrap();
        for (issuer, taken) in [
            ("https://login.example.com/tenant", true),
            ("http://login.example.com", false),
            ("login.example.com", false),
            ("https://", false),
            // The local cloud's.
            ("http://127.0.0.1:4566", true),
            ("http://127.0.0.1:4566.example.com", false),
        ] {
            assert_eq!(pattern.is_match(issuer), taken, "{issuer}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_told() {
        let not_https = check("http://login.example.com").await.unwrap_err();
        assert!(matches!(not_https, IssuerFlaw::NotHttps(_)));
        let found = fetch(&answering("200 OK", r#"{"issuer": "x"}"#.into()).await).await;
        assert_eq!(found.unwrap()["issuer"], "x");
        let gone = fetch(&answering("404 Not Found", String::new()).await).await.unwrap_err();
        assert!(matches!(gone, IssuerFlaw::Status(_, 404)));
        let moved = fetch(&answering("302 Found", String::new()).await).await.unwrap_err();
        assert!(matches!(moved, IssuerFlaw::Status(_, 302)));
        let page = fetch(&answering("200 OK", "<html>".into()).await).await.unwrap_err();
        assert!(matches!(page, IssuerFlaw::NoDocument(_)));
        let large = fetch(&answering("200 OK", "x".repeat(LARGEST + 1)).await).await.unwrap_err();
        assert!(matches!(large, IssuerFlaw::TooLarge(_)));
        let nobody = fetch("http://127.0.0.1:9/d").await.unwrap_err();
        assert!(matches!(nobody, IssuerFlaw::Unreachable(..)));
    }
}
