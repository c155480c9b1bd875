//! What every engine of the store must keep, as tests: one suite for the fake and the real engine.
//!
//! A test takes a [`Subject`], asserts what an owner would notice, and fails by panic or error. `suite!` makes one test of
//! each for an engine.

pub mod queue;
pub mod records;
pub mod retention;
pub mod sample;

use std::error::Error;
use std::future::Future;
use std::sync::Arc;

use super::Store;

/// What stops a test besides an assertion.
pub type Failure = Box<dyn Error + Send + Sync>;

/// A store under test, and the ways in which a run of the daemon ends.
pub trait Subject: Send {
    /// The store as it is open now.
    fn store(&self) -> Arc<dyn Store>;

    /// Ends the run without a farewell, as `kill -9` does, and opens the store again.
    fn crash(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Ends the run in good order, and opens the store again.
    fn restart(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// Makes a test of each function of the suite; `$subject` is an expression that opens an empty store.
#[cfg(test)]
macro_rules! suite {
    ($subject:expr) => {
        $crate::store::conformance::suite! { @ $subject;
            records { what_was_committed_is_there_after_a_crash
                a_change_from_another_version_is_a_conflict
                a_record_that_is_not_there_is_missing
                a_commit_is_made_whole_or_not_at_all
                one_of_two_changes_from_one_version_wins
                a_name_belongs_to_one_record
                a_profile_with_waiting_mail_stays
                mail_without_a_sender_is_refused
                mail_and_the_deletion_of_its_profile_exclude_each_other
                a_client_in_use_stays
                a_grant_leaves_a_state_once
                a_gate_is_one_record_for_each_reason
                events_are_numbered_without_a_gap
                events_come_in_pieces
                a_commit_with_an_event_wakes_the_watchers
                large_records_shrink_and_grow
                a_closed_store_says_so }
            queue { a_body_comes_back_octet_for_octet
                a_message_is_due_in_order
                a_message_is_claimed_once
                a_held_message_is_in_no_lane
                a_message_moves_to_another_profile
                claims_of_another_run_are_void
                a_message_past_the_final_dot_stays_in_doubt
                a_submission_is_accepted_once
                a_key_belongs_to_its_caller_and_its_content
                a_full_queue_refuses
                one_of_many_submissions_of_one_key_is_new
                counts_follow_the_messages
                messages_are_listed_newest_first
                many_senders_at_once_lose_nothing }
            retention { the_body_of_a_sent_message_goes_at_once
                the_body_of_a_failed_message_stays_for_its_time
                final_messages_keys_grants_and_events_go_in_time
                waiting_messages_stay_whatever_the_time
                a_sweep_ends_in_pieces }
        }
    };
    (@ $subject:expr; $($module:ident { $($name:ident)+ })+) => {
        $($(
            #[tokio::test]
            async fn $name() -> Result<(), $crate::store::conformance::Failure> {
                $crate::store::conformance::$module::$name($subject).await
            }
        )+)+
    };
}
#[cfg(test)]
pub(crate) use suite;
