//! Which containers are sidecars of an election, whoever put them there.
//!
//! Must not know: in which object a container stands, what follows from it.

use serde_json::Value;

use crate::names::{self, env};

/// The flag of the Services' names, less its dashes, as the Go original and the sidecar spell it.
pub const SERVICE_FLAG: &str = "service-name";
/// The same of the Lease's name.
pub const LEASE_FLAG: &str = "lease-name";

/// The last part of our image's path, behind the product's name.
const IMAGE: &str = "sidecar";

/// What is looked at of a container.
pub(crate) trait Container {
    fn name(&self) -> &str;
    fn image(&self) -> &str;
    /// The command line, as far as it is written.
    fn words(&self) -> impl Iterator<Item = &str>;
    /// The names of the variables.
    fn variables(&self) -> impl Iterator<Item = &str>;
}

impl Container for Value {
    fn name(&self) -> &str {
        text(self, "name")
    }

    fn image(&self) -> &str {
        text(self, "image")
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        let lists = ["command", "args"].into_iter();
        lists
            .flat_map(move |list| items(self, list))
            .filter_map(Value::as_str)
    }

    fn variables(&self) -> impl Iterator<Item = &str> {
        items(self, "env").map(|variable| text(variable, "name"))
    }
}

fn text<'a>(map: &'a Value, key: &str) -> &'a str {
    map.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn items<'a>(map: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    let list = map.get(key).and_then(Value::as_array);
    list.into_iter().flatten()
}

/// Whether a container is a sidecar: by its name, by its image's, which is ours or the Go original's, or by
/// what it is told. A flag that names a Service alone may be any program's.
pub(crate) fn is_sidecar(container: &impl Container) -> bool {
    container.name() == names::CONTAINER
        || is_image_of_ours(container.image())
        || container.variables().any(|name| name == env::SERVICE)
        || [SERVICE_FLAG, LEASE_FLAG]
            .into_iter()
            .all(|name| flag(container.words(), name).is_some())
}

/// Whether a container that names a Service by a flag is of this image, in whatever version. Images of one
/// path may be of other programs, told apart by their tags.
pub(crate) fn is_version_of(image: &str, container: &impl Container) -> bool {
    let names_a_service = flag(container.words(), SERVICE_FLAG).is_some();
    names_a_service && repository(container.image()) == repository(image)
}

/// A flag's value on a command line, in each spelling that the sidecar takes: `--flag=x`, `--flag x`, `-flag=x`,
/// `-flag x`. The first counts, where there are several.
pub fn flag<'a>(mut words: impl Iterator<Item = &'a str>, flag: &str) -> Option<&'a str> {
    while let Some(word) = words.next() {
        let Some(text) = word.strip_prefix('-') else {
            continue;
        };
        let text = text.strip_prefix('-').unwrap_or(text);
        match text.split_once('=') {
            Some((name, value)) if name == flag => return Some(value),
            None if text == flag => return words.next(),
            _ => {}
        }
    }
    None
}

/// Whether an image is named as the original's is, after the product, or as ours is.
fn is_image_of_ours(image: &str) -> bool {
    let mut parts = repository(image).rsplit('/');
    match parts.next() {
        Some(IMAGE) => parts.next() == Some(names::PRODUCT),
        last => last == Some(names::PRODUCT),
    }
}

/// An image's path without tag and digest.
fn repository(image: &str) -> &str {
    let path = image.split('@').next().unwrap_or(image);
    // A registry may have a port.
    match path.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => path,
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sidecar_is_known_by_its_name_its_image_or_what_it_is_told() {
        for container in [
            json!({ "name": "service-leader-election", "image": "other" }),
            json!({ "name": "elector", "image": "service-leader-election" }),
            json!({ "name": "elector", "image": "example.org:5000/service-leader-election:1" }),
            json!({ "name": "elector", "image": "service-leader-election/sidecar" }),
            json!({ "name": "elector", "image": "example.org/service-leader-election/sidecar:1@sha256:0" }),
            json!({ "name": "elector", "image": "other", "env": [{ "name": env::SERVICE }] }),
            json!({ "name": "elector", "args": ["-service-name=web", "--lease-name", "web"] }),
            json!({ "name": "elector", "command": ["elect", "-lease-name=web"], "args": ["-service-name=web"] }),
        ] {
            assert!(is_sidecar(&container), "{container}");
        }
    }

    #[test]
    fn other_containers_are_none() {
        for container in [
            json!({}),
            json!({ "name": "sidecar", "image": "sidecar" }),
            json!({ "name": "app", "image": "example.org/service-leader-election/app:1" }),
            json!({ "name": "app", "image": "example.org/other/sidecar:1" }),
            json!({ "name": "app", "image": "example.org/app:service-leader-election" }),
            json!({ "name": "app", "args": ["--service-name=web"], "env": [{ "name": "SERVICE" }] }),
            json!({ "name": "app", "args": "-service-name=web -lease-name=web", "env": null }),
        ] {
            assert!(!is_sidecar(&container), "{container}");
        }
    }

    #[test]
    fn versions_of_an_image_differ_by_tag_and_digest_alone() {
        let image = "example.org:5000/a/elector:2";
        for other in [
            "example.org:5000/a/elector",
            "example.org:5000/a/elector:1@sha256:0",
        ] {
            let container = json!({ "image": other, "args": ["-service-name=web"] });
            assert!(is_version_of(image, &container), "{other}");
            assert!(!is_version_of(image, &json!({ "image": other })), "{other}");
        }
        for other in [
            "",
            "example.org/a/elector:2",
            "example.org:5000/elector:2",
            "a/elector:2",
        ] {
            let container = json!({ "image": other, "args": ["-service-name=web"] });
            assert!(!is_version_of(image, &container), "{other}");
        }
    }
}
