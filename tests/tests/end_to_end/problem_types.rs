//! The other kinds of problems: more than two labels, numbers, and data in Parquet.

use std::sync::Arc;

use crosspilot_core::settings::Mode;
use crosspilot_tests::data::marked;
use crosspilot_tests::{Customer, on_local_cloud};
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};

/// A label with blanks at its ends.
fn dear() -> String {
    format!(" {} ", marked("dear"))
}

/// Flats whose rent follows size and storey, and whose class follows the rent.
fn flats(rows: usize, seed: u64) -> String {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut text = String::from("Size,Storey,Heating,Rent,Class\n");
    for _ in 0..rows {
        let (size, storey) = (rng.u32(20..150), rng.u32(0..9));
        let heating = marked(["gas", "district"][rng.usize(..2)]);
        let rent = f64::from(size) * 11.0 + f64::from(storey) * 25.0 + rng.f64() * 40.0;
        let class =
            [marked("cheap"), marked("fair"), dear()][((rent / 600.0) as usize).min(2)].clone();
        text.push_str(&format!("{size},{storey},{heating},{rent:.2},{class}\n"));
    }
    text
}

/// The same flats as Parquet, as Spark and pandas write it by default.
fn flats_in_parquet(rows: usize, seed: u64) -> Vec<u8> {
    let schema = "message flats {
        OPTIONAL INT64 Size; OPTIONAL INT64 Storey; OPTIONAL BYTE_ARRAY Heating (UTF8);
        OPTIONAL DOUBLE Rent; OPTIONAL BYTE_ARRAY Class (UTF8);
    }";
    let text = flats(rows, seed);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let flats: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let snappy = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut content = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut content, schema, Arc::new(snappy)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let filled = vec![1; flats.len()];
    let mut position = 0;
    while let Some(mut column) = group.next_column().unwrap() {
        let cells = flats.iter().map(|flat| &flat[position]);
        let filled = Some(filled.as_slice());
        match position {
            0 | 1 => {
                let cells: Vec<i64> = cells.map(|cell| cell.parse().unwrap()).collect();
                column.typed::<Int64Type>().write_batch(&cells, filled, None).unwrap();
            }
            3 => {
                let cells: Vec<f64> = cells.map(|cell| cell.parse().unwrap()).collect();
                column.typed::<DoubleType>().write_batch(&cells, filled, None).unwrap();
            }
            _ => {
                let cells: Vec<ByteArray> = cells.map(ByteArray::from).collect();
                column.typed::<ByteArrayType>().write_batch(&cells, filled, None).unwrap();
            }
        }
        column.close().unwrap();
        position += 1;
    }
    group.close().unwrap();
    writer.close().unwrap();
    content
}

#[test]
fn parquet_is_trained_on_and_what_it_learned_is_asked_in_csv_and_json() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "parquet").await;
        let settings = crosspilot_tests::predicting("Rent");
        let vendor = cloud.vendor();
        vendor.set_model(&customer.tenant.tenant, &customer.model, &settings).await.unwrap();
        customer.put("crosspilot/churn/test/held-out.csv", flats(100, 2)).await;
        let [first, second] = [1, 2].map(|seed| flats_in_parquet(350, seed));
        customer.put_bytes("crosspilot/churn/train/part-0.snappy.parquet", first).await;
        customer.put_bytes("crosspilot/churn/train/part-1.snappy.parquet", second).await;
        let output = customer.succeeded(&customer.first_execution().await).await;
        let evaluation = &output["prediction"]["evaluation"];
        assert!(evaluation["r2"].as_f64().unwrap() > 0.9, "{evaluation}");
        let record =
            json!({"records": [{"Size": 100, "Storey": 4, "Heating": "gas", "Class": dear()}]});
        let (status, answer) = customer.ask(&customer.token(), "churn", &record.to_string()).await;
        assert_eq!(status, 200, "{answer}");
        let rent = answer["predictions"][0]["value"].as_f64().unwrap();
        assert!((900.0..1500.0).contains(&rent), "{rent}");
        // Of Parquet only the footer is read: nobody knows its words, and the answer says so.
        assert_eq!(answer["unchecked"], json!(["unseen_word"]), "{answer}");
    });
}

/// Trains on flats for `target`. Gives the run's output.
async fn train(customer: &Customer, target: &str, mode: Option<Mode>) -> Value {
    let mut settings = crosspilot_tests::predicting(target);
    settings.training.mode = mode;
    let vendor = customer.cloud.vendor();
    vendor.set_model(&customer.tenant.tenant, &customer.model, &settings).await.unwrap();
    customer.put("crosspilot/churn/test/held-out.csv", flats(100, 2)).await;
    customer.put("crosspilot/churn/train/data.csv", flats(700, 1)).await;
    let execution = customer.first_execution().await;
    customer.succeeded(&execution).await
}

#[test]
fn numbers_are_predicted_by_regression() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "regression").await;
        let output = train(&customer, "Rent", None).await;
        let evaluation = &output["prediction"]["evaluation"];
        assert!(evaluation["r2"].as_f64().unwrap() > 0.9, "{evaluation}");
        assert!(evaluation["rmse"].as_f64().unwrap() < 150.0, "{evaluation}");
        let record = json!({"records": [{"Size": 100, "Storey": 4, "Heating": marked("gas"), "Class": dear()}]});
        let (status, answer) = customer.ask(&customer.token(), "churn", &record.to_string()).await;
        assert_eq!(status, 200, "{answer}");
        let rent = answer["predictions"][0]["value"].as_f64().unwrap();
        assert!((900.0..1500.0).contains(&rent), "{rent}");
    });
}

/// The algorithm of a tuned model answers the numbers of several records side by
/// side, in one line.
#[test]
fn numbers_of_several_records_are_predicted_by_a_tuned_regression() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "tuned-regression").await;
        let output = train(&customer, "Rent", Some(Mode::HyperparameterTuning)).await;
        let evaluation = &output["prediction"]["evaluation"];
        assert!(evaluation["r2"].as_f64().unwrap() > 0.9, "{evaluation}");
        assert_eq!(output["prediction"]["predicted"], 100, "{output}");
        let sizes = [140, 30, 85];
        let flat =
            |size: &i32| json!({"Size": size, "Storey": 4, "Heating": marked("gas"), "Class": ""});
        let records = json!({"records": sizes.iter().map(flat).collect::<Vec<_>>()}).to_string();
        let (status, answer) = customer.ask(&customer.token(), "churn", &records).await;
        assert_eq!(status, 200, "{answer}");
        let predictions = answer["predictions"].as_array().unwrap();
        assert_eq!(predictions.len(), 3, "{answer}");
        for (size, prediction) in sizes.iter().zip(predictions) {
            let (rent, expected) = (prediction["value"].as_f64().unwrap(), size * 11 + 120);
            assert!((rent - f64::from(expected)).abs() < 250.0, "{size}: {answer}");
        }
    });
}

#[test]
fn labels_are_kept_exactly_as_they_are() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "multiclass").await;
        let output = train(&customer, "Class", None).await;
        let evaluation = &output["prediction"]["evaluation"];
        assert!(evaluation["accuracy"].as_f64().unwrap() > 0.9, "{evaluation}");
        let record = json!({"records": [{"Size": 149, "Storey": 8, "Heating": marked("gas"), "Rent": 1900}]});
        let (_, answer) = customer.ask(&customer.token(), "churn", &record.to_string()).await;
        let prediction = &answer["predictions"][0];
        assert_eq!(prediction["label"], dear(), "{answer}");
        assert_eq!(prediction["probabilities"].as_object().unwrap().len(), 3, "{answer}");
    });
}
