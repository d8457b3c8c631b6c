//! Objects that are written in parts, since they may be larger than a function.

use crosspilot_core::aws::s3::primitives::ByteStream;
use crosspilot_core::aws::s3::types::{CompletedMultipartUpload, CompletedPart};
use crosspilot_core::bucket::Bucket;
use crosspilot_core::error::CallError;
use crosspilot_core::layout;
use crosspilot_core::run::RunRef;
use crosspilot_sagemaker_local::{Effect, Fault};
use crosspilot_tests::mishaps::Mishaps as _;
use crosspilot_tests::{Customer, churn, on_local_cloud};

const PART: usize = 5 << 20;

#[test]
fn predictions_larger_than_a_part_are_written_in_several_and_are_whole() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "in-parts").await;
        // A column that the model does not know makes the rows large.
        let wide = churn(9000, 2).lines().enumerate().fold(String::new(), |text, (n, line)| {
            let note = if n == 0 { "note".into() } else { "n".repeat(1200) };
            text + line + "," + &note + "\n"
        });
        customer.hold_out(wide).await;
        customer.give_training_data().await;
        let output = customer.succeeded(&customer.first_execution().await).await;
        assert_eq!(output["prediction"]["predicted"], 9000, "{output}");
        let run: RunRef = serde_json::from_value(output["run"].clone()).unwrap();
        let key =
            format!("{}predictions.csv", layout::results_prefix(&customer.tenant.prefix, &run));
        let text = customer.get(&key).await;
        assert_eq!(text.lines().count(), 9001);
        assert!(
            text.lines()
                .all(|line| line.split(',').count()
                    == text.lines().next().unwrap().split(',').count())
        );
        let found = customer.s3().head_object().bucket(customer.tenant.bucket.as_str()).key(key);
        let found = found.send().await.unwrap();
        // S3 says of how many parts an object was made.
        assert!(found.e_tag().unwrap().ends_with("-2\""), "{found:?}");
        assert_eq!(found.content_type(), Some("text/csv; charset=utf-8"));
    });
}

#[test]
fn an_upload_that_breaks_off_leaves_no_object_and_a_rule_of_the_bucket_takes_its_parts() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "broken-parts").await;
        let bucket = Bucket { s3: customer.s3(), tenant: &customer.tenant };
        let key = "crosspilot-results/churn/20260131-0123456789/predictions.csv";
        let write = async || {
            let parts =
                ["a", "b", "c"].map(|letter| Ok::<_, CallError>(letter.repeat(PART).into()));
            bucket.write_parts(key, "text/csv", parts).await
        };
        let effect =
            Effect::Fail { code: "AccessDenied".into(), message: "no".into(), status: 403 };
        let about = vec![customer.tenant.bucket.to_string(), "partNumber=2".into()];
        let operation = "s3:PutObject".to_owned();
        cloud.inject(Fault { operation, about, after: 0, times: 1, effect }).await.unwrap();
        assert_eq!(write().await.unwrap_err().aws_code(), "AccessDenied");

        let (s3, name) = (customer.s3(), customer.tenant.bucket.as_str());
        let there = s3.list_objects_v2().bucket(name).prefix(key).send().await.unwrap();
        assert_eq!(there.key_count(), Some(0), "{there:?}");
        let left = s3.list_multipart_uploads().bucket(name).send().await.unwrap();
        let keys: Vec<&str> = left.uploads().iter().filter_map(|upload| upload.key()).collect();
        assert_eq!(keys, [key]);
        let rules = s3.get_bucket_lifecycle_configuration().bucket(name).send().await.unwrap();
        let rule = rules.rules().iter().find(|rule| {
            let prefix = rule.filter().and_then(|filter| filter.prefix());
            rule.abort_incomplete_multipart_upload().is_some()
                && prefix.is_some_and(|prefix| key.starts_with(prefix))
        });
        let rule = rule.unwrap().abort_incomplete_multipart_upload().unwrap();
        assert_eq!(rule.days_after_initiation(), Some(1));

        write().await.unwrap();
        assert_eq!(customer.get(key).await.len(), 3 * PART);
    });
}

/// As S3 refuses them.
#[test]
fn parts_that_are_too_small_make_no_object() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "small-parts").await;
        let (s3, name, key) = (customer.s3(), customer.tenant.bucket.as_str(), "elsewhere/small");
        let begun = s3.create_multipart_upload().bucket(name).key(key).send().await.unwrap();
        let id = begun.upload_id().unwrap();
        let mut parts = Vec::new();
        for number in [1, 2] {
            let part = s3.upload_part().bucket(name).key(key).upload_id(id).part_number(number);
            let sent = part.body(ByteStream::from_static(b"x")).send().await.unwrap();
            let part = CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag);
            parts.push(part.set_checksum_crc32(sent.checksum_crc32).build());
        }
        let all = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let completed = s3.complete_multipart_upload().bucket(name).key(key).upload_id(id);
        let refused = completed.multipart_upload(all).send().await.unwrap_err();
        assert_eq!(CallError::new("s3:PutObject", key, &refused).aws_code(), "EntityTooSmall");
    });
}
