use super::*;

#[test]
fn the_command_line_is_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn global_flags_stand_before_or_after_the_command() {
    for line in [
        "magpie --json --timeout 5 send @bob hi",
        "magpie send @bob hi --timeout 5 --json",
    ] {
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        assert!(arguments.global.json, "{line}");
        assert_eq!(arguments.global.timeout, 5, "{line}");
    }
}

#[test]
fn an_address_has_a_host_and_a_port() {
    for good in ["127.0.0.1:7443", "[::1]:7443", "chat.example.org:1"] {
        assert!(address(good).is_ok(), "{good}");
    }
    for bad in ["", ":7443", "host", "host:", "host:0", "::1:7443", "a:b:1"] {
        assert!(address(bad).is_err(), "{bad}");
    }
}

#[test]
fn every_command_has_help_with_an_example() {
    fn visit(command: &clap::Command) {
        let help = command.get_after_help().map(ToString::to_string);
        assert!(
            help.is_some_and(|help| help.contains("Example")),
            "{} has no example",
            command.get_name()
        );
        command.get_subcommands().for_each(visit);
    }
    visit(&Arguments::command());
}
