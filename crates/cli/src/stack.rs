//! A customer's stack as `aws cloudformation describe-stacks` shows it: what it was
//! deployed with is what the tenant uses, and nobody copies it by hand.

use std::collections::BTreeMap;

use crosspilot_core::tenant::Tenant;
use serde::Deserialize;

use crate::args::TenantChanges;

/// The reason why a stack is not the tenant's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StackFlaw {
    #[error(
        "{0} stacks are described, and one is needed: give what `aws cloudformation describe-stacks --stack-name crosspilot` prints"
    )]
    NotOne(usize),
    #[error("it is no output of `aws cloudformation describe-stacks`: {0}")]
    NotDescribed(String),
    #[error("the stack has no output {0}: wait until it is deployed, and describe it again")]
    NoOutput(&'static str),
    #[error(
        "the stack's {what} is {stack}, and the tenant's is {tenant}: it is another tenant's stack, or was deployed with other parameters than `crosspilot tenant show --invitation` prints"
    )]
    Differs { what: &'static str, stack: String, tenant: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    stacks: Vec<Stack>,
}

/// A stack, as CloudFormation describes it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Stack {
    #[serde(default)]
    parameters: Vec<Parameter>,
    #[serde(default)]
    outputs: Vec<Output>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parameter {
    parameter_key: String,
    #[serde(default)]
    parameter_value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Output {
    output_key: String,
    output_value: String,
}

impl Stack {
    /// Reads the one stack that is described.
    pub(crate) fn read(text: &[u8]) -> Result<Self, StackFlaw> {
        let described: Described =
            serde_json::from_slice(text).map_err(|e| StackFlaw::NotDescribed(e.to_string()))?;
        let count = described.stacks.len();
        match <[Stack; 1]>::try_from(described.stacks) {
            Ok([stack]) => Ok(stack),
            Err(_) => Err(StackFlaw::NotOne(count)),
        }
    }

    /// Checks that it is the tenant's, and takes its keys, subnets and security groups
    /// into the changes; what was given besides goes before.
    pub(crate) fn take(
        &self,
        tenant: &Tenant,
        changes: &mut TenantChanges,
    ) -> Result<(), StackFlaw> {
        let outputs: BTreeMap<&str, &str> = self
            .outputs
            .iter()
            .map(|output| (output.output_key.as_str(), output.output_value.as_str()))
            .collect();
        let upload = format!("s3://{}/{}/<model>/train/", tenant.bucket, tenant.prefix);
        for (what, expected) in [
            ("RoleArn", tenant.role_arn.to_string()),
            ("ExecutionRoleArn", tenant.execution_role_arn.to_string()),
            ("Bucket", tenant.bucket.to_string()),
            ("UploadTo", upload),
        ] {
            let found = *outputs.get(what).ok_or(StackFlaw::NoOutput(what))?;
            if found != expected {
                let (stack, tenant) = (found.to_owned(), expected);
                return Err(StackFlaw::Differs { what, stack, tenant });
            }
        }
        changes.volume_key.get_or_insert(self.parameter("VolumeKmsKeyArn"));
        changes.output_key.get_or_insert(self.parameter("OutputKmsKeyArn"));
        let list = |name| -> Vec<String> {
            let text = self.parameter(name);
            text.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect()
        };
        if changes.subnets.is_empty() && !changes.no_network {
            changes.subnets = list("SubnetIds");
            changes.security_groups = list("SecurityGroupIds");
            changes.no_network = changes.subnets.is_empty();
        }
        Ok(())
    }

    fn parameter(&self, name: &str) -> String {
        let found = self.parameters.iter().find(|parameter| parameter.parameter_key == name);
        found.map(|parameter| parameter.parameter_value.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::Parser as _;
    use serde_json::{Value, json};

    use super::*;
    use crate::args::{Arguments, Command, TenantCommand};

    fn tenant() -> Tenant {
        serde_json::from_value(json!({
            "tenant": "acme", "account": "222222222222", "region": "us-east-1", "bucket": "acme-ml",
            "prefix": "crosspilot", "role_arn": "arn:aws:iam::222222222222:role/customer_trusting_saas",
            "execution_role_arn": "arn:aws:iam::222222222222:role/crosspilot-execution",
            "external_id": "cp-0123", "status": "active",
        }))
        .unwrap()
    }

    fn described(parameters: &[(&str, &str)]) -> Value {
        let tenant = tenant();
        let output = |key: &str, value: String| json!({"OutputKey": key, "OutputValue": value});
        let parameter =
            |(key, value): &(&str, &str)| json!({"ParameterKey": key, "ParameterValue": value});
        json!({"Stacks": [{
            "StackName": "crosspilot", "StackStatus": "CREATE_COMPLETE",
            "Parameters": parameters.iter().map(parameter).collect::<Vec<_>>(),
            "Outputs": [
                output("RoleArn", tenant.role_arn.to_string()),
                output("ExecutionRoleArn", tenant.execution_role_arn.to_string()),
                output("Bucket", "acme-ml".into()),
                output("UploadTo", "s3://acme-ml/crosspilot/<model>/train/".into()),
            ],
        }]})
    }

    fn changes(line: &str) -> TenantChanges {
        let parsed = Arguments::parse_from(line.split(' '));
        let Command::Tenant(TenantCommand::Set(changes)) = parsed.command else { panic!("{line}") };
        *changes
    }

    #[test]
    fn keys_and_networks_are_taken_from_the_stack() {
        let text = described(&[
            ("VolumeKmsKeyArn", "arn:aws:kms:us-east-1:222222222222:key/1"),
            ("OutputKmsKeyArn", ""),
            ("SubnetIds", "subnet-1,subnet-2"),
            ("SecurityGroupIds", "sg-1"),
        ]);
        let stack = Stack::read(text.to_string().as_bytes()).unwrap();
        let mut taken = changes("crosspilot tenant set acme --stack -");
        stack.take(&tenant(), &mut taken).unwrap();
        assert_eq!(taken.volume_key.as_deref(), Some("arn:aws:kms:us-east-1:222222222222:key/1"));
        assert_eq!((taken.output_key.as_deref(), taken.no_network), (Some(""), false));
        assert_eq!(
            (taken.subnets, taken.security_groups),
            (vec!["subnet-1".to_owned(), "subnet-2".to_owned()], vec!["sg-1".to_owned()])
        );
        // Without any, the tenant uses none either; what is given goes before.
        let stack = Stack::read(described(&[]).to_string().as_bytes()).unwrap();
        let mut taken = changes("crosspilot tenant set acme --stack - --volume-key k");
        stack.take(&tenant(), &mut taken).unwrap();
        assert_eq!((taken.volume_key.as_deref(), taken.no_network), (Some("k"), true));
    }

    #[test]
    fn another_stack_or_none_is_refused_with_a_sentence() {
        let mut other = described(&[]);
        other["Stacks"][0]["Outputs"][2]["OutputValue"] = "globex-ml".into();
        let stack = Stack::read(other.to_string().as_bytes()).unwrap();
        let mut taken = changes("crosspilot tenant set acme --stack -");
        let error = stack.take(&tenant(), &mut taken).unwrap_err().to_string();
        assert!(error.starts_with("the stack's Bucket is globex-ml"), "{error}");
        let unfinished =
            Stack::read(br#"{"Stacks": [{"StackStatus": "CREATE_IN_PROGRESS"}]}"#).unwrap();
        assert_eq!(unfinished.take(&tenant(), &mut taken), Err(StackFlaw::NoOutput("RoleArn")));
        assert_eq!(Stack::read(br#"{"Stacks": []}"#).err(), Some(StackFlaw::NotOne(0)));
        assert!(matches!(Stack::read(b"[]").err(), Some(StackFlaw::NotDescribed(_))));
    }
}
