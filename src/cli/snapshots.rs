//! The commands of `starmill snapshots`.

use std::io::{BufRead, IsTerminal};

use super::args::{Format, PipelineArg, SnapshotsCommand};
use super::command::{fail, finish, print, print_json, stoppable};
use super::render;
use crate::error::{Error, ErrorKind, Result};
use crate::operate::forget::{self, ForgetRequest};
use crate::operate::prune::{self, PruneRequest};
use crate::operate::{rollback, snapshots};

pub async fn dispatch(command: SnapshotsCommand) -> u8 {
    match command {
        SnapshotsCommand::List { pipeline } => {
            finish(pipeline.format, snapshots::list(&pipeline.path), render::snapshots)
        }
        SnapshotsCommand::Show { pipeline, snapshot } => {
            finish(pipeline.format, snapshots::show(&pipeline.path, &snapshot), render::snapshot)
        }
        SnapshotsCommand::Rollback { pipeline, snapshot, yes, hold } => {
            let plan = match stoppable(rollback::plan(&pipeline.path, snapshot.as_deref())).await {
                Ok(plan) => plan,
                Err(error) => return fail(pipeline.format, &error),
            };
            if pipeline.format == Format::Text {
                print(&render::rollback_plan(&plan));
            }
            let question = format!("Publish {} again?", plan.to);
            // Ctrl-C is heard while nobody has answered yet.
            if let Err(error) = stoppable(async { confirmed(yes, question).await }).await {
                return fail(pipeline.format, &error);
            }
            // Once begun it is finished: the commit is one rename, and a delivery that is cut off is
            // rolled back by its server.
            let done = stoppable(rollback::roll_back(&pipeline.path, plan, hold)).await;
            finish(pipeline.format, done, render::rollback)
        }
        SnapshotsCommand::Release { pipeline } => {
            finish(pipeline.format, rollback::release(&pipeline.path), render::release)
        }
        SnapshotsCommand::Prune { pipeline, snapshots, keep, older_than, grace, dry_run } => {
            let request = PruneRequest { keep, older_than, snapshots, grace };
            prune_command(&pipeline, &request, dry_run).await
        }
        SnapshotsCommand::Forget { pipeline, table, keys, yes, dry_run } => {
            forget_command(&pipeline, &ForgetRequest { table, keys }, yes, dry_run).await
        }
        SnapshotsCommand::Verify { pipeline, snapshots } => verify(&pipeline, &snapshots),
    }
}

async fn prune_command(pipeline: &PipelineArg, request: &PruneRequest, dry_run: bool) -> u8 {
    let show = |pruning: &prune::Pruning| {
        if pipeline.format == Format::Text {
            print(&render::prune_plan(pruning));
        }
    };
    let pruned = match dry_run {
        true => prune::plan(&pipeline.path, request).inspect(show),
        false => prune::prune(&pipeline.path, request, show).await,
    };
    finish(pipeline.format, pruned, render::pruned)
}

async fn forget_command(pipeline: &PipelineArg, request: &ForgetRequest, yes: bool, dry_run: bool) -> u8 {
    let plan = match forget::plan(&pipeline.path, request) {
        Ok(plan) => plan,
        Err(error) => return fail(pipeline.format, &error),
    };
    if pipeline.format == Format::Text {
        print(&render::forget_plan(&plan));
    }
    if dry_run {
        return finish(pipeline.format, Ok(plan), render::forgotten);
    }
    if plan.is_empty() {
        return finish(
            pipeline.format,
            forget::settle(&pipeline.path).await.map(|()| plan),
            render::forgotten,
        );
    }
    let question = format!("Forget them in {}?", plan.pipeline);
    if let Err(error) = stoppable(async { confirmed(yes, question).await }).await {
        return fail(pipeline.format, &error);
    }
    // Once begun it is finished: a command that is killed leaves the old star or the new one.
    finish(pipeline.format, forget::forget(&pipeline.path, request).await, render::forgotten)
}

fn verify(pipeline: &PipelineArg, references: &[String]) -> u8 {
    let verified = match snapshots::verify(&pipeline.path, references) {
        Ok(verified) => verified,
        Err(error) => return fail(pipeline.format, &error),
    };
    match pipeline.format {
        Format::Json => print_json(&verified),
        Format::Text => print(&render::verified(&verified)),
    }
    if verified.damaged.is_empty() {
        return 0;
    }
    let error = Error::new(ErrorKind::Store, "the store is damaged").hint(
        "restore the files from a backup, or publish an undamaged snapshot: `starmill snapshots rollback`",
    );
    if pipeline.format == Format::Text {
        render::error(&error);
    }
    error.kind().exit_code()
}

/// Asks on a terminal; elsewhere nobody can answer, so the word has to be given before.
pub async fn confirmed(yes: bool, question: String) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Error::new(ErrorKind::Usage, "nobody is there to confirm it").hint("say --yes"));
    }
    let answer = tokio::task::spawn_blocking(move || {
        print(&format!("\n{question} [y/N] "));
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).map(|_| answer.trim().to_lowercase())
    });
    match answer.await {
        Ok(Ok(answer)) if answer == "y" || answer == "yes" => Ok(()),
        _ => Err(Error::new(ErrorKind::Usage, "not confirmed; nothing was done")),
    }
}
