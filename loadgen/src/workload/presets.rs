use super::{Group, file};

/// The bundled workload files, in the order in which they are listed.
const FILES: [(&str, &str); 13] = [
    ("generate", include_str!("../../presets/generate.toml")),
    ("embed", include_str!("../../presets/embed.toml")),
    ("classify", include_str!("../../presets/classify.toml")),
    ("chat-short", include_str!("../../presets/chat-short.toml")),
    (
        "chat-long-prompt",
        include_str!("../../presets/chat-long-prompt.toml"),
    ),
    (
        "rag-shared-prefix",
        include_str!("../../presets/rag-shared-prefix.toml"),
    ),
    ("multi-turn", include_str!("../../presets/multi-turn.toml")),
    (
        "embed-query",
        include_str!("../../presets/embed-query.toml"),
    ),
    ("embed-bulk", include_str!("../../presets/embed-bulk.toml")),
    (
        "classify-short",
        include_str!("../../presets/classify-short.toml"),
    ),
    ("mixed", include_str!("../../presets/mixed.toml")),
    ("capacity", include_str!("../../presets/capacity.toml")),
    ("cold-start", include_str!("../../presets/cold-start.toml")),
];

/// The names of the bundled workloads.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}

/// The bundled workload of that name.
pub fn preset(name: &str) -> Option<Group> {
    let (_, text) = FILES.iter().find(|(known, _)| *known == name)?;
    Some(file::parse(text, name, None).expect("bundled files are read in a test"))
}

/// The text of the bundled workload of that name.
pub fn text(name: &str) -> Option<&'static str> {
    FILES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bundled_file_is_a_workload_of_its_name() {
        for name in names() {
            let group = preset(name).unwrap();
            assert_eq!(group.name, name);
            for part in &group.parts {
                assert!(!part.workload.description.is_empty(), "{name}");
                let workload = &part.workload;
                assert!(
                    !workload.loads.is_empty() || workload.cold_repeats > 0,
                    "{name}"
                );
            }
        }
    }
}
