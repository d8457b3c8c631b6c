//! CloudWatch: metrics of endpoints, and the alarms that watch their deployments.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::authority::{AuthorityError, Check, ServiceSession};
use crate::services::emulator::{Emulator, ServiceError};
use crate::wire::place::Place;

impl Emulator {
    /// Publishes data points in SageMaker's own namespace.
    pub(crate) async fn put_metrics(
        &self,
        place: &Place,
        data: Vec<Value>,
    ) -> Result<(), ServiceError> {
        let body = json!({ "Namespace": "AWS/SageMaker", "MetricData": data });
        let target = "GraniteServiceVersion20100801.PutMetricData";
        self.call(place, "monitoring", target, &body).await.map(drop)
    }

    /// The state of each of these alarms that exists, by name.
    pub(crate) async fn alarm_states(
        &self,
        place: &Place,
        alarms: &[String],
    ) -> Result<Vec<(String, String)>, ServiceError> {
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
    async fn alarms_so_far(&self, place: &Place) -> Result<Vec<String>, ServiceError> {
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
}

/// The alarms that watch a deployment, as the execution role sees them.
pub(crate) struct Alarms {
    emulator: Emulator,
    place: Place,
    names: Vec<String>,
    /// The number of times that each had gone off before anyone watched.
    before: BTreeMap<String, usize>,
}

impl Alarms {
    /// The alarms of these names; why not, if one does not exist or the role
    /// may not look at it (Developer Guide, "Auto-Rollback Configuration and
    /// Monitoring": the execution role needs `cloudwatch:DescribeAlarms`).
    pub(crate) async fn open(
        emulator: &Emulator,
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
        emulator.authority.session_may(session, &place.region, &checks).await.map_err(|error| {
            match error {
                AuthorityError::Refused { message, .. } => message,
                AuthorityError::Unavailable(reason) => reason,
            }
        })?;
        let (emulator, place) = (emulator.clone(), place.clone());
        let mut alarms = Self { emulator, place, names, before: BTreeMap::new() };
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
        let history = self.emulator.alarms_so_far(&self.place).await;
        let mut times = BTreeMap::new();
        for name in history.map_err(|error| error.to_string())? {
            *times.entry(name).or_default() += 1;
        }
        Ok(times)
    }

    async fn states(&self) -> Result<Vec<(String, String)>, String> {
        let states = self.emulator.alarm_states(&self.place, &self.names).await;
        states.map_err(|error| error.to_string())
    }
}
