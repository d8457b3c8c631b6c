//! `crosspilot preflight`: the judgement of `start-job`, on files of this
//! machine.

use std::io::SeekFrom;
use std::ops::Range;
use std::path::{Path, PathBuf};

use console::style;
use crosspilot_core::settings::Validation;
use crosspilot_preflight::{self as preflight, Data, File, Finding, Format, Rows, Source, Verdict};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use crate::args::PreflightOptions;
use crate::failure::Failure;
use crate::{models, output};

/// Files on this machine.
struct Disk;

impl Source for Disk {
    type Error = Failure;

    async fn read(&self, file: &File, range: Range<u64>) -> Result<Vec<u8>, Failure> {
        let read = async {
            let mut opened = tokio::fs::File::open(&file.key).await?;
            opened.seek(SeekFrom::Start(range.start)).await?;
            let mut bytes = Vec::new();
            opened.take(range.end - range.start).read_to_end(&mut bytes).await?;
            Ok(bytes)
        };
        read.await.map_err(|error| Failure::Unreadable(PathBuf::from(&file.key), error))
    }
}

pub(crate) async fn run(options: PreflightOptions) -> Result<(), Failure> {
    let mut settings = models::settings(options.settings)?;
    if !options.validation.is_empty() {
        settings.training.validation = Some(Validation::Channel);
    }
    let files = |paths: &[PathBuf]| paths.iter().map(|path| file(path)).collect::<Result<_, _>>();
    let data = Data {
        place: "the files named".to_owned(),
        training: files(&options.files)?,
        validation_place: "--validation".to_owned(),
        validation: files(&options.validation)?,
        held_out: options.held_out.as_deref().map(file).transpose()?,
    };
    let verdict = preflight::judge(&Disk, &settings, data).await?;
    if options.json {
        output::json(&serde_json::to_value(&verdict)?);
    } else {
        print(&verdict);
    }
    match verdict.errors.len() {
        0 => Ok(()),
        1 => Err(Failure::Unfit("this data cannot be trained on: see above".to_owned())),
        count => Err(Failure::Unfit(format!(
            "this data cannot be trained on: see the {count} errors above"
        ))),
    }
}

fn file(path: &Path) -> Result<File, Failure> {
    let unreadable = |error| Failure::Unreadable(path.to_owned(), error);
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(unreadable(std::io::Error::other("it is a folder: name the files in it")));
    }
    let name = path.display().to_string();
    // Hidden files and the like are judged by their name in the bucket.
    let key = path
        .to_str()
        .map(str::to_owned)
        .ok_or_else(|| unreadable(std::io::Error::other("its name is not UTF-8: rename it")))?;
    Ok(File { name, key, size: metadata.len(), archived: false, etag: String::new() })
}

fn print(verdict: &Verdict) {
    let format = match verdict.format {
        Some(Format::Csv) => "CSV",
        Some(Format::Parquet) => "Parquet",
        Some(Format::Images) => "pictures",
        None => "unknown",
    };
    let gzip = if verdict.training.gzip { ", gzip" } else { "" };
    let rows = match verdict.training.rows {
        Some(Rows { count, exact: true, .. }) => format!("{count}"),
        Some(Rows { count, sampled, .. }) => format!("about {count} ({sampled} were looked at)"),
        None => "unknown".to_owned(),
    };
    output::pairs(&[
        ("format", &format!("{format}{gzip}")),
        ("files", &verdict.training.files.to_string()),
        ("bytes", &verdict.training.bytes.to_string()),
        ("rows", &rows),
    ]);
    if !verdict.columns.is_empty() {
        output::line("");
        let number = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
        let rows: Vec<Vec<String>> = verdict
            .columns
            .iter()
            .map(|column| {
                let kind = column.kind.map_or("empty", |kind| kind.as_str());
                let (missing, distinct) = (number(column.missing), number(column.distinct));
                vec![column.name.clone(), kind.to_owned(), missing, distinct]
            })
            .collect();
        output::table(&["column", "kind", "missing", "different"], &rows);
    }
    output::line("");
    let tell = |findings: &[Finding], word: &dyn Fn() -> String| {
        findings.iter().for_each(|finding| output::line(&format!("{} {finding}", word())));
    };
    tell(&verdict.errors, &|| style("error:").red().bold().to_string());
    tell(&verdict.warnings, &|| style("warning:").yellow().bold().to_string());
    if verdict.unlisted > 0 {
        output::line(&format!("and {} more", verdict.unlisted));
    }
    if verdict.is_fit() {
        output::line(&format!("{} to train on", style("fit").green().bold()));
    }
}
