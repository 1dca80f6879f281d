//! `chaski doctor`: what on this machine keeps the server from working well, each with its remedy.
//!
//! It changes nothing and needs no running server. [`machine`] looks at what the machine has, [`store`] at the models' folder and
//! the models in it, [`port`] at the address, [`sandbox`] at what holds workers, [`settings`] at what was set.

mod machine;
mod port;
mod sandbox;
mod settings;
mod store;

use std::io::{self, Write};

use super::console::Console;
use super::error::Error;
use super::place::Place;
use crate::config::{Config, Environment};
use crate::sandbox::{Enforced, Mode};

/// Options of `doctor`: those of `serve`.
#[derive(clap::Args, Debug, Default)]
pub struct Args {
    #[command(flatten)]
    place: Place,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    /// As it should be.
    Well,
    /// Works, but not as well as it could, or not everything.
    Warning,
    /// The server cannot start, or a model cannot run.
    Fault,
}

/// What was looked at, and found.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Finding {
    subject: &'static str,
    verdict: Verdict,
    says: String,
    /// What the user can do about it.
    remedy: Option<String>,
}

impl Finding {
    fn well(subject: &'static str, says: impl Into<String>) -> Self {
        Self {
            subject,
            verdict: Verdict::Well,
            says: says.into(),
            remedy: None,
        }
    }

    fn warning(subject: &'static str, says: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Warning,
            remedy: Some(remedy.into()),
            ..Self::well(subject, says)
        }
    }

    fn fault(subject: &'static str, says: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Fault,
            ..Self::warning(subject, says, remedy)
        }
    }
}

/// Looks at everything, and returns whether no fault was found. `try_sandbox` has a worker lock itself in.
///
/// # Errors
/// When the findings cannot be written.
pub fn run(
    args: &Args,
    environment: &Environment,
    try_sandbox: impl FnOnce(Mode) -> Result<Enforced, String>,
    console: &mut Console<'_>,
) -> Result<bool, Error> {
    let findings = match args.place.settings(environment) {
        Ok(layers) => {
            let config = &layers.config;
            let mut findings = settings::examine(&layers);
            findings.push(sandbox::examine(
                config.sandbox,
                try_sandbox(config.sandbox),
            ));
            findings.extend(examine(config));
            findings
        }
        Err(error) => vec![settings::refused(&error)],
    };
    write(console.out, &findings)?;
    let count = |verdict| findings.iter().filter(|f| f.verdict == verdict).count();
    let faults = count(Verdict::Fault);
    let summary = match (faults, count(Verdict::Warning)) {
        (0, 0) => "All is well.".to_owned(),
        (0, warnings) => format!("No faults, {warnings} to know about."),
        (faults, _) => format!("{faults} to be mended."),
    };
    writeln!(console.out, "\n{summary}")?;
    Ok(faults == 0)
}

fn examine(config: &Config) -> Vec<Finding> {
    let mut findings = vec![
        machine::processor(),
        machine::memory(config),
        machine::descriptors(),
        machine::onnx_runtime(config),
        port::examine(&config.host),
    ];
    findings.extend(store::examine(config));
    findings
}

fn write(out: &mut dyn Write, findings: &[Finding]) -> io::Result<()> {
    for finding in findings {
        let mark = match finding.verdict {
            Verdict::Well => "ok",
            Verdict::Warning => "note",
            Verdict::Fault => "FAULT",
        };
        writeln!(out, "{mark:<7}{:<14}{}", finding.subject, finding.says)?;
        if let Some(remedy) = &finding.remedy {
            writeln!(out, "{:21}{remedy}", "")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::TcpListener;
    use std::path::Path;

    use super::*;
    use crate::builtin;
    use crate::cli::testing::printed;
    use crate::config::Host;
    use crate::store::Store;

    /// A store with one model, at an address that is free.
    fn good(folder: &Path) -> Config {
        let store = Store::open(folder).unwrap();
        store.restore(&builtin::MODELS[0]).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        Config {
            models: folder.to_owned(),
            host: Host::parse(&free.local_addr().unwrap().to_string()),
            ..Config::from_environment(&Environment::default())
        }
    }

    fn faults(config: &Config) -> Vec<Finding> {
        let mut findings = examine(config);
        findings.retain(|finding| finding.verdict == Verdict::Fault);
        findings
    }

    /// Breaks a good set-up in one way; just that, and what is to be done, must be told.
    #[track_caller]
    fn check(subject: &str, told: &str, remedy: &str, break_it: impl FnOnce(&mut Config)) {
        let folder = tempfile::tempdir().unwrap();
        let mut config = good(folder.path());
        assert_eq!(faults(&config), []);
        break_it(&mut config);
        let faults = faults(&config);
        let [fault] = &faults[..] else {
            panic!("not one fault: {faults:?}");
        };
        assert_eq!(fault.subject, subject);
        assert!(fault.says.contains(told), "{}", fault.says);
        let advice = fault.remedy.as_deref().unwrap();
        assert!(advice.contains(remedy), "{advice}");
    }

    #[test]
    fn a_port_that_another_program_has_is_told() {
        let mut other = None;
        check("address", "in use", "OLLAMA_HOST", |config| {
            let address = (config.host.name.clone(), config.host.port);
            other = Some(TcpListener::bind(address).unwrap());
        });
    }

    #[test]
    fn a_folder_that_is_none_is_told() {
        check("models folder", "not a folder", "OLLAMA_MODELS", |config| {
            config.models = config.models.join("file");
            fs::write(&config.models, "").unwrap();
        });
    }

    #[test]
    fn a_library_that_is_not_there_is_told() {
        check(
            "ONNX Runtime",
            "does not exist",
            "ORT_DYLIB_PATH",
            |config| {
                config.ort_library = Some("/nowhere/libonnxruntime.so".into());
            },
        );
    }

    #[test]
    fn a_model_with_a_damaged_file_is_told() {
        check("models", "bytes, not", "chaski verify --repair", |config| {
            let blobs = fs::read_dir(config.models.join("blobs")).unwrap();
            let paths = blobs.map(|blob| blob.unwrap().path());
            let largest = paths.max_by_key(|path| path.metadata().unwrap().len());
            fs::write(largest.unwrap(), "cut").unwrap();
        });
    }

    #[test]
    fn a_model_that_has_no_room_is_told() {
        check("models", "needs", "CHASKI_MEMORY_LIMIT", |config| {
            config.memory_limit = Some(1 << 20);
        });
    }

    #[test]
    fn a_manifest_that_cannot_be_read_is_told() {
        check(
            "models",
            "cannot be read",
            "chaski rm tiny:latest",
            |config| {
                let manifest = "manifests/registry.ollama.ai/library/tiny/latest";
                fs::write(config.models.join(manifest), "{").unwrap();
            },
        );
    }

    #[test]
    fn findings_are_lines_with_their_remedies_below() {
        let folder = tempfile::tempdir().unwrap();
        let good = good(folder.path());
        let (models, host) = (folder.path().display().to_string(), good.host.typed());
        let environment = Environment::of([
            ("CHASKI_MEMORY_LIMIT", "1MiB"),
            ("CHASKI_PATIENCE", "soon"),
            ("OLLAMA_MODELS", &models),
            ("OLLAMA_HOST", &host),
        ]);
        let held = |_| {
            Ok(Enforced {
                files: true,
                system_calls: true,
            })
        };
        let (is_well, text) = printed(|console| run(&Args::default(), &environment, held, console));
        assert!(!is_well.unwrap());
        let lines: Vec<&str> = text.lines().collect();
        let fault = lines
            .iter()
            .position(|line| line.starts_with("FAULT"))
            .unwrap();
        assert!(lines[fault].starts_with("FAULT  models        tiny:latest needs "));
        assert!(lines[fault + 1].starts_with("                     "));
        assert!(text.ends_with("\n1 to be mended.\n"), "{text}");
        assert!(lines[0].starts_with("note   settings      CHASKI_PATIENCE must be a duration"));
        assert!(text.contains("ok     sandbox       best-effort; Landlock"));
    }

    #[test]
    fn a_file_of_settings_that_is_wrong_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        fs::write(&path, "ports = 1").unwrap();
        let line = ["doctor", "--config", path.to_str().unwrap()];
        let args = <Args as clap::FromArgMatches>::from_arg_matches(
            &<Args as clap::Args>::augment_args(clap::Command::new("doctor"))
                .get_matches_from(line),
        );
        let environment = Environment::default();
        let never = |_| unreachable!("nothing is known about the sandbox");
        let (is_well, text) = printed(|console| run(&args.unwrap(), &environment, never, console));
        assert!(!is_well.unwrap());
        assert!(
            text.starts_with("FAULT  settings      ")
                && text.contains("config.toml:1: there is no")
        );
    }
}
