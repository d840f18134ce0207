//! What a property is tried on, and how often.

use std::fmt;

use contract::{facts::Facts, inject::Settings, names, names::annotation, workload::Kind};
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseResult, TestError, TestRunner},
};
use serde_json::Value;
use workloads::{Annotated, Security, facts, pods, settings, spoilt, template_place, workload};

/// A workload, and what its injection depends on beside it.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) object: Value,
    pub(crate) settings: Settings,
    pub(crate) facts: Facts,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            object,
            settings,
            facts,
        } = self;
        write!(f, "{object:#}\nwith {settings:?}\nand {facts:?}")
    }
}

impl Case {
    pub(crate) fn kind(&self) -> Kind {
        Kind::of(&self.object).unwrap()
    }

    pub(crate) fn template(&self) -> Option<&Value> {
        template(&self.object)
    }

    /// Whether nothing stands in the template that looks as if it had been injected.
    pub(crate) fn is_plain(&self) -> bool {
        let named = |list, name| {
            let items = self.template().and_then(|it| it.pointer(list)?.as_array());
            items.into_iter().flatten().any(|it| it["name"] == name)
        };
        let annotations = self
            .template()
            .and_then(|it| it.pointer("/metadata/annotations"));
        annotations.is_none_or(|it| it.get(annotation::INJECTED).is_none())
            && !named("/spec/volumes", names::TOKEN_VOLUME)
            && !named("/spec/containers", names::CONTAINER)
            && !named("/spec/initContainers", names::CONTAINER)
    }
}

/// The template of an object.
pub(crate) fn template(object: &Value) -> Option<&Value> {
    object.pointer(template_place(Kind::of(object)?))
}

fn with(object: impl Strategy<Value = Value>) -> impl Strategy<Value = Case> {
    (object, settings(), facts()).prop_map(|(object, settings, facts)| Case {
        object,
        settings,
        facts,
    })
}

/// Annotated so that it can be obeyed, as far as one can see of each value alone; it has a template.
pub(crate) fn obeyable() -> impl Strategy<Value = Case> {
    with(workload(Annotated::Obeyable, Security::Free))
}

/// The same of pods.
pub(crate) fn obeyable_pods() -> impl Strategy<Value = Case> {
    with(pods(Annotated::Obeyable, Security::Free))
}

/// Annotated somehow, one in three with mistakes besides.
pub(crate) fn annotated() -> impl Strategy<Value = Case> {
    let objects = || {
        prop_oneof![
            2 => workload(Annotated::Anyhow, Security::Free),
            1 => pods(Annotated::Anyhow, Security::Free),
        ]
    };
    with(prop_oneof![2 => objects(), 1 => spoilt(objects())])
}

/// None of the annotations is ours, save on the template; it has one.
pub(crate) fn unannotated() -> impl Strategy<Value = Case> {
    with(workload(Annotated::Not, Security::Free))
}

/// Pods whose annotations name no Service.
pub(crate) fn unannotated_pods() -> impl Strategy<Value = Case> {
    with(pods(Annotated::Not, Security::Free))
}

/// How many cases of each property.
pub(crate) fn count() -> u32 {
    let setting = std::env::var_os("WORKLOADS");
    let count = setting.and_then(|it| it.to_str()?.parse().ok());
    count.unwrap_or(10_000)
}

/// Tries a property. Cases that it rejects do not count, and too many of them fail.
pub(crate) fn always<S: Strategy>(cases: &S, property: impl Fn(S::Value) -> TestCaseResult) {
    let config = Config {
        cases: count(),
        max_global_rejects: count(),
        source_file: Some(file!()),
        ..Config::default()
    };
    TestRunner::new(config)
        .run(cases, property)
        .unwrap_or_else(|failure| fail(&failure));
}

/// Whether a property fails sooner or later.
pub(crate) fn is_refuted<S: Strategy>(
    cases: &S,
    property: impl Fn(S::Value) -> TestCaseResult,
) -> bool {
    let config = Config {
        cases: 2_000,
        max_global_rejects: 2_000,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..Config::default()
    };
    let tried = TestRunner::new(config).run(cases, property);
    matches!(tried, Err(TestError::Fail(..)))
}

#[expect(clippy::panic, reason = "so a test fails")]
fn fail<T: fmt::Debug>(failure: &TestError<T>) {
    panic!("{failure}");
}
