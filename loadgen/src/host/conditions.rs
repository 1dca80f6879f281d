use std::time::Duration;

use super::{Noise, Reading};
use crate::memory::ProcessTree;

/// The machine at the beginning of a measurement of one target.
#[derive(Debug)]
pub struct Conditions<'a> {
    start: Reading,
    tree: Option<&'a ProcessTree>,
    server_cpu: Option<Duration>,
}

impl<'a> Conditions<'a> {
    /// Reads the machine and the processor time of the target's processes; `None` for a target elsewhere.
    pub fn begin(tree: Option<&'a ProcessTree>) -> Self {
        Self {
            server_cpu: tree.and_then(ProcessTree::cpu_time),
            tree,
            start: Reading::now(),
        }
    }

    /// What happened since.
    pub fn end(self) -> Noise {
        let end = Reading::now();
        let after = self.tree.and_then(ProcessTree::cpu_time);
        let server_cpu = after
            .zip(self.server_cpu)
            .map(|(after, before)| after.saturating_sub(before));
        self.start.until(&end, server_cpu)
    }
}
