//! I9: nothing goes wrong, and nothing happens.

use std::time::Duration;

use simulator::{Setup, World};

#[test]
fn without_faults_the_first_leader_stays_for_a_day() {
    let mut world = World::new(&Setup::quiet(3));
    world.settle(Duration::from_secs(1));
    let first: Vec<_> = world.leaders().into_iter().cloned().collect();
    assert_eq!(first.len(), 1);
    let services = world.server.services.clone();
    let revision = world.server.revision();
    world.settle(Duration::from_hours(24));
    let after: Vec<_> = world.leaders().into_iter().cloned().collect();
    assert_eq!(after, first);
    assert_eq!(
        world.server.services, services,
        "without faults nobody writes the Service"
    );
    let renewals = Duration::from_hours(24).as_secs() / 4;
    let written = world.server.revision() - revision;
    assert!(
        (renewals - 1..=renewals + 1).contains(&written),
        "{written} writes in a day, and {renewals} renewals are due"
    );
}
