//! The invitation with which a customer's administrator deploys `infra/customer.yaml`: as a
//! quick-create link, and as a line for the AWS CLI. All of it follows from the tenant's
//! document, so it can be printed at any time.

use crosspilot_core::ids::RegionName;
use crosspilot_core::tenant::Tenant;

/// Name of the stack in the customer's account.
const STACK: &str = "crosspilot";

/// The template's parameters for one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    region: RegionName,
    parameters: Vec<(&'static str, String)>,
}

impl Invitation {
    /// For this tenant, of the vendor that owns this event bus.
    pub fn new(tenant: &Tenant, event_bus: &str) -> Self {
        let saas = event_bus.split(':').nth(4).unwrap_or_default();
        let mut parameters = vec![
            ("SaasAccountId", saas.to_owned()),
            ("TenantId", tenant.tenant.to_string()),
            ("ExternalId", tenant.external_id.as_str().to_owned()),
            ("VendorEventBusArn", event_bus.to_owned()),
            ("BucketName", tenant.bucket.to_string()),
            ("Prefix", tenant.prefix.to_string()),
        ];
        if tenant.bucket_exists {
            parameters.push(("CreateBucket", "false".to_owned()));
        }
        if let Some(network) = &tenant.network {
            parameters.push(("SubnetIds", network.subnets.join(",")));
            parameters.push(("SecurityGroupIds", network.security_groups.join(",")));
        }
        let encryption = tenant.encryption.clone().unwrap_or_default();
        for (parameter, key) in
            [("VolumeKmsKeyArn", encryption.volume_key), ("OutputKmsKeyArn", encryption.output_key)]
        {
            if let Some(key) = key {
                parameters.push((parameter, key_arn(tenant, &key)));
            }
        }
        Self { region: tenant.region.clone(), parameters }
    }

    /// The template's parameters, by name.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parameters.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// The link that opens CloudFormation's console with everything filled in.
    /// `template_url` is where S3 serves the template to the customer.
    pub fn quick_create_link(&self, template_url: &str) -> String {
        let region = &self.region;
        let mut link = format!(
            "https://{region}.{}/cloudformation/home?region={region}#/stacks/quickcreate?templateURL={}&stackName={STACK}",
            console(region),
            percent(template_url)
        );
        for (name, value) in &self.parameters {
            link.push_str(&format!("&param_{name}={}", percent(value)));
        }
        link
    }

    /// The same for those who prefer a terminal, beside the template's file.
    pub fn command_line(&self) -> String {
        let parameters: Vec<String> =
            self.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!(
            "aws cloudformation deploy --region {} --template-file infra/customer.yaml --stack-name {STACK} --capabilities CAPABILITY_NAMED_IAM --parameter-overrides {}",
            self.region,
            parameters.join(" ")
        )
    }
}

/// Gives the host of the console in the region's partition.
fn console(region: &RegionName) -> &'static str {
    match region.partition() {
        "aws-cn" => "console.amazonaws.cn",
        "aws-us-gov" => "console.amazonaws-us-gov.com",
        _ => "console.aws.amazon.com",
    }
}

/// A key's ARN: policies name keys by it. An alias stays as it is, since which
/// key it stands for is known in the customer's account only.
fn key_arn(tenant: &Tenant, key: &str) -> String {
    if key.starts_with("arn:") || key.starts_with("alias/") {
        return key.to_owned();
    }
    let (region, account) = (&tenant.region, &tenant.account);
    format!("arn:{}:kms:{region}:{account}:key/{key}", region.partition())
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
fn percent(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn invitation(more: serde_json::Value) -> Invitation {
        let mut tenant = serde_json::json!({
            "tenant": "acme", "account": "222222222222", "region": "eu-central-1",
            "role_arn": "arn:aws:iam::222222222222:role/customer_trusting_saas",
            "execution_role_arn": "arn:aws:iam::222222222222:role/crosspilot-execution",
            "external_id": "cp-0123", "bucket": "acme-ml", "prefix": "team/ml", "status": "pending",
        });
        let more = more.as_object().unwrap().clone();
        tenant.as_object_mut().unwrap().extend(more);
        let bus = "arn:aws:events:us-east-1:111111111111:event-bus/crosspilot";
        Invitation::new(&serde_json::from_value(tenant).unwrap(), bus)
    }

    #[test]
    fn the_link_carries_every_parameter_escaped() {
        let invitation = invitation(serde_json::json!({"bucket_exists": true}));
        let link = invitation.quick_create_link("https://b.s3.amazonaws.com/customer.yaml");
        assert!(link.starts_with("https://eu-central-1.console.aws.amazon.com/cloudformation/"));
        for part in [
            "templateURL=https%3A%2F%2Fb.s3.amazonaws.com%2Fcustomer.yaml&",
            "&param_SaasAccountId=111111111111&",
            "&param_ExternalId=cp-0123&",
            "&param_Prefix=team%2Fml&",
            "&param_CreateBucket=false",
        ] {
            assert!(link.contains(part), "{part}: {link}");
        }
    }

    #[test]
    fn the_link_opens_the_console_of_the_regions_partition() {
        for (region, console) in [
            ("us-east-1", "https://us-east-1.console.aws.amazon.com/cloudformation/"),
            ("us-gov-west-1", "https://us-gov-west-1.console.amazonaws-us-gov.com/cloudformation/"),
            ("cn-north-1", "https://cn-north-1.console.amazonaws.cn/cloudformation/"),
        ] {
            let link = invitation(serde_json::json!({"region": region})).quick_create_link("t");
            assert!(link.starts_with(console), "{link}");
        }
    }

    #[test]
    fn the_line_for_the_terminal_says_the_same() {
        let line = invitation(serde_json::json!({})).command_line();
        assert!(line.contains("--region eu-central-1 "), "{line}");
        assert!(line.contains("ExternalId=cp-0123 "), "{line}");
        for absent in ["CreateBucket", "SubnetIds", "KmsKey"] {
            assert!(!line.contains(absent), "{line}");
        }
    }

    #[test]
    fn what_was_agreed_on_with_the_vendor_is_passed_on() {
        let line = invitation(serde_json::json!({
            "network": {"subnets": ["subnet-01234567", "subnet-89abcdef"],
                        "security_groups": ["sg-01234567"]},
            "encryption": {"volume_key": "0123-4567",
                           "output_key": "arn:aws:kms:eu-central-1:222222222222:key/89ab"},
        }))
        .command_line();
        for part in [
            " SubnetIds=subnet-01234567,subnet-89abcdef SecurityGroupIds=sg-01234567 ",
            " VolumeKmsKeyArn=arn:aws:kms:eu-central-1:222222222222:key/0123-4567 ",
            " OutputKmsKeyArn=arn:aws:kms:eu-central-1:222222222222:key/89ab",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
}
