//! Shell completions and manual pages: both need no home and no server.

use std::{fs, process::Command};

use crate::world::{World, text};

/// What `magpie` prints to people.
fn printed(world: &World, arguments: &[&str]) -> String {
    let output = world.for_people("nobody", arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_shell_has_completions() {
    let world = World::without_server();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = printed(&world, &["completions", shell]);
        for word in ["history", "discard", "until-idle"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
    assert!(!world.home("nobody").exists(), "a home was made");
    world
        .magpie("nobody", ["completions", "abacus"])
        .with_code(2);
}

#[test]
fn bash_completes_a_command_and_its_flags() {
    const PRESS_TAB: &str = r#"
        source /dev/stdin
        COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1))
        _magpie magpie "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let world = World::without_server();
    let script = world.home("script");
    fs::create_dir_all(script.parent().unwrap()).unwrap();
    fs::write(&script, printed(&world, &["completions", "bash"])).unwrap();
    let press_tab = |words: &[&str]| {
        let output = Command::new("bash")
            .args(["--norc", "-c", PRESS_TAB, "bash"])
            .args(words)
            .stdin(fs::File::open(&script).unwrap())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(press_tab(&["magpie", "hist"]), "history\n");
    assert_eq!(
        press_tab(&["magpie", "listen", "--until"]),
        "--until-idle\n"
    );
    assert_eq!(press_tab(&["magpie", "group", "cr"]), "create\n");
}

#[test]
fn every_command_has_a_manual_page() {
    let world = World::without_server();
    let directory = world.home("man/man1");
    let output = world.for_people("nobody", ["man"]).arg(&directory).output();
    assert_eq!(output.unwrap().status.code(), Some(0));
    for (name, words) in [
        ("magpie", "COMMANDS"),
        ("magpie-send", "seq 1000"),
        ("magpie-group-create", "Book club"),
        ("magpie-outbox-discard", "was refused"),
    ] {
        let page = fs::read_to_string(directory.join(format!("{name}.1"))).unwrap();
        assert!(page.contains(words), "{name}: {page}");
        assert!(page.starts_with(".ie"), "{name} is no manual page: {page}");
    }
    assert!(!world.home("nobody").exists(), "a home was made");

    fs::write(world.home("file"), "no directory").unwrap();
    let path = world.home("file");
    let refused = world.magpie("nobody", ["man".as_ref(), path.as_os_str()]);
    let lines = refused.with_code(5);
    assert_eq!(text(&lines[0], "code"), "input_output");
}
