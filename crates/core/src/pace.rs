//! How long to wait before the next look at something that takes its time.

/// Seconds until the next look: a tenth of what has passed, so that nothing is
/// noticed more than a tenth late, between 5 seconds and an hour. Thirty days then
/// take about 800 looks. A run may wait so long three times: for its turn to train,
/// for its job, and for its turn to deploy; with 9 history events a look that stays
/// within Step Functions' 25,000.
pub fn wait_seconds(elapsed_seconds: f64) -> u32 {
    (elapsed_seconds / 10.0).clamp(5.0, 3600.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_run_fits_the_history() {
        let (mut elapsed, mut looks) = (0.0, 0);
        while elapsed < 30.0 * 86_400.0 {
            elapsed += f64::from(wait_seconds(elapsed));
            looks += 1;
        }
        assert!(looks * 9 * 3 < 25_000, "{looks} looks");
    }
}
