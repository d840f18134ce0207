//! The reference of annotations, out of the types.
//!
//! Must not know: how they are parsed.

use contract::{
    reference::{Absent, KEYS, Key, MARKS, Mark, REQUESTS},
    workload::Kind,
};

/// The page.
pub(super) fn page() -> String {
    let kinds = Kind::ALL.map(|kind| format!("`{}`", kind.as_str()));
    let kinds = kinds.join(", ");
    let mut page = format!(
        "<!-- Made by `cargo xtask golden` of contract/src/reference.rs: change that, not this. -->\n\
         \n\
         # Annotations and labels\n\
         \n\
         ## On a workload\n\
         \n\
         In the metadata of the object that you write yourself: {kinds}. Values are text, so numbers and `true` need \
         quotes.\n\
         \n\
         A value that has not the form is refused at `kubectl apply`, in the words below:\n\
         \n\
         ```text\n\
         annotation <key> is \"<value>\": write <form>\n\
         ```\n\
         \n\
         A key that is not one of these is let in, with a warning that names the nearest. [Every other message]\
         (troubleshooting.md) has a page of its own.\n",
    );
    for key in &KEYS {
        page.push_str(&section(key));
    }
    page.push_str(
        "\n\
         ## On the Lease, by an operator\n\
         \n\
         ```sh\n\
         kubectl annotate lease service-leader-election-web service-leader-election/switchover-to=any\n\
         ```\n",
    );
    for key in &REQUESTS {
        page.push_str(&section(key));
    }
    page.push_str(
        "\n\
         ## What the product writes\n\
         \n\
         To be read. Leave it as it is: the sidecars put right what is changed.\n\
         \n\
         | key | on | by | meaning | example |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    for mark in &MARKS {
        page.push_str(&row(mark));
    }
    page
}

fn section(key: &Key) -> String {
    let Key {
        name,
        form,
        absent,
        example,
        meaning,
    } = key;
    let absent = match absent {
        Absent::Value(value) => format!("`{}`", quoted(value)),
        Absent::Words(words) => (*words).replace('<', "\\<"),
    };
    format!(
        "\n\
         ### `{name}`\n\
         \n\
         {meaning}\n\
         \n\
         - write: {form}\n\
         - default: {absent}\n\
         - example: `{name}: {}`\n",
        quoted(example),
    )
}

/// As YAML wants it for a text.
fn quoted(value: &str) -> String {
    let number = value.chars().all(|c| c.is_ascii_digit());
    if number || ["true", "false"].contains(&value) {
        format!("\"{value}\"")
    } else {
        value.to_owned()
    }
}

fn row(mark: &Mark) -> String {
    let Mark {
        name,
        on,
        by,
        example,
        meaning,
    } = mark;
    format!("| `{name}` | {on} | {by} | {meaning} | `{example}` |\n")
}
