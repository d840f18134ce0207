//! Each property is refuted by an injector with a defect of the kind that it is there to find.

use contract::{
    inject::{self, Decision, Denied, Reason, Request, Settings},
    names::annotation,
    workload::Kind,
};
use json_patch::{AddOperation, Patch, PatchOperation, jsonptr::PointerBuf};
use serde_json::{Value, json};

use crate::{
    case::{annotated, is_refuted, obeyable, obeyable_pods, unannotated, unannotated_pods},
    injector::{Injector, REAL},
    properties::{
        as_decided, de_annotated, judged_once, kept, kept_apart, renewed, repeated, taken_out,
        unlabelled, untouched,
    },
};

/// Adds a volume each time it is asked.
const UNTIDY: Injector = Injector {
    decide: |request, settings| {
        let mut decision = inject::decide(request, settings)?;
        if request.object.pointer(VOLUMES).is_some_and(Value::is_array) {
            decision.patch.0.push(PatchOperation::Add(AddOperation {
                path: PointerBuf::parse(format!("{VOLUMES}/-")).unwrap(),
                value: json!({ "name": "extra", "emptyDir": {} }),
            }));
        }
        Ok(decision)
    },
    ..REAL
};
const VOLUMES: &str = "/spec/template/spec/volumes";

/// Does not note what it put in.
const FORGETFUL: Injector = Injector {
    decide: |request, settings| {
        let mut decision = inject::decide(request, settings)?;
        let note = annotation::INJECTED.replace('/', "~1");
        for operation in &mut decision.patch.0 {
            if let PatchOperation::Add(add) = operation
                && add.path.as_str().ends_with(&note)
            {
                add.value = json!("{}");
            }
        }
        Ok(decision)
    },
    ..REAL
};

/// Leaves what was put in where it is.
const LAZY: Injector = Injector {
    uninject: |_, _| Patch::default(),
    ..REAL
};

/// Does not look at what was there before an update.
const HASTY: Injector = Injector {
    decide: |request, settings| {
        let object = &taken_out_of(request.kind, request.object);
        let mut decision = inject::decide(
            &Request {
                object,
                old: None,
                ..*request
            },
            settings,
        )?;
        let mut after = object.clone();
        json_patch::patch(&mut after, &decision.patch).unwrap();
        decision.patch = json_patch::diff(request.object, &after);
        Ok(decision)
    },
    ..REAL
};

/// Does not look at what is there after an update.
const BACKWARD: Injector = Injector {
    decide: |request, settings| match request.old {
        Some(old) => {
            let kept = inject::decide(
                &Request {
                    object: old,
                    ..*request
                },
                settings,
            )?;
            Ok(Decision {
                patch: json_patch::diff(request.object, old),
                ..kept
            })
        }
        None => inject::decide(request, settings),
    },
    ..REAL
};

/// Leaves our label on pods, so that a Service selects copies.
const TRUSTING: Injector = Injector {
    decide: |request, settings| {
        let mut decision = inject::decide(request, settings)?;
        let is_of_label = |operation: &PatchOperation| operation.path().as_str() == LABEL;
        decision.patch.0.retain(|operation| !is_of_label(operation));
        Ok(decision)
    },
    ..REAL
};
const LABEL: &str = "/metadata/labels/service-leader-election";

/// Judges a pod at each update, as if it were new.
const RESTLESS: Injector = Injector {
    decide: |request, settings| {
        inject::decide(
            &Request {
                old: None,
                ..*request
            },
            settings,
        )
    },
    ..REAL
};

/// Gives another reason, and more words than fit.
const TALKATIVE: Injector = Injector {
    decide: |request, settings| said(request, settings, "x".repeat(256)),
    ..REAL
};
const MANY_LINED: Injector = Injector {
    decide: |request, settings| said(request, settings, "one\ntwo".to_owned()),
    ..REAL
};
const LYING: Injector = Injector {
    decide: |request, settings| {
        let decision = inject::decide(request, settings)?;
        Ok(Decision {
            reason: Reason::Kept,
            ..decision
        })
    },
    ..REAL
};

fn said(request: &Request<'_>, settings: &Settings, word: String) -> Result<Decision, Denied> {
    let mut decision = inject::decide(request, settings)?;
    decision.warnings.push(word);
    Ok(decision)
}

fn taken_out_of(kind: Kind, object: &Value) -> Value {
    let mut plain = object.clone();
    json_patch::patch(&mut plain, &inject::uninject(kind, object)).unwrap();
    plain
}

#[test]
fn an_injector_that_adds_something_each_time_is_noticed() {
    assert!(is_refuted(&annotated(), |case| repeated(&UNTIDY, &case)));
    assert!(is_refuted(&annotated(), |case| taken_out(&UNTIDY, &case)));
    assert!(is_refuted(&obeyable(), |case| kept_apart(&UNTIDY, &case)));
    assert!(is_refuted(&unannotated(), |case| untouched(&UNTIDY, &case)));
}

#[test]
fn an_injector_that_does_not_take_out_what_it_put_in_is_noticed() {
    assert!(is_refuted(&annotated(), |case| taken_out(
        &FORGETFUL, &case
    )));
    assert!(is_refuted(&obeyable(), |case| de_annotated(
        &FORGETFUL, &case
    )));
    assert!(is_refuted(&annotated(), |case| taken_out(&LAZY, &case)));
    let pods = &obeyable_pods();
    assert!(is_refuted(pods, |case| taken_out(&FORGETFUL, &case)));
}

#[test]
fn an_injector_that_takes_a_pod_for_something_else_is_noticed() {
    let pods = &unannotated_pods();
    assert!(is_refuted(pods, |case| unlabelled(&TRUSTING, &case)));
    assert!(is_refuted(&annotated(), |case| as_decided(
        &TRUSTING, &case
    )));
    let pairs = &(obeyable_pods(), unannotated_pods());
    assert!(is_refuted(pairs, |(case, next)| judged_once(
        &RESTLESS, &case, &next
    )));
}

#[test]
fn an_injector_that_does_not_compare_before_and_after_is_noticed() {
    let pairs = &(obeyable(), obeyable());
    assert!(is_refuted(pairs, |(case, other)| kept(
        &HASTY, &case, &other
    )));
    assert!(is_refuted(pairs, |(case, next)| renewed(
        &BACKWARD, &case, &next
    )));
}

#[test]
fn an_injector_that_says_what_it_should_not_is_noticed() {
    for injector in [TALKATIVE, MANY_LINED, LYING] {
        assert!(is_refuted(&annotated(), |case| as_decided(
            &injector, &case
        )));
        assert!(is_refuted(&unannotated(), |case| untouched(
            &injector, &case
        )));
    }
}
