//! `DataCaptureConfig`, as a configuration has it and an endpoint shows it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The part of an endpoint's traffic that is captured, and the place that it goes to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct DataCaptureConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) enable_capture: Option<bool>,
    pub(crate) initial_sampling_percentage: u64,
    #[serde(rename = "DestinationS3Uri")]
    pub(crate) destination: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kms_key_id: Option<String>,
    pub(crate) capture_options: Vec<CaptureOption>,
    #[serde(rename = "CaptureContentTypeHeader")]
    pub(crate) content_types: CaptureContentTypes,
}

/// A side of the traffic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CaptureOption {
    pub(crate) capture_mode: String,
}

/// The types of bodies that are kept as text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct CaptureContentTypes {
    pub(crate) csv_content_types: Vec<String>,
    pub(crate) json_content_types: Vec<String>,
}

impl DataCaptureConfig {
    pub(crate) fn is_enabled(&self) -> bool {
        self.enable_capture != Some(false)
    }

    /// Makes the `DataCaptureConfigSummary` of a running endpoint.
    pub(crate) fn summary(&self) -> Value {
        json!({
            "EnableCapture": self.is_enabled(),
            "CaptureStatus": if self.is_enabled() { "Started" } else { "Stopped" },
            "CurrentSamplingPercentage": self.initial_sampling_percentage,
            "DestinationS3Uri": self.destination,
            "KmsKeyId": self.kms_key_id.as_deref().unwrap_or_default(),
        })
    }
}
