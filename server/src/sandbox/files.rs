//! Which files a worker may open, by Landlock.

use std::env;
use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};

/// Opening, creating, removing, renaming and truncating are all ruled from here on (Linux 6.2).
const LEAST: ABI = ABI::V3;

/// What is ruled where the kernel knows it: devices, ports, sockets without a name, signals (Linux 6.12).
const BEST: ABI = ABI::V6;

/// Folders that a worker reads beside its model: the libraries it loads, and what the C library and the thread pools ask about
/// the machine. None holds anything of a user.
const SYSTEM_FOLDERS: &[&str] = &[
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/proc/self",
    "/proc/sys/kernel",
    "/proc/sys/vm",
    "/sys/devices/system",
    "/sys/fs/cgroup",
    "/sys/kernel/mm",
];

/// Files of the same kind.
const SYSTEM_FILES: &[&str] = &[
    "/etc/ld.so.cache",
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/meminfo",
    "/proc/stat",
    "/dev/urandom",
];

/// What drivers of graphics processors read to find them: which drivers there are, and which devices.
const DRIVER_FOLDERS: &[&str] = &[
    "/etc/vulkan",
    "/usr/share/vulkan",
    "/usr/local/share/vulkan",
    "/usr/share/drirc.d",
    "/usr/share/libdrm",
    "/proc/driver",
    "/sys/bus/pci",
    "/sys/class/drm",
    "/sys/class/kfd",
    "/sys/dev/char",
    "/sys/devices",
    "/sys/module",
];

/// Where the devices themselves are. They are opened for writing and told what to do by `ioctl`.
const DEVICES: &[&str] = &[
    "/dev/dri",
    "/dev/kfd",
    "/dev/nvidia-caps",
    "/dev/nvidia-modeset",
    "/dev/nvidia-uvm",
    "/dev/nvidia-uvm-tools",
    "/dev/nvidiactl",
];

/// Most cards of NVIDIA's, each of which is a file of its own.
const NVIDIA_CARDS: usize = 16;

/// Written to by libraries that have nothing to say.
const SINK: &str = "/dev/null";

/// What a worker may touch beside the system's libraries.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rights {
    /// Files to read.
    pub read: Vec<PathBuf>,
    /// Files that exist, to write.
    pub write: Vec<PathBuf>,
    /// Whether it computes on graphics processors: their devices are then opened, and what their drivers look for is read.
    pub devices: bool,
}

impl Rights {
    /// Whether it is there to make a file.
    pub(super) fn makes_files(&self) -> bool {
        !self.write.is_empty()
    }
}

/// Restricts the calling thread, and what it starts, to `rights`.
///
/// # Errors
/// In words, what is missing. Whatever the kernel has holds all the same.
pub(super) fn restrict(rights: &Rights) -> Result<(), String> {
    let status = rules(rights).map_err(|error| format!("Landlock failed: {error}"))?;
    match status.landlock {
        LandlockStatus::Available { effective_abi, .. }
            if effective_abi >= LEAST && status.ruleset != RulesetStatus::NotEnforced =>
        {
            Ok(())
        }
        LandlockStatus::Available { effective_abi, .. } => Err(format!(
            "this kernel's Landlock is too old ({effective_abi:?} of {LEAST:?}, Linux 6.2)"
        )),
        LandlockStatus::NotEnabled => Err("Landlock is disabled in this kernel".into()),
        LandlockStatus::NotImplemented => Err("this kernel has no Landlock".into()),
    }
}

fn rules(rights: &Rights) -> Result<landlock::RestrictionStatus, landlock::RulesetError> {
    let read_file = AccessFs::ReadFile;
    let read_folder = AccessFs::ReadFile | AccessFs::ReadDir;
    let write_file = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(BEST))?
        .handle_access(AccessNet::from_all(BEST))?
        .scope(Scope::from_all(BEST))?
        .create()?;
    // Where a release for all processors has the libraries from which it chooses.
    let own_libraries = env::current_exe()
        .ok()
        .filter(|_| cfg!(feature = "portable"))
        .map(|executable| executable.with_file_name("lib"));
    let folders = SYSTEM_FOLDERS
        .iter()
        .map(PathBuf::from)
        .chain(own_libraries)
        .map(|path| (path, read_folder));
    let files = rights
        .read
        .iter()
        .cloned()
        // A panic looks into the executable for names of functions.
        .chain(env::current_exe().ok())
        .chain(SYSTEM_FILES.iter().map(PathBuf::from))
        .map(|path| (path, read_file.into()));
    let writable = rights
        .write
        .iter()
        .cloned()
        .chain([PathBuf::from(SINK)])
        .map(|path| (path, write_file));
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::ReadDir | AccessFs::IoctlDev;
    let drivers = DRIVER_FOLDERS
        .iter()
        .map(|path| (PathBuf::from(path), read_folder))
        .chain(devices().map(|path| (path, device)))
        .filter(|_| rights.devices);
    for (path, access) in folders.chain(files).chain(writable).chain(drivers) {
        // What is not there needs no rule. A missing model file is told by the engine, in its own words.
        if let Ok(opened) = PathFd::new(&path) {
            // A file has no entries to list, and the kernel refuses rules that say it had.
            let access = match path.is_dir() {
                true => access,
                false => access & AccessFs::from_file(BEST),
            };
            ruleset = ruleset.add_rule(PathBeneath::new(opened, access))?;
        }
    }
    ruleset.restrict_self()
}

fn devices() -> impl Iterator<Item = PathBuf> {
    let cards = (0..NVIDIA_CARDS).map(|card| PathBuf::from(format!("/dev/nvidia{card}")));
    DEVICES.iter().map(PathBuf::from).chain(cards)
}
