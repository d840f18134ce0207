//! The properties, each on cases of its own.

use contract::{
    annotations::{self, Wish},
    inject::Reason,
    names,
    names::annotation,
    workload::Kind,
};
use proptest::{prelude::*, test_runner::TestCaseResult};
use serde_json::{Value, json};

use crate::{
    case::{
        Case, always, annotated, obeyable, obeyable_pods, template, unannotated, unannotated_pods,
    },
    injector::{Injector, REAL},
    touched,
};

#[test]
fn a_second_injection_changes_nothing() {
    always(&annotated(), |case| repeated(&REAL, &case));
}

#[test]
fn what_was_injected_can_be_taken_out() {
    always(&annotated(), |case| taken_out(&REAL, &case));
}

#[test]
fn de_annotating_gives_back_the_original() {
    always(&obeyable(), |case| de_annotated(&REAL, &case));
}

#[test]
fn an_unannotated_workload_is_untouched() {
    always(&unannotated(), |case| untouched(&REAL, &case));
}

#[test]
fn an_unannotated_pod_loses_our_label_and_nothing_else() {
    always(&unannotated_pods(), |case| unlabelled(&REAL, &case));
}

#[test]
fn the_patch_does_what_the_decision_says() {
    always(&annotated(), |case| as_decided(&REAL, &case));
}

#[test]
fn nothing_of_the_users_is_touched() {
    always(&obeyable(), |case| kept_apart(&REAL, &case));
    always(&obeyable_pods(), |case| kept_apart(&REAL, &case));
}

#[test]
fn a_pod_is_judged_once() {
    always(&(obeyable_pods(), unannotated_pods()), |(case, next)| {
        let next = Case {
            object: next.object,
            ..case.clone()
        };
        judged_once(&REAL, &case, &next)
    });
}

#[test]
fn an_update_of_something_else_keeps_every_byte() {
    always(&(obeyable(), obeyable()), |(case, other)| {
        kept(&REAL, &case, &other)
    });
}

#[test]
fn a_changed_template_gets_the_sidecar_of_today() {
    always(&(obeyable(), obeyable()), |(case, next)| {
        renewed(&REAL, &case, &next)
    });
}

/// inject(inject(x)) = inject(x), as an object that is created and as one that is updated.
pub(crate) fn repeated(injector: &Injector, case: &Case) -> TestCaseResult {
    let once = injector.ask(case, &case.object, None)?;
    prop_assume!(once.is_some());
    let once = once.unwrap().after;
    // What stood there before and looks as if it had been injected is another matter: an update keeps it.
    // So are pods that the template's annotations had injected: they keep their Lease.
    let of_pods = case.object.pointer("/spec/template/metadata");
    let pods_are_injected = matches!(annotations::parse(of_pods), Ok(Wish::Elect(_)));
    let before = Some(&case.object).filter(|_| case.is_plain() && !pods_are_injected);
    // What the API server cannot read was never there.
    let stored = Some(&once).filter(|once| touched::is_readable(once));
    for old in [None, stored, before] {
        let twice = injector.ask(case, &once, old)?;
        prop_assert!(twice.is_some(), "denied at the second time");
        prop_assert_eq!(&twice.unwrap().after, &once);
    }
    Ok(())
}

/// uninject(inject(x)) = x, and uninject(x) = x.
pub(crate) fn taken_out(injector: &Injector, case: &Case) -> TestCaseResult {
    prop_assume!(case.is_plain());
    prop_assert_eq!(&injector.take_out(&case.object)?, &case.object);
    if let Some(injected) = injector.ask(case, &case.object, None)? {
        let out = injector.take_out(&injected.after)?;
        let before = match injected.reason {
            Reason::Injected | Reason::Controlled => case.object.clone(),
            _ => touched::unlabelled(&case.object),
        };
        prop_assert_eq!(touched::read(&out), touched::read(&before));
    }
    Ok(())
}

/// The annotations gone, the rest is as it was before.
pub(crate) fn de_annotated(injector: &Injector, case: &Case) -> TestCaseResult {
    let injected = injector.ask(case, &case.object, None)?;
    prop_assume!(
        injected
            .as_ref()
            .is_some_and(|it| it.reason == Reason::Injected)
    );
    let injected = injected.unwrap().after;
    let mut bare = injected.clone();
    bare["metadata"]["annotations"] = json!({});
    let Some(after) = injector.ask(case, &bare, Some(&injected))? else {
        // By its template's annotations it would have another.
        prop_assert_ne!(lease(&injected), lease(&bare));
        return Ok(());
    };
    prop_assert_eq!(after.reason, Reason::TakenOut);
    prop_assert_eq!(template(&after.after), case.template());
    Ok(())
}

/// No patch, and no words but of its template.
pub(crate) fn untouched(injector: &Injector, case: &Case) -> TestCaseResult {
    let found = injector.ask(case, &case.object, None)?.unwrap();
    prop_assert_eq!(found.reason, Reason::NotAnnotated);
    let of_pods = case.object.pointer("/spec/template/metadata");
    let may_warn = !annotations::ours(of_pods).is_empty();
    let is_quiet = found.warnings.is_empty() || may_warn;
    prop_assert!(!found.is_patched && is_quiet, "{found:?}");
    Ok(())
}

/// A new pod that names no Service is what it was but for our label, with which it would be selected.
pub(crate) fn unlabelled(injector: &Injector, case: &Case) -> TestCaseResult {
    let found = injector.ask(case, &case.object, None)?.unwrap();
    let plain = touched::unlabelled(&case.object);
    let reason = if plain == case.object {
        Reason::NotAnnotated
    } else {
        Reason::Unlabelled
    };
    prop_assert_eq!(found.reason, reason);
    prop_assert_eq!(found.after, plain);
    Ok(())
}

/// An update of a pod is none of the injector's business, whatever becomes of its annotations.
pub(crate) fn judged_once(injector: &Injector, case: &Case, next: &Case) -> TestCaseResult {
    let created = injector.ask(case, &case.object, None)?;
    prop_assume!(created.is_some());
    let stored = created.unwrap().after;
    for object in [&stored, &next.object] {
        let found = injector.ask(case, object, Some(&stored))?.unwrap();
        prop_assert!(!found.is_patched, "{found:?}");
    }
    Ok(())
}

/// One sidecar of these settings where one was injected; the same object where not.
pub(crate) fn as_decided(injector: &Injector, case: &Case) -> TestCaseResult {
    prop_assume!(case.is_plain());
    let found = injector.ask(case, &case.object, None)?;
    prop_assume!(found.is_some());
    let found = found.unwrap();
    let sidecars = touched::sidecars(&found.after);
    match found.reason {
        // A template that has no place for one is left to the API server, which refuses it.
        Reason::Injected if touched::is_readable(&case.object) => {
            prop_assert_eq!(sidecars.len(), 1);
            let (list, sidecar) = sidecars[0];
            let native = case.settings.native;
            prop_assert_eq!(
                list,
                if native {
                    "initContainers"
                } else {
                    "containers"
                }
            );
            prop_assert_eq!(&sidecar["image"], &json!(case.settings.image));
            let service = &case.object["metadata"]["annotations"][annotation::SERVICE];
            let named: String = service.as_str().unwrap().split_whitespace().collect();
            let told = sidecar["env"].as_array().unwrap().iter();
            let told = told.filter(|it| it["name"] == names::env::SERVICE);
            let told: Vec<&Value> = told.map(|it| &it["value"]).collect();
            prop_assert_eq!(told, [&json!(named)]);
        }
        Reason::Injected => {}
        Reason::Controlled => prop_assert!(!found.is_patched),
        Reason::NotAnnotated | Reason::KeptOut | Reason::ByHand => {
            prop_assert_eq!(&found.after, &touched::unlabelled(&case.object));
        }
        Reason::Unlabelled | Reason::Unsupported if case.kind() == Kind::Pod => {
            prop_assert_eq!(&found.after, &touched::unlabelled(&case.object));
        }
        other => prop_assert!(false, "{other} of an object that is new"),
    }
    Ok(())
}

/// Everything but what is known to be touched is what it was, in the order in which it was.
pub(crate) fn kept_apart(injector: &Injector, case: &Case) -> TestCaseResult {
    let injected = injector.ask(case, &case.object, None)?;
    prop_assume!(
        injected
            .as_ref()
            .is_some_and(|it| it.reason == Reason::Injected)
    );
    let after = injected.unwrap().after;
    prop_assert_eq!(touched::users(&after), touched::users(&case.object));
    if let Some(written) = touched::written_account(&case.object) {
        prop_assert_eq!(touched::written_account(&after), Some(written));
    }
    Ok(())
}

/// Somebody scales it, labels it, or applies the same manifest again, after an upgrade of the webhook.
pub(crate) fn kept(injector: &Injector, case: &Case, other: &Case) -> TestCaseResult {
    let stored = injector.ask(case, &case.object, None)?;
    prop_assume!(
        stored
            .as_ref()
            .is_some_and(|it| it.reason == Reason::Injected)
    );
    let stored = stored.unwrap().after;
    let mut scaled = stored.clone();
    scaled["spec"]["replicas"] = other.object["spec"]["replicas"].clone();
    scaled["metadata"]["labels"] = other.object["metadata"]["labels"].clone();
    let upgraded = Case {
        object: case.object.clone(),
        ..other.clone()
    };
    for object in [&scaled, &case.object, &stored] {
        let found = injector.ask(&upgraded, object, Some(&stored))?.unwrap();
        prop_assert_eq!(found.reason, Reason::Kept);
        prop_assert_eq!(template(&found.after), template(&stored));
    }
    Ok(())
}

/// The Lease of a workload's pods, by its own annotations or by its template's.
fn lease(workload: &Value) -> Option<String> {
    ["/metadata", "/spec/template/metadata"]
        .into_iter()
        .find_map(|place| match annotations::parse(workload.pointer(place)) {
            Ok(Wish::Elect(spec)) => Some(spec.lease.as_str().to_owned()),
            _ => None,
        })
}

/// Another template in place of an injected one is injected as if it were new.
pub(crate) fn renewed(injector: &Injector, case: &Case, next: &Case) -> TestCaseResult {
    let stored = injector.ask(case, &case.object, None)?;
    prop_assume!(stored.is_some() && case.template() != next.template());
    let mut manifest = next.object.clone();
    for kept in ["apiVersion", "kind"] {
        manifest[kept] = case.object[kept].clone();
    }
    let fresh = injector.ask(next, &manifest, None)?;
    prop_assume!(fresh.is_some());
    // While there are pods, as of a DaemonSet there always may be, the Lease stays.
    let mut stored = stored.unwrap().after;
    stored["spec"]["replicas"] = json!(0);
    if let Some(after) = injector.ask(next, &manifest, Some(&stored))? {
        prop_assert_eq!(after.after, fresh.unwrap().after);
    } else {
        prop_assert_eq!(&manifest["kind"], "DaemonSet");
        prop_assert_ne!(lease(&stored), lease(&manifest));
    }
    Ok(())
}
