//! Tells the customer, in the bucket, why a run failed: the page that stands where a
//! report would.

use crosspilot_core::bucket::Bucket;
use crosspilot_core::error::CallError;
use crosspilot_core::failure::Failure;
use crosspilot_core::layout;
use crosspilot_core::run::RunRef;

const STYLE: &str = include_str!("failure_page.css");

/// Writes the page as the run's report, unless it has one, and as the newest of its
/// model.
pub(crate) async fn write(
    bucket: &Bucket<'_>,
    run: &RunRef,
    failure: &Failure,
) -> Result<(), CallError> {
    let prefix = &bucket.tenant.prefix;
    let page = page(run, failure, &bucket.uri(&layout::results_prefix(prefix, run)));
    let media_type = "text/html; charset=utf-8";
    let report = layout::report_key(prefix, run);
    bucket.write_once(&report, media_type, page.clone().into_bytes()).await?;
    let latest = layout::latest_report_key(prefix, &run.model);
    bucket.write(&latest, media_type, page.into_bytes()).await.map(drop)
}

fn page(run: &RunRef, failure: &Failure, results: &str) -> String {
    let next = match failure.code.as_str() {
        "DataUnfit" => "Correct the data as it says and upload it again: that starts a new run.",
        "RunStopped" => "Somebody asked for that. A new upload starts a new run.",
        _ => {
            "Whoever runs this service has been told. The model that served before goes on serving."
        }
    };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{model}: the run failed</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <p class=\"eyebrow\">{model}</p>\n<h1>This run gave no new model.</h1>\n\
         <p class=\"notice\">{cause}</p>\n<p>{next}</p>\n\
         <dl><dt>Run</dt><dd><code>{run_id}</code></dd><dt>Step</dt><dd>{stage}</dd>\
         <dt>Code</dt><dd><code>{code}</code></dd><dt>What else it left</dt><dd><code>{results}</code></dd></dl>\n\
         </main>\n</body>\n</html>\n",
        model = text(run.model.as_str()),
        cause = text(&failure.cause),
        run_id = text(run.run_id.as_str()),
        stage = text(&failure.stage),
        code = text(&failure.code),
        results = text(results),
    )
}

/// Text as HTML: a cause may quote names and cells, which are hostile.
fn text(raw: &str) -> String {
    let mut out = String::from("<bdi>");
    for c in raw.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out + "</bdi>"
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_page_says_why_and_what_to_do_and_runs_nothing() {
        let run = serde_json::from_value(serde_json::json!(
            {"tenant": "acme", "model": "churn", "run_id": "20260131-0123456789"}
        ));
        let failure = Failure {
            stage: "start-job".into(),
            code: "DataUnfit".into(),
            cause: "a.csv has <script>alert(1)</script> twice".into(),
        };
        let page = page(&run.unwrap(), &failure, "s3://acme-ml/p-results/churn/r/");
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script"));
        assert!(page.contains("upload it again") && page.contains("<code><bdi>DataUnfit"));
    }
}
