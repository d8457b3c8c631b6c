//! Reads a cell as a date, with or without a time of day, or as a time alone.

/// The order of day and month when the year is last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum DateOrder {
    /// The day first, as most of the world writes.
    DayFirst,
    /// The month first, as the United States write.
    MonthFirst,
}

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Instant {
    /// Days since 1970-01-01.
    pub day: i32,
    /// The month, 1 to 12.
    pub month: u8,
    /// The day of the week; 0 is Monday.
    pub weekday: u8,
    /// The hour, 0 up to 24, with minutes as a fraction.
    pub hour: f64,
}

/// Reads `2026-01-31`, `2026/01/31`, `31.01.2026`, `01/31/2026` or `1/31/26`, alone or
/// followed by a time of day after a space or `T`. A zone is ignored: within one
/// column it is nearly always the same. A year of two digits is one from 1969 to 2068
/// (POSIX, `strptime`).
pub fn date(cell: &str, order: DateOrder) -> Option<Instant> {
    let cell = cell.trim();
    let (day, clock) = match cell.split_once(['T', ' ']) {
        Some((day, clock)) => (day, Some(clock)),
        None => (cell, None),
    };
    if !(6..=10).contains(&day.len()) {
        return None;
    }
    let separator = day.chars().find(|c| !c.is_ascii_digit()).filter(|c| "-/.".contains(*c))?;
    let mut parts = day.split(separator);
    let mut part = || -> Option<(i32, usize)> {
        let text = parts.next()?;
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok().map(|value| (value, text.len())))?
    };
    let (a, b, c) = (part()?, part()?, part()?);
    if parts.next().is_some() {
        return None;
    }
    let (year, month, day) = match (a.1, c.1) {
        (4, _) => (a.0, b.0, c.0),
        (_, 4) if order == DateOrder::DayFirst => (c.0, b.0, a.0),
        (_, 4) => (c.0, a.0, b.0),
        // Versions such as 1.2.15 are no dates.
        (first, 2) if separator == '.' && (first, b.1) != (2, 2) => return None,
        (1 | 2, 2) => {
            let year = if c.0 < 69 { 2000 + c.0 } else { 1900 + c.0 };
            if order == DateOrder::DayFirst { (year, b.0, a.0) } else { (year, a.0, b.0) }
        }
        _ => return None,
    };
    let month = time::Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = time::Date::from_calendar_date(year, month, u8::try_from(day).ok()?).ok()?;
    let hour = match clock {
        None => 0.0,
        Some(clock) => hour(clock)?,
    };
    Some(Instant {
        day: date.to_julian_day() - 2_440_588,
        month: u8::from(month),
        weekday: date.weekday().number_days_from_monday(),
        hour,
    })
}

/// Reads a time of day or a span of time, `7:05`, `13:45:10.5` or `1:45:10 PM`, as
/// seconds.
pub fn clock(cell: &str) -> Option<f64> {
    let cell = cell.trim();
    let before = |half: &str| {
        let (clock, end) = cell.split_at_checked(cell.len().checked_sub(half.len())?)?;
        end.eq_ignore_ascii_case(half).then(|| clock.trim_end())
    };
    let (clock, half) = match (before("am"), before("pm")) {
        (Some(clock), _) => (clock, Some(0)),
        (_, Some(clock)) => (clock, Some(12)),
        _ => (cell, None),
    };
    let whole = |text: &str, longest: usize| -> Option<u32> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        (digits && text.len() <= longest).then(|| text.parse().ok())?
    };
    let below_sixty = |text: &str| whole(text, 2).filter(|part| text.len() == 2 && *part < 60);
    let mut parts = clock.split(':');
    let (hours, minutes) = (whole(parts.next()?, 3)?, below_sixty(parts.next()?)?);
    let seconds = match parts.next() {
        None => 0.0,
        Some(text) => {
            let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
            let fraction = format!("0.{}", whole(fraction, 9).map(|_| fraction)?);
            f64::from(below_sixty(seconds)?) + fraction.parse::<f64>().ok()?
        }
    };
    let hours = match half {
        None => hours,
        Some(half) => half + Some(hours).filter(|hours| (1..=12).contains(hours))? % 12,
    };
    let is_whole = parts.next().is_none();
    is_whole.then(|| f64::from(3600 * hours + 60 * minutes) + seconds)
}

/// The hour of `13:45`, `13:45:10.5` or `13:45:10+02:00`.
fn hour(clock: &str) -> Option<f64> {
    let mut parts = clock.split(':');
    let hour: u32 = parts.next()?.parse().ok().filter(|hour| *hour < 24)?;
    let minute: u32 = parts.next()?.get(..2)?.parse().ok().filter(|minute| *minute < 60)?;
    Some(f64::from(hour) + f64::from(minute) / 60.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_in_the_usual_forms() {
        let iso = date("2026-02-28T06:30:00Z", DateOrder::DayFirst).unwrap();
        assert_eq!((iso.day, iso.month, iso.weekday, iso.hour), (20_512, 2, 5, 6.5));
        assert_eq!(date("28.02.2026", DateOrder::DayFirst).unwrap().day, 20_512);
        assert_eq!(date("02/28/2026", DateOrder::MonthFirst).unwrap().day, 20_512);
        assert_eq!(date("2026-02-30", DateOrder::DayFirst), None);
        assert_eq!(date("403-2562", DateOrder::DayFirst), None);
        let short = |cell, order| date(cell, order).map(|at| at.day);
        assert_eq!(short("2/28/26", DateOrder::MonthFirst), Some(20_512));
        assert_eq!(short("28.02.26", DateOrder::DayFirst), Some(20_512));
        assert_eq!(short("1/1/70", DateOrder::DayFirst), Some(0));
        assert_eq!(short("1.2.15", DateOrder::DayFirst), None);
        assert_eq!(short("415-01-99", DateOrder::DayFirst), None);
    }

    #[test]
    fn times_in_the_usual_forms() {
        for (cell, seconds) in [
            ("00:00", 0.0),
            (" 7:05", 25_500.0),
            ("13:45:10", 49_510.0),
            ("13:45:10.25", 49_510.25),
            ("12:30 am", 1_800.0),
            ("1:45:10PM", 49_510.0),
            ("100:00:00", 360_000.0),
        ] {
            assert_eq!(clock(cell), Some(seconds), "{cell:?}");
        }
        for cell in [
            "",
            "pm",
            "13",
            "13:4",
            "13:60",
            "13:45:10:2",
            "13:45 pm",
            "-1:00",
            "1:00:",
            "a:00",
            "1:00:00.",
        ] {
            assert_eq!(clock(cell), None, "{cell:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(text in ".{0,30}") {
            let _ = (date(&text, DateOrder::DayFirst), clock(&text));
        }
    }
}
