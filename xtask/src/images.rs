//! The images: a static program each, built with the profile `image`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::time::Instant;

use crate::{
    steps::minutes,
    workspace::{self, cargo, command, has, root, run},
};

/// Build both images from the Dockerfiles, and print their sizes
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// What the two images are of.
const IMAGES: [&str; 2] = ["sidecar", "webhook"];

/// The programs as the images hold them.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) sidecar: PathBuf,
    pub(crate) webhook: PathBuf,
    /// The folder that this chore may write to.
    folder: PathBuf,
}

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        let Self {} = self;
        let programs = build().await?;
        programs.print_sizes()?;
        if !has("buildah", &["--version"]).await {
            println!(
                "\nNo images: there is no buildah on this machine (Debian and Ubuntu: `apt-get \
                 install buildah`). Where Docker is: docker build --file Dockerfile.sidecar ."
            );
            return Ok(());
        }
        programs.build_images().await
    }
}

/// Builds the programs as the Dockerfiles do.
pub(crate) async fn build() -> Result<Programs> {
    let metadata = workspace::metadata()?;
    let folder = metadata.target_directory.join("images").into_std_path_buf();
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    println!("Building both programs, static and small (minutes, when not done before) ...");
    let begun = Instant::now();
    let mut build = cargo();
    build
        .args(["build", "--locked", "--profile", "image"])
        .args(["-p", "sidecar", "-p", "webhook", "--target", &target])
        .arg("--target-dir")
        .arg(&folder)
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    run(&mut build).await?;
    println!("Built in {}.", minutes(begun.elapsed()));
    let program = |name: &str| folder.join(&target).join("image").join(file_name(name));
    Ok(Programs {
        sidecar: program("sidecar"),
        webhook: program("webhook"),
        folder,
    })
}

fn file_name(image: &str) -> String {
    format!("service-leader-election-{image}")
}

impl Programs {
    pub(crate) fn print_sizes(&self) -> Result<()> {
        println!("\nSizes, stripped and static:");
        println!("  {:>9}  sidecar", megabytes(&self.sidecar)?);
        println!("  {:>9}  webhook", megabytes(&self.webhook)?);
        Ok(())
    }

    /// Builds the Dockerfiles without their base image: the stage `build` is replaced by a folder
    /// that holds the program where the stage would have put it. So its RUN lines are not run here.
    async fn build_images(&self) -> Result<()> {
        // A store of its own, beside the user's, and nothing left of it but the archives.
        let store = tempfile::tempdir()?;
        let stage = store.path().join("stage");
        fs::create_dir_all(stage.join("out"))?;
        for (image, program) in IMAGES.iter().zip([&self.sidecar, &self.webhook]) {
            fs::copy(program, stage.join("out").join(file_name(image)))?;
        }
        println!("\nImages, from the Dockerfiles:");
        for image in IMAGES {
            let begun = Instant::now();
            let archive = self.build_image(image, store.path(), &stage).await?;
            println!("{}", line(image, &archive, begun.elapsed())?);
        }
        Ok(())
    }

    async fn build_image(&self, image: &str, store: &Path, stage: &Path) -> Result<PathBuf> {
        let tag = format!(
            "service-leader-election/{image}:{}",
            env!("CARGO_PKG_VERSION")
        );
        let buildah = || {
            let mut buildah = command("buildah");
            buildah.arg("--root").arg(store.join("root"));
            buildah.arg("--runroot").arg(store.join("run"));
            buildah.args(["--storage-driver", "vfs"]);
            buildah
        };
        let mut build = buildah();
        build
            .args(["bud", "--quiet", "--isolation", "chroot", "--pull-never"])
            .arg(format!("--build-context=build={}", stage.display()))
            .args(["--file", &format!("Dockerfile.{image}"), "--tag", &tag])
            .arg(root());
        run(&mut build).await?;
        let archive = self.folder.join(format!("{image}.tar"));
        // It does not write over an archive.
        if archive.exists() {
            fs::remove_file(&archive)?;
        }
        let mut push = buildah();
        push.args(["push", "--quiet", &tag])
            .arg(format!("docker-archive:{}:{tag}", archive.display()));
        run(&mut push).await?;
        Ok(archive)
    }
}

fn line(image: &str, archive: &Path, took: Duration) -> Result<String> {
    let size = megabytes(archive)?;
    let place = archive.display();
    Ok(format!(
        "  {size:>9}  {image}, in {}: {place}",
        minutes(took)
    ))
}

fn megabytes(file: &Path) -> Result<String> {
    let size = fs::metadata(file).with_context(|| file.display().to_string())?;
    // Tenths of a megabyte, rounded, without a detour by floating point.
    let tenths = (size.len() + 50_000) / 100_000;
    Ok(format!("{}.{} MB", tenths / 10, tenths % 10))
}
