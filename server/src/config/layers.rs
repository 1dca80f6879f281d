//! Which value of a setting counts: an option's, else a variable's, else a file's, else the default; and where it came from.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::file::{Contents, Error};
use super::kind::Kind;
use super::settings::{SETTINGS, Setting};
use super::{Config, Environment};

/// Where a value came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Source {
    Default,
    /// With its line.
    File(usize),
    Variable(&'static str),
    Option(&'static str),
}

/// A configuration that knows where it came from.
#[derive(Debug)]
pub struct Layers {
    /// What is meant.
    pub config: Config,
    file: Option<PathBuf>,
    sources: Vec<(&'static Setting, Source)>,
    /// Variables whose values cannot be read, in words.
    pub unreadable: Vec<String>,
}

impl Layers {
    /// What environment and file say together.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn read(environment: &Environment, file: Option<&Path>) -> Result<Self, Error> {
        let contents = file.map(Contents::read).transpose()?.unwrap_or_default();
        let mut merged = environment.clone();
        let (mut sources, mut unreadable) = (Vec::new(), Vec::new());
        for setting in SETTINGS {
            let mut source = Source::Default;
            for variable in setting.variables {
                let Some(value) = environment.get(variable) else {
                    continue;
                };
                // The sandbox is never less than what somebody may have wanted: see `sandbox_mode`.
                if setting.kind.accepts(value) || *variable == "CHASKI_SANDBOX" {
                    source = Source::Variable(variable);
                    break;
                }
                unreadable.push(format!(
                    "{variable} must be {}, not {value:?}, and counts as not set",
                    setting.kind.words()
                ));
                merged.unset(variable);
            }
            if let (Source::Default, Some((value, line))) = (source, contents.get(setting)) {
                merged.set(setting.variables[0], value.to_owned());
                source = Source::File(line);
            }
            sources.push((setting, source));
        }
        Ok(Self {
            config: Config::from_environment(&merged),
            file: file.map(Path::to_owned),
            sources,
            unreadable,
        })
    }

    /// An option of the command line changes the configuration.
    pub fn change(&mut self, option: &'static str, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
        let known = (self.sources.iter_mut()).find(|(setting, _)| setting.option == Some(option));
        known.expect("every option belongs to a setting").1 = Source::Option(option);
    }

    /// How many settings differ from their defaults, or could.
    #[must_use]
    pub fn changed(&self) -> usize {
        let changed = self
            .sources
            .iter()
            .filter(|(_, source)| *source != Source::Default);
        changed.count()
    }

    /// Writes it as a file that means the same, with the source of every value. What must stay secret is left out.
    ///
    /// # Errors
    /// When nothing can be written any more.
    pub fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        for (setting, source) in &self.sources {
            let source = match source {
                Source::Default => "default".to_owned(),
                Source::File(line) => {
                    let file = self.file.as_deref().unwrap_or(Path::new(""));
                    format!("{}:{line}", file.display())
                }
                Source::Variable(variable) => format!("variable {variable}"),
                Source::Option(option) => format!("option {option}"),
            };
            let line = match (setting.current)(&self.config) {
                None => format!("# {} =", setting.key),
                Some(_) if setting.kind == Kind::Secret => {
                    format!("# {} = (not shown)", setting.key)
                }
                Some(text) => format!("{} = {}", setting.key, setting.kind.to_toml(&text)),
            };
            writeln!(out, "{line:<48} # {source}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value of each setting that is not its default, in TOML.
    const OTHERS: &[(&str, &str)] = &[
        ("host", "'[::1]:7'"),
        ("models", "'/srv/models'"),
        ("keep_alive", "'-1s'"),
        ("context_length", "8192"),
        ("num_parallel", "3"),
        ("max_queue", "9"),
        ("max_loaded_models", "2"),
        ("memory_limit", "6442450944"),
        ("patience", "'1m'"),
        ("load_timeout", "'2m'"),
        ("hang_timeout", "'1h'"),
        ("drain_timeout", "'45s'"),
        ("origins", "['http://a.example', 'https://b.example']"),
        ("flash_attention", "false"),
        ("kernels", "'llama.cpp'"),
        ("kv_cache_type", "'q8_0'"),
        ("cache_idle", "'1s500ms'"),
        ("speculation", "false"),
        ("encoder", "'onnxruntime'"),
        ("ort_library", "'/lib/ort.so'"),
        ("go_template", "true"),
        ("truncate", "'error'"),
        ("no_prune", "true"),
        ("max_transfer_streams", "4"),
        ("hub", "'https://hub.example'"),
        ("hub_token", "'a'"),
        ("sandbox", "'required'"),
        ("keys", "'/etc/chaski/keys'"),
        ("api_key", "'b'"),
        ("insecure", "true"),
        ("tls_cert", "'/c.pem'"),
        ("tls_key", "'/k.pem'"),
        ("ollama_version", "'0.1.2'"),
        ("log", "'debug'"),
        ("log_format", "'json'"),
    ];

    fn file(lines: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, lines).unwrap();
        (folder, path)
    }

    fn printed(layers: &Layers) -> String {
        let mut out = Vec::new();
        layers.print(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_setting_of_a_file_reaches_the_configuration_and_is_printed_as_it_was() {
        let keys: Vec<_> = SETTINGS.iter().map(|setting| setting.key).collect();
        let tried: Vec<_> = OTHERS.iter().map(|(key, _)| *key).collect();
        assert_eq!(tried, keys);
        let lines: Vec<_> = OTHERS
            .iter()
            .map(|(key, value)| format!("{key} = {value}\n"))
            .collect();
        let (_folder, path) = file(&lines.concat());
        let layers = Layers::read(&Environment::default(), Some(&path)).unwrap();
        let defaults = Config::from_environment(&Environment::default());
        let whole: toml::Table = toml::from_str(&lines.concat()).unwrap();
        for (index, setting) in SETTINGS.iter().enumerate() {
            let current = (setting.current)(&layers.config).expect(setting.key);
            assert_eq!(
                setting.kind.to_toml(&current),
                whole[setting.key],
                "{}",
                setting.key
            );
            assert_ne!(
                Some(current),
                (setting.current)(&defaults),
                "{}",
                setting.key
            );
            let line = printed(&layers).lines().nth(index).unwrap().to_owned();
            assert!(
                line.ends_with(&format!(" # {}:{}", path.display(), index + 1)),
                "{line}"
            );
        }
        let text = printed(&layers);
        assert!(text.contains("# api_key = (not shown)"), "{text}");
        // What was printed is a file that says the same, but for the secrets.
        let (_folder, again) = file(&text);
        let again = Layers::read(&Environment::default(), Some(&again)).unwrap();
        for setting in SETTINGS
            .iter()
            .filter(|setting| setting.kind != Kind::Secret)
        {
            let (first, second) = (
                (setting.current)(&layers.config),
                (setting.current)(&again.config),
            );
            assert_eq!(first, second, "{}", setting.key);
        }
    }

    #[test]
    fn the_defaults_are_a_file_too() {
        let layers = Layers::read(&Environment::default(), None).unwrap();
        assert_eq!(layers.changed(), 0);
        let (_folder, path) = file(&printed(&layers));
        Layers::read(&Environment::default(), Some(&path)).unwrap();
    }

    #[test]
    fn options_go_before_variables_and_these_before_the_file() {
        let (_folder, path) =
            file("host = 'a:1'\nmodels = 'here'\nmax_queue = 3\npatience = 5\nlog = 'warn'");
        let environment = Environment::of([
            ("OLLAMA_HOST", "b:2"),
            ("OLLAMA_MAX_QUEUE", "4"),
            // Cannot be read, so that the file counts.
            ("CHASKI_PATIENCE", "soon"),
            ("OLLAMA_DEBUG", "1"),
        ]);
        let mut layers = Layers::read(&environment, Some(&path)).unwrap();
        layers.change("--host", |config| {
            config.host = super::super::Host::parse("c:3")
        });
        let text = printed(&layers);
        let file = path.display();
        let check = |key: &str, value: &str, source: &str| {
            let line = format!("{:<48} # {source}\n", format!("{key} = {value}"));
            assert!(text.contains(&line), "{line}{text}");
        };
        check("host", "\"c:3\"", "option --host");
        check("max_queue", "4", "variable OLLAMA_MAX_QUEUE");
        check("patience", "\"5s\"", &format!("{file}:4"));
        check("log", "\"info,chaski=debug\"", "variable OLLAMA_DEBUG");
        check("keep_alive", "\"5m\"", "default");
        // A path is meant from its file's folder.
        assert_eq!(layers.config.models, path.parent().unwrap().join("here"));
        assert_eq!(
            layers.unreadable,
            [
                "CHASKI_PATIENCE must be a duration such as \"90s\" or \"1h30m\", or a number of seconds, not \"soon\", and counts as not set"
            ]
        );
    }

    #[test]
    fn an_unreadable_sandbox_is_the_strictest() {
        let environment = Environment::of([("CHASKI_SANDBOX", "requird")]);
        let layers = Layers::read(&environment, None).unwrap();
        assert_eq!(layers.config.sandbox.name(), "required");
    }

    #[test]
    fn no_variable_of_the_configuration_is_missing_in_the_list() {
        let source = include_str!("../config.rs");
        let (code, _) = source.split_once("mod tests {").unwrap();
        let mut seen = 0;
        for text in code.split('"').filter(|text| {
            ["OLLAMA_", "CHASKI_", "HF_", "ORT_"]
                .iter()
                .any(|prefix| text.starts_with(prefix))
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        }) {
            let is_known = SETTINGS
                .iter()
                .any(|setting| setting.variables.contains(&text));
            assert!(is_known, "{text}");
            seen += 1;
        }
        assert!(seen > 30, "{seen}");
    }
}
