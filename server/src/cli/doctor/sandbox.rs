//! What holds workers on this system.

use super::Finding;
use crate::sandbox::{Enforced, Mode};

const SUBJECT: &str = "sandbox";

/// `tried` is what a worker said that locked itself in.
pub fn examine(mode: Mode, tried: Result<Enforced, String>) -> Finding {
    match tried {
        Err(reason) => Finding::fault(
            SUBJECT,
            reason,
            "run where the kernel has Landlock (5.13 or newer, `lsm=` with landlock) and seccomp, or set CHASKI_SANDBOX=best-effort",
        ),
        Ok(_) if mode == Mode::Off => Finding::warning(
            SUBJECT,
            "off: a malicious model file could do what this user can",
            "unset CHASKI_SANDBOX unless you look into a worker with a debugger",
        ),
        Ok(enforced) if enforced.is_whole() => Finding::well(
            SUBJECT,
            format!("{}; Landlock and seccomp hold every worker", mode.name()),
        ),
        Ok(enforced) => Finding::warning(
            SUBJECT,
            format!(
                "{}; {} missing in this kernel",
                mode.name(),
                missing(enforced)
            ),
            "a container may hide them: allow Landlock's system calls and seccomp, or use a kernel of 5.13 or newer with them",
        ),
    }
}

fn missing(enforced: Enforced) -> &'static str {
    match (enforced.files, enforced.system_calls) {
        (false, true) => "Landlock, which bounds the files that workers see, is",
        (true, false) => "seccomp, which bounds their system calls, is",
        _ => "Landlock and seccomp are",
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn what_is_missing_is_told_with_its_remedy() {
        let check = |mode, tried: Result<(bool, bool), &str>, verdict, told: &str| {
            let tried = tried.map(|(files, system_calls)| Enforced {
                files,
                system_calls,
            });
            let finding = examine(mode, tried.map_err(str::to_owned));
            assert_eq!(finding.verdict, verdict, "{finding:?}");
            assert!(finding.says.contains(told), "{}", finding.says);
            assert_eq!(finding.remedy.is_some(), verdict != Verdict::Well);
        };
        check(
            Mode::Required,
            Ok((true, true)),
            Verdict::Well,
            "Landlock and seccomp hold",
        );
        check(
            Mode::BestEffort,
            Ok((false, true)),
            Verdict::Warning,
            "Landlock, which",
        );
        check(
            Mode::BestEffort,
            Ok((true, false)),
            Verdict::Warning,
            "seccomp, which",
        );
        check(
            Mode::BestEffort,
            Ok((false, false)),
            Verdict::Warning,
            "Landlock and seccomp are",
        );
        check(Mode::Off, Ok((false, false)), Verdict::Warning, "off");
        check(
            Mode::Required,
            Err("the sandbox is required and"),
            Verdict::Fault,
            "required",
        );
    }
}
