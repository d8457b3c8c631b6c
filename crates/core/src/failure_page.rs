//! Tells the customer, in the bucket, why a run failed or never began: the page that
//! stands where a report would.

use crate::bucket::Bucket;
use crate::error::CallError;
use crate::failure::{CAUSE_CHARACTERS, Failure};
use crate::html;
use crate::ids::ModelName;
use crate::layout;
use crate::run::RunRef;

const STYLE: &str = include_str!("failure_page.css");
const MEDIA_TYPE: &str = "text/html; charset=utf-8";

/// Writes the page as the run's report, unless it has one, and as the newest of its
/// model.
pub async fn of_run(bucket: &Bucket<'_>, run: &RunRef, failure: &Failure) -> Result<(), CallError> {
    let prefix = &bucket.tenant.prefix;
    let next = match failure.code.as_str() {
        "DataUnfit" => "Correct the data as it says and upload it again: that starts a new run.",
        "RunStopped" => "Somebody asked for that. A new upload starts a new run.",
        _ => {
            "Whoever runs this service has been told. The model that served before goes on serving."
        }
    };
    let results = bucket.uri(&layout::results_prefix(prefix, run));
    let page = Page {
        subject: run.model.as_str(),
        headline: "This run gave no new model.",
        failure,
        next,
        facts: &[("Run", run.run_id.as_str()), ("What else it left", &results)],
    };
    let page = page.html().into_bytes();
    bucket.write_once(&layout::report_key(prefix, run), MEDIA_TYPE, page.clone()).await?;
    let latest = layout::latest_report_key(prefix, &run.model);
    bucket.write(&latest, MEDIA_TYPE, page).await.map(drop)
}

/// Writes the page of held-out rows on which the model that serves could not be measured.
pub async fn of_evaluation(
    bucket: &Bucket<'_>,
    model: &ModelName,
    file: &str,
    failure: &Failure,
) -> Result<(), CallError> {
    let page = Page {
        subject: model.as_str(),
        headline: "The new held-out rows could not be used.",
        failure,
        next: "The model that serves goes on serving. Correct the file as it says and upload it again.",
        facts: &[("File", file)],
    };
    let latest = layout::latest_report_key(&bucket.tenant.prefix, model);
    bucket.write(&latest, MEDIA_TYPE, page.html().into_bytes()).await.map(drop)
}

/// Writes the page of an upload that can start no run, over that of an earlier one.
pub async fn of_upload(bucket: &Bucket<'_>, key: &str, failure: &Failure) -> Result<(), CallError> {
    let place = bucket.uri(&format!("{}/<model>/train/", bucket.tenant.prefix));
    let next = format!(
        "Training data lies under {place}, with the name of a model that your vendor has set up for you. Ask for the name, and upload the file there."
    );
    let uploaded = bucket.uri(key);
    let page = Page {
        subject: "An upload",
        headline: "What was uploaded started nothing.",
        failure,
        next: &next,
        facts: &[("File", &uploaded)],
    };
    let key = layout::problem_key(&bucket.tenant.prefix);
    bucket.write(&key, MEDIA_TYPE, page.html().into_bytes()).await.map(drop)
}

struct Page<'a> {
    subject: &'a str,
    headline: &'a str,
    failure: &'a Failure,
    next: &'a str,
    facts: &'a [(&'a str, &'a str)],
}

impl Page<'_> {
    fn html(&self) -> String {
        let Self { subject, headline, failure, next, facts } = self;
        let steps = [("Step", failure.stage.as_str()), ("Code", failure.code.as_str())];
        let facts: String = facts
            .iter()
            .chain(&steps)
            .map(|(name, fact)| format!("<dt>{name}</dt><dd><code>{}</code></dd>", text(fact)))
            .collect();
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <title>{subject}: {headline}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
             <p class=\"eyebrow\">{subject}</p>\n<h1>{headline}</h1>\n\
             <p class=\"notice\">{cause}</p>\n<p>{next}</p>\n<dl>{facts}</dl>\n\
             </main>\n</body>\n</html>\n",
            subject = text(subject),
            cause = text(&failure.cause),
            next = text(next),
        )
    }
}

/// A cause has no more characters than this.
fn text(raw: &str) -> String {
    html::text(raw, CAUSE_CHARACTERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_why_and_what_to_do_and_runs_nothing() {
        let failure = Failure {
            stage: "start-job".into(),
            code: "DataUnfit".into(),
            cause: "a.csv has <script>alert(1)</script> twice".into(),
        };
        let page = Page {
            subject: "churn",
            headline: "This run gave no new model.",
            failure: &failure,
            next: "upload it again",
            facts: &[("Run", "<b>")],
        };
        let page = page.html();
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script"));
        assert!(page.contains("upload it again") && page.contains("<code><bdi>DataUnfit"));
        assert!(page.contains("&lt;b&gt;"));
    }
}
