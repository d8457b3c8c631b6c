//! A stand-in for S3, STS and SageMaker Runtime on a local port: just the calls
//! that `predict` makes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use crosspilot_core::aws::aws_config::Region;
use crosspilot_core::aws::s3::config::{
    Credentials, RequestChecksumCalculation, SharedCredentialsProvider,
};
use crosspilot_core::lambda::App;
use crosspilot_core::registry::Registry;
use serde_json::{Value, json};

/// The variant that serves unless a test moves the endpoint.
pub const VARIANT: &str = "20260131-0123456789";

/// The variant that serves at an endpoint, and the position of its column with the age.
type Serves = (String, usize);

#[derive(Default)]
struct Inner {
    /// By `bucket/key`, in order of arrival.
    objects: BTreeMap<String, (usize, String)>,
    /// The metadata of objects, by `bucket/key`.
    metadata: BTreeMap<String, Vec<(String, String)>>,
    endpoints: BTreeMap<String, Serves>,
    transforms: BTreeMap<String, Value>,
    writes: usize,
    asked: Vec<(String, String)>,
    assumed: Vec<String>,
}

/// The stand-in.
pub struct Cloud {
    app: App,
    inner: Arc<Mutex<Inner>>,
}

impl Cloud {
    /// Starts it with the tenants of the tests.
    pub async fn start() -> Self {
        let inner = Arc::<Mutex<Inner>>::default();
        let router = Router::new().fallback(serve).with_state(inner.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let keys = Credentials::new("key", "secret", None, None, "test");
        let config = crosspilot_core::aws::loader()
            .endpoint_url(format!("http://{address}"))
            .region(Region::new("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(keys))
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .load()
            .await;
        let cloud =
            Self { app: App::new(config.clone(), Registry::new(&config, "registry")), inner };
        for (tenant, account, status) in [
            ("acme", "222222222222", "active"),
            ("evil", "333333333333", "active"),
            ("broken", "444444444444", "active"),
            ("paused", "555555555555", "suspended"),
        ] {
            cloud.put(
                &format!("registry/tenants/{tenant}.json"),
                &document(tenant, account, status, address.port()).to_string(),
            );
        }
        cloud
    }

    pub fn app(&self) -> App {
        self.app.clone()
    }

    pub fn put(&self, path: &str, text: &str) {
        self.inner.lock().unwrap().put(path, text);
    }

    /// From now on, this variant answers, whose models take the age as this column.
    pub fn move_to(&self, endpoint: &str, variant: &str, age: usize) {
        self.inner.lock().unwrap().endpoints.insert(endpoint.into(), (variant.into(), age));
    }

    pub fn get(&self, path: &str) -> String {
        self.inner.lock().unwrap().objects[path].1.clone()
    }

    /// Makes a model the champion.
    pub fn serve(&self, tenant: &str, model: &str, run: &str) {
        let champion = serving(tenant, model, run, &["age", "plan"]);
        self.line_up(tenant, model, &json!({"champion": champion}));
    }

    /// Says which models there are.
    pub fn line_up(&self, tenant: &str, model: &str, lineup: &Value) {
        self.put(&format!("registry/serving/{tenant}/{model}.json"), &lineup.to_string());
    }

    /// Claims a run that trained on these columns.
    pub fn claim(&self, tenant: &str, model: &str, run: &str, features: &[&str]) {
        let trigger = json!({"type": "manual", "time": "2026-01-31T12:00:00Z", "request_id": "x"});
        let record = json!({
            "tenant": tenant, "model": model, "run_id": run, "execution": "e", "trigger": trigger, "features": features,
        });
        self.put(&format!("registry/runs/{tenant}/{model}/{run}.json"), &record.to_string());
    }

    /// Notes that somebody stopped a claimed run.
    pub fn stop(&self, tenant: &str, model: &str, run: &str) {
        let path = format!("registry/runs/{tenant}/{model}/{run}.json");
        let mut record: Value = serde_json::from_str(&self.get(&path)).unwrap();
        record["stop"] = json!({"by": "eve", "time": "noon"});
        self.put(&path, &record.to_string());
    }

    /// Endpoints asked, with the bodies they got.
    pub fn asked(&self) -> Vec<(String, String)> {
        self.inner.lock().unwrap().asked.clone()
    }

    /// Requests to assume a role.
    pub fn assumed(&self) -> Vec<String> {
        self.inner.lock().unwrap().assumed.clone()
    }
}

/// A model as a lineup names it.
pub fn serving(tenant: &str, model: &str, run: &str, features: &[&str]) -> Value {
    let target = if model == "price" { "Price" } else { "Churn?" };
    json!({
        "tenant": tenant, "model": model, "run_id": run, "job": "j", "candidate": "c",
        "endpoint": format!("crosspilot-{tenant}-{model}"), "variant": run,
        "metric": if model == "price" { "MSE" } else { "F1" }, "value": 0.9,
        "features": features, "target": target,
    })
}

fn document(tenant: &str, account: &str, status: &str, port: u16) -> Value {
    let target = |target: &str| json!({"target": target});
    json!({
        "tenant": tenant, "account": account, "region": "us-east-1",
        "role_arn": format!("arn:aws:iam::{account}:role/customer_trusting_saas"),
        "execution_role_arn": format!("arn:aws:iam::{account}:role/crosspilot-execution"),
        // Sessions are cached by external ID for the whole process.
        "external_id": format!("cp-{tenant}-{port}"), "bucket": format!("{tenant}-ml"), "prefix": "crosspilot", "status": status,
        "models": {
            "churn": target("Churn?"), "fresh": target("Churn?"), "sick": target("Churn?"),
            "short": target("Churn?"), "price": target("Price"),
        },
    })
}

impl Inner {
    fn put(&mut self, path: &str, text: &str) {
        self.writes += 1;
        self.objects.insert(path.to_owned(), (self.writes, text.to_owned()));
    }

    fn list(&self, bucket: &str, prefix: &str) -> String {
        let all = format!("{bucket}/{prefix}");
        let found = self.objects.iter().filter(|(path, _)| path.starts_with(&all));
        let contents: String = found
            .map(|(path, (order, text))| {
                let key = &path[bucket.len() + 1..];
                let (minute, second) = (order / 60, order % 60);
                let time = format!("2026-01-31T12:{minute:02}:{second:02}.000Z");
                format!("<Contents><Key>{key}</Key><Size>{}</Size><LastModified>{time}</LastModified></Contents>", text.len())
            })
            .collect();
        format!("<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>")
    }

    fn invoke(&mut self, endpoint: &str, target: Option<&str>, body: &str) -> Response {
        self.asked.push((endpoint.to_owned(), body.to_owned()));
        let serves = self.endpoints.get(endpoint).cloned();
        let (variant, age) = serves.unwrap_or_else(|| (VARIANT.to_owned(), 0));
        if target.is_some_and(|target| target != variant) {
            let message = json!({"Message": format!("Variant {} not found.", target.unwrap())});
            let kind = [("x-amzn-errortype", "ValidationError")];
            return (StatusCode::BAD_REQUEST, kind, message.to_string()).into_response();
        }
        let numbers =
            body.lines().all(|line| line.split(',').nth(age).unwrap().parse::<f64>().is_ok());
        let model = if numbers { endpoint.rsplit('-').next().unwrap() } else { "sick" };
        let answer = self.answer(model, age, body);
        ([("x-amzn-invoked-production-variant", variant)], answer).into_response()
    }

    /// Gives the answer of a model to these lines.
    fn answer(&self, model: &str, age: usize, body: &str) -> Response {
        if model == "sick" {
            let message = json!({"Message": "see arn:aws:sagemaker:us-east-1:222222222222:endpoint/x", "OriginalStatusCode": 400});
            return (
                StatusCode::from_u16(424).unwrap(),
                [("x-amzn-errortype", "ModelError")],
                message.to_string(),
            )
                .into_response();
        }
        let skip = usize::from(model == "short");
        let answer = |line: &str| predicted(model, age, line);
        lines_of(body, skip, answer).into_response()
    }

    /// A transform job, done at once. What Autopilot tells of its candidates is refused:
    /// no run depends on it.
    fn sagemaker(&mut self, operation: &str, request: &Value) -> Response {
        if ["DescribeAutoMLJobV2", "ListCandidatesForAutoMLJob"].contains(&operation) {
            let message = json!({"__type": "AccessDeniedException", "Message": "not allowed"});
            return (StatusCode::BAD_REQUEST, message.to_string()).into_response();
        }
        let name = request["TransformJobName"].as_str().unwrap().to_owned();
        if operation == "DescribeTransformJob" {
            let mut job = self.transforms[&name].clone();
            job["TransformJobStatus"] = "Completed".into();
            return job.to_string().into_response();
        }
        assert_eq!(operation, "CreateTransformJob");
        if self.transforms.contains_key(&name) {
            let message = json!({"__type": "ResourceInUse", "Message": "taken"});
            return (StatusCode::BAD_REQUEST, message.to_string()).into_response();
        }
        let place = |value: &Value| value.as_str().unwrap().trim_start_matches("s3://").to_owned();
        let input = place(&request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]);
        let output = place(&request["TransformOutput"]["S3OutputPath"]);
        let inputs: Vec<(String, String)> = self
            .objects
            .iter()
            .filter_map(|(path, (_, text))| {
                Some((path.strip_prefix(&input)?.to_owned(), text.clone()))
            })
            .collect();
        assert!(!inputs.is_empty());
        let model = request["ModelName"].as_str().unwrap().to_owned();
        for (file, text) in inputs {
            let answer = |line: &str| predicted(&model, 0, line);
            self.put(&format!("{output}/{file}.out"), &lines_of(&text, 0, answer));
        }
        self.transforms.insert(name, request.clone());
        json!({"TransformJobArn": "arn"}).to_string().into_response()
    }
}

fn lines_of(body: &str, skip: usize, answer: impl Fn(&str) -> String) -> String {
    body.lines().skip(skip).map(answer).collect::<Vec<_>>().join("\n")
}

/// The older, the likelier; a price follows the age.
fn predicted(model: &str, age: usize, line: &str) -> String {
    let age: f64 = line.split(',').nth(age).unwrap().parse().unwrap();
    let p = (age.clamp(0.0, 100.0)) / 100.0;
    let label = if p > 0.5 { "True." } else { "False." };
    match model {
        "price" => format!("{}", age + 0.5),
        _ => format!("{label},{p},\"[{}, {p}]\",\"['False.', 'True.']\"", (100.0 - age) / 100.0),
    }
}

const SESSION: &str = "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>S</SecretAccessKey><SessionToken>T</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>";
const DENIED: &str = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>User: arn:aws:sts::111111111111:assumed-role/x is not authorized</Message></Error></ErrorResponse>";

async fn serve(
    State(inner): State<Arc<Mutex<Inner>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut inner = inner.lock().unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    let path = uri.path().trim_matches('/');
    if let Some(endpoint) =
        path.strip_prefix("endpoints/").and_then(|rest| rest.strip_suffix("/invocations"))
    {
        assert_eq!(
            (&headers["content-type"], &headers["accept"]),
            (&"text/csv".parse().unwrap(), &"text/csv".parse().unwrap())
        );
        let target = headers.get("x-amzn-sagemaker-target-variant");
        return inner.invoke(endpoint, target.map(|target| target.to_str().unwrap()), &text);
    }
    if let Some(target) = headers.get("x-amz-target") {
        let operation = target.to_str().unwrap().trim_start_matches("SageMaker.");
        return inner.sagemaker(operation, &serde_json::from_str(&text).unwrap());
    }
    match method {
        Method::POST => {
            inner.assumed.push(text.clone());
            if text.contains("444444444444") {
                (StatusCode::FORBIDDEN, DENIED).into_response()
            } else {
                SESSION.into_response()
            }
        }
        Method::PUT
            if headers.contains_key("if-none-match") && inner.objects.contains_key(path) =>
        {
            let error = "<Error><Code>PreconditionFailed</Code></Error>";
            (StatusCode::PRECONDITION_FAILED, error).into_response()
        }
        Method::PUT => {
            inner.put(path, &text);
            let said = headers.iter().filter(|(name, _)| name.as_str().starts_with("x-amz-meta-"));
            let said = said.map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned()));
            inner.metadata.insert(path.to_owned(), said.collect());
            [("etag", "\"e\"")].into_response()
        }
        _ if uri.query().is_some_and(|query| query.contains("list-type")) => {
            let prefix = uri
                .query()
                .unwrap()
                .split('&')
                .find_map(|pair| pair.strip_prefix("prefix="))
                .unwrap();
            inner.list(path, &prefix.replace("%2F", "/")).into_response()
        }
        _ => match inner.objects.get(path) {
            Some((_, text)) => {
                let mut answer = ([("etag", "\"e\"")], text.clone()).into_response();
                for (name, value) in inner.metadata.get(path).into_iter().flatten() {
                    let name: axum::http::HeaderName = name.parse().unwrap();
                    answer.headers_mut().insert(name, value.parse().unwrap());
                }
                answer
            }
            None => {
                (StatusCode::NOT_FOUND, "<Error><Code>NoSuchKey</Code></Error>").into_response()
            }
        },
    }
}
