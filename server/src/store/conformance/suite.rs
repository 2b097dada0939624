//! The stories, as tests of an engine.

/// Makes a test of each story, for one engine.
macro_rules! suite {
    ($open:path) => {
        $crate::store::conformance::suite!($open, unless false);
    };
    ($open:path, unless $skipped:expr) => {
        $crate::store::conformance::suite! { @stories $open, $skipped;
            append {
                the_first_message_makes_the_direct_conversation
                a_note_to_oneself_has_one_member
                a_batch_is_stored_in_its_order_without_a_hole
                the_same_id_is_stored_once
                the_same_id_with_other_content_is_a_conflict
                a_repeat_is_answered_even_if_it_would_be_refused_now
                a_name_and_its_conversation_are_the_same_request
                two_users_may_use_the_same_id
                refused_commands_leave_no_hole
                the_commit_time_never_falls
                the_log_is_read_as_it_was_committed
                the_log_is_read_in_stretches
                nobody_is_not_found
            }
            groups {
                a_group_begins_with_its_members
                a_group_id_that_is_taken_is_a_conflict
                only_new_members_are_added
                a_full_group_takes_nobody
                a_direct_conversation_has_no_members_to_change
                a_stranger_finds_nothing
                a_removed_member_reads_up_to_the_removal
                who_comes_back_has_two_memberships
                who_left_does_not_learn_who_came_later
                a_revoked_device_changes_nothing
            }
            members {
                the_members_are_listed_in_pages
                a_description_of_a_large_group_names_its_reader_alone
                the_members_are_told_to_members_alone
            }
            people {
                a_profile_is_told_to_whom_its_user_knows
                users_are_found_as_they_allow
                a_search_finds_so_many_and_no_more
                of_who_is_deleted_nothing_is_told
                acquaintances_share_a_small_conversation
                companions_are_told_to_who_may_write_there
            }
            presence {
                friends_see_when_the_other_is_there
                presence_is_told_to_whom_its_user_writes
                hidden_presence_is_told_to_nobody_and_of_nobody
                it_is_kept_when_somebody_was_last_there
                devices_were_there_until_their_node_ended
            }
            receipts {
                hidden_receipts_are_told_to_nobody
                who_hides_receipts_is_told_nobodys
                readers_are_counted_of_each_message
                nobody_counts_the_readers_of_two
                readers_are_told_to_who_may_read_it
                who_has_read_is_told_to_newcomers
                the_last_word_on_receipts_holds
                receipts_stay_hidden_when_their_user_is_deleted
            }
            messages {
                all_of_a_message_is_stored_as_it_was_sent
                an_answer_is_to_an_event_that_is_there
                an_edit_is_an_event_and_the_message_stays
                only_its_sender_edits_or_deletes_a_message
                a_message_is_edited_for_so_long_and_so_often
                a_deleted_message_keeps_its_place_and_says_nothing
                a_deleted_message_is_not_changed_any_more
                nobody_changes_what_they_may_not_read
                who_left_learns_of_no_later_change
                history_leaves_out_what_does_not_fit_with_its_state
                changes_wake_nobody_and_previews_follow_them
                the_id_of_a_message_is_not_that_of_a_change
            }
            reactions {
                a_reaction_is_set_and_taken_back_once
                so_many_different_reactions_stand_at_a_message
                a_user_reacts_to_a_message_so_often
            }
            roles {
                a_group_is_its_creators_until_it_is_handed_over
                each_role_may_what_it_may
                an_owner_who_leaves_has_an_heir
                who_left_does_not_learn_who_has_which_role
                in_a_direct_conversation_there_are_no_roles
                a_group_is_changed_by_who_looks_after_it
                where_announcements_are_made_admins_alone_write
                who_left_does_not_learn_what_a_group_is_called_now
            }
            bans {
                who_is_banned_is_out_until_that_ends
                who_may_remove_may_ban
                bans_are_listed_for_who_looks_after_the_group
            }
            invites {
                who_has_an_invite_joins_once
                an_invite_is_of_use_so_long_and_so_often
                who_looks_after_a_group_invites
                an_invite_lets_nobody_in_who_may_not
                so_many_invites_are_of_use_at_a_time
                who_joins_by_an_invite_reads_what_the_group_lets_them
            }
            newcomers {
                who_joins_reads_what_the_group_lets_them
                what_came_before_who_joins_is_not_unread
                who_comes_back_reads_all_of_it_once
            }
            pins {
                a_message_is_pinned_and_taken_off_once
                messages_are_pinned_by_who_may
                a_deleted_message_is_not_pinned
                so_many_messages_are_pinned
                what_is_pinned_is_told_to_who_may_read_it
            }
            accounts {
                a_name_is_given_once
                a_device_belongs_to_one_user
                a_new_token_replaces_the_old_one
                a_revoked_device_is_of_no_use
                devices_are_listed_oldest_first
                hello_sets_the_cursor_also_downwards
                an_older_connection_is_fenced
                the_history_has_an_identity_and_a_key
            }
            broadcasts {
                a_broadcast_is_for_each_user_once
            }
            media {
                an_upload_grows_by_parts_that_follow
                of_two_parts_that_begin_alike_one_counts
                what_is_uploaded_twice_is_kept_once_for_each_user
                media_are_for_who_may_have_them
                a_users_media_are_bounded_from_their_beginning
                what_nobody_refers_to_expires_and_its_object_goes
                an_object_is_trash_until_something_refers_to_it
                a_photo_is_for_who_may_read_the_message
                nobody_sends_what_they_may_not_have
                what_a_message_refers_to_stays_as_long_as_it
                a_profile_photo_is_for_who_may_see_the_profile
                the_photo_of_who_is_deleted_goes
                a_groups_photo_is_for_its_members
            }
            operators {
                a_changed_password_ends_the_devices_that_it_should
                a_password_is_changed_by_who_proved_the_last_one
                no_device_is_made_by_who_proved_another_password
                who_is_suspended_has_no_device_until_they_are_resumed
                who_is_deleted_leaves_a_place_without_a_name
                a_users_end_is_learnt_also_without_a_device
                a_deleted_users_name_is_given_to_nobody
                who_is_deleted_leaves_their_groups_once
                who_is_deleted_gets_no_wake
                a_report_is_listed_until_it_is_closed
                acts_are_listed_newest_first
                what_there_is_is_counted
            }
            settings {
                the_first_setting_makes_the_account_log
                an_account_log_is_its_users_alone
                a_candidate_says_for_what_its_user_is_woken
                a_wake_for_what_was_muted_since_is_not_tried_again
                it_is_found_for_whom_a_message_is_meant
                what_somebody_deleted_had_set_is_gone
            }
            blocks {
                who_block_each_other_pin_for_themselves
                what_somebody_blocked_pins_is_pinned_for_them_alone
                what_somebody_blocked_says_is_hidden_for_ever
                the_first_words_of_somebody_blocked_are_hidden
                what_is_hidden_is_not_there_for_the_other
                what_somebody_blocked_does_is_hidden_whatever_else_there_is
                what_takes_back_what_was_seen_is_seen
                nobody_is_woken_by_whom_they_block
                who_is_blocked_learns_not_how_far_the_other_has_come
            }
            friends {
                two_are_friends_when_both_want_it
                who_asks_whom_has_asked_them_accepts
                nobody_is_asked_more_than_three_times
                who_is_blocked_asks_in_vain_and_is_not_told
                who_thinks_that_they_are_friends_is_not_told_again
                a_friend_request_wakes
                who_is_deleted_is_nobodys_friend
            }
            privacy {
                a_message_of_a_stranger_is_a_request
                a_request_is_no_reason_to_try_a_wake_again
                strangers_add_nobody_who_lets_friends_alone
                a_request_is_not_seen_to_be_read
            }
            pages {
                a_page_describes_what_begins_in_it
                a_page_holds_one_event_however_large
                a_page_ends_before_a_second_beginning
                a_mark_never_falls_and_is_in_the_next_page
                the_tailer_reads_marks_and_changed_devices
                who_is_far_behind_reads_the_same
                a_mark_goes_no_further_than_the_reader
                no_own_mark_is_left_out_however_many_there_are
                delivered_is_what_a_device_has_stored
                conversations_are_listed_in_pages
                history_is_read_both_ways
                a_snapshot_has_the_newest_events_of_each_conversation
                a_user_without_conversations_has_caught_up
            }
            counts {
                messages_of_others_are_there_for_each
                who_joins_has_read_what_came_before
                a_mark_says_what_there_is_up_to_it
                mentions_are_there_for_those_who_are_meant
            }
            wakes {
                a_push_token_has_one_device
                a_dead_token_is_forgotten_unless_it_was_replaced
                a_revoked_device_is_not_woken
                only_messages_are_worth_a_wake
                a_device_is_a_candidate_until_it_confirms_or_is_woken
                a_wake_is_due_again_by_the_schedule_until_it_is_answered
                a_device_whose_cursor_falls_is_looked_at
                an_answered_wake_does_not_delay_that_for_a_fallen_cursor
                a_preview_says_what_the_message_says
                what_came_while_a_wake_was_unanswered_is_owed
                who_is_far_behind_is_woken_for_a_message_of_others
                a_deleted_message_wakes_nobody
                no_wake_waits_for_a_clock_that_was_ahead
                what_came_before_the_token_was_known_is_owed
                a_try_that_was_not_sent_does_not_count
                the_newest_connection_says_how_a_device_is_there
                the_wake_cursor_never_falls
            }
            syncs {
                who_shows_what_was_read_elsewhere_is_told_three_times
                who_knows_what_was_read_is_not_told
                who_shows_nothing_of_what_was_read_is_not_told
                what_is_read_within_a_pause_is_told_together
                who_is_connected_or_is_woken_anyway_is_told_later
                a_browser_and_who_gets_no_pushes_are_not_told
                a_silent_sync_that_was_not_sent_does_not_count
                who_was_woken_because_the_cursor_fell_is_told
                what_lies_far_below_a_mark_is_not_looked_for
            }
        }

        #[test]
        fn random_histories_read_like_the_model() {
            if $skipped {
                return;
            }
            $crate::store::conformance::model::check($open);
        }
    };
    (@stories $open:path, $skipped:expr; $($area:ident { $($story:ident)* })*) => {
        $($(
            #[tokio::test]
            async fn $story() {
                if $skipped {
                    return;
                }
                let world = $crate::store::conformance::World::new($open().await);
                $crate::store::conformance::$area::$story(world).await;
            }
        )*)*
    };
}
pub(in crate::store) use suite;
