//! What a sidecar's account must be allowed, one question to the API server each.
//!
//! Pure. Must not know: who asks.

use serde_json::{Value, json};

/// One right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Right {
    group: String,
    resource: String,
    /// Empty for all of them.
    name: String,
    verb: String,
}

/// Every right that a Role gives.
pub(super) fn of(role: &Value) -> Vec<Right> {
    let rules = role.get("rules").and_then(Value::as_array);
    rules.into_iter().flatten().flat_map(of_rule).collect()
}

fn of_rule(rule: &Value) -> Vec<Right> {
    let texts = |key| {
        let list = rule.get(key).and_then(Value::as_array);
        let texts = list.into_iter().flatten().filter_map(Value::as_str);
        texts.map(str::to_owned).collect::<Vec<_>>()
    };
    let mut names = texts("resourceNames");
    if names.is_empty() {
        names.push(String::new());
    }
    let mut rights = Vec::new();
    for group in texts("apiGroups") {
        for resource in texts("resources") {
            for name in &names {
                for verb in texts("verbs") {
                    rights.push(Right {
                        group: group.clone(),
                        resource: resource.clone(),
                        name: name.clone(),
                        verb,
                    });
                }
            }
        }
    }
    rights
}

impl Right {
    /// The question whether an account has it, as a SubjectAccessReview.
    pub(super) fn question(&self, namespace: &str, account: &str) -> Value {
        json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": user(namespace, account),
                // As the API server has them for every account.
                "groups": [
                    "system:serviceaccounts",
                    format!("system:serviceaccounts:{namespace}"),
                    "system:authenticated",
                ],
                "resourceAttributes": {
                    "namespace": namespace,
                    "group": self.group,
                    "resource": self.resource,
                    "name": self.name,
                    "verb": self.verb,
                },
            },
        })
    }

    /// On which objects.
    fn objects(&self) -> String {
        match self.name.as_str() {
            "" => self.resource.clone(),
            name => format!("{}/{name}", self.resource),
        }
    }
}

/// What the API server knows a service account as.
pub(super) fn user(namespace: &str, account: &str) -> String {
    format!("system:serviceaccount:{namespace}:{account}")
}

/// The answer to a question.
pub(super) fn is_allowed(answer: &Value) -> bool {
    answer.pointer("/status/allowed").and_then(Value::as_bool) == Some(true)
}

/// The answers, a line for the objects of each kind.
pub(super) fn lines(answers: &[(Right, bool)]) -> Vec<String> {
    answers
        .chunk_by(|(a, _), (b, _)| a.objects() == b.objects())
        .filter_map(|answers| {
            let (first, _) = answers.first()?;
            let verbs: Vec<String> = answers
                .iter()
                .map(|(right, yes)| format!("{} {}", right.verb, if *yes { "yes" } else { "no" }))
                .collect();
            Some(format!("{}: {}", first.objects(), verbs.join(", ")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_right_of_a_role_is_a_question() {
        let role = json!({ "rules": [
            {
                "apiGroups": [""], "resources": ["services"],
                "resourceNames": ["a", "b"], "verbs": ["get", "patch"],
            },
            { "apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"] },
        ] });
        let rights = of(&role);
        let answers: Vec<_> = rights
            .iter()
            .map(|right| (right.clone(), right.verb != "patch"))
            .collect();
        let expected = [
            "services/a: get yes, patch no",
            "services/b: get yes, patch no",
            "events: create yes",
        ];
        assert_eq!(lines(&answers), expected);
        let question = rights.first().unwrap().question("shop", "web");
        assert_eq!(question["spec"]["user"], "system:serviceaccount:shop:web");
        assert_eq!(
            question["spec"]["resourceAttributes"],
            json!({
                "namespace": "shop", "group": "", "resource": "services", "name": "a", "verb": "get",
            })
        );
    }
}
