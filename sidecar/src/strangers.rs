//! The pods that may lead by another Lease: a Service that one of them leads is not this election's to take.
//!
//! Must not know: which Services this election has.

use std::collections::BTreeSet;

use election::PodName;

use crate::peers::is_of_another_election;
use crate::pod::Object;
use crate::watch::Change;

/// Their names, of the pods that carry the label.
#[derive(Debug)]
pub(crate) struct Strangers {
    lease: String,
    names: BTreeSet<String>,
}

impl Strangers {
    /// None are known yet.
    pub(crate) fn new(lease: &str) -> Self {
        Self {
            lease: lease.to_owned(),
            names: BTreeSet::new(),
        }
    }

    /// Takes a change of the pods; the names, if they are others now.
    pub(crate) fn take(&mut self, change: &Change<Object>) -> Option<BTreeSet<String>> {
        let name = |pod: &Object| pod.metadata.name.clone();
        let changed = match change {
            Change::All(pods) => {
                let strange = pods.iter().filter(|pod| self.may_lead(pod));
                let names = strange.map(name).collect();
                let before = std::mem::replace(&mut self.names, names);
                before != self.names
            }
            Change::Put(pod) if self.may_lead(pod) => self.names.insert(name(pod)),
            Change::Put(pod) | Change::Gone(pod) => self.names.remove(&pod.metadata.name),
            Change::Stale => false,
            Change::Unavailable => !std::mem::take(&mut self.names).is_empty(),
        };
        changed.then(|| self.names.clone())
    }

    /// Which of its containers must be ready is the other election's to know: here the whole pod.
    fn may_lead(&self, pod: &Object) -> bool {
        let stays = !pod.is_leaving() && !pod.is_finished();
        stays && pod.is_labelled() && pod.is_ready(None) && is_of_another_election(&self.lease, pod)
    }
}

/// Those that lead a Service, or have led one: the core is told of them.
#[derive(Debug, Default)]
pub(crate) struct Rivals {
    strangers: BTreeSet<String>,
    told: Vec<PodName>,
}

impl Rivals {
    pub(crate) fn know(&mut self, strangers: BTreeSet<String>) {
        self.strangers = strangers;
    }

    /// What to tell, if it is something else than before, where these pods lead the Services.
    pub(crate) fn among(&mut self, leaders: &[&str]) -> Option<Vec<PodName>> {
        let told = |pod: &PodName| leaders.contains(&pod.as_str()) || self.told.contains(pod);
        let strangers = self.strangers.iter();
        let strangers = strangers.filter_map(|name| PodName::parse(name).ok());
        let rivals: Vec<_> = strangers.filter(told).collect();
        if self.told == rivals {
            return None;
        }
        self.told.clone_from(&rivals);
        Some(rivals)
    }
}

#[cfg(test)]
mod tests {
    use contract::names::{self, LABEL, env};
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, service: &str) -> Value {
        json!({
            "metadata": { "name": name, "uid": name, "labels": { LABEL: name } },
            "spec": { "containers": [
                { "name": "app" },
                { "name": names::CONTAINER, "env": [{ "name": env::SERVICE, "value": service }] },
            ] },
            "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] },
        })
    }

    fn object(raw: &Value) -> Object {
        serde_json::from_value(raw.clone()).unwrap()
    }

    fn after(changes: &[Change<Object>]) -> Vec<String> {
        let mut strangers = Strangers::new("service-leader-election-web");
        for change in changes {
            drop(strangers.take(change));
        }
        strangers.names.into_iter().collect()
    }

    #[test]
    fn a_ready_pod_of_another_lease_is_one() {
        let mut unready = pod("b", "api");
        unready["status"]["conditions"][0]["status"] = json!("False");
        let mut leaving = pod("c", "api");
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let mut copied = pod("d", "api");
        copied["metadata"]["labels"][LABEL] = json!("a");
        let mut plain = pod("e", "api");
        plain["spec"]["containers"] = json!([{ "name": "app" }]);
        let all = [
            pod("a", "api"),
            unready,
            leaving,
            copied,
            plain,
            pod("own", "web"),
        ];
        assert_eq!(
            after(&[Change::All(all.iter().map(object).collect())]),
            ["a"]
        );
    }

    #[test]
    fn who_is_no_longer_ready_or_gone_is_none() {
        let here = || Change::Put(object(&pod("a", "api")));
        let mut unready = pod("a", "api");
        unready["status"]["conditions"][0]["status"] = json!("False");
        assert_eq!(after(&[here(), Change::Stale]), ["a"]);
        let none: [&str; 0] = [];
        for end in [
            Change::Put(object(&unready)),
            Change::Gone(object(&pod("a", "api"))),
            Change::Unavailable,
            Change::All(Vec::new()),
        ] {
            assert_eq!(after(&[here(), end]), none);
        }
    }

    #[test]
    fn who_has_led_a_service_is_told_until_it_is_no_stranger() {
        let mut rivals = Rivals::default();
        let name = |name| PodName::parse(name).unwrap();
        rivals.know(["a", "b", "c"].map(str::to_owned).into());
        assert_eq!(rivals.among(&["own"]), None);
        assert_eq!(rivals.among(&["a"]), Some(vec![name("a")]));
        assert_eq!(rivals.among(&["a"]), None);
        assert_eq!(rivals.among(&["b"]), Some(vec![name("a"), name("b")]));
        rivals.know(["b".to_owned()].into());
        assert_eq!(rivals.among(&["own"]), Some(vec![name("b")]));
    }

    #[test]
    fn only_a_change_is_news() {
        let mut strangers = Strangers::new("service-leader-election-web");
        let here = Change::Put(object(&pod("a", "api")));
        assert!(strangers.take(&here).is_some());
        assert!(strangers.take(&here).is_none());
        assert!(strangers.take(&Change::Stale).is_none());
    }
}
