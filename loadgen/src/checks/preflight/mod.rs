//! Whether two targets can be compared at all, asked before the clock starts.
//!
//! Both get the same questions: what their weights are, how long a context they hold, how many tokens a prompt has, what
//! they answer to it, where they put a text in space, what label they give it. Each file asks one kind of question and
//! judges the answers of two sides by a pure function. A check that fails makes the two not comparable (exit code 4).

mod classes;
mod identity;
mod prompts;
mod vectors;

use super::Check;
use crate::{
    client::Client,
    routes::{Answer, Asker, Failure},
    workload::{Input, Inputs, Item, Kind, Workload},
};

pub use identity::is_loaded;
pub use vectors::{ACROSS, cosine};

/// Texts that a preflight uses up.
pub const TEXTS: usize = prompts::PROBES;

/// One target, as far as these checks need it.
#[derive(Debug)]
pub struct Side<'a> {
    /// As named by the user.
    pub name: &'a str,
    /// Its connections.
    pub client: &'a Client,
    /// How it is asked.
    pub asker: &'a Asker,
    /// What it says its model's files are, if it lists them.
    pub digest: Option<&'a str>,
}

/// Asks `candidate` and `baseline` the same questions about one workload. Takes seconds.
pub async fn compare(
    workload: &Workload,
    candidate: &Side<'_>,
    baseline: &Side<'_>,
    seed: u64,
) -> Vec<Check> {
    let pair = format!(
        "{}: {} and {}",
        workload.name, candidate.name, baseline.name
    );
    // A chat that stands in for a classifier runs another model by intention; its labels are all that can be compared.
    if candidate.asker.route.is_emulated() != baseline.asker.route.is_emulated() {
        return classes::compare(&pair, candidate, baseline).await;
    }
    let mut checks = identity::compare(&pair, candidate, baseline).await;
    checks.extend(match workload.kind {
        Kind::Generate | Kind::Chat => {
            // The complement: no seed that a user types is near it, so that no measured prompt is known already.
            let probes = Inputs::new(workload, !seed).take(TEXTS);
            let probes: Vec<Item> = probes
                .into_iter()
                .filter_map(|session| session.turns.into_iter().next())
                .collect();
            prompts::compare(&pair, candidate, baseline, &probes).await
        }
        Kind::Embed => vectors::compare(&pair, candidate, baseline).await,
        Kind::Classify => classes::compare(&pair, candidate, baseline).await,
    });
    checks
}

impl Side<'_> {
    /// Puts one piece of work to the target.
    async fn put(&self, item: &Item) -> Result<Answer, Unanswered> {
        let mut asker = self.asker.clone();
        let exchange = self.client.post(&asker.request(item, &[])).await;
        let reading = asker.read(item, &exchange);
        reading.outcome.map_err(|failure| Unanswered {
            name: self.name.to_owned(),
            failure,
        })
    }
}

/// A question without a good reply; one line for the report.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {failure}")]
struct Unanswered {
    name: String,
    failure: Failure,
}

/// A piece of work that is not measured.
fn item(input: Input) -> Item {
    Item {
        input,
        max_tokens: 1,
        seed: 1,
        label: None,
    }
}
