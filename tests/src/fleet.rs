//! Rounds over as many tenants as there may be: the state machines as they are, over
//! a registry of their own, with a function in the place of `assume` and
//! `deploy-best` that reaches no customer's account.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crosspilot_core::aws::aws_config::SdkConfig;
use crosspilot_core::aws::s3::primitives::ByteStream;
use crosspilot_core::aws::sfn::types::ExecutionStatus;
use crosspilot_core::aws::{cloudformation, s3, sfn};
use crosspilot_local::LocalCloud;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::task::JoinSet;

use crate::{cloudwatch, until};

const VERIFY: &str = include_str!("../../statemachine/verify.asl.json");
const MANAGE: &str = include_str!("../../statemachine/manage.asl.json");

/// Every tenant's trust is proven, but for one that refuses and one about which it
/// fails; every tenant has nothing idle, but for one about which it fails, or all of
/// them if no days are asked about; and every run that was left is settled, but for
/// the same one's. Another one's is settled at the second look.
const SIMULATED: &str = r#"
def handler(event, _context):
    if event.get("do") == "manage":
        if event["tenant"] == "t13" or event.get("days") == 0:
            raise RuntimeError("no answer")
        if event["action"] == "sweep":
            if event["tenant"] == "t14" and not event["begun"]:
                return {"state": "waiting", "wait_seconds": 60, "doing": "its job stops"}
            return {"state": "done", "report": {"swept": {"settled": [event["run"]]}}}
        return {"state": "done", "report": {"idle": {"endpoints": []}}}
    if "judge" in event:
        seen = event["judge"]
        return {"proven": seen.count("proven"), "unproven": seen.count("unproven"),
                "refused": [each["refused"] for each in seen if isinstance(each, dict)]}
    if event["look"] == "t7":
        return {"refused": "t7"}
    if event["look"] == "t13":
        raise RuntimeError("no answer")
    return "proven"
"#;

/// The result of a round.
#[derive(Debug)]
pub struct Round {
    /// The status in which its execution ended.
    pub status: ExecutionStatus,
    /// The output of its execution, or the error.
    pub output: Value,
    /// The number of its tenants by what became of them.
    pub counts: BTreeMap<String, i64>,
    /// The most tenants that were asked at a time.
    pub at_a_time: i32,
    /// Events in its own history.
    pub events: usize,
    /// The time that it took.
    pub took: Duration,
}

/// A registry of so many tenants in an account of its own, with the machines over it.
pub struct Fleet {
    config: SdkConfig,
    account: String,
}

impl Fleet {
    /// `without` is taken from what the machines' role allows.
    pub async fn new(cloud: &LocalCloud, account: &str, tenants: usize, without: &str) -> Self {
        let config = cloud.customer(&account.parse().unwrap());
        let bucket = format!("fleet-{account}");
        let template = template(&bucket, account, without).to_string();
        let client = cloudformation::Client::new(&config);
        let create = client.create_stack().stack_name("fleet").template_body(template);
        let capability = cloudformation::types::Capability::CapabilityNamedIam;
        create.capabilities(capability).send().await.unwrap();
        until("the fleet's stack is there", async || {
            let found = client.describe_stacks().stack_name("fleet").send().await.unwrap();
            let status = found.stacks()[0].stack_status().unwrap().as_str().to_owned();
            assert!(!status.contains("ROLLBACK") && !status.contains("FAILED"), "{status}");
            (status == "CREATE_COMPLETE").then_some(())
        })
        .await;
        let s3 = s3::Client::new(&config);
        let mut puts = JoinSet::new();
        for number in 0..tenants {
            let put = s3.put_object().bucket(&bucket).key(format!("tenants/t{number}.json"));
            puts.spawn(put.body(ByteStream::from_static(b"{}")).send());
            if puts.len() == 16 {
                puts.join_next().await.unwrap().unwrap().unwrap();
            }
        }
        while let Some(put) = puts.join_next().await {
            put.unwrap().unwrap();
        }
        Self { config, account: account.to_owned() }
    }

    /// A round of proofs, to its end.
    pub async fn verify(&self) -> Round {
        self.round("crosspilot-verify", &json!({})).await
    }

    /// A look for endpoints that nobody asked for so many days, to its end.
    pub async fn tidy_up(&self, days: u16) -> Round {
        self.round("crosspilot-manage", &json!({"action": "tidy_up", "days": days})).await
    }

    /// The hourly round, when each of these tenants has a run that nobody works on.
    pub async fn sweep(&self, tenants: &[&str]) -> Round {
        let s3 = s3::Client::new(&self.config);
        for tenant in tenants {
            let key = format!("unsettled/{tenant}/churn/20260131-0123456789.json");
            let put = s3.put_object().bucket(format!("fleet-{}", self.account)).key(key);
            put.body(ByteStream::from_static(b"{}")).send().await.unwrap();
        }
        self.round("crosspilot-manage", &json!({"action": "sweep"})).await
    }

    /// The highest of what the machines have put under this name in the last hours.
    pub async fn measured(&self, cloud: &LocalCloud, metric: &str) -> Option<f64> {
        let moment = |hours| OffsetDateTime::now_utc() + time::Duration::hours(hours);
        let moment = |hours| moment(hours).format(&Rfc3339).unwrap();
        let query = format!(
            "Action=GetMetricStatistics&Namespace=Crosspilot&MetricName={metric}&Period=3600&Statistics.member.1=Maximum&StartTime={}&EndTime={}",
            moment(-3),
            moment(1)
        );
        let answer = cloudwatch(cloud, &self.account, &query).await;
        let values = answer.split("<Maximum>").skip(1);
        let values = values.map(|rest| rest.split('<').next().unwrap().parse().unwrap());
        values.reduce(f64::max)
    }

    async fn round(&self, machine: &str, input: &Value) -> Round {
        let client = sfn::Client::new(&self.config);
        let began = Instant::now();
        let machine = arn(&self.account, machine);
        let start = client.start_execution().state_machine_arn(machine).input(input.to_string());
        let execution = start.send().await.unwrap().execution_arn;
        let ended = loop {
            let found = client.describe_execution().execution_arn(&execution).send().await.unwrap();
            if found.status != ExecutionStatus::Running {
                break found;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        let took = began.elapsed();
        let history = client.get_execution_history().execution_arn(&execution).max_results(1000);
        let events = history.send().await.unwrap().events().len();
        let output = match ended.output.filter(|_| ended.status == ExecutionStatus::Succeeded) {
            Some(output) => serde_json::from_str(&output).unwrap(),
            None => json!({"error": ended.error, "cause": ended.cause}),
        };
        let runs = client.list_map_runs().execution_arn(&execution).send().await.unwrap();
        let (mut counts, mut at_a_time) = (BTreeMap::new(), 0);
        if let [run] = runs.map_runs() {
            let run =
                client.describe_map_run().map_run_arn(run.map_run_arn()).send().await.unwrap();
            at_a_time = run.max_concurrency();
            let of = run.item_counts().unwrap();
            counts.insert("total".to_owned(), of.total());
            counts.insert("succeeded".to_owned(), of.succeeded());
            counts.insert("failed".to_owned(), of.failed());
        }
        Round { status: ended.status, output, counts, at_a_time, events, took }
    }
}

fn template(bucket: &str, account: &str, without: &str) -> Value {
    let function = format!("arn:aws:lambda:us-east-1:{account}:function:simulated-assume");
    let machine = |name: &str, definition: &str| {
        let definition = definition
            .replace("${AssumeFunctionArn}", &function)
            .replace("${DeployBestFunctionArn}", &function)
            .replace("${RegistryBucketName}", bucket);
        json!({"Type": "AWS::StepFunctions::StateMachine", "Properties": {
            "StateMachineName": name, "DefinitionString": definition,
            "RoleArn": {"Fn::GetAtt": ["MachineRole", "Arn"]},
        }})
    };
    let allowed = [
        ("cloudwatch:PutMetricData", "*".to_owned()),
        ("lambda:InvokeFunction", function.clone()),
        ("s3:ListBucket", format!("arn:aws:s3:::{bucket}")),
        ("states:StartExecution", arn(account, "crosspilot-*")),
    ];
    let allowed = allowed.iter().filter(|(action, _)| *action != without);
    let statements: Vec<Value> = allowed
        .map(
            |(action, resource)| json!({"Effect": "Allow", "Action": action, "Resource": resource}),
        )
        .collect();
    let role = |service: &str, statements: Vec<Value>| {
        json!({"Type": "AWS::IAM::Role", "Properties": {
            "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": service},
            }]},
            "Policies": [{"PolicyName": "fleet", "PolicyDocument": {
                "Version": "2012-10-17", "Statement": statements,
            }}],
        }})
    };
    let nothing = json!({"Effect": "Deny", "Action": "*", "Resource": "*"});
    json!({"Resources": {
        "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": bucket}},
        "FunctionRole": role("lambda.amazonaws.com", vec![nothing]),
        "Function": {"Type": "AWS::Lambda::Function", "Properties": {
            "FunctionName": "simulated-assume", "Runtime": "python3.12", "Handler": "index.handler",
            "Role": {"Fn::GetAtt": ["FunctionRole", "Arn"]}, "Code": {"ZipFile": SIMULATED},
        }},
        "MachineRole": role("states.amazonaws.com", statements),
        "Verify": machine("crosspilot-verify", VERIFY),
        "Manage": machine("crosspilot-manage", MANAGE),
    }})
}

fn arn(account: &str, machine: &str) -> String {
    format!("arn:aws:states:us-east-1:{account}:stateMachine:{machine}")
}
