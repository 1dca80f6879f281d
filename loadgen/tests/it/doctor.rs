use crate::support::loadgen_plain;

#[test]
fn the_machine_is_examined_and_every_concern_has_a_remedy() {
    let run = loadgen_plain("doctor --watch 20ms");
    assert!([0, 4].contains(&run.code), "{}", run.stderr);
    for subject in ["processors: ", "load: ", "stolen time: ", "open files: "] {
        assert!(run.table.contains(subject), "{}", run.table);
    }
    let lines: Vec<&str> = run.table.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let needs_remedy = line.starts_with("concern") || line.starts_with("PROBLEM");
        let has_remedy = lines
            .get(index + 1)
            .is_some_and(|next| next.trim_start().starts_with("-> "));
        assert_eq!(needs_remedy, has_remedy, "{line}");
    }
    assert_eq!(run.code == 4, run.table.contains("PROBLEM"));
}
