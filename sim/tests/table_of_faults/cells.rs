//! Moments at which faults are easy to get wrong.

use magpie_sim::world::Mutant::{
    AcksBeforeStoring, CursorBeforeEvents, ForgetsIds, GoesOnAfterFailure, HeadInsteadOfBase,
    HelloNeverLowers, LastBaseOnly, NoEarlyWriteGate, NoFence, TakesUndoneEpochForKnown,
    UnknownIsAccepted, UnknownIsRefused, WakesForNothing, WakesOnce,
};

use super::Cell;

pub(super) const CELLS: &[Cell] = &[
    Cell {
        moment: "the server is killed between commit and answer",
        rule: "the message comes again, and is answered with the seq that it had; nobody is woken again",
        mutants: &[ForgetsIds],
        tests: &[
            "a_message_that_comes_again_after_a_kill_wakes_nobody_again",
            "the_same_id_again_gives_the_same_answer_and_no_second_event",
            "a_repeat_is_answered_even_if_it_would_be_refused_now",
        ],
    },
    Cell {
        moment: "a server that stood still goes on, and believes that it has the device's connection",
        rule: "what it writes late loses against the newer generation",
        mutants: &[NoFence],
        tests: &[
            "an_older_connection_is_fenced",
            "a_server_that_stands_still_and_goes_on_loses_doubles_and_reorders_nothing",
        ],
    },
    Cell {
        moment: "a client is killed after it has stored and before it has acknowledged",
        rule: "it comes again and is shown once; acknowledged and not stored it never is",
        mutants: &[AcksBeforeStoring, CursorBeforeEvents],
        tests: &[
            "a_page_that_comes_again_changes_nothing",
            "a_page_is_acknowledged_once_it_is_stored_and_its_cursor_opens_the_next_session",
            "killing_clients_again_and_again_loses_doubles_and_reorders_nothing",
        ],
    },
    Cell {
        moment: "the first of two messages fails for now, or nobody knows, and the second does not",
        rule: "the second waits: the connection ends at the first",
        mutants: &[GoesOnAfterFailure, UnknownIsRefused, UnknownIsAccepted],
        tests: &[
            "a_retryable_refusal_holds_the_rest",
            "serialization_failures_and_deadlocks_lose_double_and_reorder_nothing",
            "a_commit_whose_answer_is_lost_is_there_once",
            "a_device_that_sends_too_fast_is_sent_away_and_nothing_overtakes",
        ],
    },
    Cell {
        moment: "a replica that lags says that there is nothing new",
        rule: "nobody asks one: a server does not begin on a standby",
        mutants: &[],
        tests: &["a_database_that_would_lose_messages_is_refused"],
    },
    Cell {
        moment: "a connection is half-open when a message is accepted",
        rule: "its device is woken when its time to confirm is over, whatever the socket looks like",
        mutants: &[WakesOnce],
        tests: &[
            "a_device_that_does_not_confirm_is_woken_though_its_socket_is_open",
            "a_connected_device_that_does_not_confirm_is_woken_after_its_deadline",
        ],
    },
    Cell {
        moment: "FCM limits how many pushes a device, or a project, may get",
        rule: "a device has one wake outstanding and not one for each message; the project has a rate",
        mutants: &[WakesForNothing],
        tests: &[
            "a_device_is_a_candidate_until_it_confirms_or_is_woken",
            "what_came_while_a_wake_was_unanswered_is_owed",
            "over_time_the_rate_is_exact",
        ],
    },
    Cell {
        moment: "a device names a new token while FCM says that the old one is dead",
        rule: "the old one is forgotten by its value; the new one stays, and is woken",
        mutants: &[],
        tests: &[
            "a_token_that_replaced_a_dead_one_in_the_meantime_stays",
            "a_dead_token_is_forgotten_unless_it_was_replaced",
        ],
    },
    Cell {
        moment: "a push is taken by FCM and never comes",
        rule: "only the cursor shows it: it is sent again by the schedule",
        mutants: &[WakesOnce],
        tests: &[
            "a_wake_is_due_again_by_the_schedule_until_it_is_answered",
            "every_message_reaches_every_sleeping_device_once_through_kills_and_faults",
        ],
    },
    Cell {
        moment: "a phone that was restored says hello, and is gone before it has stored anything",
        rule: "its hello lowered its cursor, so it is woken",
        mutants: &[HelloNeverLowers],
        tests: &[
            "a_device_whose_cursor_falls_is_looked_at",
            "an_answered_wake_does_not_delay_that_for_a_fallen_cursor",
        ],
    },
    Cell {
        moment: "a restored server, before anybody has sent",
        rule: "what stood above the base waits again, in front; a database that went back is served only \
               in a new epoch",
        mutants: &[
            HeadInsteadOfBase,
            LastBaseOnly,
            TakesUndoneEpochForKnown,
            NoEarlyWriteGate,
        ],
        tests: &[
            "what_the_server_forgot_is_dropped_and_own_messages_wait_again_before_all_others",
            "nothing_leaves_before_the_device_knows_what_it_must_send_again",
            "what_two_histories_share_ends_at_the_lowest_base_between_them",
            "a_server_does_not_start_on_a_log_that_went_back",
        ],
    },
    Cell {
        moment: "a device catches up on a history whose beginning it does not have",
        rule: "nothing is deleted from the log, so this is a new device alone: seqs stay as they are, and \
               what it lacks is a gap that it knows",
        mutants: &[],
        tests: &[
            "the_history_of_a_new_device_is_a_gap_that_is_filled_on_demand_and_never_printed",
            "what_was_described_and_not_sent_is_a_gap_once_all_was_sent",
        ],
    },
];
