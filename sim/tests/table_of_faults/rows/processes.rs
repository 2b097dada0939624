//! Processes end or stand still; the server's database is slow, gone, or unclear.

use magpie_sim::world::{
    Act::{
        CommitFails, CommitLate, CommitUnknown, CrashDevice, CrashServer, HalfOpen, Sleep, Swallow,
    },
    Mutant::{
        AcksBeforeStoring, AnswersBeforeCommit, AppliesCheckpointAtOnce, CursorBeforeEvents,
        ForgetsIds, ForgetsRefusals, GoesOnAfterFailure, NoFence, NumbersBeforeCommit, ResendsAnew,
        ResendsLast, SkipsResend, UnknownIsAccepted, UnknownIsRefused,
    },
};

use super::{
    Area::{Database, Processes},
    Fault, fault,
};

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        weights: &[CrashServer],
        mutants: &[AnswersBeforeCommit, ForgetsIds],
        tests: &[
            "killing_the_server_again_and_again_loses_doubles_and_reorders_nothing",
            "what_was_accepted_survives_the_server",
            "everything_is_there_after_a_restart",
            "a_short_torture_of_the_embedded_store_breaks_no_promise",
            "a_torture_finds_a_server_that_forgets",
        ],
        ..fault(Processes, "the server is killed (`kill -9`)")
    },
    Fault {
        weights: &[CrashServer, CommitFails],
        tests: &[
            "a_failed_batch_leaves_nothing",
            "a_migration_that_fails_leaves_nothing",
        ],
        remark: "A panic is made in no test: the lints leave no `unwrap` and no indexing to cause one",
        ..fault(
            Processes,
            "a task of the server panics, or its memory is out",
        )
    },
    Fault {
        weights: &[HalfOpen, Swallow],
        mutants: &[NoFence],
        tests: &[
            "a_server_that_stands_still_and_goes_on_loses_doubles_and_reorders_nothing",
            "an_older_connection_is_fenced",
        ],
        ..fault(Processes, "the server stands still (SIGSTOP), and goes on")
    },
    Fault {
        weights: &[CrashDevice],
        mutants: &[SkipsResend, ResendsLast, ResendsAnew, ForgetsRefusals],
        tests: &[
            "killing_clients_again_and_again_loses_doubles_and_reorders_nothing",
            "a_sender_that_is_killed_before_the_answer_sends_once",
            "what_was_not_answered_is_sent_again_with_its_id_in_its_order",
        ],
        ..fault(Processes, "a client that sends is killed")
    },
    Fault {
        weights: &[CrashDevice],
        mutants: &[
            AcksBeforeStoring,
            CursorBeforeEvents,
            AppliesCheckpointAtOnce,
        ],
        tests: &[
            "killing_clients_again_and_again_loses_doubles_and_reorders_nothing",
            "a_page_and_its_cursor_are_stored_together_or_not_at_all",
            "a_page_that_comes_again_changes_nothing",
        ],
        ..fault(Processes, "a client that receives is killed")
    },
    Fault {
        weights: &[Sleep, HalfOpen],
        tests: &[
            "a_device_that_does_not_confirm_is_woken_though_its_socket_is_open",
            "every_message_reaches_every_sleeping_device_once_through_kills_and_faults",
        ],
        ..fault(
            Processes,
            "the system suspends an app in the middle of something",
        )
    },
    Fault {
        weights: &[CommitFails],
        tests: &[
            "restarts_kills_and_lost_backends_of_the_database_lose_double_and_reorder_nothing",
            "a_database_that_goes_away_leaves_messages_pending",
        ],
        ..fault(Database, "PostgreSQL is restarted in order")
    },
    Fault {
        weights: &[CommitUnknown, CommitLate],
        tests: &[
            "kills_of_the_database_and_of_the_server_leave_a_group_with_one_history",
            "kills_right_after_an_undone_batch_skip_and_repeat_nothing",
            "nothing_is_lost_when_the_database_is_killed",
            "a_database_that_commits_too_early_is_seen_to_lose",
        ],
        ..fault(Database, "PostgreSQL is killed")
    },
    Fault {
        weights: &[CommitUnknown, CommitFails],
        tests: &[
            "broken_connections_to_the_database_lose_double_and_reorder_nothing",
            "a_batch_whose_connection_breaks_is_there_once",
            "a_database_without_a_free_connection_loses_nothing",
            "a_server_whose_connections_are_all_in_use_loses_nothing",
        ],
        ..fault(Database, "connections to it break, or none is free")
    },
    Fault {
        weights: &[CommitLate],
        tests: &["a_slow_commit_is_waited_for"],
        ..fault(Database, "a commit takes ten seconds")
    },
    Fault {
        weights: &[CommitFails],
        tests: &["a_full_disk_loses_nothing"],
        remark: "Under PostgreSQL; not under the embedded store",
        ..fault(Database, "its disk is full")
    },
    Fault {
        weights: &[CommitFails],
        mutants: &[GoesOnAfterFailure],
        tests: &["serialization_failures_and_deadlocks_lose_double_and_reorder_nothing"],
        ..fault(
            Database,
            "it refuses a statement or a commit (40001, 40P01)",
        )
    },
    Fault {
        weights: &[CommitUnknown, CommitLate],
        mutants: &[UnknownIsRefused, UnknownIsAccepted],
        tests: &[
            "a_commit_whose_answer_is_lost_is_there_once",
            "a_commit_whose_answer_is_lost_is_found",
        ],
        ..fault(Database, "whether it has committed is unknown")
    },
    Fault {
        weights: &[CommitLate],
        tests: &["a_batch_is_committed_though_nobody_waits_for_it"],
        ..fault(Database, "nobody waits any more for a commit under way")
    },
    Fault {
        tests: &["a_database_that_would_lose_messages_is_refused"],
        remark: "Cannot happen: everything is read from the database that is written, and a server \
                 refuses a standby",
        ..fault(Database, "a replica lags, and a cursor is read from it")
    },
    Fault {
        weights: &[CommitLate],
        mutants: &[NumbersBeforeCommit],
        tests: &[
            "a_foreign_transaction_that_is_held_open_loses_and_reorders_nothing",
            "three_nodes_write_one_log",
            "three_nodes_write_a_log_of_two_shards",
        ],
        ..fault(
            Database,
            "two commits end in the other order than they began",
        )
    },
];
