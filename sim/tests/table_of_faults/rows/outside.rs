//! The network and the clocks.

use magpie_sim::world::{
    Act::{Cut, Dawdle, DeviceClock, HalfOpen, Lose, Repeat, Replay, ServerClock, Swallow},
    Mutant::{
        LetsTimeFall, NoFence, OrdersByTheClock, PongOvertakes, QueuePerSession, ResendsOnTimer,
    },
};

use super::{
    Area::{Network, Time},
    Fault, fault,
};

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        weights: &[Cut],
        mutants: &[QueuePerSession],
        tests: &[
            "cuts_stalls_and_half_open_connections_lose_double_and_reorder_nothing",
            "a_device_gets_what_follows_its_cursor",
        ],
        ..fault(Network, "a connection is cut")
    },
    Fault {
        weights: &[HalfOpen],
        mutants: &[ResendsOnTimer],
        tests: &[
            "cuts_stalls_and_half_open_connections_lose_double_and_reorder_nothing",
            "a_device_that_does_not_confirm_is_woken_though_its_socket_is_open",
        ],
        ..fault(
            Network,
            "a connection is half-open: one end is gone and the other not told",
        )
    },
    Fault {
        weights: &[Cut],
        tests: &[
            "a_connection_may_break_behind_any_byte",
            "a_frame_that_is_cut_off_is_never_acted_on",
            "a_handshake_cut_at_any_byte_leaves_nothing_behind",
            "frames_come_out_whole_however_the_stream_is_split",
        ],
        ..fault(Network, "a connection is cut inside a frame")
    },
    Fault {
        weights: &[HalfOpen],
        tests: &["cuts_stalls_and_half_open_connections_lose_double_and_reorder_nothing"],
        remark: "For both ends a half-open connection and a new one",
        ..fault(Network, "a device's address changes")
    },
    Fault {
        weights: &[HalfOpen],
        mutants: &[NoFence, PongOvertakes],
        tests: &[
            "an_older_connection_is_fenced",
            "a_newer_connection_of_a_device_replaces_the_older",
            "all_faults_together_leave_a_group_with_one_history",
        ],
        ..fault(
            Network,
            "what was sent on an old connection arrives behind the new one",
        )
    },
    Fault {
        weights: &[Swallow],
        tests: &[
            "a_partition_of_one_direction_loses_doubles_and_reorders_nothing",
            "a_short_torture_of_postgresql_breaks_no_promise",
        ],
        ..fault(Network, "one direction alone is lost")
    },
    Fault {
        weights: &[HalfOpen],
        tests: &[
            "a_newer_connection_of_a_device_ends_the_older_and_no_other",
            "a_replaced_device_comes_back_once_and_stays_away_when_replaced_again",
            "the_newest_connection_says_how_a_device_is_there",
        ],
        ..fault(Network, "a device has two live connections")
    },
    Fault {
        weights: &[Dawdle],
        tests: &[
            "a_slow_reader_reads_on_from_the_log",
            "a_full_mailbox_says_that_the_log_must_be_read",
            "the_window_closes_by_count_and_by_size_and_opens_with_acks",
            "a_device_that_pings_and_never_acknowledges_is_closed",
        ],
        ..fault(Network, "a device reads slowly, or not at all")
    },
    Fault {
        weights: &[Cut],
        tests: &[
            "a_hang_up_replaces_the_certificate_and_leaves_a_thousand_connections_alone",
            "a_certificate_that_is_not_trusted_ends_at_once",
            "a_server_is_believed_by_its_certificate_and_name_alone",
        ],
        ..fault(
            Network,
            "somebody stands between the ends of TLS, or a certificate is replaced",
        )
    },
    Fault {
        weights: &[Repeat, Lose, Replay],
        tests: &[
            "a_repeated_or_lost_frame_is_a_violation_on_either_side",
            "a_repeated_or_skipped_number_is_a_violation",
        ],
        remark: "TLS rules it out; the protocol does not rely on that",
        ..fault(Network, "frames are repeated, lost or replayed")
    },
    Fault {
        weights: &[ServerClock],
        mutants: &[LetsTimeFall],
        tests: &[
            "the_commit_time_never_falls",
            "a_clock_that_went_back_delays_no_wake_by_more_than_a_minute",
            "a_clock_that_is_wrong_is_found_by_the_answers_date",
        ],
        remark: "No time limit reads this clock",
        ..fault(Time, "the server's time of day jumps, by up to a day")
    },
    Fault {
        weights: &[DeviceClock],
        mutants: &[OrdersByTheClock],
        tests: &[
            "what_waits_is_read_in_the_order_in_which_it_was_queued",
            "an_outcome_is_kept_for_thirty_days_after_it_was_committed",
        ],
        remark: "Ids begin with the time, and nothing is ordered by them",
        ..fault(Time, "a client's time of day jumps, by up to ten years")
    },
];
