//! Reading one cell of text: numbers, dates, words.

/// Texts that people write into numeric columns where a value is missing.
const MISSING: [&str; 11] =
    ["na", "n/a", "nan", "null", "none", "nil", "?", "-", ".", "#n/a", "missing"];

/// Whether a cell says in words that its value is missing.
pub(crate) fn is_missing_word(cell: &str) -> bool {
    let cell = cell.trim();
    cell.is_empty() || MISSING.iter().any(|word| cell.eq_ignore_ascii_case(word))
}

/// A finite number, spaces around it allowed.
pub(crate) fn number(cell: &str) -> Option<f64> {
    cell.trim().parse::<f64>().ok().filter(|value| value.is_finite())
}

/// Which of day and month comes first when the year is last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum DateOrder {
    DayFirst,
    MonthFirst,
}

/// A point in time: days since 1970-01-01 and the hour of the day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Instant {
    pub(crate) day: i32,
    pub(crate) month: u8,
    /// 0 is Monday.
    pub(crate) weekday: u8,
    /// 0 up to 24, with minutes as a fraction.
    pub(crate) hour: f64,
}

/// Reads `2026-01-31`, `2026/01/31`, `31.01.2026` or `01/31/2026`, alone or
/// followed by a time of day after a space or `T`. A zone is ignored: within one
/// column it is nearly always the same.
pub(crate) fn date(cell: &str, order: DateOrder) -> Option<Instant> {
    let cell = cell.trim();
    let (day, clock) = match cell.split_once(['T', ' ']) {
        Some((day, clock)) => (day, Some(clock)),
        None => (cell, None),
    };
    if !(8..=10).contains(&day.len()) {
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

/// The words of a text, in lower case.
pub(crate) fn words(cell: &str) -> impl Iterator<Item = String> + '_ {
    cell.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 1).map(str::to_lowercase)
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
    }

    #[test]
    fn only_finite_numbers_are_numbers() {
        assert_eq!(number(" 39"), Some(39.0));
        assert_eq!(number("1e3"), Some(1000.0));
        assert_eq!(number("inf"), None);
        assert!(is_missing_word(" NaN "));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(text in ".{0,30}") {
            let _ = (number(&text), date(&text, DateOrder::DayFirst), words(&text).count());
        }
    }
}
