//! No cell of a customer's data leaves the customer's account: words that are
//! nowhere else are planted wherever a cell can stand, in runs that end well and
//! in runs that do not, and are then looked for in all that the vendor has.

use std::time::SystemTime;

use crosspilot_core::ids::ModelName;
use crosspilot_core::settings::ModelSettings;
use crosspilot_sagemaker_local::{Effect, Fault};
use crosspilot_tests::mishaps::Mishaps as _;
use crosspilot_tests::vendor_side::{self, Found};
use crosspilot_tests::{Customer, churn, function_logs, on_local_cloud, until};
use serde_json::{Value, json};

use crate::operations::crosspilot;

/// The canaries: a word, and a number with as many digits as no other has.
struct Canaries {
    word: String,
    number: String,
}

impl Canaries {
    fn new() -> Self {
        let mut rng = fastrand::Rng::new();
        let word = (0..16).map(|_| rng.lowercase()).collect();
        Self { word, number: rng.u64(100_000_000_000..1_000_000_000_000).to_string() }
    }

    /// The places where one of them stands.
    fn places<'a>(&self, found: &'a [Found]) -> Vec<&'a str> {
        let sings = |found: &&Found| found.holds(&self.word) || found.holds(&self.number);
        let mut places: Vec<&str> = found.iter().filter(sings).map(|f| f.place.as_str()).collect();
        places.dedup();
        places
    }

    /// Customers like those of [`churn`], with the word in a column of its own and
    /// in every label; a third label is rare.
    fn churn(&self, rows: usize, seed: u64) -> String {
        let word = &self.word;
        let text = churn(rows, seed).replace("True.", &format!("{word} leaves"));
        let text = text.replace("False.", &format!("{word} stays"));
        let (header, rows) = text.split_once('\n').unwrap();
        let row = |(number, row): (usize, &str)| {
            let rare = format!("{word} {number},CA,1,2.0,yearly,{word} may go\n");
            let row = format!("{word} {},{row}\n", number % 5);
            if number % 200 == 7 { row + &rare } else { row }
        };
        format!("Who,{header}\n") + &rows.lines().enumerate().map(row).collect::<String>()
    }

    /// Salaries, some of which are the number; one weight is the word.
    fn salaries(&self, rows: usize, seed: u64) -> String {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut text = String::from("Age,Degree,Weight,Salary\n");
        for row in 0..rows {
            let (age, degree) = (rng.u32(20..60), rng.u32(..3));
            let weight = if row == 5 { self.word.clone() } else { format!("1.{}", self.number) };
            let salary = match row % 10 {
                3 => format!("{}.25", self.number),
                _ => format!("{}", 1000 * (age + 20 * degree) + rng.u32(..900)),
            };
            text.push_str(&format!("{age},{degree},{weight},{salary}\n"));
        }
        text
    }

    /// As a container quotes a cell that it cannot read.
    fn quote(&self) -> String {
        format!("could not convert string to float: '{} {}'", self.word, self.number)
    }

    fn model_error(&self) -> Effect {
        let message = format!(
            "Received client error (400) from primary with message \"{}\". See https://us-east-1.console.aws.amazon.com/cloudwatch/home in account 222222222222 for more information.",
            self.quote()
        );
        Effect::Fail { code: "ModelError".into(), message, status: 424 }
    }
}

async fn set(customer: &Customer, model: &str, settings: Value) {
    let model: ModelName = model.parse().unwrap();
    let settings: ModelSettings = serde_json::from_value(settings).unwrap();
    let vendor = customer.cloud.vendor();
    vendor.set_model(&customer.tenant.tenant, &model, &settings).await.unwrap();
}

/// Waits until so many executions for this customer have ended. Gives them, newest
/// first.
async fn all_ended(customer: &Customer, count: usize) -> Vec<String> {
    let executions = until("the executions start", async || {
        Some(customer.executions().await).filter(|executions| executions.len() >= count)
    })
    .await;
    for execution in &executions {
        customer.ended(execution).await;
    }
    executions
}

/// Asks the API in any words. Gives the status.
async fn ask(customer: &Customer, content_type: &str, body: &str) -> u16 {
    let url = format!("{}/v1/models/churn/predictions", customer.cloud.endpoints().api);
    let request = crosspilot_tests::http().post(url).bearer_auth(customer.token());
    let request = request.header("content-type", content_type).body(body.to_owned());
    request.send().await.unwrap().status().as_u16()
}

async fn inject(customer: &Customer, operation: &str, about: &str, times: u32, effect: Effect) {
    let about = vec![customer.tenant.account.to_string(), about.to_owned()];
    let fault = Fault { operation: operation.into(), about, after: 0, times, effect };
    customer.cloud.inject(fault).await.unwrap();
}

/// A customer whose runs end well, with answers of all kinds from the API, and whose
/// last model fails its first prediction.
async fn good(customer: &Customer, canaries: &Canaries) {
    let Canaries { word, number } = canaries;
    let easy = json!({"target": "Churn?", "gate": {"margin": -10.0}});
    set(customer, "churn", easy).await;
    // One of the labels is none that the model learns.
    let held_out = canaries.churn(60, 2).replace("may go", "is unheard of");
    customer.put("crosspilot/churn/test/h.csv", held_out).await;
    customer.put("crosspilot/churn/train/a.csv", canaries.churn(700, 1)).await;
    // Rows are set aside of a file that is alone.
    set(customer, "alone", json!({"target": "Churn?"})).await;
    customer.put("crosspilot/alone/train/a.csv", canaries.churn(700, 1)).await;
    let salaries = json!({
        "target": "Salary", "objective": {"problem_type": "Regression", "metric": "RMSE"},
        "training": {"mode": "ensembling", "max_candidates": 1, "sample_weight": "Weight"},
    });
    set(customer, "salaries", salaries).await;
    customer.put("crosspilot/salaries/test/h.csv", canaries.salaries(60, 2)).await;
    customer.put("crosspilot/salaries/train/a.csv", canaries.salaries(700, 1)).await;
    all_ended(customer, 3).await;

    let record = format!(r#"{{"Who": "{word} 1", "Calls": 9}}"#);
    let records = |record: &str| format!(r#"{{"records": [{record}]}}"#);
    for (content_type, body, expected) in [
        ("application/json", records(&record), 200),
        ("application/json", records(&format!(r#"{{"Who": "{word} {number}"}}"#)), 200),
        ("text/csv", format!("Who,Calls\n{word} 1,9\n"), 200),
        ("application/json", records(&format!(r#"{{"{word}": 1}}"#)), 400),
        ("application/json", records(&format!(r#"{{"Who": ["{word}"]}}"#)), 400),
        ("application/json", records(&format!(r#"{{"Who": "{word}", "Who": "{number}"}}"#)), 400),
        ("application/json", records(&format!(r#"{{"Calls": {number}999999999999}}"#)), 400),
        ("application/json", records(&format!(r#""{word}""#)), 400),
        ("application/json", format!(r#"{{"records": "{word}"}}"#), 400),
        ("application/json", format!(r#"{{"records": [{{"Who": {word}}}]}}"#), 400),
        ("application/json", format!("{word},{number}"), 400),
        ("text/csv", format!("{word},{number}\n{word},9\n"), 400),
        ("text/csv", format!("Who,Calls\n{word}\n"), 400),
        ("text/csv", format!("Who,Calls\n\"{word},9\n"), 400),
        ("text/csv", format!("Who;Calls\n{word};{number}\n"), 400),
        (word, records(&record), 415),
    ] {
        assert_eq!(ask(customer, content_type, &body).await, expected, "{body}");
    }
    inject(customer, "InvokeEndpoint", word, 1, canaries.model_error()).await;
    assert_eq!(ask(customer, "application/json", &records(&record)).await, 424);

    // The champion cannot be asked about the held-out rows, and the challenger fails
    // its first prediction.
    inject(customer, "InvokeEndpoint", word, 2, canaries.model_error()).await;
    customer.put("crosspilot/churn/train/b.csv", canaries.churn(700, 3)).await;
    all_ended(customer, 4).await;
}

/// Files with their contents, by their place below a model's folder.
type Files = Vec<(&'static str, String)>;

/// A customer whose data is refused, for one reason in each model.
async fn refused(customer: &Customer, canaries: &Canaries) -> usize {
    let Canaries { word, number } = canaries;
    let table = canaries.churn(600, 1);
    let people = |label: &str| -> String {
        (0..600).map(|row| format!("{word} {row},{},north,{label}\n", 20 + row % 40)).collect()
    };
    let channel = json!({"validation": "channel"});
    let weighted = json!({"mode": "ensembling", "sample_weight": "Weight"});
    let weights = table.replace("Who,", "Weight,");
    let identifiers = (0..600).map(|row| format!("{},{word} {row}\n", row % 7));
    let identifiers = format!("Calls,Churn?\n{}", identifiers.collect::<String>());
    let constant = format!("Calls,Churn?\n{}", format!("7,{word}\n").repeat(600));
    let doubled = format!("{word},{word},Churn?\n{}", "1,2,no\n3,4,yes\n".repeat(300));
    // The target's name is a value of the first row.
    let rows = people("Churn?") + &people("stays");
    let cases: Vec<(&str, Value, Files)> = vec![
        ("no-header", json!({}), vec![("train/a.csv", people("yes"))]),
        ("row-for-header", json!({}), vec![("train/a.csv", rows.clone())]),
        (
            "row-for-header-2",
            json!({}),
            vec![("train/a.csv", rows), ("train/b.csv", table.clone())],
        ),
        ("numbers", json!({}), vec![("train/a.csv", format!("{number},1,2,{word}\n").repeat(600))]),
        ("second", json!({}), vec![("train/a.csv", table.clone()), ("train/b.csv", people("yes"))]),
        ("doubled", json!({}), vec![("train/a.csv", doubled)]),
        ("one-class", json!({}), vec![("train/a.csv", constant)]),
        ("identifiers", json!({}), vec![("train/a.csv", identifiers)]),
        ("weights", weighted, vec![("train/a.csv", weights)]),
        ("ragged", json!({}), vec![("train/a.csv", format!("{table}{word},{number}\n"))]),
        ("quote", json!({}), vec![("train/a.csv", format!("{table}\"{word},{number}\n"))]),
        ("semicolons", json!({}), vec![("train/a.csv", table.replace(',', ";"))]),
        (
            "validation",
            channel,
            vec![("validation/v.csv", people("yes")), ("train/a.csv", table.clone())],
        ),
        ("held-out", json!({}), vec![("test/h.csv", people("yes")), ("train/a.csv", table)]),
    ];
    let count = cases.len();
    for (model, training, files) in cases {
        set(customer, model, json!({"target": "Churn?", "training": training})).await;
        for (file, text) in files {
            customer.put(&format!("crosspilot/{model}/{file}"), text).await;
        }
    }
    count
}

/// A customer whose jobs and endpoints fail in SageMaker's own words.
async fn failing(customer: &Customer, canaries: &Canaries) -> usize {
    let answer = |status: &str, failed: &str| {
        let reason = format!("AlgorithmError: {}", canaries.quote());
        let members = json!({status: failed, "FailureReason": reason});
        Effect::Answer(members.as_object().unwrap().clone())
    };
    let cases = [
        ("job", "DescribeAutoMLJobV2", "AutoMLJobStatus", 1),
        ("transform", "DescribeTransformJob", "TransformJobStatus", 1),
        // The first look finds no endpoint yet.
        ("endpoint", "DescribeEndpoint", "EndpointStatus", 2),
    ];
    for (model, operation, status, times) in cases {
        inject(customer, operation, &format!("-{model}"), times, answer(status, "Failed")).await;
        set(customer, model, json!({"target": "Churn?"})).await;
        customer.put(&format!("crosspilot/{model}/test/h.csv"), canaries.churn(60, 2)).await;
        customer.put(&format!("crosspilot/{model}/train/a.csv"), canaries.churn(700, 1)).await;
    }
    cases.len()
}

#[test]
fn no_cell_of_a_customers_data_is_found_on_the_vendors_side() {
    on_local_cloud(async |cloud| {
        let (begun, canaries) = (SystemTime::now(), Canaries::new());
        let well = Customer::new(cloud, "canaries").await;
        let unfit = Customer::new(cloud, "canaries-unfit").await;
        let unlucky = Customer::new(cloud, "canaries-unlucky").await;
        let (unfit_runs, unlucky_runs) =
            (refused(&unfit, &canaries).await, failing(&unlucky, &canaries).await);
        good(&well, &canaries).await;
        all_ended(&unfit, unfit_runs).await;
        all_ended(&unlucky, unlucky_runs).await;

        let mut found = vendor_side::since(cloud, begun).await;
        for (customer, model) in [(&well, "churn"), (&unfit, "second"), (&unlucky, "job")] {
            let tenant = customer.tenant.tenant.as_str();
            for command in [&["run", "show", tenant, model][..], &["run", "list", tenant, model]] {
                let said = crosspilot(customer, command).await;
                assert_eq!(said.code, Some(0), "{command:?} {}", said.errors);
                let said = format!("{}{}", said.answer, said.errors);
                found.push(Found::new(format!("the answer to {command:?}"), said));
            }
        }
        assert_eq!(canaries.places(&found), Vec::<&str>::new());

        // It was looked for where the runs left their traces, and the cells are where
        // they belong.
        for (place, trace) in [
            ("object ", "canaries-unlucky"),
            ("execution ", "canaries-unfit"),
            ("history of ", "DataUnfit"),
            ("event ", "canaries-unfit"),
            ("log ", "canaries-unlucky"),
            ("queues", "{"),
            ("metrics", "<ListMetricsResult>"),
            ("file ", "saas_user"),
        ] {
            let holds = |f: &Found| f.place.starts_with(place) && f.holds(trace);
            assert!(found.iter().any(holds), "{place} has nothing of {trace}");
        }
        for (function, log) in function_logs(cloud).await {
            assert!(log.contains("canaries"), "{function} logs what it does");
        }
        let s3 = well.s3();
        let list = s3.list_objects_v2().bucket(well.tenant.bucket.as_str());
        let list = list.prefix("crosspilot-results/").send().await.unwrap();
        let keys: Vec<&str> = list.contents().iter().filter_map(|object| object.key()).collect();
        for (end, canary) in
            [("report.html", &canaries.word), ("predictions.csv", &canaries.number)]
        {
            let mut holds = false;
            for key in keys.iter().filter(|key| key.ends_with(end)) {
                holds |= well.get(key).await.contains(canary.as_str());
            }
            assert!(holds, "{end} of the customer's shows its data: {keys:?}");
        }

        // And every run went as it should.
        let runs = well.executions().await;
        let smoke = well.failed(&runs[0]).await;
        assert_eq!(smoke["code"], "PredictionInvalid", "{smoke}");
        for run in &runs[1..] {
            well.succeeded(run).await;
        }
        for run in unfit.executions().await {
            let failure = unfit.failed(&run).await;
            assert_eq!(failure["code"], "DataUnfit", "{failure}");
        }
        // One that is not scored is deployed all the same, and says why.
        for run in unlucky.executions().await {
            let ended = unlucky.ended(&run).await;
            let told = ended.cause.or(ended.output).unwrap();
            assert!(told.contains("AlgorithmError") && told.contains("aws sagemaker"), "{told}");
        }
    });
}
