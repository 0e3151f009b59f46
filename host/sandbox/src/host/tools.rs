//! `tools`: programs that the host runs.

use std::time::Duration;

use tollgate_core::tool::ToolError;

use super::artifacts::artifact;
use crate::{bindings::v0_1::tollgate::handler::tools, gates::ToolCall, guest::Guest};

impl tools::Host for Guest {
    async fn run(&mut self, request: tools::Request) -> wasmtime::Result<Result<tools::Output, tools::ToolError>> {
        let tools::Request { tool, args, url, files, stdin, timeout } = request;
        let texts = args.iter().map(String::len).sum::<usize>() + url.as_ref().map_or(0, String::len);
        let names: usize = files.iter().map(|(stage, name)| stage.len() + name.len()).sum();
        self.transfer(tool.len() + texts + names + stdin.as_ref().map_or(0, Vec::len))?;
        let Some(gate) = self.gates.tools.clone() else {
            let grant = self.not_granted(&format!("tools {tool}"));
            return Ok(Err(tools::ToolError::Denied(format!("tools are {grant}"))));
        };
        let call = ToolCall { tool, args, url, files, stdin, timeout: timeout.map(Duration::from_millis) };
        match gate.run(call).await {
            Ok(run) => {
                let warnings: usize = run.warnings.iter().map(String::len).sum();
                self.transfer(run.stdout.len() + run.stderr.len() + warnings)?;
                Ok(Ok(tools::Output {
                    exit_code: run.exit_code,
                    stdout: run.stdout,
                    stderr: run.stderr,
                    warnings: run.warnings,
                    profile: run.profile,
                    files: run.files.into_iter().map(artifact).collect(),
                }))
            }
            Err(error) => Ok(Err(tool_error(error))),
        }
    }
}

fn tool_error(error: ToolError) -> tools::ToolError {
    match error {
        ToolError::Denied(text) => tools::ToolError::Denied(text),
        ToolError::Timeout(text) => tools::ToolError::Timeout(text),
        ToolError::Connection(text) => tools::ToolError::Connection(text),
        ToolError::RateLimited { after } => {
            let millis = after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
            tools::ToolError::RateLimited(millis)
        }
        ToolError::Blocked(text) => tools::ToolError::Blocked(text),
        ToolError::LoginRequired(text) => tools::ToolError::LoginRequired(text),
        ToolError::Missing(text) => tools::ToolError::Missing(text),
        ToolError::Failed(text) => tools::ToolError::Failed(text),
    }
}
