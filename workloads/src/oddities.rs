//! Mistakes: what is missing, empty, null or of another type than it ought to be. The API server lets
//! little of it through to a webhook, but a manifest may hold it.

use contract::{names, workload::Kind};
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

use crate::template_place;

/// Where a mistake can be made, in the object and in its template.
const PLACES: [&str; 5] = [
    "/metadata/annotations",
    "/metadata/labels",
    "/metadata/name",
    "/metadata",
    "/spec",
];
const PLACES_OF_TEMPLATE: [&str; 18] = [
    "",
    "/metadata",
    "/metadata/annotations",
    "/metadata/annotations/kubectl.kubernetes.io~1default-container",
    "/metadata/labels",
    "/metadata/labels/service-leader-election",
    "/spec",
    "/spec/containers",
    "/spec/containers/0",
    "/spec/containers/0/name",
    "/spec/containers/0/ports",
    "/spec/containers/0/readinessProbe",
    "/spec/initContainers",
    "/spec/initContainers/0",
    "/spec/volumes",
    "/spec/volumes/0",
    "/spec/serviceAccountName",
    "/spec/automountServiceAccountToken",
];

/// What somebody wrote there.
#[derive(Debug, Clone)]
enum Mistake {
    Absent,
    Instead(Value),
}

/// The same workloads with one mistake or several.
pub fn spoilt(workloads: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    (workloads, vec(mistake(), 1..4)).prop_map(|(mut object, mistakes)| {
        let template = Kind::of(&object).map_or("", template_place);
        for (in_template, place, mistake) in mistakes {
            let place = if in_template {
                format!("{template}{place}")
            } else {
                place.to_owned()
            };
            make(&mut object, &place, mistake);
        }
        object
    })
}

fn mistake() -> impl Strategy<Value = (bool, &'static str, Mistake)> {
    let place = prop_oneof![
        1 => select(&PLACES[..]).prop_map(|place| (false, place)),
        4 => select(&PLACES_OF_TEMPLATE[..]).prop_map(|place| (true, place)),
    ];
    let mistake = prop_oneof![
        1 => Just(Mistake::Absent),
        1 => instead().prop_map(Mistake::Instead),
    ];
    let anywhere =
        (place, mistake).prop_map(|((in_template, place), mistake)| (in_template, place, mistake));
    // Hardly met otherwise.
    let ours = Mistake::Instead(json!([{ "name": names::TOKEN_VOLUME }]));
    prop_oneof![40 => anywhere, 1 => Just((true, "/spec/volumes", ours))]
}

fn instead() -> impl Strategy<Value = Value> {
    select(vec![
        Value::Null,
        Value::Null,
        json!([]),
        json!({}),
        json!(""),
        json!(0),
        json!(true),
        json!([null, 1, "x", [], {}]),
        json!([{ "name": names::CONTAINER, "image": "other" }]),
        json!({ "service-leader-election/service": 1, "service-leader-election/injected": "{}" }),
        json!({ "service-leader-election/injected": r#"{"created":["metadata"],"automount":true}"# }),
    ])
}

/// Writes there what was written, if there is such a place.
fn make(object: &mut Value, place: &str, mistake: Mistake) {
    let Some((parent, key)) = place.rsplit_once('/') else {
        return;
    };
    let key = key.replace("~1", "/");
    match (object.pointer_mut(parent), mistake) {
        (Some(Value::Object(map)), Mistake::Absent) => drop(map.remove(&key)),
        (Some(Value::Object(map)), Mistake::Instead(value)) => drop(map.insert(key, value)),
        (Some(Value::Array(list)), mistake) => {
            let Some(item) = key
                .parse()
                .ok()
                .and_then(|index: usize| list.get_mut(index))
            else {
                return;
            };
            match mistake {
                Mistake::Absent => drop(list.remove(0)),
                Mistake::Instead(value) => *item = value,
            }
        }
        _ => {}
    }
}
