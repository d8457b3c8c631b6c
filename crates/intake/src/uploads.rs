//! The door for uploads: a queue brings their events in batches, and what they
//! start is decided model by model, before any execution is.
//!
//! So a flood of events costs messages and a few calls of this function, but no
//! executions. For each model there is one that trains and one that waits, and
//! between two that begin lies a quiet period. Uploads that can start no run, such
//! as those of a model that was not set up, are refused by an execution that fails
//! where operators look, one a minute and tenant. Events about buckets of nobody
//! are counted.
//!
//! Held-out rows train nothing: the champion is evaluated on them.
//!
//! Executions that ended outside their failure path are told of here, too: the one
//! that waited with uploads is replaced, whether or not another upload comes.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use crosspilot_core::error::{Code, Coded};
use crosspilot_core::failure::shown;
use crosspilot_core::gathering::{Gathering, Heard, Moment, Place, WaitingRun};
use crosspilot_core::ids::{AccountId, BucketName, ModelName};
use crosspilot_core::lambda::App;
use crosspilot_core::layout::{self, Upload};
use crosspilot_core::registry::{RegistryError, active, model_settings};
use crosspilot_core::run::{RunId, RunRef};
use crosspilot_core::tenant::Tenant;
use serde::Serialize;
use serde_json::json;

use crate::events::{EndedEvent, Input, SqsMessage, UploadEvent};
use crate::{IntakeError, evaluation, executions};

/// The messages that the queue keeps, to bring them again. Source: Lambda Developer Guide,
/// "Reporting batch item failures".
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchResponse {
    batch_item_failures: Vec<BatchItemFailure>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchItemFailure {
    item_identifier: String,
}

/// An upload that came with a message.
struct Delivery<'a> {
    message: &'a SqsMessage,
    event: UploadEvent,
}

/// Tries to do what AWS did not do at first, before the queue is left to it.
const ATTEMPTS: u32 = 3;

/// Executions that a run which waits is given by the death of the one before.
const EXECUTIONS: u32 = 5;

/// Takes a batch of uploads: each leads a run, joins one, is refused, or is given back to
/// the queue.
pub async fn take_uploads(app: &App, messages: &[SqsMessage]) -> BatchResponse {
    let mut kept = BatchResponse::default();
    let mut refused = BTreeMap::<&'static str, usize>::new();
    let mut buckets = BTreeMap::<(AccountId, BucketName), Vec<Delivery<'_>>>::new();
    for message in messages {
        match serde_json::from_str::<UploadEvent>(&message.body) {
            Ok(event) => {
                let bucket = (event.account().clone(), event.bucket().clone());
                buckets.entry(bucket).or_default().push(Delivery { message, event });
            }
            Err(error) => {
                if let Ok(ended) = serde_json::from_str::<EndedEvent>(&message.body) {
                    if let Err(error) = patiently(async || replace(app, &ended).await).await {
                        tracing::warn!(execution = ended.execution(), "not replaced: {error}");
                        kept.extend([message]);
                    }
                    continue;
                }
                // What is wrong may quote the event, which may be long.
                let why = shown(&error.to_string());
                tracing::warn!("an event that is no upload was dropped: {why}");
                *refused.entry("Malformed").or_default() += 1;
            }
        }
    }
    for ((account, bucket), deliveries) in buckets {
        let owner = patiently(async || {
            Ok(app.registry.tenant_of_bucket(&account, &bucket).await.and_then(active)?)
        });
        match owner.await {
            Ok(tenant) => kept.extend(of_tenant(app, &tenant, deliveries).await),
            Err(IntakeError::Registry(error @ RegistryError::UnknownBucket { .. })) => {
                tracing::warn!(%account, %bucket, uploads = deliveries.len(), "dropped: {error}");
                *refused.entry("UnknownBucket").or_default() += deliveries.len();
            }
            Err(error) => {
                let name = format!("{account}-{bucket}");
                kept.extend(refuse(app, &name, &error, deliveries).await);
            }
        }
    }
    count(&refused);
    kept
}

/// Replaces the execution of the run that waits if it is this one that ended.
async fn replace(app: &App, ended: &EndedEvent) -> Result<(), IntakeError> {
    // One that only refused an upload worked for nobody.
    let Some(Input::Named { tenant, model, .. }) = ended.input() else { return Ok(()) };
    let gathering = app.registry.gathering(&tenant, &model).await?;
    let Some(waiting) = gathering.waiting.filter(|own| own.place.execution == ended.execution())
    else {
        return Ok(());
    };
    if waiting.attempt >= EXECUTIONS {
        tracing::error!(%tenant, %model, run = %waiting.place.run, "its executions keep dying: it is not started again before the next upload");
        return Ok(());
    }
    let of = RunRef { tenant, model, run_id: waiting.place.run };
    let starts = app
        .registry
        .change_gathering(&of.tenant, &of.model, async |gathering: &mut Gathering| {
            executions::revive(app, &of, gathering).await
        })
        .await?;
    match starts {
        Some(waiting) => executions::start(app, &of, &waiting).await,
        None => Ok(()),
    }
}

/// Lets in what was uploaded into the bucket of a tenant. Gives what could not be.
async fn of_tenant<'a>(
    app: &App,
    tenant: &Tenant,
    deliveries: Vec<Delivery<'a>>,
) -> Vec<&'a SqsMessage> {
    let mut models = BTreeMap::<ModelName, Vec<Delivery<'_>>>::new();
    let mut held_out = BTreeMap::<ModelName, Vec<Delivery<'_>>>::new();
    let mut refused = Vec::new();
    let mut why = None;
    for delivery in deliveries {
        let key = delivery.event.key();
        match layout::parse_upload(&tenant.prefix, key) {
            Ok(Upload::Nothing) => {}
            Ok(_) if delivery.event.is_empty() => {}
            Ok(Upload::Misplaced) => {
                why = Some(IntakeError::misplaced(&tenant.prefix, key));
                refused.push(delivery);
            }
            Ok(Upload::HeldOut(model)) if tenant.models.contains_key(&model) => {
                held_out.entry(model).or_default().push(delivery);
            }
            Ok(Upload::Training(model) | Upload::HeldOut(model)) => {
                match model_settings(tenant, &model) {
                    Ok(settings) if !settings.train_on_upload => {}
                    Ok(_) => models.entry(model).or_default().push(delivery),
                    Err(error) => {
                        why = Some(IntakeError::from(error));
                        refused.push(delivery);
                    }
                }
            }
            Err(reason) => {
                why = Some(IntakeError::key(key, reason));
                refused.push(delivery);
            }
        }
    }
    let mut kept = match why {
        Some(why) => refuse(app, tenant.tenant.as_str(), &why, refused).await,
        None => Vec::new(),
    };
    for (model, deliveries) in held_out {
        let started = patiently(async || evaluation::start(app, tenant, &model).await);
        if let Err(error) = started.await {
            let code = error.code().as_str();
            tracing::warn!(tenant = %tenant.tenant, %model, code, "held-out rows wait: {error}");
            kept.extend(deliveries.iter().map(|delivery| delivery.message));
        }
    }
    for (model, deliveries) in models {
        let taken = patiently(async || of_model(app, tenant, &model, &deliveries).await);
        if let Err(error) = taken.await {
            let code = error.code().as_str();
            tracing::warn!(tenant = %tenant.tenant, %model, code, "uploads wait: {error}");
            kept.extend(deliveries.iter().map(|delivery| delivery.message));
        }
    }
    kept
}

/// Has a model's uploads lead a run or join one.
async fn of_model(
    app: &App,
    tenant: &Tenant,
    model: &ModelName,
    deliveries: &[Delivery<'_>],
) -> Result<(), IntakeError> {
    let mut uploads = Vec::new();
    for Delivery { event, .. } in deliveries {
        let trigger = event.clone().trigger();
        let run_id = RunId::derive(&tenant.tenant, model, &trigger);
        match (run_id, Moment::parse(trigger.time())) {
            (Ok(run_id), Some(uploaded)) => uploads.push((uploaded, run_id, trigger)),
            // AWS writes the time.
            _ => {
                tracing::warn!(tenant = %tenant.tenant, %model, "an upload without a time was dropped")
            }
        }
    }
    let Some((_, run_id, _)) = uploads.first() else { return Ok(()) };
    let of = RunRef { tenant: tenant.tenant.clone(), model: model.clone(), run_id: run_id.clone() };
    let (starts, joined, known) = app
        .registry
        .change_gathering(&of.tenant, model, async |gathering: &mut Gathering| {
            let mut starts = executions::revive(app, &of, gathering).await?;
            let (mut joined, mut known) = (0, 0);
            for (uploaded, run_id, trigger) in &uploads {
                let leader = || {
                    let run = RunRef { run_id: run_id.clone(), ..of.clone() };
                    let execution = executions::execution(&run, 1);
                    let since = Moment::now();
                    let place = Place { run: run.run_id, execution, since };
                    WaitingRun { place, trigger: trigger.clone(), newest_upload: None, attempt: 1 }
                };
                match gathering.upload(*uploaded, leader) {
                    Heard::Known => known += 1,
                    Heard::Joins => joined += 1,
                    // What became of an execution of this name is seen at once.
                    Heard::Leads => starts = executions::revive(app, &of, gathering).await?,
                }
            }
            Ok::<_, IntakeError>((starts, joined, known))
        })
        .await?;
    let leads = starts.as_ref().map(|waiting| waiting.place.run.to_string());
    tracing::info!(tenant = %of.tenant, %model, leads, joined, known, "uploads");
    match starts {
        Some(waiting) => executions::start(app, &of, &waiting).await,
        None => Ok(()),
    }
}

/// Refuses uploads that can start no run, by an execution that fails and says why,
/// one a minute for each of these names. Gives what has to come again.
async fn refuse<'a>(
    app: &App,
    name: &str,
    why: &IntakeError,
    deliveries: Vec<Delivery<'a>>,
) -> Vec<&'a SqsMessage> {
    tracing::warn!(name, code = why.code().as_str(), uploads = deliveries.len(), "refused: {why}");
    let Some(first) = deliveries.first() else { return Vec::new() };
    let heals = matches!(why.code(), Code::Throttled | Code::Unavailable | Code::AccessDenied);
    let refused = async || {
        let minute =
            SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / 60;
        let name: String = name.chars().take(50).collect();
        let name = format!("{name}-refused-{minute}");
        executions::start_execution(app, &executions::machine(), &name, &first.message.body).await
    };
    if !heals && patiently(refused).await.is_ok() {
        return Vec::new();
    }
    deliveries.iter().map(|delivery| delivery.message).collect()
}

/// Does something again, soon, that AWS did not do.
async fn patiently<T>(
    mut what: impl AsyncFnMut() -> Result<T, IntakeError>,
) -> Result<T, IntakeError> {
    let mut attempt = 1;
    loop {
        match what().await {
            Err(error)
                if attempt < ATTEMPTS
                    && matches!(error.code(), Code::Throttled | Code::Unavailable) =>
            {
                tokio::time::sleep(std::time::Duration::from_millis(200 << attempt)).await;
                attempt += 1;
            }
            done => return done,
        }
    }
}

/// Counts the events that start nothing and are nobody's, as CloudWatch reads it
/// from a log. Source: CloudWatch User Guide, "Embedded metric format".
fn count(refused: &BTreeMap<&'static str, usize>) {
    let millis =
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    for (reason, uploads) in refused {
        let metric = json!({
            "_aws": {"Timestamp": millis, "CloudWatchMetrics": [{
                "Namespace": "Crosspilot", "Dimensions": [["Reason"]],
                "Metrics": [{"Name": "UploadsDropped", "Unit": "Count"}],
            }]},
            "Reason": reason, "UploadsDropped": uploads,
        });
        // A log that cannot be written has nowhere to say so.
        let _ = writeln!(std::io::stdout(), "{metric}");
    }
}

impl BatchResponse {
    fn extend<'a>(&mut self, messages: impl IntoIterator<Item = &'a SqsMessage>) {
        let items = messages.into_iter();
        let items =
            items.map(|message| BatchItemFailure { item_identifier: message.message_id.clone() });
        self.batch_item_failures.extend(items);
    }
}
