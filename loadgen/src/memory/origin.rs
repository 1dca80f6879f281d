use std::collections::BTreeMap;

use procfs::process::Process;

/// How the processes of a target were started, as far as it may be shown to others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The command line of each, in the order of their ids; what may be a secret is left out.
    pub command_lines: Vec<String>,
    /// Settings that are known to change speed or memory, by name.
    pub variables: BTreeMap<String, String>,
}

/// Beginnings of names of settings that servers of models take from the environment.
const SHOWN_PREFIXES: [&str; 9] = [
    "OLLAMA_", "CHASKI_", "LLAMA_", "GGML_", "OMP_", "KMP_", "MKL_", "ORT_", "MALLOC_",
];

/// Other settings that change how fast a server is.
const SHOWN: [&str; 7] = [
    "GOMAXPROCS",
    "GOGC",
    "GOMEMLIMIT",
    "LD_PRELOAD",
    "CUDA_VISIBLE_DEVICES",
    "TOKENIZERS_PARALLELISM",
    "RAYON_NUM_THREADS",
];

/// Words in names of options and variables whose values are nobody's business.
const SECRETS: [&str; 7] = [
    "key",
    "token",
    "secret",
    "password",
    "passwd",
    "credential",
    "auth",
];

/// What stands in a secret's place.
const LEFT_OUT: &str = "***";

impl Origin {
    /// Of these processes; what cannot be read is missing.
    pub(super) fn of(processes: impl Iterator<Item = Process>) -> Self {
        let mut origin = Self::default();
        for process in processes {
            if let Ok(words) = process.cmdline() {
                let line = command_line(&words);
                if !line.is_empty() && !origin.command_lines.contains(&line) {
                    origin.command_lines.push(line);
                }
            }
            let variables = process.environ().unwrap_or_default();
            let texts = variables
                .iter()
                .filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)));
            let shown = texts.filter(|(name, _)| is_shown(name));
            // A child that was given another value is seen in its command line, or not at all; the first one stands.
            for (name, value) in shown {
                let known = origin.variables.entry(name.to_owned());
                known.or_insert_with(|| without_password(value));
            }
        }
        origin
    }

    /// Adds what was seen at another time, when other children ran.
    pub fn merge(&mut self, other: Self) {
        for line in other.command_lines {
            if !self.command_lines.contains(&line) {
                self.command_lines.push(line);
            }
        }
        for (name, value) in other.variables {
            self.variables.entry(name).or_insert(value);
        }
    }
}

fn is_shown(name: &str) -> bool {
    let known = SHOWN.contains(&name) || SHOWN_PREFIXES.iter().any(|start| name.starts_with(start));
    known && !is_secret(name)
}

/// Whether an option or a variable of this name may hold a secret. `--max-tokens` holds none: a count of tokens is meant.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let mut words = name.split(|character: char| !character.is_ascii_alphanumeric());
    words.any(|word| SECRETS.contains(&word))
}

/// The words as one line, without the values of options that may hold secrets.
fn command_line(words: &[String]) -> String {
    let mut shown: Vec<String> = Vec::new();
    let mut hide_next = false;
    for word in words {
        let option = word.strip_prefix('-');
        let text = match (option, word.split_once('=')) {
            _ if hide_next && option.is_none() => LEFT_OUT.to_owned(),
            // Also `NAME=value` of an `env` in front.
            (_, Some((name, _))) if is_secret(name) => format!("{name}={LEFT_OUT}"),
            _ => without_password(word),
        };
        hide_next = option.is_some_and(is_secret) && !word.contains('=');
        shown.push(text);
    }
    shown.join(" ")
}

/// An address without the password in it.
fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{LEFT_OUT}@{host}{}", &rest[authority.len()..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_shows_settings_and_no_secrets() {
        let check = |typed: &str, expected: &str| {
            let words: Vec<String> = typed.split(' ').map(str::to_owned).collect();
            assert_eq!(command_line(&words), expected);
        };
        check(
            "llama-server -m a.gguf --threads 2",
            "llama-server -m a.gguf --threads 2",
        );
        check("s --api-key abc --port 1", "s --api-key *** --port 1");
        check("s --api-key=abc", "s --api-key=***");
        check("env HF_TOKEN=abc s", "env HF_TOKEN=*** s");
        check("s --max-tokens 5", "s --max-tokens 5");
        check(
            "s --upstream=http://me:pw@h:1/x",
            "s --upstream=http://***@h:1/x",
        );
    }

    #[test]
    fn only_settings_that_change_speed_are_shown() {
        for shown in [
            "OLLAMA_NUM_PARALLEL",
            "CHASKI_SLOTS",
            "OMP_NUM_THREADS",
            "GOMAXPROCS",
        ] {
            assert!(is_shown(shown), "{shown}");
        }
        for hidden in [
            "HOME",
            "OLLAMA_API_KEY",
            "CHASKI_AUTH",
            "LLAMA_ARG_API_KEY",
            "AWS_SECRET",
        ] {
            assert!(!is_shown(hidden), "{hidden}");
        }
    }

    #[test]
    fn this_process_tells_how_it_was_started() {
        let own = Process::myself().unwrap();
        let origin = Origin::of([own].into_iter());
        assert_eq!(origin.command_lines.len(), 1, "{origin:?}");
    }
}
