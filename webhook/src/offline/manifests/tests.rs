//! What is made of manifests, as wholes.

use contract::inject::PullPolicy;
use testcluster::troubleshooting::documented;

use super::{super::grants, *};

const SERVICE: &str =
    "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: shop}}\n";

fn deployment(annotation: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  annotations:\n    \
         service-leader-election/{annotation}\nspec:\n  replicas: 2\n  template:\n    \
         metadata: {{labels: {{app: web}}}}\n    spec: {{containers: [{{name: app}}]}}\n"
    )
}

fn read(texts: &[&str]) -> Manifests {
    let sources: Vec<Source> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| Source {
            name: format!("{index}.yaml"),
            text: (*text).to_owned(),
        })
        .collect();
    Manifests::read(&sources)
}

fn injected(texts: &[&str]) -> Manifests {
    let mut manifests = read(texts);
    manifests.inject(&Settings {
        image: "sidecar:1".to_owned(),
        pull_policy: PullPolicy::default(),
        native: true,
        run_as_user: None,
    });
    manifests
}

fn changes(manifests: &Manifests) -> Vec<String> {
    let changes = manifests.report.changes.iter();
    changes
        .map(|it| format!("{} {}", it.what, it.place))
        .collect()
}

#[test]
fn a_document_that_asks_for_nothing_comes_out_byte_for_byte() {
    let other = "# one\n---\nkind:   X  # two\nmode: 0644\n---\n";
    let text = [other, &deployment("service: web"), "---\n", SERVICE].concat();
    let manifests = injected(&[&text]);
    assert_eq!(
        changes(&manifests),
        ["injected 0.yaml, document 2, Deployment web"]
    );
    let after = manifests.text().unwrap();
    assert!(after.starts_with(other), "{after}");
    assert!(after.ends_with(&format!("---\n{SERVICE}")), "{after}");
    assert!(after.contains("image: sidecar:1"), "{after}");
}

#[test]
fn what_was_injected_is_not_injected_again_and_can_be_taken_out() {
    let plain = deployment("service: web");
    let once = injected(&[&plain]).text().unwrap();
    let again = injected(&[&once]);
    assert_eq!(changes(&again), Vec::<String>::new());
    assert_eq!(again.text().unwrap(), once);
    let mut out = read(&[&once]);
    out.uninject();
    assert_eq!(
        changes(&out),
        ["taken-out 0.yaml, document 1, Deployment web"]
    );
    let out = yaml::read(&out.text().unwrap()).unwrap();
    assert_eq!(out, yaml::read(&plain).unwrap());
}

#[test]
fn a_service_at_hand_is_a_fact_and_another_one_is_no_guess() {
    let warned = |texts: &[&str]| {
        let warnings = injected(texts).report.warnings;
        warnings
            .iter()
            .any(|(_, text)| text.contains("selects \"app=shop\""))
    };
    assert!(warned(&[&deployment("service: web"), SERVICE]));
    let elsewhere = SERVICE.replace("{name: web}", "{name: web, namespace: a}");
    let here = deployment("service: web").replace("  name: web", "  name: web\n  namespace: b");
    assert!(!warned(&[&here, &elsewhere]));
    assert!(!warned(&[&deployment("service: web")]));
}

#[test]
fn two_workloads_that_claim_one_service_are_told_of_each_other() {
    let [one, two] = ["one", "two"].map(|name| {
        let claims = format!("service: web\n    service-leader-election/lease: {name}");
        deployment(&claims).replace("  name: web", &format!("  name: {name}"))
    });
    let told = |texts: &[&str]| -> Vec<String> {
        let warnings = injected(texts).report.warnings;
        let told = warnings.iter().filter_map(|(object, text)| {
            let (_, claimant) = text.split_once("is claimed by ")?;
            Some(format!("{object}: {}", claimant.split(' ').next()?))
        });
        told.collect()
    };
    let expected = [
        "Deployment one: Deployment/two",
        "Deployment two: Deployment/one",
    ];
    assert_eq!(told(&[&one, &two]), expected);
    assert_eq!(told(&[&one, SERVICE, &two]), expected);
    assert_eq!(told(&[&one, &one]), [""; 0]);
}

#[test]
fn every_item_of_a_list_is_judged() {
    let item = yaml::read(&deployment("service: web")).unwrap();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [item, { "kind": "X" }] });
    let manifests = injected(&[&list.to_string()]);
    let after: Value = serde_json::from_str(&manifests.text().unwrap()).unwrap();
    assert!(
        after
            .pointer("/items/0/spec/template/spec/initContainers/0")
            .is_some()
    );
    assert_eq!(after["items"][1], list["items"][1]);
}

#[test]
fn every_document_that_cannot_be_obeyed_is_named() {
    let bad = [deployment("service: Web"), deployment("service: web")].join("---\n");
    let errors = injected(&[&bad, "a: [\n", &deployment("service: ''")])
        .report
        .errors;
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert_eq!(errors[0], "1.yaml");
    assert!(
        errors[1].starts_with("0.yaml, document 1, Deployment web: annotation"),
        "{errors:?}"
    );
}

#[test]
fn rights_are_added_once_and_a_users_object_is_kept() {
    let plain = deployment("service: web");
    let grant = |text: &str| {
        let mut manifests = injected(&[text]);
        grants::grant(&mut manifests);
        manifests
    };
    let granted = grant(&plain);
    let expected = [
        "injected 0.yaml, document 1, Deployment web",
        "added Role service-leader-election-web",
        "added RoleBinding service-leader-election-web",
        "added ServiceAccount service-leader-election-web",
    ];
    assert_eq!(changes(&granted), expected);
    let text = granted.text().unwrap();
    assert_eq!(grant(&text).text().unwrap(), text);

    let stale = text.replace("  - watch\n", "");
    assert_eq!(grant(&stale).text().unwrap(), text);
    assert_eq!(
        changes(&grant(&stale)),
        ["replaced 0.yaml, document 2, Role service-leader-election-web"]
    );
    let users = stale.replace("managed-by: service-leader-election", "managed-by: me");
    assert_eq!(grant(&users).text().unwrap(), users);
    assert!(
        grant(&users)
            .report
            .warnings
            .iter()
            .any(|(it, _)| it.kind == "Role")
    );
}

#[test]
fn a_generated_account_pulls_images_as_the_default_account_does() {
    let account = |name: &str, secret: &str| {
        format!(
            "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{{name}}}\nimagePullSecrets: [{{name: \
             {secret}}}]\n"
        )
    };
    let granted = |texts: &[&str]| {
        let mut manifests = injected(texts);
        grants::grant(&mut manifests);
        manifests
    };
    let secrets = |manifests: &Manifests| {
        let mut accounts = manifests.added.iter();
        let account = accounts.find(|object| object["kind"] == "ServiceAccount");
        account.unwrap()["imagePullSecrets"].clone()
    };
    let plain = deployment("service: web");
    let others = [
        account("name: default, namespace: other", "theirs"),
        account("name: other", "theirs"),
    ]
    .join("---\n");
    assert_eq!(secrets(&granted(&[&plain, &others])), Value::Null);
    let default = account("name: default", "pull");
    let first = granted(&[&plain, &others, &default]);
    assert_eq!(secrets(&first), json!([{ "name": "pull" }]));

    let text = first.text().unwrap();
    assert_eq!(granted(&[&text]).text().unwrap(), text);
    let more = text.replace("- name: pull\n", "- name: pull\n- name: more\n");
    assert_ne!(more, text);
    assert_eq!(granted(&[&more]).text().unwrap(), more);
}

#[test]
fn a_bare_pod_is_injected_with_its_rights_and_taken_out_again() {
    let plain = "apiVersion: v1\nkind: Pod\nmetadata:\n  generateName: web-\n  annotations:\n    \
                 service-leader-election/service: web\nspec:\n  containers: [{name: app}]\n";
    let granted = |text: &str| {
        let mut manifests = injected(&[text]);
        grants::grant(&mut manifests);
        manifests
    };
    let first = granted(plain);
    let expected = [
        "injected 0.yaml, document 1, Pod web-",
        "added Role service-leader-election-web",
        "added RoleBinding service-leader-election-web",
        "added ServiceAccount service-leader-election-web",
    ];
    assert_eq!(changes(&first), expected);
    let text = first.text().unwrap();
    assert_eq!(granted(&text).text().unwrap(), text);
    let (pod, rights) = text.split_once("---\n").unwrap();
    assert_eq!(changes(&granted(pod)), expected[1..]);
    assert!(rights.contains("kind: ServiceAccount"), "{rights}");

    let mut out = read(&[pod]);
    out.uninject();
    let out = yaml::read(&out.text().unwrap()).unwrap();
    assert_eq!(out, yaml::read(plain).unwrap());
}

#[test]
fn a_patch_names_its_object() {
    let patches = injected(&[&deployment("service: web")]).patches();
    let line: Value = serde_json::from_str(&patches).unwrap();
    assert_eq!(
        (&line["kind"], &line["name"]),
        (&json!("Deployment"), &json!("web"))
    );
    assert_eq!(line["patch"][0]["op"], "add");
}

#[test]
fn a_template_that_is_left_to_the_webhook_is_told() {
    let on_the_template = deployment("lease-duration: '20'").replace(
        "metadata: {labels: {app: web}}",
        "metadata: {labels: {app: web}, annotations: {service-leader-election/service: web}}",
    );
    let manifests = injected(&[&on_the_template, &deployment("service: web")]);
    assert_eq!(
        changes(&manifests),
        ["injected 1.yaml, document 1, Deployment web"]
    );
    let [(_, left)] = manifests.report.left.as_slice() else {
        panic!("{:?}", manifests.report.left);
    };
    documented(
        "command-left-to-the-webhook",
        &format!("warning: Deployment web: {left}"),
    )
    .unwrap();
}

#[test]
fn an_annotation_that_nobody_looks_at_is_told() {
    let rollout = deployment("service: web").replace("apps/v1", "argoproj.io/v1alpha1");
    let manifests = injected(&[&rollout, SERVICE]);
    assert_eq!(changes(&manifests), [""; 0]);
    let [(object, text)] = manifests.report.warnings.as_slice() else {
        panic!("{:?}", manifests.report.warnings);
    };
    assert_eq!(object.to_string(), "Deployment web");
    assert!(text.contains("has no effect on kind"), "{text}");
}

#[test]
fn a_namespace_at_hand_says_which_mesh_its_pods_are_in() {
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio-injection: \
                     enabled}}\n";
    let here = deployment("service: web").replace("  name: web", "  name: web\n  namespace: shop");
    let key = "traffic.sidecar.istio.io/excludeInboundPorts";
    for (texts, expected) in [(vec![&*here, namespace], true), (vec![&*here], false)] {
        let written = injected(&texts).text().unwrap();
        assert_eq!(written.contains(key), expected, "{written}");
    }
}
