//! Challenger and champion, measured by the same metric on the same held-out
//! rows: the challenger by what a transform job made it answer, the champion by
//! what its endpoint answers.

use std::time::SystemTime;

use crosspilot_core::bucket::Bucket;
use crosspilot_core::decision::{Comparison, Score};
use crosspilot_core::lambda::App;
use crosspilot_core::policy::Purpose;
use crosspilot_core::registry::{Serving, model_settings};
use crosspilot_core::run::RunRef;
use crosspilot_core::session::CustomerSession;
use crosspilot_core::settings::ModelSettings;
use crosspilot_inference::{
    self as inference, Answer, AnswerInvalid, Calls, Endpoint, Prediction, kind,
};
use crosspilot_metrics::{Direction, Metric};
use serde::Deserialize;

use crate::EvaluationError;
use crate::data::{self, Source};
use crate::evaluation::Evaluation;
use crate::scoring::ScoringKeys;

/// The run whose answers are compared.
#[derive(Debug, Clone, Deserialize)]
pub struct CompareRequest {
    /// The run.
    pub run: RunRef,
    /// The candidate's objective metric.
    #[serde(default)]
    pub score: Score,
}

/// The answers of a transform job for the held-out rows.
pub(crate) struct Answers {
    pub(crate) source: Source,
    pub(crate) predictions: Vec<Prediction>,
}

impl Answers {
    pub(crate) async fn read(
        bucket: &Bucket<'_>,
        run: &RunRef,
        settings: &ModelSettings,
        score: &Score,
    ) -> Result<Self, EvaluationError> {
        let place = ScoringKeys::of(bucket.tenant, run);
        let source = data::kept_rows(bucket, &place.held_out()).await?;
        let answers = bucket.get_up_to(&place.answers(), MOST_ANSWERS).await?;
        let answers =
            answers.map_err(|bytes| AnswerInvalid::TooLarge { bytes, most: MOST_ANSWERS })?;
        let answer = Answer::new(answers, source.table.len())?;
        let predictions =
            inference::predictions(&[answer], kind(settings, score.metric.as_deref()))?;
        Ok(Self { source, predictions })
    }
}

/// Bytes of answers that are read: for each of many labels, each row has the label and
/// its probability. By arithmetic that is, with the rows themselves, within half of the
/// function's memory.
const MOST_ANSWERS: u64 = 200 << 20;

/// Measures challenger and champion on the same rows.
pub async fn compare(app: &App, request: CompareRequest) -> Result<Comparison, EvaluationError> {
    let CompareRequest { run, score } = &request;
    let tenant = app.registry.active_tenant(&run.tenant).await?;
    let settings = model_settings(&tenant, &run.model)?;
    let session = app.sessions.open(&tenant, Purpose::Score(run)).await?;
    let bucket = Bucket { s3: session.s3(), tenant: &tenant };
    let Answers { source, predictions } = match Answers::read(&bucket, run, settings, score).await {
        // No trained model is thrown away for what a transform job left of its answers:
        // validation decides, and the first prediction shows whether it answers.
        Err(EvaluationError::Inference(inference::InferenceError::Answer(invalid))) => {
            tracing::warn!(tenant = %run.tenant, model = %run.model, run = %run.run_id, "{invalid}");
            let reason = Some(format!("the held-out rows do not count: {invalid}"));
            return Ok(Comparison { reason, ..Comparison::default() });
        }
        read => read?,
    };

    let held_out = Some(source.uri.clone());
    let unmeasured = |reason: &str| Comparison {
        held_out: held_out.clone(),
        reason: Some(reason.to_owned()),
        ..Comparison::default()
    };
    let lineup = app.registry.lineup(&run.tenant, &run.model).await?;
    let champion = lineup.champion.filter(|champion| champion.run != *run);
    let against = champion.as_ref().map(|champion| champion.run.run_id.clone());
    let Some(truth) = truth(&source, &settings.target) else {
        let reason = format!("the held-out file has no column {:?}", settings.target);
        return Ok(Comparison { against, ..unmeasured(&reason) });
    };
    let evaluation = Evaluation::new(&truth, &predictions).map_err(measure)?;
    let Some(evaluation) = evaluation else {
        let reason = "no held-out row has a true value that the model was trained on";
        return Ok(Comparison { against, ..unmeasured(reason) });
    };
    let metric = match metric(&evaluation, score) {
        Ok(metric) => metric,
        Err(reason) => return Ok(Comparison { against, ..unmeasured(&reason) }),
    };
    let summary = evaluation.summary(false);
    let mut comparison = Comparison {
        rows: summary.rows,
        unknown_labels: summary.unknown_labels as u64,
        metric: Some(metric.as_str().to_owned()),
        smaller_is_better: metric.direction() == Direction::Minimize,
        challenger: evaluation.get(metric),
        baseline: evaluation.baseline(metric),
        against,
        reason: None,
        ..unmeasured("")
    };
    if let Some(champion) = champion {
        let (begun, calls) = (SystemTime::now(), Calls::default());
        let figure =
            of_champion(&session, settings, &champion, &source, &truth, metric, &calls).await;
        match figure {
            Ok(value) => comparison.champion = Some(value),
            Err(reason) => comparison.reason = Some(reason),
        }
        calls.note(app, run, &champion.variant, begun).await?;
    }
    tracing::info!(tenant = %run.tenant, model = %run.model, run = %run.run_id, ?comparison, "compared");
    Ok(comparison)
}

pub(crate) fn measure(reason: impl ToString) -> EvaluationError {
    EvaluationError::Compose { what: "evaluation", reason: reason.to_string() }
}

/// The target's cells, where the rows have them.
pub(crate) fn truth(source: &Source, target: &str) -> Option<Vec<String>> {
    let position = source.table.position(target)?;
    let cells = source.table.rows().map(|row| row.get(position).unwrap_or_default().to_owned());
    Some(cells.collect())
}

/// Gives what to measure by: the objective that the candidate was chosen by, or what
/// Autopilot would have chosen where it named none. No other metric stands in for it:
/// where the rows do not give it, it says why, and validation decides.
pub(crate) fn metric(evaluation: &Evaluation, score: &Score) -> Result<Metric, String> {
    if evaluation.is_of_one_value() {
        return Err("all held-out rows have the same true value: give rows of all kinds".to_owned());
    }
    let Some(name) = score.metric.as_deref() else {
        let usual = [Metric::F1, Metric::Accuracy, Metric::Mse];
        let found = usual.into_iter().find(|metric| evaluation.get(*metric).is_some());
        return found.ok_or_else(|| "no metric is defined on the held-out rows".to_owned());
    };
    let Some(metric) = Metric::named(name) else {
        return Err(format!("the objective {name} cannot be measured on the held-out rows"));
    };
    match evaluation.get(metric) {
        Some(_) => Ok(metric),
        None => Err(format!(
            "the held-out rows do not give {name}: look at their labels, and whether the model answers with probabilities"
        )),
    }
}

/// Asks a model's endpoint about rows. It is asked for the model's own columns.
pub(crate) async fn answers_of(
    session: &CustomerSession,
    settings: &ModelSettings,
    serving: &Serving,
    source: &Source,
    calls: &Calls,
) -> Result<Vec<Prediction>, EvaluationError> {
    let columns = source.table.positions(&serving.features)?;
    let endpoint = Endpoint {
        runtime: session.sagemaker_runtime(),
        name: serving.endpoint.clone(),
        variant: Some(serving.variant.clone()),
        calls: calls.clone(),
    };
    let answers = endpoint.ask_all(&source.table, &columns).await?;
    Ok(inference::predictions(&answers, kind(settings, serving.metric.as_deref()))?)
}

/// The champion's figure, from its endpoint; or why there is none. It is asked
/// for its own columns, which may not be the challenger's.
async fn of_champion(
    session: &CustomerSession,
    settings: &ModelSettings,
    champion: &Serving,
    source: &Source,
    truth: &[String],
    metric: Metric,
    calls: &Calls,
) -> Result<f64, String> {
    let Serving { run, target, .. } = champion;
    if *target != settings.target {
        return Err(format!("the champion, run {}, predicts {target:?}", run.run_id));
    }
    let unanswered = |reason: String| {
        format!(
            "the champion, run {}, could not be asked about the held-out rows: {reason}",
            run.run_id
        )
    };
    let predictions = answers_of(session, settings, champion, source, calls).await;
    let predictions = predictions.map_err(|e| unanswered(e.to_string()))?;
    let evaluation = Evaluation::new(truth, &predictions).map_err(|e| unanswered(e.to_string()))?;
    evaluation
        .and_then(|evaluation| evaluation.get(metric))
        .ok_or_else(|| format!("{} is not defined for the champion's answers", metric.as_str()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crosspilot_core::registry::Registry;
    use crosspilot_scripted::{self as aws, Scripted};
    use serde_json::json;

    use super::*;

    /// Compares a run whose transform job has left this.
    async fn compared(answers: fn() -> aws::Answer) -> Result<Comparison, EvaluationError> {
        let scripted = Scripted::new(move |call| match call.operation.as_str() {
            "GET /registry/tenants/acme.json" => aws::Answer::json(&aws::tenant("acme")),
            key if key.ends_with("/held-out.csv") => {
                aws::Answer::good("plan,Churn?\npro,yes\nbasic,no\n")
            }
            key if key.ends_with("/rows.csv.out") => answers(),
            _ => aws::Answer::refused_by_s3(404, "NoSuchKey"),
        });
        let config = scripted.config();
        let app = App::new(config.clone(), Registry::new(&config, "registry"));
        let run = json!({"tenant": "acme", "model": "churn", "run_id": "20260131-3f9a2c71b0"});
        let score = json!({"metric": "Accuracy", "value": 0.9, "smaller_is_better": false});
        let request = serde_json::from_value(json!({"run": run, "score": score})).unwrap();
        compare(&app, request).await
    }

    #[tokio::test]
    async fn answers_that_cannot_be_used_leave_it_to_validation_and_say_why() {
        let good = compared(|| aws::Answer::good("yes,0.9\nno,0.8\n")).await.unwrap();
        assert_eq!((good.rows, good.challenger), (2, Some(1.0)), "{good:?}");
        let few = || aws::Answer::good("yes,0.9\n");
        let many = || {
            let size = (MOST_ANSWERS + 1).to_string();
            aws::Answer::good("yes,0.9\nno,0.8\n").with("content-length", &size)
        };
        for (answers, said) in
            [(few as fn() -> aws::Answer, "1 predictions for 2 records"), (many, "are 200 MB")]
        {
            let unmeasured = compared(answers).await.unwrap();
            assert_eq!((&unmeasured.held_out, unmeasured.challenger), (&None, None));
            let reason = unmeasured.reason.unwrap();
            assert!(reason.contains(said), "{reason}");
        }
        // What heals is tried again.
        assert!(compared(|| aws::Answer::refused_by_s3(503, "SlowDown")).await.is_err());
    }

    #[test]
    fn what_is_measured_by_is_the_objective_where_it_is_defined() {
        let label = |label: &str| Prediction::Label {
            label: label.into(),
            probability: None,
            labels: Default::default(),
            probabilities: Vec::new(),
        };
        let evaluated = |truth: &[&str], predicted: &[Prediction]| {
            Evaluation::new(truth, predicted).ok().flatten()
        };
        let by = |name: &str| Score { metric: Some(name.to_owned()), ..Score::default() };
        let binary = evaluated(&["a", "b"], &[label("a"), label("a")]);
        let numbers = evaluated(&["1", "2"], &[Prediction::Value(1.0), Prediction::Value(3.0)]);
        for (evaluation, name, expected) in [
            (&binary, "validation:f1_binary", Metric::F1),
            (&binary, "Accuracy", Metric::Accuracy),
            (&numbers, "validation:rmse", Metric::Rmse),
        ] {
            let found = evaluation.as_ref().map(|evaluation| metric(evaluation, &by(name)));
            assert_eq!(found, Some(Ok(expected)), "{name}");
        }
        let unnamed = binary.as_ref().map(|evaluation| metric(evaluation, &Score::default()));
        assert_eq!(unnamed, Some(Ok(Metric::F1)));
        let one = evaluated(&["a", "a"], &[label("a"), label("b")]);
        for (evaluation, name, part) in [
            // No probabilities, no AUC: nothing stands in for it.
            (&binary, "AUC", "do not give AUC"),
            (&numbers, "unheard of", "unheard of cannot be measured"),
            (&one, "F1", "the same true value"),
        ] {
            let found = evaluation.as_ref().map(|evaluation| metric(evaluation, &by(name)));
            let reason = found.and_then(Result::err).unwrap_or_default();
            assert!(reason.contains(part), "{name}: {reason}");
        }
    }
}
