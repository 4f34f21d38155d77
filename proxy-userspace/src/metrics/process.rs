//! The process's own figures, with the names that every Prometheus client library gives them.

use std::fs;

use nix::unistd::{SysconfVar, sysconf};
use prometheus::{
    Counter, Gauge, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// CPU time, memory, file descriptors and start time.
#[derive(Debug)]
pub struct Process {
    // Only its description is used: a counter cannot be set to what the kernel counted.
    cpu: Counter,
    memory: Gauge,
    files: Gauge,
    start: Gauge,
}

impl Process {
    /// Its own.
    ///
    /// # Errors
    /// A name is not valid, which a test would have found.
    pub fn new() -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| Gauge::with_opts(Opts::new(name, help));
        let start = gauge("process_start_time_seconds", "When the process started")?;
        start.set(jiff::Timestamp::now().as_millisecond() as f64 / 1e3);
        Ok(Self {
            cpu: cpu()?,
            memory: gauge("process_resident_memory_bytes", "Memory of the process")?,
            files: gauge("process_open_fds", "Open file descriptors")?,
            start,
        })
    }

    /// Reads the gauges; returns the seconds of CPU time.
    fn read(&self) -> Option<f64> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The name, in brackets, may hold anything; what follows it are numbers, from the third.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
        let unit = |name| sysconf(name).ok().flatten().map(|value| value as f64);
        self.memory.set(number(24)? * unit(SysconfVar::PAGE_SIZE)?);
        self.files.set(fs::read_dir("/proc/self/fd").ok()?.count() as f64);
        Some((number(14)? + number(15)?) / unit(SysconfVar::CLK_TCK)?)
    }
}

fn cpu() -> prometheus::Result<Counter> {
    Counter::with_opts(Opts::new("process_cpu_seconds_total", "CPU time of the process"))
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        let gauges = [&self.memory, &self.files, &self.start].into_iter().flat_map(Collector::desc);
        self.cpu.desc().into_iter().chain(gauges).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Without /proc the gauges stay what they were.
        let counted = self.read().zip(cpu().ok()).map(|(seconds, cpu)| {
            cpu.inc_by(seconds);
            cpu.collect()
        });
        let gauges = [&self.memory, &self.files, &self.start];
        let gauges = gauges.into_iter().flat_map(Collector::collect);
        counted.unwrap_or_default().into_iter().chain(gauges).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::Metrics;

    #[test]
    fn has_the_figures_that_dashboards_show() {
        let page = Metrics::new().unwrap().scrape().body;
        assert!(
            page.contains("# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total ")
        );
        for name in
            ["process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"]
        {
            let line = page.lines().find(|line| line.starts_with(name)).unwrap();
            let value: f64 = line.split(' ').nth(1).unwrap().parse().unwrap();
            assert!(value > 0.0, "{line}");
        }
    }
}
