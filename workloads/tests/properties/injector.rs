//! The injector as its callers use it: asked, and its patch applied.

use contract::{
    inject::{self, Decision, Denied, Reason, Request, Settings},
    workload::Kind,
};
use json_patch::Patch;
use proptest::{prelude::*, test_runner::TestCaseError};
use serde_json::Value;

use crate::case::Case;

/// The most characters of a warning: the API server cuts longer ones.
const MOST: usize = 255;

/// The injector, or one with a defect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Injector {
    pub(crate) decide: fn(&Request<'_>, &Settings) -> Result<Decision, Denied>,
    pub(crate) uninject: fn(Kind, &Value) -> Patch,
}

pub(crate) const REAL: Injector = Injector {
    decide: inject::decide,
    uninject: inject::uninject,
};

/// What became of an object that was let in.
#[derive(Debug, Clone)]
pub(crate) struct Injected {
    pub(crate) after: Value,
    pub(crate) reason: Reason,
    pub(crate) warnings: Vec<String>,
    pub(crate) is_patched: bool,
}

impl Injector {
    /// What becomes of an object; None: it is denied. Checks what holds of every answer.
    pub(crate) fn ask(
        &self,
        case: &Case,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<Option<Injected>, TestCaseError> {
        let request = Request {
            kind: Kind::of(object).unwrap(),
            object,
            old,
            facts: &case.facts,
        };
        let decision = match (self.decide)(&request, &case.settings) {
            Ok(decision) => decision,
            Err(denied) => {
                let message = denied.message;
                prop_assert!(!message.is_empty() && is_line(&message), "{message:?}");
                return Ok(None);
            }
        };
        for warning in &decision.warnings {
            let fits = warning.chars().count() <= MOST && is_line(warning);
            prop_assert!(fits && !warning.is_empty(), "{warning:?}");
        }
        Ok(Some(Injected {
            after: patched(object, &decision.patch)?,
            reason: decision.reason,
            warnings: decision.warnings,
            is_patched: !decision.patch.0.is_empty(),
        }))
    }

    /// The object without what was put in.
    pub(crate) fn take_out(&self, object: &Value) -> Result<Value, TestCaseError> {
        patched(object, &(self.uninject)(Kind::of(object).unwrap(), object))
    }
}

fn is_line(text: &str) -> bool {
    !text.contains(char::is_control)
}

fn patched(object: &Value, patch: &Patch) -> Result<Value, TestCaseError> {
    let mut after = object.clone();
    let applied = json_patch::patch(&mut after, patch);
    prop_assert!(applied.is_ok(), "{applied:?}: {patch}");
    Ok(after)
}
