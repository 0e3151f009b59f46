//! `tollgate export`: items with their outputs, as JSON lines, CSV or a table.

use std::{collections::BTreeSet, io};

use serde_json::{Map, Value};
use tollgate_core::item::ItemStatus;
use tollgate_engine::operations::JobDetail;
use tollgate_store::ItemView;

use crate::{
    CliError, Program,
    api::Api,
    args::{ExportArgs, Format, Global},
    items::{PAGE, page},
    output,
};

/// What stands before the name of an output's field in CSV, so that a field `key` is not the item's key.
const OUTPUT_PREFIX: &str = "output.";

pub(crate) async fn export(program: &dyn Program, global: &Global, args: ExportArgs) -> Result<(), CliError> {
    let api = Api::find(program, global).await?;
    if let Some(stage) = &args.stage {
        know_stage(&api, &args.job, stage).await?;
    }
    if args.csv {
        // The columns are known once all rows are: the first pass looks, the second writes.
        let mut columns = BTreeSet::new();
        each(&api, &args, &mut |row| {
            columns.extend(row.fields.keys().cloned());
            Ok(())
        })
        .await?;
        return csv(&api, &args, &columns).await;
    }
    match global.output {
        Format::Table if args.stage.is_some() => {
            let mut rows = Vec::new();
            each(&api, &args, &mut |row| {
                rows.push(row);
                Ok(())
            })
            .await?;
            let columns: BTreeSet<String> = rows.iter().flat_map(|row| row.fields.keys().cloned()).collect();
            let header = ["key", "status"].into_iter().map(ToOwned::to_owned).chain(columns.iter().cloned());
            output::print(&output::wide_table(header.collect(), rows.iter().map(|row| row.cells(&columns))))
        }
        Format::Json => {
            let mut rows = Vec::new();
            each(&api, &args, &mut |row| {
                rows.push(row.document(&args));
                Ok(())
            })
            .await?;
            output::print(&format!("{}\n", serde_json::to_string_pretty(&rows)?))
        }
        Format::Table | Format::Jsonl => {
            each(&api, &args, &mut |row| output::print(&format!("{}\n", row.document(&args)))).await
        }
    }
}

/// Refuses a stage that the job doesn't have: no row would look like no output.
async fn know_stage(api: &Api, job: &str, stage: &str) -> Result<(), CliError> {
    let detail: JobDetail = api.get(&format!("/jobs/{job}")).await?;
    let known: Vec<&str> = detail.job.stages.iter().map(|known| known.name.as_str()).collect();
    if known.contains(&stage) {
        return Ok(());
    }
    Err(CliError::not_found(format!("job {job} has no stage {stage:?}; its stages are {}", known.join(", "))))
}

/// An item on its way out.
struct Row {
    key: String,
    status: ItemStatus,
    /// The output's fields; without a stage `data` and `outputs`.
    fields: Map<String, Value>,
}

impl Row {
    /// The item as a row. With a stage: its output's fields, and no row where there is none.
    fn of(item: ItemView, stage: Option<&str>) -> Option<Self> {
        let fields = match stage {
            Some(stage) => item.outputs.into_iter().find(|(name, _)| name.as_str() == stage)?.1,
            None => {
                let outputs = item.outputs.into_iter().map(|(name, fields)| (name.to_string(), Value::Object(fields)));
                let outputs = Value::Object(outputs.collect());
                Map::from_iter([("data".to_owned(), Value::Object(item.data)), ("outputs".to_owned(), outputs)])
            }
        };
        Some(Self { key: item.key.to_string(), status: item.status, fields })
    }

    /// As a JSON object. A stage's output stands under `output`: its fields bear whatever names they like.
    fn document(self, args: &ExportArgs) -> Value {
        let mut row = Map::from_iter([
            ("key".to_owned(), Value::from(self.key)),
            ("status".to_owned(), Value::from(self.status.as_str())),
        ]);
        if args.stage.is_some() {
            row.insert("output".to_owned(), Value::Object(self.fields));
        } else {
            row.extend(self.fields);
        }
        Value::Object(row)
    }

    /// Key, status, then the cells of these columns.
    fn cells(&self, columns: &BTreeSet<String>) -> Vec<String> {
        let own = [self.key.clone(), self.status.as_str().to_owned()];
        own.into_iter().chain(columns.iter().map(|name| cell(self.fields.get(name)))).collect()
    }
}

/// Calls `take` with each row, a page at a time: memory doesn't grow with the job.
async fn each(api: &Api, args: &ExportArgs, take: &mut dyn FnMut(Row) -> Result<(), CliError>) -> Result<(), CliError> {
    let mut after = None;
    let mut left = args.limit.unwrap_or(usize::MAX);
    loop {
        let page = page(api, &args.job, args.status, after, left.min(PAGE), true).await?;
        for item in page.entries {
            if let Some(row) = Row::of(item, args.stage.as_deref()) {
                if left == 0 {
                    return Ok(());
                }
                left -= 1;
                take(row)?;
            }
        }
        after = page.next.map(|next| next.0);
        if after.is_none() || left == 0 {
            return Ok(());
        }
    }
}

async fn csv(api: &Api, args: &ExportArgs, columns: &BTreeSet<String>) -> Result<(), CliError> {
    let prefix = if args.stage.is_some() { OUTPUT_PREFIX } else { "" };
    let header = ["key", "status"].into_iter().map(ToOwned::to_owned);
    let header = header.chain(columns.iter().map(|name| format!("{prefix}{name}")));
    let mut writer = csv::Writer::from_writer(io::stdout().lock());
    let failed = |error: csv::Error| CliError::failed(format!("CSV: {error}"));
    writer.write_record(header).map_err(failed)?;
    each(api, args, &mut |row| writer.write_record(row.cells(columns)).map_err(failed)).await?;
    Ok(writer.flush()?)
}

/// A value as a cell: text as it is, absent as nothing, the rest as JSON.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
