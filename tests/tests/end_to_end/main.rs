//! The work of users on the local cloud: the real binaries, templates and state machine, with
//! IAM on. Every test has a tenant and an account of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panic")]

mod api_faults;
mod canaries;
mod cases;
mod command_line;
mod deaths;
mod deployment;
mod doors;
mod evaluation;
mod express;
mod failure_path;
mod faults;
mod gathering;
mod handlers;
mod hold_out;
mod hosting;
mod identities;
mod leftovers;
mod local_cloud;
mod machine_faults;
mod messy;
mod odd_keys;
mod onboarding;
mod operations;
mod parts;
mod prediction_api;
mod preflight;
mod problem_types;
mod proving;
mod python_clients;
mod rounds;
mod secrets;
mod sessions;
mod state_machine;
mod tenants;
mod three_ways;
mod trust;
mod turns;
mod upgrades;
mod ways_in;
mod whole_suite;
