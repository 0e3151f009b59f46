//! A run itself: its argument profiles in turn, each in a folder of its own, and what each gave.

use std::{
    io,
    sync::{Arc, atomic::AtomicU64},
};

use tokio::time::Instant;
use tollgate_core::{
    spec::tools::{ToolOutcome, ToolProfile},
    task::clean_message,
};

use super::{
    Acting, Run, ToolOutput,
    handover::Handover,
    process::{self, Program, Ran, RunError},
    refused::NoOutput,
    scratch::{self, Left, Scratch},
    traffic::Traffic,
    verdict::{self, Said, Trouble, Verdict},
};
use crate::Gate;

impl Gate {
    /// Tries the profiles in turn, each in a folder of its own: what a failed one left says nothing.
    pub(super) async fn run_profiles(
        &self,
        run: &Run<'_>,
        handover: &Handover<'_>,
        acting: Option<Acting<'_>>,
    ) -> Result<ToolOutput, NoOutput> {
        let tool = run.tool;
        let deadline = Instant::now() + run.time;
        let mut tried: Vec<String> = Vec::new();
        for (place, profile) in tool.profiles.iter().enumerate() {
            if let Some(spent) = acting.filter(|_| place > 0).and_then(|acting| acting.passage.over()) {
                return Err(NoOutput::Budget(Box::new(spent)));
            }
            let trouble = match self.run_profile(run, profile, handover, acting, deadline).await? {
                Ok(output) => return Ok(output),
                Err(trouble) => trouble,
            };
            tracing::debug!(tool = tool.name, profile = profile.name, outcome = ?trouble.outcome, "no output");
            let is_last = place + 1 == tool.profiles.len() || !tool.try_next_on.contains(&trouble.outcome);
            tried.push(if tool.profiles.len() == 1 {
                format!("{}: {}", tool.name, trouble.text)
            } else {
                format!("{} ({}): {}", tool.name, profile.name, trouble.text)
            });
            if is_last {
                // The last word first: it decides.
                tried.reverse();
                return Err(NoOutput::Trouble(Trouble {
                    text: clean_message(&tried.join("; before that, ")),
                    ..trouble
                }));
            }
        }
        Err(NoOutput::Start("it has no profile".to_owned()))
    }

    async fn run_profile(
        &self,
        run: &Run<'_>,
        profile: &ToolProfile,
        handover: &Handover<'_>,
        acting: Option<Acting<'_>>,
        deadline: Instant,
    ) -> Result<Result<ToolOutput, Trouble>, NoOutput> {
        let (within, inputs) = (self.options.spool.clone(), run.inputs.clone());
        let cookies = handover.cookies().map(ToOwned::to_owned);
        let scratch = blocking(move || Scratch::new(&within, &inputs, cookies.as_deref()));
        let scratch = scratch.await.map_err(NoOutput::Scratch)?;
        let mut hidden = handover.hidden.clone();
        hidden.hide(scratch.path().display().to_string());
        let (folder, heard) = (scratch.files(), Arc::new(AtomicU64::new(0)));
        let count = |acting: Acting<'_>| {
            Traffic::new(acting.passage.clone(), folder.clone(), run.inputs.clone(), heard.clone())
        };
        let traffic = acting.map(count);
        let ran = process::run(Program {
            path: &run.program,
            args: handover.args(run.tool, profile, &run.args, &scratch),
            env: handover.env(&scratch),
            folder: &folder,
            stdin: run.stdin.as_deref(),
            output_max: run.tool.output_max,
            heard: &heard,
            deadline,
        });
        let failed = |text: String| Trouble { outcome: ToolOutcome::Failed, wait: None, text };
        let ran = ran.await;
        drop(traffic);
        let Ran { exit_code, stdout, stderr } = match ran {
            Ok(ran) => ran,
            Err(RunError::Deadline) => return Err(NoOutput::Deadline),
            Err(RunError::Start(error)) => return Err(NoOutput::Start(error.to_string())),
            Err(RunError::Pipe(error)) => return Ok(Err(failed(format!("its pipes broke: {error}")))),
            Err(RunError::TooMuch) => {
                let text = format!("it wrote more than {} bytes; that is its `output-max`", run.tool.output_max);
                return Ok(Err(failed(text)));
            }
        };
        // A program may write its cookies back: what stands there is as secret, and no longer needed.
        scratch.forget_cookies().map_err(NoOutput::Scratch)?;
        let (tool, names) = (run.tool.clone(), run.inputs.iter().map(|input| input.name.clone()).collect::<Vec<_>>());
        let left = blocking(move || scratch::collect(&folder, &tool, &names)).await.map_err(NoOutput::Scratch)?;
        let (stdout, stderr) = (hidden.bytes(stdout), hidden.text(&String::from_utf8_lossy(&stderr)));
        let said = Said { exit_code, stdout: &stdout, stderr: &stderr, left: &left };
        let warnings = match verdict::judge(run.tool, &run.wanted, &said) {
            Verdict::Usable { warnings } => warnings,
            Verdict::Not(trouble) => return Ok(Err(trouble)),
        };
        let Left { files, .. } = left;
        let (profile, site) = (profile.name.clone(), acting.map(|acting| acting.site.to_owned()));
        Ok(Ok(ToolOutput { exit_code, stdout, stderr, warnings, profile, files, site, _scratch: scratch }))
    }
}

/// Work on the disk, beside the threads that wait for the network.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
