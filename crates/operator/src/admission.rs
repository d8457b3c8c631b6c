//! The admission of accounts to the vendor's bus: those of the tenants may put events on it, by
//! one statement of the bus's policy, and only what Amazon S3 tells of uploads.
//!
//! The policy is made anew from the registry's claims. EventBridge has no
//! conditional writes, but each operator claims first, then writes the policy, and
//! then looks at the registry and the bus again, until they agree: whoever writes
//! the policy last looks after all the others have claimed.

use std::collections::BTreeSet;

use crosspilot_core::error::{CallError, Code, Coded, Named};
use crosspilot_core::ids::AccountId;
use crosspilot_core::registry::RegistryError;
use serde_json::{Value, json};

use crate::{OperatorError, Vendor};

/// The statement that admits all customers.
const STATEMENT: &str = "CrosspilotCustomers";
/// The beginning of the names of statements that admitted one customer each.
const FORMER: &str = "customer-";
/// Looks at a bus that others write to, too.
const ATTEMPTS: usize = 10;

/// The change that is needed for a bus to admit these accounts.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Nothing: it admits them already, and no others.
    Nothing,
    /// The policy that has to be put.
    Put(String),
    /// The bus's policy has to go: nobody is admitted.
    Clear,
}

/// Decides what has to be done for the bus to admit these accounts, and no others by
/// our statement. Statements of others stay.
fn next(current: &[Value], bus: &str, accounts: &BTreeSet<AccountId>) -> Step {
    let (ours, mut kept): (Vec<Value>, Vec<Value>) = current.iter().cloned().partition(is_ours);
    let wanted = (!accounts.is_empty()).then(|| {
        json!({
            "Sid": STATEMENT,
            "Effect": "Allow",
            "Principal": {"AWS": accounts},
            "Action": "events:PutEvents",
            "Resource": bus,
            "Condition": conditions(),
        })
    });
    let as_wanted = match (ours.as_slice(), &wanted) {
        ([], None) => true,
        ([found], Some(_)) => admitted(found) == *accounts && found["Condition"] == conditions(),
        _ => false,
    };
    if as_wanted {
        return Step::Nothing;
    }
    kept.extend(wanted);
    if kept.is_empty() {
        Step::Clear
    } else {
        Step::Put(json!({"Version": "2012-10-17", "Statement": kept}).to_string())
    }
}

/// EventBridge User Guide, "Permissions for event buses".
fn conditions() -> Value {
    json!({"StringEquals": {"events:source": "aws.s3", "events:detail-type": "Object Created"}})
}

fn is_ours(statement: &Value) -> bool {
    let sid = statement["Sid"].as_str().unwrap_or_default();
    sid == STATEMENT
        || sid.strip_prefix(FORMER).is_some_and(|account| account.parse::<AccountId>().is_ok())
}

/// The accounts that a statement admits: AWS may write an account as its root's ARN.
fn admitted(statement: &Value) -> BTreeSet<AccountId> {
    let principal = &statement["Principal"];
    let named = principal.get("AWS").unwrap_or(principal);
    let texts: Vec<&str> = match named {
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        other => other.as_str().into_iter().collect(),
    };
    let account = |text: &str| text.split(':').nth(4).unwrap_or(text).parse().ok();
    texts.into_iter().filter_map(account).collect()
}

impl Vendor {
    /// Lets the accounts of all tenants put what S3 tells of uploads on our bus,
    /// and no other account. Doing it again repairs what was interrupted.
    pub async fn admit_events(&self) -> Result<(), OperatorError> {
        let bus = &self.deployment.event_bus;
        let name = bus.rsplit('/').next().unwrap_or(bus);
        let client = crosspilot_core::aws::eventbridge::Client::new(&self.config);
        for _ in 0..ATTEMPTS {
            let described = client.describe_event_bus().name(name).send().await;
            let described = described.named("events:DescribeEventBus", name)?;
            let policy: Value =
                serde_json::from_str(described.policy().unwrap_or("{}")).unwrap_or_default();
            let current = policy["Statement"].as_array().cloned().unwrap_or_default();
            let accounts = self.registry.accounts().await?;
            match next(&current, bus, &accounts) {
                Step::Nothing => return Ok(()),
                Step::Put(policy) => {
                    let put = client.put_permission().event_bus_name(name).policy(policy);
                    put.send().await.map_err(|e| {
                        let error = CallError::new("events:PutPermission", name, &e);
                        match error.aws_code() {
                            "PolicyLengthExceededException" => {
                                OperatorError::BusFull { accounts: accounts.len() }
                            }
                            _ => error.into(),
                        }
                    })?;
                }
                Step::Clear => {
                    let clear = client.remove_permission().event_bus_name(name);
                    let cleared = clear.remove_all_permissions(true).send().await;
                    let cleared = cleared.named("events:RemovePermission", name);
                    if let Err(error) = cleared
                        && error.code() != Code::NotFound
                        && error.aws_code() != "ResourceNotFoundException"
                    {
                        return Err(error.into());
                    }
                }
            }
        }
        Err(RegistryError::Contended(bus.clone()).into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const BUS: &str = "arn:aws:events:ap-southeast-1:111111111111:event-bus/crosspilot";

    fn accounts(count: u32) -> BTreeSet<AccountId> {
        (0..count).map(|number| format!("2{number:011}").parse().unwrap()).collect()
    }

    fn put(step: Step) -> (String, Vec<Value>) {
        let Step::Put(text) = step else { panic!("{step:?}") };
        let policy: Value = serde_json::from_str(&text).unwrap();
        (text, policy["Statement"].as_array().unwrap().clone())
    }

    #[test]
    fn six_hundred_customers_fit_under_the_default_quota() {
        // Amazon EventBridge quotas, "Event bus policy size": 10,240 characters.
        let (text, _) = put(next(&[], BUS, &accounts(600)));
        assert!(text.len() <= 10_240, "{}", text.len());
        assert!(put(next(&[], BUS, &accounts(700))).0.len() > 10_240);
    }

    #[test]
    fn one_statement_admits_all_and_binds_what_they_may_tell() {
        let (_, statements) = put(next(&[], BUS, &accounts(2)));
        assert_eq!(
            statements,
            [json!({
                "Sid": "CrosspilotCustomers", "Effect": "Allow", "Action": "events:PutEvents",
                "Principal": {"AWS": ["200000000000", "200000000001"]}, "Resource": BUS,
                "Condition": {"StringEquals": {
                    "events:source": "aws.s3", "events:detail-type": "Object Created"}},
            })]
        );
        assert_eq!(next(&statements, BUS, &accounts(2)), Step::Nothing);
        // As AWS may give it back.
        let mut given = statements.clone();
        given[0]["Principal"]["AWS"] =
            json!(["arn:aws:iam::200000000001:root", "arn:aws:iam::200000000000:root"]);
        assert_eq!(next(&given, BUS, &accounts(2)), Step::Nothing);
        given[0]["Principal"]["AWS"] = json!("arn:aws:iam::200000000000:root");
        assert_eq!(next(&given, BUS, &accounts(1)), Step::Nothing);
        // Who left is not admitted any longer, and without conditions nobody is.
        assert_eq!(put(next(&statements, BUS, &accounts(1))).1.len(), 1);
        given[0].as_object_mut().unwrap().remove("Condition");
        assert_eq!(put(next(&given, BUS, &accounts(1))).1[0]["Condition"], conditions());
    }

    #[test]
    fn statements_of_others_stay_and_those_of_before_go() {
        let others =
            json!({"Sid": "customer-care", "Effect": "Allow", "Principal": "333333333333"});
        let former = json!({"Sid": "customer-200000000000", "Effect": "Allow",
                            "Principal": {"AWS": "200000000000"}});
        let current = [others.clone(), former];
        let (_, statements) = put(next(&current, BUS, &accounts(1)));
        assert_eq!(statements.len(), 2);
        assert_eq!(statements[0], others);
        let left = next(&current, BUS, &accounts(0));
        assert_eq!(put(left).1, std::slice::from_ref(&others));
        assert_eq!(next(&current[1..], BUS, &accounts(0)), Step::Clear);
        assert_eq!(next(&[], BUS, &accounts(0)), Step::Nothing);
    }
}
