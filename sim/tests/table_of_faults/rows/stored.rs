//! Pushes, several nodes, and what is stored.

use magpie_sim::world::{
    Act::{
        CommitUnknown, CrashServer, HalfOpen, Join, Leave, LoseBell, Restore, RollBack, Sleep,
        WakeLost,
    },
    Mutant::{
        ConfirmsWhenSent, HeadInsteadOfBase, HelloNeverLowers, LastBaseOnly, NamesEpochTooSoon,
        NeverPagesOwn, NoEarlyWriteGate, OnePositionForAllShards, OpensGateWhenSent,
        RestoresSilently, SendsToLeavers, SendsWhatTheBellNames, TakesFromLeavers,
        TakesUndoneEpochForKnown, TicksWhenSent, TrustsOldEpoch, TrustsRestoredCursors,
        TrustsTheDoorbell, WakesForNothing, WakesOnce,
    },
};

use super::{
    Area::{Nodes, Pushes, Stored},
    Fault, fault,
};

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        weights: &[WakeLost],
        tests: &[
            "a_wake_survives_that_fcm_is_down_and_the_server_is_killed",
            "nobody_there_is_unavailable",
            "failures_wait_at_least_ten_seconds_and_longer_each_time",
        ],
        ..fault(Pushes, "FCM is down")
    },
    Fault {
        weights: &[WakeLost, Sleep],
        tests: &[
            "a_device_that_caught_up_while_fcm_was_down_gets_no_push",
            "a_lost_answer_is_no_success_though_the_push_came",
            "a_message_is_gone_when_its_time_is_over",
        ],
        ..fault(Pushes, "FCM is slow, and a push comes late")
    },
    Fault {
        weights: &[WakeLost],
        tests: &[
            "while_fcm_asks_for_patience_nobody_is_sent_to_and_nothing_is_lost",
            "retry_after_is_heard",
            "a_429_closes_the_whole_sender_for_as_long_as_it_says",
        ],
        ..fault(Pushes, "FCM refuses for now (429, 503, a quota)")
    },
    Fault {
        tests: &[
            "only_a_dead_token_is_forgotten_and_nobody_else_waits_for_it",
            "a_dead_token_is_forgotten_unless_it_was_replaced",
            "a_token_that_replaced_a_dead_one_in_the_meantime_stays",
            "a_dead_token_is_forgotten_and_a_new_one_wakes",
        ],
        remark: "The simulator knows no tokens",
        ..fault(Pushes, "a token is dead (UNREGISTERED)")
    },
    Fault {
        weights: &[Sleep, HalfOpen],
        mutants: &[WakesForNothing, ConfirmsWhenSent],
        tests: &[
            "nodes_that_compete_for_the_duty_send_each_wake_once",
            "a_message_that_comes_again_after_a_kill_wakes_nobody_again",
        ],
        ..fault(Pushes, "a push comes twice, or for nothing")
    },
    Fault {
        weights: &[WakeLost],
        mutants: &[WakesOnce],
        tests: &[
            "a_wake_is_due_again_by_the_schedule_until_it_is_answered",
            "an_app_that_does_not_answer_is_helped_by_android",
            "in_doze_only_high_priority_comes_and_the_rest_when_it_wakes",
        ],
        ..fault(
            Pushes,
            "a push is swallowed (Doze, collapsed, the app was stopped)",
        )
    },
    Fault {
        weights: &[CrashServer],
        tests: &[
            "a_server_that_is_killed_with_the_duty_is_followed_by_another_and_no_wake_is_lost",
            "a_batch_whose_connection_breaks_is_there_once",
        ],
        remark: "To its devices a node that dies is a server that was killed",
        ..fault(Nodes, "a node dies")
    },
    Fault {
        weights: &[LoseBell],
        mutants: &[
            TrustsTheDoorbell,
            SendsWhatTheBellNames,
            OnePositionForAllShards,
        ],
        tests: &["an_event_that_no_doorbell_told_of_is_found_in_the_log"],
        remark: "There is no bus: each node reads the log, and a doorbell only says when",
        ..fault(
            Nodes,
            "what tells nodes of each other's news is lost, doubled or late",
        )
    },
    Fault {
        tests: &[
            "a_device_that_another_node_revoked_is_ended_and_refused",
            "a_token_that_another_node_replaced_is_refused",
        ],
        remark: "Cannot happen: there is no registry of who is connected where. What nodes know of \
                 devices, generation and cursor, is in the log's database",
        ..fault(Nodes, "a device is believed to be on a node that is dead")
    },
    Fault {
        weights: &[CommitUnknown],
        tests: &["a_fail_over_to_a_synchronous_standby_loses_doubles_and_reorders_nothing"],
        ..fault(
            Nodes,
            "the database fails over, and the standby has all commits",
        )
    },
    Fault {
        weights: &[Restore],
        tests: &[
            "a_fail_over_that_lost_the_tail_is_a_new_epoch_and_gets_it_back_from_the_senders",
            "a_log_that_falls_under_a_living_server_stops_it_until_a_new_epoch",
            "no_node_serves_a_log_of_which_another_found_that_it_went_back",
        ],
        ..fault(
            Nodes,
            "the database fails over, and the last commits are lost",
        )
    },
    Fault {
        tests: &[
            "a_newer_schema_is_refused_unless_it_says_that_we_can_work_with_it",
            "unknown_fields_are_passed_over_and_the_last_of_two_counts",
            "an_event_of_an_unknown_kind_keeps_its_content",
            "nodes_that_start_together_make_one_schema",
        ],
        remark: "There is one version so far: what a second one needs is there, two have not run together",
        ..fault(Nodes, "two versions run at once")
    },
    Fault {
        weights: &[RollBack],
        tests: &[
            "a_file_that_is_no_local_database_is_refused_and_left_alone",
            "an_audit_finds_an_event_that_vanished_from_the_copy",
        ],
        remark: "A damaged file is refused and not mended: its user signs in with a new home, and what \
                 was in the old one's outbox is lost with it",
        ..fault(Stored, "a client's database is damaged")
    },
    Fault {
        weights: &[RollBack],
        mutants: &[HelloNeverLowers],
        tests: &[
            "a_database_of_a_client_that_went_back_loses_doubles_and_reorders_nothing",
            "hello_sets_the_cursor_also_downwards",
            "a_device_whose_cursor_falls_is_looked_at",
        ],
        ..fault(
            Stored,
            "a client's database goes back (a phone is restored)",
        )
    },
    Fault {
        weights: &[RollBack],
        mutants: &[NeverPagesOwn],
        tests: &[
            "a_second_device_shows_what_was_said_before",
            "the_history_of_a_new_device_is_a_gap_that_is_filled_on_demand_and_never_printed",
            "a_device_without_a_cursor_begins_where_it_was_made",
        ],
        ..fault(Stored, "an app is installed anew, or a device is new")
    },
    Fault {
        weights: &[Restore],
        mutants: &[
            RestoresSilently,
            HeadInsteadOfBase,
            LastBaseOnly,
            TakesUndoneEpochForKnown,
            TrustsOldEpoch,
            TrustsRestoredCursors,
            NoEarlyWriteGate,
            OpensGateWhenSent,
            NamesEpochTooSoon,
        ],
        tests: &[
            "what_a_restored_server_forgot_comes_back_from_the_devices_of_those_who_wrote_it",
            "a_device_that_slept_through_two_restores_brings_back_what_it_held",
            "a_client_that_is_killed_while_it_takes_over_another_history_goes_on",
            "a_device_of_another_history_is_told_what_is_common_before_it_may_write",
            "whoever_sleeps_through_a_restore_is_woken",
            "what_a_restored_server_lost_of_photos_is_uploaded_again",
        ],
        ..fault(Stored, "the server is restored from a backup")
    },
    Fault {
        tests: &[
            "at_the_last_number_a_link_ends_and_does_not_begin_anew",
            "a_position_knows_its_shard",
        ],
        remark: "All counters have 64 bits, so a simulated century does not reach a limit",
        ..fault(Stored, "a counter is at its limit")
    },
    Fault {
        remark: "Cannot happen: nothing is ever deleted from the log",
        ..fault(Stored, "what an absent device lacks was deleted meanwhile")
    },
    Fault {
        weights: &[Join, Leave],
        mutants: &[SendsToLeavers, TakesFromLeavers, TicksWhenSent],
        tests: &[
            "a_removed_member_receives_the_removal_last",
            "a_removed_member_reads_up_to_the_removal",
            "former_members_read_up_to_their_end",
            "a_revoked_device_changes_nothing",
        ],
        ..fault(Stored, "somebody is removed, or signed out, meanwhile")
    },
    Fault {
        tests: &[
            "what_cannot_be_read_stays_visible_and_stops_nothing",
            "an_event_of_an_unknown_kind_keeps_its_content",
            "a_page_holds_one_event_however_large",
            "a_mended_frame_differs_only_in_what_could_not_be_read",
        ],
        remark: "The simulator's messages can all be read; `client_catch_up` is fuzzed with such that cannot",
        ..fault(
            Stored,
            "an event cannot be decoded, or is too large for a page",
        )
    },
    Fault {
        tests: &[
            "the_same_id_with_other_content_is_a_conflict",
            "the_same_id_in_two_shards_is_one_message_and_a_conflict",
            "an_id_used_again_is_a_conflict_for_its_user_alone",
            "two_users_may_use_the_same_id",
        ],
        remark: "No client does that, so nobody in the simulator",
        ..fault(Stored, "an id comes again with other content")
    },
];
