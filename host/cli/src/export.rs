//! `tollgate export`: items with their outputs, as JSON lines, CSV or a table.

use std::{collections::BTreeSet, io};

use serde_json::{Map, Value};
use tollgate_store::ItemView;

use crate::{
    CliError, Program,
    api::Api,
    args::{ExportArgs, Format, Global},
    items::{PAGE, page},
    output,
};

pub(crate) async fn export(program: &dyn Program, global: &Global, args: ExportArgs) -> Result<(), CliError> {
    let api = Api::find(program, global).await?;
    if args.csv {
        // The columns are known once all rows are: the first pass looks, the second writes.
        let mut columns = BTreeSet::new();
        each(&api, &args, &mut |row| {
            columns.extend(row.keys().filter(|name| !matches!(name.as_str(), "key" | "status")).cloned());
            Ok(())
        })
        .await?;
        return csv(&api, &args, columns).await;
    }
    match global.output {
        Format::Table if args.stage.is_some() => {
            let mut rows = Vec::new();
            each(&api, &args, &mut |row| {
                rows.push(row);
                Ok(())
            })
            .await?;
            let columns: BTreeSet<String> = rows.iter().flat_map(|row| row.keys().cloned()).collect();
            let lead = ["key", "status"].map(ToOwned::to_owned);
            let columns: Vec<String> =
                lead.iter().cloned().chain(columns.into_iter().filter(|name| !lead.contains(name))).collect();
            let cells = |row: &Map<String, Value>| columns.iter().map(|name| cell(row.get(name))).collect::<Vec<_>>();
            let body: Vec<Vec<String>> = rows.iter().map(cells).collect();
            output::print(&output::wide_table(columns.clone(), body))
        }
        Format::Json => {
            let mut rows = Vec::new();
            each(&api, &args, &mut |row| {
                rows.push(Value::Object(row));
                Ok(())
            })
            .await?;
            output::print(&format!("{}\n", serde_json::to_string_pretty(&rows)?))
        }
        Format::Table | Format::Jsonl => {
            each(&api, &args, &mut |row| output::print(&format!("{}\n", Value::Object(row)))).await
        }
    }
}

/// Calls `take` with each row, a page at a time: memory doesn't grow with the job.
async fn each(
    api: &Api,
    args: &ExportArgs,
    take: &mut dyn FnMut(Map<String, Value>) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut after = None;
    let mut left = args.limit.unwrap_or(usize::MAX);
    loop {
        let page = page(api, &args.job, args.status, after, left.min(PAGE), true).await?;
        for item in page.entries {
            if let Some(row) = row(item, args.stage.as_deref()) {
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

/// An item as a row. With a stage: its output's fields, and no row where there is none.
fn row(item: ItemView, stage: Option<&str>) -> Option<Map<String, Value>> {
    let mut row = match stage {
        Some(stage) => item.outputs.into_iter().find(|(name, _)| name.as_str() == stage)?.1,
        None => {
            let outputs = item.outputs.into_iter().map(|(name, fields)| (name.to_string(), Value::Object(fields)));
            let mut row = Map::new();
            row.insert("data".to_owned(), Value::Object(item.data));
            row.insert("outputs".to_owned(), Value::Object(outputs.collect()));
            row
        }
    };
    row.insert("key".to_owned(), Value::from(item.key.as_str()));
    row.insert("status".to_owned(), Value::from(item.status.as_str()));
    Some(row)
}

async fn csv(api: &Api, args: &ExportArgs, columns: BTreeSet<String>) -> Result<(), CliError> {
    let columns: Vec<String> = ["key", "status"].into_iter().map(ToOwned::to_owned).chain(columns).collect();
    let mut writer = csv::Writer::from_writer(io::stdout().lock());
    let failed = |error: csv::Error| CliError::failed(format!("CSV: {error}"));
    writer.write_record(&columns).map_err(failed)?;
    each(api, args, &mut |row| {
        let cells = columns.iter().map(|name| cell(row.get(name)));
        writer.write_record(cells).map_err(failed)
    })
    .await?;
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
