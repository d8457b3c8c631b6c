//! Both ways in, against a stand-in for the few AWS calls that they make. The
//! whole path on a real emulator is tested in the workspace's `tests`.

#![allow(clippy::unwrap_used)]

mod cloud;

use predict::{Request, Response, handle};
use serde_json::{Value, json};

use cloud::{Cloud, serving};

const RUN: &str = cloud::VARIANT;

/// The status, headers and parsed body of an API call.
async fn call(cloud: &Cloud, event: Value) -> (u16, Value, Value) {
    let (status, headers, body) = call_for_text(cloud, event).await;
    (status, headers, serde_json::from_str(&body).unwrap())
}

async fn call_for_text(cloud: &Cloud, event: Value) -> (u16, Value, String) {
    let request: Request = serde_json::from_value(event).unwrap();
    let Response::Http(response) = handle(cloud.app(), request).await.unwrap() else {
        panic!("not an HTTP answer")
    };
    let headers = serde_json::to_value(&response.headers).unwrap();
    (response.status_code, headers, response.body)
}

fn event(tenant: &str, model: &str, body: Value) -> Value {
    json!({
        "version": "2.0",
        "routeKey": "POST /v1/models/{model}/predictions",
        "rawPath": format!("/v1/models/{model}/predictions"),
        "headers": {"content-type": "application/json"},
        "pathParameters": {"model": model},
        "body": body.to_string(),
        "isBase64Encoded": false,
        "requestContext": {
            "requestId": "id-1", "timeEpoch": 1_700_000_040_000_u64,
            "authorizer": {"jwt": {"claims": {"sub": "ann", "tenant": tenant}, "scopes": null}},
        },
    })
}

fn two() -> Value {
    json!({"records": [{"plan": "basic", "age": 70}, {"age": 20}]})
}

#[tokio::test]
async fn the_api_predicts_for_whom_the_token_names() {
    let cloud = Cloud::start().await;
    cloud.serve("acme", "churn", RUN);
    let (status, headers, body) = call(&cloud, event("acme", "churn", two())).await;
    assert_eq!(status, 200);
    assert_eq!(
        headers,
        json!({
            "content-type": "application/json", "x-request-id": "id-1",
            "ratelimit-policy": r#""calls";q=1200;w=60, "records";q=600000;w=60"#,
            "ratelimit": r#""calls";r=1199;t=60, "records";r=599998;t=60"#,
        })
    );
    assert_eq!(
        body,
        json!({
            "model": "churn", "version": RUN, "request_id": "id-1",
            "predictions": [
                {"label": "True.", "probabilities": {"False.": 0.3, "True.": 0.7}},
                {"label": "False.", "probabilities": {"False.": 0.8, "True.": 0.2}},
            ],
            // Nobody has read the words of this model's training rows.
            "unchecked": ["unseen_word"],
        })
    );
    assert_eq!(cloud.asked(), [("crosspilot-acme-churn".to_owned(), "70,basic\n20,\n".to_owned())]);
}

#[tokio::test]
async fn an_id_comes_back_with_its_prediction_and_goes_nowhere() {
    let cloud = Cloud::start().await;
    cloud.serve("acme", "churn", RUN);
    let records = json!([{"id": "a-7", "age": 70}, {"age": 20}, {"age": 20, "id": 8}]);
    let (status, _, body) = call(&cloud, event("acme", "churn", json!({"records": records}))).await;
    assert_eq!(status, 200, "{body}");
    let prediction = |yes: f64, no: f64, label: &str| json!({"label": label, "probabilities": {"False.": no, "True.": yes}});
    let [mut first, second, mut third] = [
        prediction(0.7, 0.3, "True."),
        prediction(0.2, 0.8, "False."),
        prediction(0.2, 0.8, "False."),
    ];
    (first["id"], third["id"]) = ("a-7".into(), 8.into());
    assert_eq!(body["predictions"], json!([first, second, third]));
    assert_eq!(cloud.asked()[0].1, "70,\n20,\n20,\n");
}

#[tokio::test]
async fn who_accepts_csv_gets_csv_with_the_remarks_in_headers() {
    let cloud = Cloud::start().await;
    let mut champion = serving("acme", "churn", RUN, &["age", "plan"]);
    champion["numeric"] = json!(["plan"]);
    cloud.line_up("acme", "churn", &json!({"champion": champion}));
    let mut asked = event("acme", "churn", two());
    asked["headers"]["accept"] = "text/csv, application/json;q=0.5".into();
    asked["headers"]["content-type"] = "text/csv".into();
    asked["body"] = "plan,id,age\nbasic,a-7,70\n,,20\n".into();
    let (status, headers, body) = call_for_text(&cloud, asked.clone()).await;
    assert_eq!(
        (status, body.as_str()),
        (
            200,
            "id,label,probability:False.,probability:True.\na-7,True.,0.3,0.7\n,False.,0.8,0.2\n"
        )
    );
    assert_eq!(headers["content-type"], "text/csv; charset=utf-8");
    assert_eq!(headers["x-crosspilot-version"], RUN);
    assert_eq!(headers["x-crosspilot-warnings"], "1");
    assert_eq!(headers["x-crosspilot-unchecked"], "unseen_word");
    assert_eq!(headers["x-request-id"], "id-1");
    assert!(headers["ratelimit"].is_string());
    asked["headers"]["accept"] = "text/html".into();
    let (status, _, problem) = call(&cloud, asked).await;
    assert_eq!((status, &problem["type"]), (406, &json!("urn:crosspilot:problem:not-acceptable")));
    assert_eq!(cloud.asked().len(), 1);
}

#[tokio::test]
async fn naming_another_tenant_anywhere_changes_nothing() {
    let cloud = Cloud::start().await;
    cloud.serve("acme", "churn", RUN);
    cloud.serve("evil", "churn", RUN);
    let mut event = event("acme", "churn", two());
    let (_, _, honest) = call(&cloud, event.clone()).await;
    event["body"] = json!({
        "tenant": "evil", "run": {"tenant": "evil"}, "records": two()["records"],
        "requestContext": {"authorizer": {"jwt": {"claims": {"tenant": "evil"}}}},
    })
    .to_string()
    .into();
    event["headers"]["tenant"] = "evil".into();
    event["headers"]["x-tenant"] = "evil".into();
    event["queryStringParameters"] = json!({"tenant": "evil"});
    event["rawQueryString"] = "tenant=evil".into();
    event["pathParameters"]["tenant"] = "evil".into();
    event["run"] = json!({"tenant": "evil", "model": "churn", "run_id": RUN});
    let (status, _, body) = call(&cloud, event).await;
    assert_eq!((status, body), (200, honest));
    assert!(cloud.asked().iter().all(|(endpoint, _)| endpoint == "crosspilot-acme-churn"));
    assert!(cloud.assumed().iter().all(|role| role.contains("222222222222")));
}

#[tokio::test]
async fn the_api_says_what_is_wrong_as_a_problem_document() {
    let cloud = Cloud::start().await;
    cloud.serve("acme", "churn", RUN);
    cloud.serve("acme", "sick", RUN);
    cloud.serve("acme", "short", RUN);
    cloud.serve("broken", "churn", RUN);
    cloud.serve("paused", "churn", RUN);
    let cases = [
        (event("nobody", "churn", two()), 403, "inactive"),
        (event("paused", "churn", two()), 403, "inactive"),
        (event("Not an id", "churn", two()), 403, "no-tenant"),
        (event("acme", "unheard-of", two()), 404, "unknown-model"),
        (event("acme", "..", two()), 404, "unknown-model"),
        (event("acme", "fresh", two()), 409, "not-ready"),
        (event("acme", "churn", json!({"records": [{"plans": 1}]})), 400, "bad-request"),
        (event("acme", "sick", two()), 424, "model-error"),
        (event("acme", "short", two()), 502, "prediction-invalid"),
        (event("broken", "churn", two()), 502, "customer-role"),
    ];
    for (event, expected, name) in cases {
        let (status, headers, body) = call(&cloud, event.clone()).await;
        assert_eq!(status, expected, "{event} {body}");
        assert_eq!(headers["content-type"], "application/problem+json");
        assert_eq!(headers["x-request-id"], "id-1");
        assert_eq!(body["type"], format!("urn:crosspilot:problem:{name}"));
        assert_eq!(body["instance"], event["rawPath"]);
        assert!(!body.to_string().contains("arn:"), "{body}");
    }
}

/// The steps that the state machine takes with a model: scored, compared,
/// concluded under this decision.
async fn run(cloud: &Cloud, model: &str, score: Value, verdict: &str) -> Result<Value, String> {
    let step = async |step: &str, more: Value| -> Result<Value, String> {
        let run = json!({"tenant": "acme", "model": model, "run_id": RUN});
        let mut request = json!({"do": step, "run": run, "score": score, "model": model});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let request = serde_json::from_value(request).unwrap();
        let answer = handle(cloud.app(), request).await.map_err(|error| error.to_string())?;
        Ok(serde_json::to_value(answer).unwrap())
    };
    let scored = step("score", json!({})).await?;
    let comparison = match scored["state"].as_str().unwrap() {
        "unscored" => scored["comparison"].clone(),
        _ => step("compare", json!({})).await?,
    };
    let decision = json!({"verdict": verdict, "reason": "so it was decided"});
    let more = json!({
        "candidate": "best", "job": "job", "endpoint": format!("crosspilot-acme-{model}"),
        "comparison": comparison, "decision": decision,
    });
    let mut concluded = step("conclude", more).await?;
    concluded["comparison"] = comparison;
    Ok(concluded)
}

/// A challenger on its way to the endpoint, without a champion.
fn challenge(cloud: &Cloud, model: &str) {
    cloud.claim("acme", model, RUN, &["age", "plan"]);
    let challenger = serving("acme", model, RUN, &["age", "plan"]);
    cloud.line_up("acme", model, &json!({"challenger": challenger}));
}

#[tokio::test]
async fn a_run_is_scored_on_its_newest_held_out_file_and_becomes_the_champion() {
    let cloud = Cloud::start().await;
    challenge(&cloud, "churn");
    cloud.put("acme-ml/crosspilot/churn/test/a.csv", "nonsense");
    let rows: String = (0..2500)
        .map(|i| format!("basic,{},{}\n", if i % 2 == 0 { "True." } else { "False." }, i % 100))
        .collect();
    cloud.put("acme-ml/crosspilot/churn/test/b.csv", &format!("plan,Churn?,age\n{rows}"));
    let score = json!({"metric": "validation:f1_binary", "value": 0.9, "smaller_is_better": false});

    let response = run(&cloud, "churn", score.clone(), "deploy").await.unwrap();
    assert_eq!(response["evaluation"]["rows"], 2500);
    assert_eq!(response["evaluation"]["accuracy"], 0.49);
    // No cell of the customer's leaves its account, not even a label.
    assert!(!response.to_string().contains("True."), "{response}");
    let comparison = &response["comparison"];
    assert_eq!(comparison["metric"], "F1");
    assert_eq!(comparison["challenger"], response["evaluation"]["f1"]);
    assert!(comparison["champion"].is_null(), "{comparison}");
    let place = format!("acme-ml/crosspilot-results/churn/{RUN}");
    assert_eq!(response["report_uri"], format!("s3://{place}/report.html"));
    let predictions = cloud.get(&format!("{place}/predictions.csv"));
    assert!(predictions.starts_with("plan,Churn?,age,predicted_label,probability_False.,probability_True.\nbasic,True.,0,False.,1,0\n"));
    assert_eq!(predictions.lines().count(), 2501);
    let mut evaluation: Value =
        serde_json::from_str(&cloud.get(&format!("{place}/evaluation.json"))).unwrap();
    let positive = evaluation["evaluation"].as_object_mut().unwrap().remove("positive_label");
    assert_eq!(positive, Some(json!("True.")));
    assert_eq!(evaluation["evaluation"], response["evaluation"]);
    assert_eq!(evaluation["details"]["labels"], json!(["False.", "True."]));
    // The endpoint saw the first prediction only: a transform job scored the rows.
    let rows: Vec<usize> = cloud.asked().iter().map(|(_, body)| body.lines().count()).collect();
    assert_eq!(rows, [5]);

    // The model serves: the API answers with it.
    let (status, _, body) = call(&cloud, event("acme", "churn", two())).await;
    assert_eq!((status, body["version"].as_str().unwrap()), (200, RUN));

    // Doing it again writes the same again, whatever was uploaded meanwhile.
    cloud.put("acme-ml/crosspilot/churn/test/c.csv", "plan,Churn?,age\nbasic,True.,1\n");
    let report = cloud.get(&format!("{place}/report.html"));
    assert_eq!(run(&cloud, "churn", score, "deploy").await.unwrap(), response);
    assert_eq!(cloud.get(&format!("{place}/report.html")), report);
}

#[tokio::test]
async fn challenger_and_champion_are_measured_on_the_same_rows_each_by_its_own_columns() {
    let cloud = Cloud::start().await;
    let old = "20260101-0000000000";
    cloud.claim("acme", "churn", RUN, &["age", "plan"]);
    let lineup = json!({"champion": serving("acme", "churn", old, &["plan", "age"])});
    cloud.line_up("acme", "churn", &lineup);
    cloud.move_to("crosspilot-acme-churn", old, 1);
    cloud.put("acme-ml/crosspilot/churn/test/a.csv", "plan,age,Churn?\nx,90,True.\ny,10,False.\n");
    let response = run(&cloud, "churn", json!({"metric": "Accuracy"}), "keep").await.unwrap();
    let comparison = &response["comparison"];
    assert_eq!(
        comparison,
        &json!({
            "held_out": "s3://acme-ml/crosspilot/churn/test/a.csv", "rows": 2, "metric": "Accuracy",
            "smaller_is_better": false, "challenger": 1.0, "champion": 1.0, "baseline": 0.5,
            "against": old,
        })
    );
    assert_eq!(cloud.asked().last().unwrap().1, "x,90\ny,10\n");
    // A model that is kept out is reported all the same, and does not serve.
    let report = cloud.get(&format!("acme-ml/crosspilot-results/churn/{RUN}/report.html"));
    assert!(report.contains("was kept out") && report.contains("so it was decided"), "{report}");
    let (_, _, body) = call(&cloud, event("acme", "churn", two())).await;
    assert_eq!(body["version"], old);
}

#[tokio::test]
async fn what_keeps_the_champion_from_being_measured_is_said() {
    let cases: [(&str, Value, &str); 3] = [
        ("columns", json!(["age", "gone"]), "has no column \"gone\""),
        ("target", json!(["age", "plan"]), "predicts \"Another\""),
        ("endpoint", json!(["plan", "age"]), "could not be asked"),
    ];
    for (what, features, part) in cases {
        let cloud = Cloud::start().await;
        cloud.claim("acme", "churn", RUN, &["age", "plan"]);
        let mut champion = serving("acme", "churn", "20260101-0000000000", &[]);
        champion["features"] = features;
        if what == "target" {
            champion["target"] = "Another".into();
        }
        // Nothing of that variant answers.
        cloud.move_to("crosspilot-acme-churn", "other", 0);
        cloud.line_up("acme", "churn", &json!({"champion": champion}));
        cloud.put(
            "acme-ml/crosspilot/churn/test/a.csv",
            "plan,age,Churn?\nx,9,True.\ny,90,False.\n",
        );
        let response = run(&cloud, "churn", json!({"metric": "Accuracy"}), "keep").await.unwrap();
        let comparison = &response["comparison"];
        assert!(comparison["champion"].is_null() && comparison["challenger"] == 0.0);
        assert!(comparison["reason"].as_str().unwrap().contains(part), "{comparison}");
    }
}

#[tokio::test]
async fn a_model_that_answers_differently_once_it_serves_is_not_promoted() {
    let cloud = Cloud::start().await;
    challenge(&cloud, "churn");
    cloud.put("acme-ml/crosspilot/churn/test/a.csv", "plan,age,Churn?\n7,90,True.\n8,10,False.\n");
    // It takes the other column for the age.
    cloud.move_to("crosspilot-acme-churn", RUN, 1);
    let error = run(&cloud, "churn", json!({"metric": "F1"}), "deploy").await.unwrap_err();
    assert!(error.contains("is not the model's"), "{error}");
    let (status, _, _) = call(&cloud, event("acme", "churn", two())).await;
    assert_eq!(status, 409);
}

#[tokio::test]
async fn a_challenger_that_was_overtaken_is_not_promoted() {
    let cloud = Cloud::start().await;
    cloud.claim("acme", "churn", RUN, &["age", "plan"]);
    cloud.put("acme-ml/crosspilot/churn/test/a.csv", "plan,age,Churn?\nx,90,True.\n");
    let error = run(&cloud, "churn", json!({"metric": "F1"}), "deploy").await.unwrap_err();
    assert!(error.contains("another run has taken the endpoint"), "{error}");
}

#[tokio::test]
async fn without_held_out_rows_one_training_row_shows_that_the_model_answers() {
    let cloud = Cloud::start().await;
    challenge(&cloud, "price");
    keep_first_row(&cloud, "price");
    let score = json!({"metric": "MSE", "value": 2.5});
    let response = run(&cloud, "price", score, "deploy").await.unwrap();
    assert_eq!(response["evaluation"], Value::Null);
    assert_eq!(response["comparison"]["reason"], "there is no held-out file");
    assert_eq!(response["predicted"], 1);
    assert_eq!(cloud.asked(), [("crosspilot-acme-price".to_owned(), "7,basic\n".to_owned())]);
    let place = format!("acme-ml/crosspilot-results/price/{RUN}");
    assert_eq!(
        cloud.get(&format!("{place}/predictions.csv")),
        "age,plan,predicted_value\n7,basic,7.5\n"
    );
}

/// Puts what the preflight kept of the training data.
fn keep_first_row(cloud: &Cloud, model: &str) {
    let place = format!("acme-ml/crosspilot-results/_rows/{model}/{RUN}");
    cloud.put(&format!("{place}/first-row.csv"), "age,plan\n7,basic\n");
}

#[tokio::test]
async fn a_label_of_any_length_stays_out_of_the_state() {
    let cloud = Cloud::start().await;
    challenge(&cloud, "churn");
    let long = "x".repeat(300_000);
    let rows = format!("age,plan,Churn?\n1,a,True.\n2,b,False.\n3,c,{long}\n");
    cloud.put("acme-ml/crosspilot/churn/test/a.csv", &rows);
    let response = run(&cloud, "churn", json!({"metric": "Accuracy"}), "deploy").await.unwrap();
    let response = response.to_string();
    assert!(!response.contains("xxx") && response.len() < 4096, "{} bytes", response.len());
}

#[tokio::test]
async fn numbers_are_evaluated_too() {
    let cloud = Cloud::start().await;
    challenge(&cloud, "price");
    cloud.put("acme-ml/crosspilot/price/test/a.csv", "age,plan,Price\n7,basic,7\n8,plus,9\n");
    let score = json!({"metric": "MSE", "value": 2.5});
    let response = run(&cloud, "price", score, "deploy").await.unwrap();
    assert_eq!(
        response["evaluation"],
        json!({"rows": 2, "unlabelled": 0, "unknown_labels": 0, "truncated": false, "rmse": 0.5, "mae": 0.5, "r2": 0.75})
    );
}

#[tokio::test]
async fn a_held_out_file_that_turns_out_bad_leaves_it_to_validation_and_says_why() {
    for (text, part) in [
        ("age,Churn?\n7,True.\n", "has no column \"plan\""),
        ("age,plan,Churn?\n7,basic,True.\n8,basic\n", "line 3 has 2 fields, the header has 3"),
        ("age,plan,Churn?\n", "has no complete row"),
        ("PAR1....", "is a Parquet file"),
    ] {
        let cloud = Cloud::start().await;
        challenge(&cloud, "churn");
        keep_first_row(&cloud, "churn");
        cloud.put("acme-ml/crosspilot/churn/test/a.csv", text);
        let response = run(&cloud, "churn", json!({"metric": "F1"}), "deploy").await.unwrap();
        let reason = response["comparison"]["reason"].as_str().unwrap();
        assert!(reason.starts_with("s3://acme-ml/crosspilot/churn/test/a.csv"), "{reason}");
        assert!(reason.contains(part), "{reason}");
        assert_eq!((&response["evaluation"], &response["predicted"]), (&Value::Null, &json!(1)));
        let (status, _, body) = call(&cloud, event("acme", "churn", two())).await;
        assert_eq!((status, body["version"].as_str().unwrap()), (200, RUN));
    }
}

#[tokio::test]
async fn a_held_out_file_is_one_whatever_it_is_called_and_leftovers_are_none() {
    let cloud = Cloud::start().await;
    challenge(&cloud, "churn");
    let test = "acme-ml/crosspilot/churn/test";
    cloud.put(&format!("{test}/part-0000"), "age,plan,Churn?\n90,a,True.\n10,b,False.\n");
    cloud.put(&format!("{test}/.ipynb_checkpoints/h-checkpoint.csv"), "nonsense");
    cloud.put(&format!("{test}/_SUCCESS"), "ok");
    let response = run(&cloud, "churn", json!({"metric": "F1"}), "deploy").await.unwrap();
    assert_eq!(response["comparison"]["held_out"], format!("s3://{test}/part-0000"));
    assert_eq!(response["evaluation"]["rows"], 2);
}

#[tokio::test]
async fn rows_with_a_label_that_the_model_does_not_know_are_left_out_and_counted() {
    let cloud = Cloud::start().await;
    challenge(&cloud, "churn");
    let text = "age,plan,Churn?\n90,a,True.\n10,b,False.\n20,c,maybe\n30,d,NA\n";
    cloud.put("acme-ml/crosspilot/churn/test/a.csv", text);
    let response = run(&cloud, "churn", json!({"metric": "F1"}), "deploy").await.unwrap();
    let comparison = &response["comparison"];
    assert_eq!(
        (&comparison["metric"], &comparison["unknown_labels"], &comparison["rows"]),
        (&json!("F1"), &json!(1), &json!(2))
    );
}

#[tokio::test]
async fn a_run_that_was_stopped_scores_and_concludes_nothing() {
    for step in ["score", "conclude"] {
        let cloud = Cloud::start().await;
        challenge(&cloud, "churn");
        keep_first_row(&cloud, "churn");
        cloud.stop("acme", "churn", RUN);
        let request = json!({
            "do": step, "run": {"tenant": "acme", "model": "churn", "run_id": RUN}, "model": "m",
            "candidate": "best", "job": "job", "endpoint": "crosspilot-acme-churn",
            "decision": {"verdict": "deploy", "reason": "better"},
        });
        let error = handle(cloud.app(), serde_json::from_value(request).unwrap()).await;
        let error = error.unwrap_err().to_string();
        assert_eq!(error, "nothing comes to serve, since eve asked at noon for the run to stop");
        let (status, _, _) = call(&cloud, event("acme", "churn", two())).await;
        assert_eq!(status, 409);
        assert!(cloud.asked().is_empty());
    }
}

#[tokio::test]
async fn while_models_change_every_answer_is_of_the_version_that_it_names() {
    let (old, new) = ("20260101-0000000000", "20260102-0000000000");
    let champion = serving("acme", "churn", old, &["age", "plan"]);
    let challenger = serving("acme", "churn", new, &["plan", "age"]);
    let moving = json!({"champion": champion, "challenger": challenger});
    let promoted = json!({"champion": challenger, "previous": champion});
    let numbers = json!({"records": [{"plan": 20, "age": 70}]});
    // A plan that looks like an age is misread without anybody noticing; one that
    // does not makes the wrong model fail.
    for records in [numbers, json!({"records": [{"plan": "basic", "age": 70}]})] {
        for (lineup, serves, age) in
            [(&moving, old, 0), (&moving, new, 1), (&promoted, new, 1), (&promoted, old, 0)]
        {
            let cloud = Cloud::start().await;
            cloud.line_up("acme", "churn", lineup);
            cloud.move_to("crosspilot-acme-churn", serves, age);
            let (status, _, body) = call(&cloud, event("acme", "churn", records.clone())).await;
            assert_eq!(status, 200, "{body}");
            assert_eq!(body["version"], serves);
            assert_eq!(body["predictions"][0]["probabilities"]["True."], 0.7, "{body}");
        }
    }
}

#[tokio::test]
async fn a_model_that_nobody_knows_never_answers() {
    let cloud = Cloud::start().await;
    cloud.serve("acme", "churn", RUN);
    cloud.move_to("crosspilot-acme-churn", "20990101-0000000000", 1);
    let records = json!({"records": [{"plan": 20, "age": 70}]});
    let (status, _, body) = call(&cloud, event("acme", "churn", records)).await;
    assert_eq!(status, 409, "{body}");
}
