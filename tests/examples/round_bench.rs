//! Measures a round over many tenants on the local cloud, with a simulated `assume`.
//!
//! ```console
//! $ cargo run -p crosspilot-tests --example round_bench 10000
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement prints, or fails by panic"
)]

use std::time::Instant;

use crosspilot_tests::fleet::Fleet;
use crosspilot_tests::on_local_cloud;

fn main() {
    let tenants = std::env::args().nth(1).map_or(10_000, |count| count.parse().unwrap());
    on_local_cloud(async |cloud| {
        let began = Instant::now();
        let fleet = Fleet::new(cloud, "444444444440", tenants, "").await;
        println!("{tenants} tenants registered in {:.1} s", began.elapsed().as_secs_f64());
        let round = fleet.verify().await;
        println!(
            "round: {} in {:.1} s, {} events in its history, {:?}, {}",
            round.status.as_str(),
            round.took.as_secs_f64(),
            round.events,
            round.counts,
            round.output
        );
    });
}
