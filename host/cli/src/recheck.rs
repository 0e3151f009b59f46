//! `tollgate recheck`: stored pages under today's guards.

use std::collections::BTreeMap;

use tollgate_engine::RecheckedPart;
use tollgate_web::api::RecheckBody;

use crate::{CliError, Program, api::Api, args::Global, output};

pub(crate) async fn recheck(program: &dyn Program, global: &Global, job: &str, dry_run: bool) -> Result<(), CliError> {
    let api = Api::find(program, global).await?;
    let mut all = RecheckedPart::default();
    loop {
        let body = RecheckBody { after: all.next, dry_run };
        // In parts: a job may have hundreds of thousands of pages. What was done before an error stays done.
        all.add(api.post(&format!("/jobs/{job}/recheck"), &body).await?);
        if all.next.is_none() {
            break;
        }
    }
    output::one(global.output, &all, |all| text(all, dry_run))
}

fn text(all: &RecheckedPart, dry_run: bool) -> String {
    let mut text = format!("{} pages of {} items judged\n", all.pages, all.items);
    let rows = |what: &str, rules: &BTreeMap<String, u64>| -> Vec<[String; 3]> {
        rules.iter().map(|(rule, count)| [what.to_owned(), rule.clone(), count.to_string()]).collect()
    };
    let all_rows = [
        rows("no content any more", &all.caught),
        rows("guarded, and content by now", &all.passing),
        rows("guarded, and can't be judged again", &all.unjudged),
    ]
    .concat();
    if !all_rows.is_empty() {
        text.push_str(&output::table(["pages", "rule", "count"], all_rows));
    }
    if all.without_address > 0 {
        text.push_str(&format!("{} texts aren't known to be pages, and weren't judged\n", all.without_address));
    }
    if !all.named.is_empty() {
        let named: Vec<&str> = all.named.iter().map(tollgate_core::ItemKey::as_str).collect();
        text.push_str(&format!("items such as {}\n", named.join(", ")));
    }
    if dry_run {
        text.push_str("nothing was changed: a dry run\n");
    } else {
        text.push_str(&format!("{} tasks are queued again, with what stands on them\n", all.queued));
    }
    text
}
