//! The account's other services, asked as one AWS service asks another: behind
//! the customer's back, but with no more than the execution role allows.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::authority::{Authority, AuthorityError, Check, ServiceSession};
use crate::records::store::Place;

/// CloudWatch and KMS of every account, at the emulator.
#[derive(Debug, Clone)]
pub(crate) struct Neighbours {
    client: reqwest::Client,
    url: String,
    authority: Authority,
}

/// A neighbour that did not answer as it should.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{service} failed: {reason}")]
pub(crate) struct NeighbourError {
    service: &'static str,
    /// The service's own error code, if it gave one.
    pub(crate) code: Option<String>,
    reason: String,
}

impl Neighbours {
    pub(crate) fn new(emulator_url: &str, authority: Authority) -> Self {
        Self { client: reqwest::Client::new(), url: emulator_url.to_owned(), authority }
    }

    /// Publish data points in SageMaker's own namespace.
    pub(crate) async fn put_metrics(
        &self,
        place: &Place,
        data: Vec<Value>,
    ) -> Result<(), NeighbourError> {
        let body = json!({ "Namespace": "AWS/SageMaker", "MetricData": data });
        let target = "GraniteServiceVersion20100801.PutMetricData";
        self.call(place, "monitoring", target, &body).await.map(drop)
    }

    /// The state of each of these alarms that exists, by name.
    pub(crate) async fn alarm_states(
        &self,
        place: &Place,
        alarms: &[String],
    ) -> Result<Vec<(String, String)>, NeighbourError> {
        let body = json!({ "AlarmNames": alarms, "AlarmTypes": ["MetricAlarm", "CompositeAlarm"], "MaxRecords": 100 });
        let target = "GraniteServiceVersion20100801.DescribeAlarms";
        let answer = self.call(place, "monitoring", target, &body).await?;
        let found = ["MetricAlarms", "CompositeAlarms"]
            .into_iter()
            .filter_map(|kind| answer[kind].as_array())
            .flatten();
        let text =
            |alarm: &Value, member: &str| alarm[member].as_str().unwrap_or_default().to_owned();
        Ok(found.map(|alarm| (text(alarm, "AlarmName"), text(alarm, "StateValue"))).collect())
    }

    /// The name of an alarm for each time that one of the account went off.
    async fn alarms_so_far(&self, place: &Place) -> Result<Vec<String>, NeighbourError> {
        let mut question = json!({ "AlarmTypes": ["MetricAlarm", "CompositeAlarm"],
            "HistoryItemType": "StateUpdate", "MaxRecords": 100 });
        let mut names = Vec::new();
        loop {
            let target = "GraniteServiceVersion20100801.DescribeAlarmHistory";
            let answer = self.call(place, "monitoring", target, &question).await?;
            let items = answer["AlarmHistoryItems"].as_array().into_iter().flatten();
            let went_off = items.filter(|item| {
                item["HistorySummary"].as_str().is_some_and(|text| text.ends_with("to ALARM"))
            });
            names.extend(went_off.filter_map(|item| item["AlarmName"].as_str()).map(str::to_owned));
            match answer.get("NextToken") {
                Some(token) => question["NextToken"] = token.clone(),
                None => return Ok(names),
            }
        }
    }

    /// The ARN of a key that is given by id, ARN or alias.
    pub(crate) async fn key_arn(&self, place: &Place, key: &str) -> Result<String, NeighbourError> {
        let answer =
            self.call(place, "kms", "TrentService.DescribeKey", &json!({ "KeyId": key })).await?;
        let arn = answer["KeyMetadata"]["Arn"].as_str().map(str::to_owned);
        arn.ok_or_else(|| NeighbourError {
            service: "kms",
            code: None,
            reason: format!("the key {key} has no ARN"),
        })
    }

    /// With the local cloud's token, an account's number is its root's key.
    async fn call(
        &self,
        place: &Place,
        service: &'static str,
        target: &str,
        body: &Value,
    ) -> Result<Value, NeighbourError> {
        let failed = |code, reason: String| NeighbourError { service, code, reason };
        let scope = format!("{}/20260101/{}/{service}/aws4_request", place.account, place.region);
        let answer = self
            .client
            .post(&self.url)
            .header("x-crosspilot-token", self.authority.token())
            .header(
                "authorization",
                format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=none"),
            )
            .header("x-amz-target", target)
            .header("content-type", "application/x-amz-json-1.1")
            .body(body.to_string())
            .send()
            .await
            .map_err(|error| failed(None, error.to_string()))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| failed(None, error.to_string()))?;
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        if status.is_success() {
            return Ok(answer);
        }
        let code = answer["__type"].as_str().map(str::to_owned);
        Err(failed(code, format!("{status} {text}")))
    }
}

/// The alarms that watch a deployment, as the execution role sees them.
pub(crate) struct Alarms {
    neighbours: Neighbours,
    place: Place,
    names: Vec<String>,
    /// How often each had gone off before anyone watched.
    before: BTreeMap<String, usize>,
}

impl Alarms {
    /// The alarms of these names; why not, if one does not exist or the role
    /// may not look at it (Developer Guide, "Auto-Rollback Configuration and
    /// Monitoring": the execution role needs `cloudwatch:DescribeAlarms`).
    pub(crate) async fn open(
        neighbours: &Neighbours,
        authority: &Authority,
        session: &ServiceSession,
        place: &Place,
        names: Vec<String>,
    ) -> Result<Self, String> {
        let check = |name: &String| Check {
            action: "cloudwatch:DescribeAlarms".into(),
            resource: format!("arn:aws:cloudwatch:{}:{}:alarm:{name}", place.region, place.account),
            context: Default::default(),
        };
        let checks: Vec<Check> = names.iter().map(check).collect();
        authority.session_may(session, &place.region, &checks).await.map_err(
            |error| match error {
                AuthorityError::Refused { message, .. } => message,
                AuthorityError::Unavailable(reason) => reason,
            },
        )?;
        let (neighbours, place) = (neighbours.clone(), place.clone());
        let mut alarms = Self { neighbours, place, names, before: BTreeMap::new() };
        alarms.before = alarms.times().await?;
        let found = alarms.states().await?;
        let missing: Vec<&str> = alarms
            .names
            .iter()
            .filter(|name| !found.iter().any(|(found, _)| found == *name))
            .map(String::as_str)
            .collect();
        match missing.as_slice() {
            [] => Ok(alarms),
            missing => Err(format!("Could not find CloudWatch alarms: {}.", missing.join(", "))),
        }
    }

    /// The names of those that are in ALARM or were since the watch began: an
    /// alarm may go off and recover between two looks.
    pub(crate) async fn ringing(&self) -> Result<Vec<String>, String> {
        let (states, times) = (self.states().await?, self.times().await?);
        let rang = |name: &str| times.get(name) > self.before.get(name);
        let ringing = states.into_iter().filter(|(name, state)| state == "ALARM" || rang(name));
        Ok(ringing.map(|(name, _)| name).collect())
    }

    async fn times(&self) -> Result<BTreeMap<String, usize>, String> {
        let history = self.neighbours.alarms_so_far(&self.place).await;
        let mut times = BTreeMap::new();
        for name in history.map_err(|error| error.to_string())? {
            *times.entry(name).or_default() += 1;
        }
        Ok(times)
    }

    async fn states(&self) -> Result<Vec<(String, String)>, String> {
        let states = self.neighbours.alarm_states(&self.place, &self.names).await;
        states.map_err(|error| error.to_string())
    }
}
