//! Where figures are measured: a cluster that runs the images' programs, with the chart installed.
//!
//! Must not know: what is measured.

use anyhow::Result;
use testcluster::{Cluster, Forwarder, Options};

use crate::{
    images::{self, Programs},
    story::Story,
};

pub(super) struct Bed {
    pub(super) programs: Programs,
    pub(super) story: Story,
    pub(super) cluster: Cluster,
    /// The API server's way to the webhook.
    _webhook: Forwarder,
}

impl Bed {
    pub(super) async fn make() -> Result<Self> {
        let programs = images::build().await?;
        let story = Story::begin();
        story.tell("Starting a cluster whose webhook and sidecars are those of the images ...");
        let cluster = Cluster::start(Options {
            sidecar: Some(programs.sidecar.clone()),
            webhook: Some(programs.webhook.clone()),
            ..Options::default()
        });
        let cluster = cluster.await?;
        let webhook = cluster.install_chart(&[]).await?;
        Ok(Self {
            programs,
            story,
            cluster,
            _webhook: webhook,
        })
    }
}
