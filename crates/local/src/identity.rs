//! The local identity provider: stands for the vendor's own, whose tokens the
//! prediction API accepts. It signs tokens and publishes the key to check them.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use crosspilot_sagemaker_local::doors;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Audience that the prediction API demands.
pub const AUDIENCE: &str = "crosspilot";
const KEY_ID: &str = "local";
const TOKEN_LIFE: Duration = Duration::from_secs(3600);

/// The reason why there are no tokens.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The port could not be had.
    #[error("the local identity provider cannot listen: {0}")]
    Listen(#[from] std::io::Error),
    /// The key could not be made or used.
    #[error("the local identity provider has no usable key: {0}")]
    Key(String),
}

/// The key that signs tokens. Kept in the local cloud's state file, readable by its owner only,
/// so that `crosspilot local token` can sign too.
#[derive(Clone, Serialize, Deserialize)]
pub struct Signer {
    issuer: String,
    /// The private key, PKCS #8 in PEM.
    key: String,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    iat: u64,
    exp: u64,
    tenant: &'a str,
}

impl Signer {
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self { issuer: "http://127.0.0.1:1".into(), key: "no key".into() }
    }

    /// Names the issuer of the tokens.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    fn generate(issuer: String) -> Result<Self, IdentityError> {
        let unusable = |what: &str| IdentityError::Key(format!("it could not be {what}"));
        let key = KeyPair::generate(KeySize::Rsa2048).map_err(|_| unusable("generated"))?;
        let der: Pkcs8V1Der<'_> = key.as_der().map_err(|_| unusable("written"))?;
        let body = BASE64_STANDARD.encode(der.as_ref());
        let key = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
        Ok(Self { issuer, key })
    }

    /// A token for a user of this tenant, good for an hour.
    pub fn token(&self, tenant: &str) -> Result<String, IdentityError> {
        self.token_for(tenant, AUDIENCE)
    }

    /// A token for another audience, which the prediction API must refuse.
    pub fn token_for(&self, tenant: &str, audience: &str) -> Result<String, IdentityError> {
        let unusable = |error: jsonwebtoken::errors::Error| IdentityError::Key(error.to_string());
        let key = EncodingKey::from_rsa_pem(self.key.as_bytes()).map_err(unusable)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let claims = Claims {
            iss: &self.issuer,
            aud: audience,
            sub: "local-user",
            iat: now,
            exp: now + TOKEN_LIFE.as_secs(),
            tenant,
        };
        let header = Header { kid: Some(KEY_ID.into()), ..Header::new(Algorithm::RS256) };
        jsonwebtoken::encode(&header, &claims, &key).map_err(unusable)
    }

    /// A well-signed token with this header and these claims, however odd.
    pub fn sign(&self, header: &str, claims: &str) -> Result<String, IdentityError> {
        let unusable = |error: jsonwebtoken::errors::Error| IdentityError::Key(error.to_string());
        let key = EncodingKey::from_rsa_pem(self.key.as_bytes()).map_err(unusable)?;
        let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        let message = format!("{}.{}", part(header), part(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::RS256);
        Ok(format!("{message}.{}", signature.map_err(unusable)?))
    }
}

/// The running provider.
#[derive(Debug)]
pub(crate) struct IdentityProvider {
    pub(crate) signer: Signer,
    server: JoinHandle<()>,
}

impl Drop for IdentityProvider {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl IdentityProvider {
    /// A provider on this port; with the key of an earlier one, or a new key.
    pub(crate) async fn start(port: u16, earlier: Option<Signer>) -> Result<Self, IdentityError> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await?;
        let issuer = format!("http://{}", listener.local_addr()?);
        let unusable = |what: &str| IdentityError::Key(format!("it could not be {what}"));
        let signer = match earlier {
            Some(signer) => Signer { issuer: issuer.clone(), ..signer },
            None => Signer::generate(issuer.clone())?,
        };
        let pem = signer.key.lines().filter(|line| !line.starts_with("-----"));
        let der = BASE64_STANDARD.decode(pem.collect::<String>()).map_err(|_| unusable("read"))?;
        let key = KeyPair::from_pkcs8(&der).map_err(|_| unusable("read"))?;
        let (modulus, exponent) = (key.public_key().modulus(), key.public_key().exponent());
        let part = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let keys = json!({"keys": [{
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": KEY_ID,
            "n": part(modulus.big_endian_without_leading_zero()),
            "e": part(exponent.big_endian_without_leading_zero()),
        }]});
        let configuration = json!({
            "issuer": issuer, "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
            "id_token_signing_alg_values_supported": ["RS256"],
        });
        let routes = Router::new()
            .route(
                "/.well-known/openid-configuration",
                get(move || async move { Json(configuration) }),
            )
            .route("/.well-known/jwks.json", get(move || async move { Json(keys) }));
        let routes = doors::without_pages(routes);
        let server = tokio::spawn(async move {
            // Ends only with the runtime: loopback listeners do not fail.
            let _ = axum::serve(listener, routes).await;
        });
        Ok(Self { signer, server })
    }
}
