//! Reads a cell as a date, with or without a time of day.

/// Which of day and month comes first when the year is last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum DateOrder {
    /// As most of the world writes.
    DayFirst,
    /// As the United States write.
    MonthFirst,
}

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Instant {
    /// Days since 1970-01-01.
    pub day: i32,
    /// 1 to 12.
    pub month: u8,
    /// 0 is Monday.
    pub weekday: u8,
    /// 0 up to 24, with minutes as a fraction.
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
    use super::*;
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn any_text_is_read_or_not(text in ".{0,30}") {
            let _ = date(&text, DateOrder::DayFirst);
        }
    }
}
