//! From no model in memory to the first text, again and again, before anything else is measured.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Place, Runner, Sample, discover, order, work::Strand};
use crate::{
    checks::preflight::is_loaded,
    client::{Client, Request},
    plan::Api,
};

/// How long a target may take to let go of a model.
const LONGEST_UNLOAD: Duration = Duration::from_secs(10);
/// Between two looks whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// One target's cold starts.
#[derive(Debug, Default)]
pub struct Cold {
    /// In time order.
    pub starts: Vec<ColdStart>,
    /// Why there are none.
    pub unavailable: Option<String>,
}

/// One request to a target with no model in memory.
#[derive(Debug)]
pub struct ColdStart {
    /// From the start of its process to its first reply, if it was started for this.
    pub start_to_ready: Option<Duration>,
    /// The request.
    pub sample: Sample,
}

impl Runner<'_> {
    /// As many cold starts of every target as `strand` asks for, in turns.
    pub(super) async fn cold_starts(&mut self, strand: &mut Strand) {
        let repeats = strand.workload.cold_repeats;
        if repeats == 0 {
            return;
        }
        let targets = self.targets.len();
        strand.cold = strand
            .lanes
            .iter()
            .map(|lane| lane.lacking.is_none().then(Cold::default))
            .collect();
        for repeat in 0..repeats {
            let session = strand.inputs.take_warmup(1).remove(0);
            let round = u32::try_from(repeat).unwrap_or(u32::MAX);
            for target in order(targets, round, self.plan.seed) {
                let wanted = strand.cold[target]
                    .as_ref()
                    .is_some_and(|cold| cold.unavailable.is_none());
                if !wanted || self.stopped() {
                    continue;
                }
                let model = strand.lanes[target].asker.model.clone();
                let begun = match self.restart(target).await {
                    Some(restarted) => restarted.map(Some),
                    None if self.unload(target, &model).await => Ok(None),
                    None => Err("its model cannot be unloaded from here".to_owned()),
                };
                let cold = strand.cold[target].as_mut().expect("it is wanted");
                let start_to_ready = match begun {
                    Ok(start_to_ready) => start_to_ready,
                    Err(reason) => {
                        cold.unavailable = Some(reason);
                        continue;
                    }
                };
                let item = &session.turns[0];
                let asker = &mut strand.lanes[target].asker;
                let intended = Instant::now();
                let exchange = self.targets[target]
                    .client
                    .post(&asker.request(item, &[]))
                    .await;
                let reading = asker.read(item, &exchange);
                let place = Place {
                    index: repeat,
                    session: 0,
                    turn: 0,
                };
                cold.starts.push(ColdStart {
                    start_to_ready,
                    sample: Sample::new(self.clock, place, intended, &exchange, reading),
                });
            }
        }
    }

    /// Stops and starts a server that is loadgen's own; `None` for any other.
    async fn restart(&mut self, target: usize) -> Option<Result<Duration, String>> {
        let planned = &self.plan.targets[target];
        let target = &mut self.targets[target];
        target.server.take()?.stop().await;
        Some(match discover::started(planned, &target.client).await {
            Ok(server) => {
                let ready = server.start_to_ready;
                target.processes = discover::processes(planned, Some(&server));
                target.server = Some(server);
                Ok(ready)
            }
            Err(error) => Err(error.to_string()),
        })
    }

    /// Tells a target to let go of a model. Whether it has; no server but Ollama's kind can be told.
    pub(super) async fn unload(&self, target: usize, model: &str) -> bool {
        let can = self.plan.targets[target].api == Api::Ollama && !self.plan.keep_loaded;
        can && unload(&self.targets[target].client, model).await
    }
}

async fn unload(client: &Client, model: &str) -> bool {
    let request = Request {
        path: "/api/generate",
        body: json!({ "model": model, "keep_alive": 0 })
            .to_string()
            .into(),
    };
    if client.post(&request).await.failure.is_some() {
        return false;
    }
    let asked = Instant::now();
    while asked.elapsed() < LONGEST_UNLOAD {
        match is_loaded(client, model).await {
            Some(false) => return true,
            Some(true) => tokio::time::sleep(LOOK_EVERY).await,
            None => return false,
        }
    }
    false
}
