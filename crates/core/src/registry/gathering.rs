//! The document that says which of a model's runs trains and which one waits.

use std::time::Duration;

use super::{Expect, Registry, RegistryError, Versioned};
use crate::gathering::Gathering;
use crate::ids::{ModelName, TenantId};

/// Tries to change it: uploads of one model come in crowds.
const ATTEMPTS: u64 = 10;

impl Registry {
    /// Reads what trains and what waits of a model.
    pub async fn gathering(
        &self,
        tenant: &TenantId,
        model: &ModelName,
    ) -> Result<Gathering, RegistryError> {
        let found = self.read(&key(tenant, model)).await?;
        Ok(found.map(|versioned| versioned.document).unwrap_or_default())
    }

    /// Changes what trains and what waits of a model, and gives what `change`
    /// answers for the state that was written. It is asked again when somebody
    /// else was faster; a change that changes nothing writes nothing.
    pub async fn change_gathering<T, E: From<RegistryError>>(
        &self,
        tenant: &TenantId,
        model: &ModelName,
        change: impl AsyncFn(&mut Gathering) -> Result<T, E>,
    ) -> Result<T, E> {
        let key = key(tenant, model);
        for attempt in 1..=ATTEMPTS {
            let found = self.read::<Gathering>(&key).await?;
            let (before, expect) = match &found {
                Some(Versioned { document, etag, .. }) => (document.clone(), Expect::Etag(etag)),
                None => (Gathering::default(), Expect::Nothing),
            };
            let mut after = before.clone();
            let answer = change(&mut after).await?;
            if after == before || self.write(&key, &after, expect).await? {
                return Ok(answer);
            }
            tokio::time::sleep(Duration::from_millis(10 * attempt)).await;
        }
        Err(RegistryError::Contended(key).into())
    }
}

fn key(tenant: &TenantId, model: &ModelName) -> String {
    format!("gathering/{tenant}/{model}.json")
}
