//! Data capture: what an endpoint was asked and what it answered, as JSON Lines
//! in the customer's bucket (Developer Guide, "Capture data from real-time
//! endpoint").

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use crate::lock::lock;
use crate::records::capture_config::DataCaptureConfig;
use crate::services::emulator::Emulator;
use crate::services::s3::{RoleS3, S3Uri};
use crate::wire::ids::unique_id;
use crate::wire::place::Place;

/// The interval at which captured records go to S3. AWS buffers longer.
const INTERVAL: Duration = Duration::from_secs(1);
/// Records that wait for S3 at most; the rest is not captured, as on AWS when
/// its disk is full.
const MAX_WAITING: usize = 10_000;

/// A `DataCaptureConfig` at work.
#[derive(Debug)]
pub(crate) struct Capture {
    percent: u64,
    destination: S3Uri,
    key: Option<String>,
    input: bool,
    output: bool,
    csv: Vec<String>,
    json: Vec<String>,
    seen: AtomicU64,
}

/// One side of an invocation.
pub(crate) struct Side<'a> {
    pub(crate) content_type: &'a str,
    pub(crate) body: &'a [u8],
}

/// The place that captured records go to, and the role that writes them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Destination {
    pub(crate) place: Place,
    pub(crate) endpoint_arn: String,
    pub(crate) role: String,
    /// `<prefix>/<endpoint>/<variant>`.
    folder: String,
    key: Option<String>,
}

/// The records that wait to be written.
#[derive(Default)]
pub(crate) struct Captured(Mutex<HashMap<Destination, Vec<String>>>);

impl Capture {
    /// Reads what a `DataCaptureConfig` asks for; nothing if it is switched off.
    pub(crate) fn read(config: &DataCaptureConfig) -> Result<Option<Self>, String> {
        if !config.is_enabled() {
            return Ok(None);
        }
        let wants = |side: &str| {
            let mut modes =
                config.capture_options.iter().map(|option| option.capture_mode.as_str());
            modes.any(|mode| mode == side || mode == "InputAndOutput")
        };
        let destination = &config.destination;
        Ok(Some(Self {
            percent: config.initial_sampling_percentage,
            destination: S3Uri::parse(destination)
                .ok_or_else(|| format!("DestinationS3Uri {destination} is not an S3 location."))?,
            key: config.kms_key_id.clone(),
            input: wants("Input"),
            output: wants("Output"),
            csv: config.content_types.csv_content_types.clone(),
            json: config.content_types.json_content_types.clone(),
            seen: AtomicU64::new(0),
        }))
    }

    /// Tells whether the next invocation is captured: evenly, to the percentage.
    pub(crate) fn takes_next(&self) -> bool {
        let seen = self.seen.fetch_add(1, Ordering::Relaxed);
        (seen + 1) * self.percent / 100 > seen * self.percent / 100
    }

    pub(crate) fn destination(
        &self,
        place: &Place,
        endpoint: (&str, &str),
        variant: &str,
        role: &str,
    ) -> Destination {
        let (name, arn) = endpoint;
        Destination {
            place: place.clone(),
            endpoint_arn: arn.into(),
            role: role.into(),
            folder: self.destination.join(&format!("{name}/{variant}")).to_string(),
            key: self.key.clone(),
        }
    }

    /// Writes one line of a capture file.
    pub(crate) fn record(
        &self,
        input: &Side,
        output: &Side,
        inference_id: &str,
        now: OffsetDateTime,
    ) -> String {
        let mut data = Map::new();
        for (wanted, member, mode, side) in [
            (self.input, "endpointInput", "INPUT", input),
            (self.output, "endpointOutput", "OUTPUT", output),
        ] {
            if wanted {
                let (encoding, text) = self.encode(side);
                data.insert(
                    member.into(),
                    json!({ "observedContentType": side.content_type, "mode": mode, "data": text, "encoding": encoding }),
                );
            }
        }
        // Without the sub-seconds, as AWS writes it.
        let moment = now.replace_nanosecond(0).unwrap_or(now);
        let mut about = json!({
            "eventId": unique_id(), "inferenceTime": moment.format(&Rfc3339).unwrap_or_default(),
        });
        if !inference_id.is_empty() {
            about["inferenceId"] = json!(inference_id);
        }
        json!({ "captureData": data, "eventMetadata": about, "eventVersion": "0" }).to_string()
    }

    /// Text stays text where the configuration names its content type;
    /// everything else is Base64.
    fn encode(&self, side: &Side) -> (&'static str, String) {
        let media_type = side.content_type.split(';').next().unwrap_or_default().trim();
        let named = |types: &[String]| types.iter().any(|named| named == media_type);
        let encoding = if named(&self.csv) {
            "CSV"
        } else if named(&self.json) {
            "JSON"
        } else {
            return ("BASE64", BASE64_STANDARD.encode(side.body));
        };
        (encoding, String::from_utf8_lossy(side.body).into_owned())
    }
}

impl Captured {
    pub(crate) fn add(&self, destination: Destination, record: String) {
        let mut waiting = lock(&self.0);
        let records = waiting.entry(destination).or_default();
        if records.len() < MAX_WAITING {
            records.push(record);
        }
    }

    fn take(&self) -> HashMap<Destination, Vec<String>> {
        std::mem::take(&mut *lock(&self.0))
    }
}

/// Writes what was captured, again and again. What cannot be written is lost:
/// capturing never disturbs an endpoint.
pub(crate) async fn write(captured: Arc<Captured>, emulator: Emulator) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        for (destination, records) in captured.take() {
            if let Err(reason) = write_file(&emulator, &destination, &records).await {
                let folder = destination.folder;
                tracing::warn!(folder, reason, "captured data is lost");
            }
        }
    }
}

async fn write_file(
    emulator: &Emulator,
    destination: &Destination,
    records: &[String],
) -> Result<(), String> {
    let Destination { place, endpoint_arn, role, folder, key } = destination;
    let s3 = RoleS3::open(emulator, place, role, endpoint_arn).await;
    let s3 = s3.map_err(|error| error.to_string())?;
    let s3 = s3.encrypting(key.as_deref()).await.map_err(|error| error.to_string())?;
    let folder = S3Uri::parse(folder).ok_or("the folder is not an S3 location")?;
    let at = folder.join(&file_name(OffsetDateTime::now_utc()).map_err(|e| e.to_string())?);
    let text = records.join("\n") + "\n";
    let put = s3.put(&at, "application/jsonlines", text.into_bytes()).await;
    put.map_err(|error| error.to_string())
}

fn file_name(now: OffsetDateTime) -> Result<String, time::error::Format> {
    let hour = now.format(format_description!("[year]/[month]/[day]/[hour]"))?;
    let moment = now.format(format_description!("[minute]-[second]-[subsecond digits:3]"))?;
    Ok(format!("{hour}/{moment}-{}.jsonl", unique_id()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::Value;
    use time::macros::datetime;

    use super::*;

    fn capture(more: Value) -> Capture {
        let mut config = json!({ "InitialSamplingPercentage": 30, "DestinationS3Uri": "s3://b/captured/",
            "CaptureOptions": [{ "CaptureMode": "Input" }, { "CaptureMode": "Output" }] });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Capture::read(&serde_json::from_value(config).unwrap()).unwrap().unwrap()
    }

    #[test]
    fn the_percentage_is_kept_evenly() {
        let capture = capture(json!({}));
        let taken: Vec<bool> = (0..100).map(|_| capture.takes_next()).collect();
        assert_eq!(taken.iter().filter(|taken| **taken).count(), 30);
        assert!(taken.chunks(10).all(|chunk| chunk.contains(&true)));
        let off = DataCaptureConfig { enable_capture: Some(false), ..DataCaptureConfig::default() };
        assert!(Capture::read(&off).unwrap().is_none());
    }

    #[test]
    fn records_have_the_shape_of_aws() {
        let headers = json!({ "CaptureContentTypeHeader": { "CsvContentTypes": ["text/csv"] } });
        let input = Side { content_type: "text/csv", body: b"1,2" };
        let output = Side { content_type: "text/csv; charset=utf-8", body: b"yes" };
        let now = datetime!(2026-11-23 08:00:00.5 UTC);
        let line: Value =
            serde_json::from_str(&capture(headers).record(&input, &output, "id", now)).unwrap();
        assert_eq!(
            line["captureData"],
            json!({
                "endpointInput": { "observedContentType": "text/csv", "mode": "INPUT", "data": "1,2", "encoding": "CSV" },
                "endpointOutput": { "observedContentType": "text/csv; charset=utf-8", "mode": "OUTPUT", "data": "yes",
                    "encoding": "CSV" },
            })
        );
        assert_eq!(line["eventMetadata"]["inferenceTime"], "2026-11-23T08:00:00Z");
        assert_eq!(line["eventMetadata"]["inferenceId"], "id");
        assert_eq!(line["eventVersion"], "0");
        let only_input = capture(json!({ "CaptureOptions": [{ "CaptureMode": "Input" }] }));
        let line: Value =
            serde_json::from_str(&only_input.record(&input, &output, "", now)).unwrap();
        assert_eq!(line["captureData"]["endpointInput"]["encoding"], "BASE64");
        assert_eq!(line["captureData"]["endpointInput"]["data"], "MSwy");
        assert!(line["captureData"].get("endpointOutput").is_none());
    }

    #[test]
    fn files_lie_by_the_hour() {
        let name = file_name(datetime!(2026-01-02 03:04:05.678 UTC)).unwrap();
        assert!(name.starts_with("2026/01/02/03/04-05-678-"), "{name}");
        assert!(name.ends_with(".jsonl"), "{name}");
    }
}
