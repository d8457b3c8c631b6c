//! All that lies on the vendor's side, to be searched for what must not be there.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crosspilot_core::aws::aws_config::SdkConfig;
use crosspilot_core::aws::s3::types::ObjectVersion;
use crosspilot_core::aws::{s3, scheduler, sfn};
use crosspilot_local::LocalCloud;
use crosspilot_local::accounts::{REGION, SAAS_ACCOUNT};
use serde_json::{Value, json};

use crate::data::{canary, canary_digits};
use crate::{history_of, home_of, pages};

/// The bytes that lie somewhere, as they lie there.
pub struct Found {
    /// The place, such as `execution arn:aws:states:...`.
    pub place: String,
    /// The content: bytes, since functions are archives.
    pub bytes: Vec<u8>,
}

impl Found {
    /// Something that was found by other means.
    pub fn new(place: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { place: place.into(), bytes: bytes.into() }
    }

    /// Tells whether a text stands in the content.
    pub fn holds(&self, text: &str) -> bool {
        memchr::memmem::find(&self.bytes, text.as_bytes()).is_some()
    }
}

/// Everything of the vendor's account that was written since a moment, and the
/// files of its operators: objects in all their versions, executions with their
/// histories, queues, events, schedules, logs, metrics. What is older cannot hold a
/// word that was made up since.
pub async fn since(cloud: &LocalCloud, moment: SystemTime) -> Vec<Found> {
    let config = cloud.customer(&SAAS_ACCOUNT.parse().unwrap());
    // AWS's times may be cut to seconds.
    let seconds = moment.duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let mut found = objects(&config, seconds).await;
    found.extend(executions(cloud, &config, seconds).await);
    found.extend(logs(cloud, seconds).await);
    found.extend(schedules(&config).await);
    let events = cloud.authority().events(SAAS_ACCOUNT, REGION).await.unwrap();
    let event = |event: crosspilot_sagemaker_local::authority::Event| {
        Found::new(format!("event {}", event.detail_type), event.detail)
    };
    found.extend(events.into_iter().map(event));
    found.push(Found::new("queues", messages(cloud).await));
    found.push(Found::new("metrics", metrics(cloud).await));
    found.push(Found::new("emulator.log", std::fs::read(cloud.log()).unwrap()));
    files(&home_of(cloud), &mut found);
    found
}

/// The places of these words.
pub fn places(found: &[Found], words: &[&str]) -> BTreeSet<String> {
    let holds = |found: &&Found| words.iter().any(|word| found.holds(word));
    found.iter().filter(holds).map(|found| found.place.clone()).collect()
}

/// The places in which a cell of any test's data stands.
pub fn cells(found: &[Found]) -> BTreeSet<String> {
    places(found, &[canary(), canary_digits()])
}

async fn objects(config: &SdkConfig, since: i64) -> Vec<Found> {
    let client = s3::Client::new(config);
    let mut found = Vec::new();
    let recent = |version: &&ObjectVersion| {
        version.last_modified().is_some_and(|modified| modified.secs() >= since)
    };
    for bucket in client.list_buckets().send().await.unwrap().buckets() {
        let bucket = bucket.name().unwrap();
        let (mut key_marker, mut version_marker) = (None, None);
        loop {
            let list = client.list_object_versions().bucket(bucket);
            let list = list.set_key_marker(key_marker).set_version_id_marker(version_marker);
            let page = list.send().await.unwrap();
            for version in page.versions().iter().filter(recent) {
                let (key, id) = (version.key().unwrap(), version.version_id());
                let get = client.get_object().bucket(bucket).key(key);
                let object = get.set_version_id(id.map(str::to_owned)).send().await.unwrap();
                let place = format!("object {bucket}/{key}");
                found.push(Found::new(&place, format!("{key} {:?}", object.metadata())));
                let bytes = object.body.collect().await.unwrap().into_bytes();
                found.push(Found::new(place, bytes));
            }
            key_marker = page.next_key_marker;
            version_marker = page.next_version_id_marker;
            if page.is_truncated != Some(true) {
                break;
            }
        }
    }
    found
}

async fn executions(cloud: &LocalCloud, config: &SdkConfig, since: i64) -> Vec<Found> {
    let client = sfn::Client::new(config);
    let mut found = Vec::new();
    for machine in client.list_state_machines().send().await.unwrap().state_machines() {
        let list = client.list_executions().state_machine_arn(machine.state_machine_arn());
        let mut pages = list.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.unwrap();
            let recent =
                page.executions().iter().filter(|execution| execution.start_date().secs() >= since);
            for execution in recent {
                let arn = execution.execution_arn();
                let seen = client.describe_execution().execution_arn(arn).send().await.unwrap();
                let parts = [seen.name, seen.input, seen.output, seen.error, seen.cause];
                let parts: Vec<String> = parts.into_iter().flatten().collect();
                found.push(Found::new(format!("execution {arn}"), parts.join("\n")));
                let history = history_of(cloud, arn).await;
                found.push(Found::new(format!("history of {arn}"), history));
            }
        }
    }
    found
}

async fn logs(cloud: &LocalCloud, since: i64) -> Vec<Found> {
    let asked = async |operation, question| {
        pages(cloud, &format!("Logs_20140328.{operation}"), "logs", question).await
    };
    let mut found = Vec::new();
    for page in asked("DescribeLogGroups", json!({})).await {
        let read: Value = serde_json::from_str(&page).unwrap();
        for group in read["logGroups"].as_array().unwrap() {
            let group = group["logGroupName"].as_str().unwrap();
            let question = json!({"logGroupName": group, "startTime": since * 1000});
            for page in asked("FilterLogEvents", question).await {
                found.push(Found::new(format!("log {group}"), page));
            }
        }
    }
    found
}

async fn schedules(config: &SdkConfig) -> Vec<Found> {
    let client = scheduler::Client::new(config);
    let mut found = Vec::new();
    let mut pages = client.list_schedules().into_paginator().send();
    while let Some(page) = pages.next().await {
        for schedule in page.unwrap().schedules() {
            let (name, group) = (schedule.name().unwrap(), schedule.group_name().unwrap());
            let get = client.get_schedule().name(name).group_name(group);
            // One that was due meanwhile is gone.
            let Ok(schedule) = get.send().await else { continue };
            let input = schedule.target.and_then(|target| target.input).unwrap_or_default();
            found.push(Found::new(format!("schedule {group}/{name}"), input));
        }
    }
    found
}

/// The messages of all queues, which nobody receives by this.
async fn messages(cloud: &LocalCloud) -> String {
    let endpoint = &cloud.endpoints().default;
    let url = format!("{endpoint}/_ministack/sqs/messages?account={SAAS_ACCOUNT}");
    let ask = crate::http().get(url);
    let answer = ask.header("x-crosspilot-token", cloud.running().token).send().await.unwrap();
    assert!(answer.status().is_success());
    answer.text().await.unwrap()
}

/// The metrics' names and dimensions: their values are numbers.
async fn metrics(cloud: &LocalCloud) -> String {
    let scope = format!("{SAAS_ACCOUNT}/20260101/{REGION}/monitoring/aws4_request");
    let answer = crate::http()
        .post(&cloud.endpoints().default)
        .header("x-crosspilot-token", cloud.running().token)
        .header("content-type", "application/x-www-form-urlencoded")
        .header(
            "authorization",
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=none"),
        )
        .body("Action=ListMetrics&Version=2010-08-01")
        .send()
        .await
        .unwrap();
    assert!(answer.status().is_success());
    answer.text().await.unwrap()
}

fn files(folder: &Path, found: &mut Vec<Found>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if let Ok(bytes) = std::fs::read(&path) {
            found.push(Found::new(format!("file {}", path.display()), bytes));
        }
    }
}
