//! Whatever call behind the prediction API goes wrong, its caller gets a
//! prediction or a problem document that says what to do, and the next one a
//! prediction.

use crosspilot_sagemaker_local::{Effect, Fault};
use crosspilot_tests::data::request;
use crosspilot_tests::mishaps::Mishaps as _;
use crosspilot_tests::{Customer, all, on_local_cloud};
use serde_json::Value;

/// A call that is made for a prediction, with how often the SDK tries it.
#[derive(Clone, Copy)]
struct Place {
    operation: &'static str,
    /// The folder of the registry, for calls that go there.
    folder: &'static str,
    attempts: u32,
    /// The status that a refusal becomes: of ours 500, of the customer's 502.
    refused: u16,
}

const TENANT: Place =
    Place { operation: "s3:GetObject", folder: "tenants", attempts: 3, refused: 500 };
const LINEUP: Place =
    Place { operation: "s3:GetObject", folder: "serving", attempts: 3, refused: 500 };
const SESSION: Place = Place { operation: "sts:AssumeRole", folder: "", attempts: 3, refused: 502 };
const ENDPOINT: Place =
    Place { operation: "InvokeEndpoint", folder: "", attempts: 2, refused: 502 };

fn fail(code: &str, status: u16) -> Effect {
    Effect::Fail { code: code.into(), message: "a fault on demand".into(), status }
}

struct Scene {
    customer: Customer,
}

impl Scene {
    async fn new(cloud: &'static crosspilot_local::LocalCloud, name: &str) -> Self {
        let customer = Customer::new(cloud, name).await;
        customer.give_training_data().await;
        customer.succeeded(&customer.first_execution().await).await;
        Self { customer }
    }

    fn about(&self, place: Place) -> String {
        let tenant = &self.customer.tenant;
        match place.folder {
            "" => tenant.account.to_string(),
            "tenants" => format!("tenants/{}.json", tenant.tenant),
            folder => format!("{folder}/{}/", tenant.tenant),
        }
    }

    async fn inject(&self, place: Place, times: u32, effect: Effect) {
        let about = vec![self.about(place)];
        let operation = place.operation.into();
        let fault = Fault { operation, about, after: 0, times, effect };
        self.customer.cloud.inject(fault).await.unwrap();
    }

    /// The answer's status and document; every fault has struck.
    async fn ask(&self, place: Place, what: &str) -> (u16, Value) {
        let record = request(9);
        let (status, answer) = self.customer.ask(&self.customer.token(), "churn", &record).await;
        let left = self.customer.cloud.faults_to_come(&self.about(place)).await.unwrap();
        assert_eq!(left, 0, "{} {what}: {status} {answer}", place.operation);
        (status, answer)
    }

    /// With this fault there is a prediction all the same.
    async fn heals(&self, place: Place, effect: Effect) {
        self.inject(place, 1, effect.clone()).await;
        let (status, answer) = self.ask(place, "heals").await;
        assert_eq!(status, 200, "{} {effect:?}: {answer}", place.operation);
    }

    /// With this fault so often there is a problem document, and none the next time.
    async fn is_a_problem(&self, place: Place, times: u32, effect: Effect, expected: u16) {
        self.inject(place, times, effect.clone()).await;
        let (status, answer) = self.ask(place, "is a problem").await;
        let what = format!("{} {effect:?}: {status} {answer}", place.operation);
        assert_eq!(status, expected, "{what}");
        assert_eq!(answer["status"], expected, "{what}");
        assert!(answer["type"].as_str().unwrap().starts_with("urn:crosspilot:problem:"), "{what}");
        assert!(answer["detail"].as_str().unwrap().len() > 20, "{what}");
        assert!(!answer["request_id"].as_str().unwrap().is_empty(), "{what}");
        let text = answer.to_string();
        for hidden in ["arn:", "fault on demand", self.customer.tenant.account.as_str()] {
            assert!(!text.contains(hidden), "{what}");
        }
        let (status, answer) = self.ask(place, "the next").await;
        assert_eq!(status, 200, "{what}, and then {answer}");
    }
}

type Task = std::pin::Pin<Box<dyn Future<Output = ()>>>;

#[test]
fn a_prediction_heals_or_ends_in_a_problem_that_says_what_to_do() {
    on_local_cloud(async |cloud| {
        let mut tasks: Vec<Task> = Vec::new();
        for (name, place) in
            [("api-tenant", TENANT), ("api-lineup", LINEUP), ("api-endpoint", ENDPOINT)]
        {
            tasks.push(Box::pin(async move {
                let scene = Scene::new(cloud, name).await;
                for effect in
                    [Effect::Throttle, fail("InternalFailure", 500), Effect::Cut, Effect::Lose]
                {
                    scene.heals(place, effect).await;
                }
                let attempts = place.attempts;
                scene.is_a_problem(place, attempts, Effect::Throttle, 429).await;
                scene.is_a_problem(place, attempts, fail("InternalFailure", 503), 503).await;
                scene.is_a_problem(place, attempts, Effect::Cut, 503).await;
                let code =
                    if place.folder.is_empty() { "AccessDeniedException" } else { "AccessDenied" };
                scene.is_a_problem(place, 1, fail(code, 403), place.refused).await;
            }));
        }
        // A session is kept: what asks for one is a customer's first prediction.
        for (name, times, effect, expected) in [
            ("api-sts-throttled", 1, Effect::Throttle, 200),
            ("api-sts-cut", 2, Effect::Cut, 200),
            ("api-sts-busy", SESSION.attempts, Effect::Throttle, 429),
            ("api-sts-down", SESSION.attempts, fail("InternalFailure", 500), 503),
            ("api-sts-refuses", 1, fail("AccessDenied", 403), SESSION.refused),
        ] {
            tasks.push(Box::pin(async move {
                let scene = Scene::new(cloud, name).await;
                if expected == 200 {
                    scene.inject(SESSION, times, effect).await;
                    let (status, answer) = scene.ask(SESSION, "heals").await;
                    assert_eq!(status, 200, "{name}: {answer}");
                } else {
                    scene.is_a_problem(SESSION, times, effect, expected).await;
                }
            }));
        }
        // The gateway waits for 30 s: our own answer comes before its.
        tasks.push(Box::pin(async move {
            let scene = Scene::new(cloud, "api-slow").await;
            scene.inject(TENANT, 1, Effect::Delay(11_000)).await;
            assert_eq!(scene.ask(TENANT, "late").await.0, 200);
            scene.is_a_problem(ENDPOINT, 1, Effect::Delay(29_000), 504).await;
        }));
        all(tasks).await;
    });
}
