//! Folders of running servers: short-named (a Unix socket's path may have 107 bytes), gone with their owner, and swept
//! by the next sandbox when a process died without dropping its own.

use std::{
    env,
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process,
};

use super::SandboxError;

const PREFIX: &str = "weir-sandbox-";

/// A folder that is removed with everything in it on drop. Only its user may enter: root of the servers in it has no
/// password.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// A new folder `weir-sandbox-PID-RANDOM` in the folder for temporary files. No name comes twice: who still knows
    /// a folder that is gone must not meet another in its place.
    pub(super) fn create() -> Result<Self, SandboxError> {
        let parent = env::temp_dir();
        sweep(&parent);
        let path = parent.join(format!("{PREFIX}{}-{:08x}", process::id(), rand::random::<u32>()));
        DirBuilder::new().mode(0o700).create(&path).map_err(SandboxError::file("creating", &path))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nobody is left to tell; the next sandbox sweeps what stays.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes the folders whose process is gone. Containers that share a folder for temporary files but not their process
/// ids would take each other's for such: they need a `TMPDIR` of their own.
///
/// Failures are another user's folders: not ours to remove.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        if owner(&entry.file_name().to_string_lossy()).is_some_and(|pid| !is_alive(pid)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn owner(folder: &str) -> Option<u32> {
    folder.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok()
}

fn is_alive(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_with_its_owner() {
        let folder = Folder::create().unwrap();
        let path = folder.path().to_owned();
        fs::write(path.join("file"), "x").unwrap();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_dead_process_leaves_a_folder_that_is_swept() {
        let parent = Folder::create().unwrap();
        // Above the kernel's largest process id.
        let dead = parent.path().join(format!("{PREFIX}4194305-0"));
        let alive = parent.path().join(format!("{PREFIX}{}-0", process::id()));
        let other = parent.path().join("weir-sandbox-notes");
        for path in [&dead, &alive, &other] {
            fs::create_dir(path).unwrap();
        }
        sweep(parent.path());
        assert_eq!([&dead, &alive, &other].map(|path| path.exists()), [false, true, true]);
    }
}
