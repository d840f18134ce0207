//! What was measured of admissions, beside what is promised.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::stage::Who;
use crate::bench::{
    figures::Figures,
    plot::{Bar, Plot},
    process::Memory,
    verdict::Verdict,
};

/// What was measured.
#[derive(Debug)]
pub(super) struct Seen {
    /// How many each Deployment had whose creation was timed.
    pub(super) containers: usize,
    /// Of single clients, and of many.
    pub(super) alone: Times,
    pub(super) many: Times,
    /// Upper bounds in seconds, p50 and p99, with ten containers: as the API server asks, and of reviews
    /// without a pause in between.
    pub(super) handler: (f64, f64),
    pub(super) handler_without_pause: (f64, f64),
    /// Reviews of objects that are none of the webhook's business.
    pub(super) reviews_of_others: u32,
    /// With so many annotated Deployments present.
    pub(super) memory: Memory,
    pub(super) deployments: usize,
    /// From the start of a process until it was ready.
    pub(super) start: Figures,
}

/// How long a creation took, of each kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    without: Figures,
    unannotated: Figures,
    annotated: Figures,
    elsewhere: Figures,
}

impl Times {
    /// In the order of [`Who::ALL`].
    pub(super) fn of(times: [Vec<Duration>; Who::ALL.len()]) -> Result<Self> {
        const NONE: &str = "nothing was created";
        let [without, unannotated, annotated, elsewhere] = times.map(Figures::of);
        Ok(Self {
            without: without.context(NONE)?,
            unannotated: unannotated.context(NONE)?,
            annotated: annotated.context(NONE)?,
            elsewhere: elsewhere.context(NONE)?,
        })
    }

    fn each(self) -> [(Who, Figures); Who::ALL.len()] {
        let Self {
            without,
            unannotated,
            annotated,
            elsewhere,
        } = self;
        [
            (Who::Without, without),
            (Who::Unannotated, unannotated),
            (Who::Annotated, annotated),
            (Who::Elsewhere, elsewhere),
        ]
    }
}

impl Seen {
    fn rows(&self) -> impl Iterator<Item = (&'static str, Who, Figures)> {
        let alone = self.alone.each().map(|(who, it)| ("1 client", who, it));
        let many = self.many.each().map(|(who, it)| ("50 clients", who, it));
        alone.into_iter().chain(many)
    }

    pub(super) fn verdicts(&self) -> [Verdict; 7] {
        let added = millis(self.alone.annotated.p99) - millis(self.alone.without.p99);
        let times = |it: Figures| it.p50.as_secs_f64() / self.many.without.p50.as_secs_f64();
        let present = format!("resident memory, {} Deployments present", self.deployments);
        [
            Verdict::new("handler, p99", self.handler.1 * 1e3, 1.0, " ms"),
            Verdict::new("added for 1 client, p99", added, 10.0, " ms"),
            Verdict::new(
                "50 clients, not annotated, p50, times without",
                times(self.many.unannotated),
                1.3,
                "",
            ),
            Verdict::new(
                "50 clients, annotated, p50, times without",
                times(self.many.annotated),
                1.3,
                "",
            ),
            Verdict::new(
                "reviews of others' objects",
                f64::from(self.reviews_of_others),
                0.0,
                "",
            ),
            Verdict::new(present, self.memory.resident_megabytes(), 20.0, " MB"),
            Verdict::new(
                "ready after start, p50",
                self.start.p50.as_secs_f64(),
                1.0,
                " s",
            ),
        ]
    }

    pub(super) fn report(&self) {
        println!(
            "\nMilliseconds until a Deployment is created ({} in it), as p50 / p95 / p99 / max:",
            self.containers_in_words()
        );
        for (clients, who, figures) in self.rows() {
            let Figures { p50, p95, p99, max } = figures;
            let [p50, p95, p99, max] = [p50, p95, p99, max].map(millis);
            let who = who.words();
            println!("{clients:<12} {who:<24} {p50:>8.1} / {p95:.1} / {p99:.1} / {max:.1}");
        }
        for (what, (p50, p99)) in self.handlers() {
            println!(
                "handler, ten containers, {what}: p50 within {} ms, p99 within {} ms",
                p50 * 1e3,
                p99 * 1e3
            );
        }
        for verdict in self.verdicts() {
            println!("  {verdict}");
        }
    }

    /// Puts admission.json and admission.svg into this folder.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        let rounded = |time| (millis(time) * 1e2).round() / 1e2;
        let rows = self.rows().map(|(clients, who, figures)| {
            let Figures { p50, p95, p99, max } = figures;
            let [p50, p95, p99, max] = [p50, p95, p99, max].map(rounded);
            json!({
                "clients": clients,
                "who": who.words(),
                "milliseconds": { "p50": p50, "p95": p95, "p99": p99, "max": max },
            })
        });
        let handlers = self.handlers().into_iter().map(|(what, (p50, p99))| {
            json!({ "what": what, "milliseconds": { "p50": p50 * 1e3, "p99": p99 * 1e3 } })
        });
        let verdicts = self.verdicts().map(|verdict| verdict.json());
        let all = json!({
            "containers": self.containers,
            "rows": rows.collect::<Vec<_>>(),
            "handlers": handlers.collect::<Vec<_>>(),
            "limits": verdicts,
        });
        let text = serde_json::to_string_pretty(&all)?;
        fs::write(folder.join("admission.json"), format!("{text}\n"))?;
        fs::write(folder.join("admission.svg"), self.draw())?;
        Ok(())
    }

    fn handlers(&self) -> [(&'static str, (f64, f64)); 2] {
        [
            ("as the API server asks", self.handler),
            ("without a pause", self.handler_without_pause),
        ]
    }

    fn containers_in_words(&self) -> String {
        match self.containers {
            1 => "one container".to_owned(),
            number => format!("{number} containers"),
        }
    }

    fn draw(&self) -> String {
        let bars = self.rows().map(|(clients, who, figures)| Bar {
            label: format!("{clients}: {}", who.words()),
            ours: matches!(who, Who::Unannotated | Who::Annotated),
            end: millis(figures.p99),
            mark: Some(millis(figures.p50)),
        });
        let title = format!(
            "Time until a Deployment is created ({} in it)",
            self.containers_in_words()
        );
        let plot = Plot {
            title: &title,
            explanation: "From the request until the Deployment is stored; bar: p99, mark: p50",
            unit: " ms",
            from: 0,
            to: 4,
        };
        plot.draw(&bars.collect::<Vec<_>>())
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
