//! Which system calls a worker is refused, by seccomp.
//!
//! A list of what is refused rather than of what is allowed: llama.cpp, ONNX Runtime and the C library change what they call from
//! release to release, and a worker that dies of a harmless call is a fault of ours. What is refused is everything by which
//! a process reaches beyond itself: the network, other processes, new files, the kernel's own machinery.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// Answered "no such call": the C library then falls back on what can be judged by its arguments.
const UNKNOWN: &[i64] = &[libc::SYS_clone3, libc::SYS_openat2];

/// Refused whatever their arguments.
const REFUSED: &[i64] = &[
    // The network, and sockets of any kind: the worker's own is open already.
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    // Other programs and processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_setpgid,
    libc::SYS_setsid,
    libc::SYS_ioprio_set,
    libc::SYS_kcmp,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    // Names of files: made, changed, removed. Landlock refuses most of it too.
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_truncate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_utimensat,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_memfd_create,
    // Who and where the process is.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_personality,
    // The kernel's machinery, where most of its faults have been.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_fanotify_init,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_shmget,
    libc::SYS_mq_open,
];

/// The older names that one architecture keeps.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[i64] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_creat,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_mknod,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_kexec_file_load,
];

#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[i64] = &[];

/// Filters the calls of the calling thread and of what it starts. A worker that makes a file may open one by a call that could
/// create it: only where it stands, as Landlock says.
///
/// # Errors
/// In words, why there is no filter.
pub(super) fn restrict(makes_files: bool) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("seccomp failed: {error}");
    let unknown = filter(
        UNKNOWN.iter().map(|call| (*call, Vec::new())).collect(),
        libc::ENOSYS,
    );
    let refused = rules(makes_files).and_then(|rules| filter(rules, libc::EPERM));
    // All filters are asked and the strictest answer counts; no two of them answer the same call with different errors.
    for program in [unknown, refused, Ok(other_numbering())] {
        let program = program.map_err(|error| failed(&error))?;
        seccompiler::apply_filter(&program).map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// Refuses the second set of numbers that x86-64 kernels may know their calls by ("x32"): they pass for the same architecture,
/// and lists of ordinary numbers say nothing about them.
fn other_numbering() -> BpfProgram {
    const X32_BIT: u32 = 0x4000_0000;
    let statement = |code: u32, k: u32| seccompiler::sock_filter {
        code: u16::try_from(code).expect("instructions are 16 bits wide"),
        jt: 0,
        jf: 0,
        k,
    };
    let allow = statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW);
    if cfg!(not(target_arch = "x86_64")) {
        return vec![allow];
    }
    let no_such_call = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    vec![
        // The number is the first field of what the kernel shows a filter.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        seccompiler::sock_filter {
            jf: 1,
            ..statement(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, X32_BIT)
        },
        statement(libc::BPF_RET | libc::BPF_K, no_such_call),
        allow,
    ]
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn filter(rules: Rules, error: i32) -> Result<BpfProgram, seccompiler::BackendError> {
    let error = u32::try_from(error).expect("error numbers are positive");
    SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(error),
        TargetArch::try_from(std::env::consts::ARCH)?,
    )?
    .try_into()
}

fn rules(makes_files: bool) -> Result<Rules, seccompiler::BackendError> {
    let all = REFUSED.iter().chain(REFUSED_HERE);
    let mut rules: Rules = all.map(|call| (*call, Vec::new())).collect();
    // Threads are made, processes are not.
    let thread = libc::CLONE_THREAD as u64;
    rules.insert(
        libc::SYS_clone,
        vec![when(0, SeccompCmpOp::MaskedEq(thread), 0)?],
    );
    // The C library's abort() is a signal to oneself.
    let own = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, vec![when(0, SeccompCmpOp::Ne, own)?]);
    // Its own limits only, not the server's.
    let others = |argument| -> Result<_, seccompiler::BackendError> {
        let conditions = [0, own].map(|process| {
            SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, process)
        });
        SeccompRule::new(conditions.into_iter().collect::<Result<_, _>>()?)
    };
    rules.insert(libc::SYS_prlimit64, vec![others(0)?]);
    rules.insert(libc::SYS_setpriority, vec![others(1)?]);
    // Standard error may be a terminal, into which nobody shall type.
    let typing = [libc::TIOCSTI, libc::TIOCLINUX];
    let typing = typing.map(|request| when(1, SeccompCmpOp::Eq, request));
    rules.insert(
        libc::SYS_ioctl,
        typing.into_iter().collect::<Result<_, _>>()?,
    );
    if !makes_files {
        let create = libc::O_CREAT as u64;
        let creates = |argument| when(argument, SeccompCmpOp::MaskedEq(create), create);
        rules.insert(libc::SYS_openat, vec![creates(2)?]);
        #[cfg(target_arch = "x86_64")]
        rules.insert(libc::SYS_open, vec![creates(1)?]);
    }
    Ok(rules)
}

/// Refuses a call by one of its arguments, of which the kernel looks at 32 bits.
fn when(
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompRule, seccompiler::BackendError> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?;
    SeccompRule::new(vec![condition])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_ruled_once_and_the_filters_are_programs() {
        let all: Vec<i64> = REFUSED
            .iter()
            .chain(REFUSED_HERE)
            .chain(UNKNOWN)
            .copied()
            .collect();
        let mut once = all.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), all.len());
        for makes_files in [false, true] {
            let rules = rules(makes_files).unwrap();
            assert_eq!(rules.contains_key(&libc::SYS_openat), !makes_files);
            assert!(!filter(rules, libc::EPERM).unwrap().is_empty());
        }
    }
}
