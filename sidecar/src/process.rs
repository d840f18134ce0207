//! What the process uses, by the names that every Prometheus client gives it.
//!
//! Must not know: elections.

use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::clock::process_time;

/// Registers what the process uses now. `started`: seconds since 1970.
pub(crate) fn register(all: &mut Registry, started: f64) {
    all.register(
        "process_cpu_seconds",
        "User and system CPU time of the process",
        ConstCounter::new(process_time().as_secs_f64()),
    );
    all.register(
        "process_start_time_seconds",
        "Start of the process since the Unix epoch",
        ConstGauge::new(started),
    );
    let status = std::fs::read_to_string("/proc/self/status");
    if let Some(bytes) = status.ok().as_deref().and_then(resident) {
        all.register(
            "process_resident_memory_bytes",
            "Resident memory",
            ConstGauge::new(bytes),
        );
    }
}

/// The resident memory, in bytes, that `/proc/self/status` tells in kB.
fn resident(status: &str) -> Option<i64> {
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: i64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::resident;

    #[test]
    fn resident_memory_is_read_in_bytes() {
        let status = "VmHWM:\t    9000 kB\nVmRSS:\t    8344 kB\nRssAnon:\t     900 kB\n";
        assert_eq!(resident(status), Some(8344 * 1024));
        assert_eq!(resident("Name:\tsidecar\n"), None);
    }

    #[test]
    fn this_very_process_tells_its_memory() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        assert!(resident(&status) > Some(100_000));
    }
}
