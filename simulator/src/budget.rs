//! How much may go wrong in one run, so that a model is finite and a run can end.

/// What may still happen, each kind counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Budget {
    /// Steps of time.
    pub ticks: u16,
    /// Requests that a client gives up waiting for; the server may carry them out yet.
    pub losses: u16,
    /// Processes that die and start again, with the same pod.
    pub crashes: u16,
    /// Pods that are removed by force, while the process may live on; another pod of the same name
    /// follows.
    pub removals: u16,
    /// Leases that somebody deletes.
    pub deletions: u16,
    /// Services that somebody points at nobody, at the same epoch.
    pub drifts: u16,
    /// Pods that turn unready, or ready again.
    pub flips: u16,
    /// Processes that are asked to end; they start again afterwards.
    pub stops: u16,
    /// Pods that are deleted in order: they go on for a while, then they are removed.
    pub evictions: u16,
    /// Writes that reach the server twice.
    pub duplicates: u16,
    /// Requests that the server answers with an error, and does not carry out.
    pub refusals: u16,
    /// Watches that show once more what was true before.
    pub staleness: u16,
    /// Watches of the pods that break.
    pub breaks: u16,
    /// Services that are deleted and made again.
    pub recreations: u16,
    /// Services that the controller un-pins.
    pub unpins: u16,
    /// Requests of an operator: a switchover, a pause, its end.
    pub requests: u16,
    /// Leases that another program takes.
    pub intruders: u16,
}

impl Budget {
    /// The same budget without faults: only time goes on.
    #[must_use]
    pub fn without_faults(ticks: u16) -> Self {
        Self {
            ticks,
            ..Self::default()
        }
    }
}
