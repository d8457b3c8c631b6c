//! The part of an API Gateway HTTP API event (payload format 2.0) that is read.

use std::collections::HashMap;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crosspilot_core::ids::{ModelName, TenantId};
use crosspilot_core::registry::seconds;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::problem::Problem;

/// An API Gateway event. Who asks is read from the authorizer's claims and from
/// nowhere else; API Gateway writes them, the caller cannot.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    route_key: Option<String>,
    raw_path: Option<String>,
    headers: Option<HashMap<String, String>>,
    path_parameters: Option<HashMap<String, String>>,
    query_string_parameters: Option<HashMap<String, String>>,
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
    #[serde(default)]
    request_context: Context,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context {
    request_id: Option<String>,
    /// Milliseconds since 1970 when API Gateway took the request.
    time_epoch: Option<u64>,
    authorizer: Option<Authorizer>,
}

#[derive(Debug, Clone, Deserialize)]
struct Authorizer {
    jwt: Option<Jwt>,
}

#[derive(Debug, Clone, Deserialize)]
struct Jwt {
    claims: Option<Map<String, Value>>,
}

impl Event {
    /// The tenant that the verified token names.
    pub(super) fn tenant(&self, claim: &str) -> Result<TenantId, Problem> {
        let claims =
            self.request_context.authorizer.as_ref().and_then(|a| a.jwt.as_ref()?.claims.as_ref());
        match claims.and_then(|claims| claims.get(claim)) {
            Some(Value::String(id)) => {
                id.parse().map_err(|_| Problem::no_tenant(claim, "does not hold a tenant's id"))
            }
            Some(_) => Err(Problem::no_tenant(claim, "is not a text")),
            None => Err(Problem::no_tenant(claim, "is missing")),
        }
    }

    /// The model that the path names.
    pub(super) fn model(&self) -> Result<ModelName, Problem> {
        let name = self.path_parameters.as_ref().and_then(|parameters| parameters.get("model"));
        name.map_or("", String::as_str).parse().map_err(|_| Problem::unknown_model())
    }

    /// Tells whether the caller wants records refused that the answer would only warn of.
    pub(super) fn is_strict(&self) -> bool {
        self.parameter("strict") == Some("true")
    }

    /// Tells whether the caller wants columns ignored that the model does not have.
    pub(super) fn ignores_unknown(&self) -> bool {
        self.parameter("ignore_unknown") == Some("true")
    }

    /// Tells whether CSV begins with the names of its columns.
    pub(super) fn has_header(&self) -> bool {
        self.parameter("header") != Some("false")
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.query_string_parameters.as_ref()?.get(name).map(String::as_str)
    }

    /// The body, decoded.
    pub(super) fn body(&self) -> Result<Vec<u8>, Problem> {
        let body = self.body.as_deref().unwrap_or_default();
        if self.is_base64_encoded {
            STANDARD.decode(body).map_err(|_| Problem::bad_request("the body is not valid base64"))
        } else {
            Ok(body.as_bytes().to_vec())
        }
    }

    /// Tells whether the gateway took the body for binary data, and hands it over byte by byte.
    pub(super) fn is_base64_encoded(&self) -> bool {
        self.is_base64_encoded
    }

    /// The media type of the body, lowercase, without parameters.
    pub(super) fn media_type(&self) -> Option<String> {
        let value = self.header("content-type")?;
        Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }

    /// The content coding of the body, lowercase.
    pub(super) fn content_coding(&self) -> Option<String> {
        Some(self.header("content-encoding")?.trim().to_ascii_lowercase())
    }

    /// The media types in which the caller takes the answer.
    pub(super) fn accept(&self) -> Option<&str> {
        self.header("accept")
    }

    fn header(&self, wanted: &str) -> Option<&str> {
        let mut headers = self.headers.as_ref()?.iter();
        let (_, value) = headers.find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
        Some(value)
    }

    /// The key of the route that API Gateway found: method and template, or `$default`.
    pub(super) fn route_key(&self) -> &str {
        self.route_key.as_deref().unwrap_or("$default")
    }

    /// The path that the caller asked for.
    pub(super) fn path(&self) -> &str {
        self.raw_path.as_deref().unwrap_or("/")
    }

    /// The second in which API Gateway took the request, since 1970.
    pub(super) fn second(&self) -> u64 {
        let now = || seconds(SystemTime::now());
        self.request_context.time_epoch.map_or_else(now, |milliseconds| milliseconds / 1000)
    }

    pub(super) fn request_id(&self) -> &str {
        self.request_context.request_id.as_deref().unwrap_or("unknown")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn event(value: Value) -> Event {
        serde_json::from_value(value).unwrap()
    }

    fn claiming(tenant: Value) -> Value {
        json!({"requestContext": {"authorizer": {"jwt": {"claims": {"tenant": tenant}, "scopes": null}}}})
    }

    #[test]
    fn the_tenant_comes_from_the_token_and_nothing_else_changes_it() {
        let mut full = claiming(json!("acme"));
        let elsewhere = json!({"tenant": "evil", "x-tenant": "evil", "custom:tenant": "evil", "model": "churn"});
        for place in ["headers", "queryStringParameters", "pathParameters", "stageVariables"] {
            full[place] = elsewhere.clone();
        }
        full["tenant"] = "evil".into();
        full["rawPath"] = "/v1/tenants/evil/models/churn/predictions".into();
        full["rawQueryString"] = "tenant=evil".into();
        full["body"] = r#"{"tenant":"evil","requestContext":{"authorizer":{"jwt":{"claims":{"tenant":"evil"}}}}}"#.into();
        full["requestContext"]["tenant"] = "evil".into();
        full["requestContext"]["authorizer"]["tenant"] = "evil".into();
        full["requestContext"]["authorizer"]["lambda"] = json!({"tenant": "evil"});
        assert_eq!(event(full.clone()).tenant("tenant").unwrap().as_str(), "acme");
        // Without the claim, none of the others takes its place.
        full["requestContext"]["authorizer"]["jwt"] = json!({"claims": {"sub": "evil"}});
        assert_eq!(event(full).tenant("tenant").unwrap_err().status, 403);
    }

    #[test]
    fn a_missing_or_garbled_claim_is_forbidden() {
        for claim in [
            json!(null),
            json!(7),
            json!(["acme"]),
            json!("[acme]"),
            json!(""),
            json!("Acme"),
            json!("acme other"),
            json!("../acme"),
            json!("acme\n"),
        ] {
            assert_eq!(
                event(claiming(claim.clone())).tenant("tenant").unwrap_err().status,
                403,
                "{claim}"
            );
        }
        for value in [
            json!({}),
            json!({"requestContext": {}}),
            json!({"requestContext": {"authorizer": {}}}),
            json!({"requestContext": {"authorizer": {"jwt": {}}}}),
        ] {
            assert_eq!(event(value).tenant("tenant").unwrap_err().status, 403);
        }
    }

    #[test]
    fn the_claims_name_is_configured() {
        let event = event(
            json!({"requestContext": {"authorizer": {"jwt": {"claims": {"custom:tenant": "acme"}}}}}),
        );
        assert_eq!(event.tenant("custom:tenant").unwrap().as_str(), "acme");
        assert!(event.tenant("tenant").is_err());
    }

    #[test]
    fn bodies_may_be_base64() {
        let event = event(
            json!({"body": "e30=", "isBase64Encoded": true, "headers": {"Content-Type": "Text/CSV; charset=utf-8"}}),
        );
        assert_eq!(event.body().unwrap(), b"{}");
        assert_eq!(event.media_type().unwrap(), "text/csv");
    }

    #[test]
    fn a_path_without_a_model_finds_none() {
        for model in ["", "../x", "Churn", "churn/predictions"] {
            assert_eq!(
                event(json!({"pathParameters": {"model": model}})).model().unwrap_err().status,
                404
            );
        }
    }

    proptest! {
        #[test]
        fn no_claim_makes_it_panic(claim in "\\PC{0,40}") {
            if let Ok(tenant) = event(claiming(json!(claim))).tenant("tenant") {
                prop_assert_eq!(tenant.as_str(), claim);
            }
        }
    }
}
