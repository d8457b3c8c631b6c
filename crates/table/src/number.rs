//! Reads a cell as a number, and recognises numbers in the dress that people give
//! them: money, percent, thousands, a decimal comma.

/// Reads a finite number: sign, digits, fraction, exponent, blanks around it.
pub fn number(cell: &[u8]) -> Option<f64> {
    let cell = cell.trim_ascii();
    let first = *cell.first()?;
    if !(first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.')) {
        return None;
    }
    std::str::from_utf8(cell).ok()?.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Reads a cell of a column of numbers as a model does: a number, or `inf`, which is above all
/// numbers and not missing.
pub fn or_infinite(cell: &[u8]) -> Option<f64> {
    number(cell).or_else(|| infinite(cell))
}

/// The dress of a number, which keeps it from being read as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dress {
    /// A sign or code of a currency.
    Currency,
    /// A percent sign.
    Percent,
    /// Commas, points, apostrophes or blanks between thousands.
    Thousands,
    /// A comma before the fraction.
    DecimalComma,
    /// A blank that does not break, or another one that is not ASCII's.
    NoBreakSpace,
    /// A minus that is not ASCII's hyphen.
    Minus,
    /// An accountant's brackets for a negative amount.
    Brackets,
    /// No finite number: `inf`.
    Infinite,
}

impl Dress {
    /// Names it for people, and says how to write the number instead.
    pub fn remedy(self) -> &'static str {
        match self {
            Dress::Currency => "signs of a currency: write the amount alone",
            Dress::Percent => "percent signs: write the number alone",
            Dress::Thousands => "separators between thousands: write 1234567.8",
            Dress::DecimalComma => "decimal commas: write a point, as in 0.5",
            Dress::NoBreakSpace => "blanks that do not break: remove them",
            Dress::Minus => "a minus sign other than the hyphen: write -1",
            Dress::Brackets => "brackets for negative amounts: write -1",
            Dress::Infinite => "infinite values: leave these cells empty",
        }
    }
}

/// A number as somebody dressed it.
#[derive(Debug, Clone, PartialEq)]
pub struct Dressed {
    /// The number's value: infinite for `inf`.
    pub value: f64,
    /// The dress that it wears; at least one.
    pub dress: Vec<Dress>,
}

/// Signs and codes by which amounts are marked.
const CURRENCIES: [&str; 21] = [
    "US$", "C$", "A$", "R$", "$", "€", "£", "¥", "₹", "₩", "₽", "USD", "EUR", "GBP", "CHF", "JPY",
    "kr", "zł", "Fr.", "Rs.", "Rs",
];

/// Recognises a number that is not written as one. `None` for what is a plain number,
/// and for what is none.
pub fn dressed(cell: &[u8]) -> Option<Dressed> {
    if cell.len() > 40 || number(cell).is_some() {
        return None;
    }
    let cell = std::str::from_utf8(cell).ok()?;
    if !cell.chars().any(|c| c.is_ascii_digit()) {
        return infinite(cell.as_bytes())
            .map(|value| Dressed { value, dress: vec![Dress::Infinite] });
    }
    let mut dress = Vec::new();
    let mut wears = |what: Dress| {
        if !dress.contains(&what) {
            dress.push(what);
        }
    };
    let mut text = String::with_capacity(cell.len());
    for c in cell.chars() {
        match c {
            '\u{2212}' | '\u{2013}' | '\u{FE63}' | '\u{FF0D}' => {
                wears(Dress::Minus);
                text.push('-');
            }
            c if c.is_whitespace() && !c.is_ascii() => {
                wears(Dress::NoBreakSpace);
                text.push(' ');
            }
            c => text.push(c),
        }
    }
    let mut rest = text.trim();
    let mut negative = false;
    if let Some(inner) = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        wears(Dress::Brackets);
        (negative, rest) = (true, inner.trim());
    }
    if let Some(unsigned) = rest.strip_prefix('-') {
        negative ^= true;
        rest = unsigned.trim_start();
    }
    if let Some(amount) = CURRENCIES.iter().find_map(|sign| rest.strip_prefix(sign)) {
        wears(Dress::Currency);
        rest = amount.trim_start();
        if let Some(unsigned) = rest.strip_prefix('-') {
            negative ^= true;
            rest = unsigned;
        }
    } else if let Some(amount) = CURRENCIES.iter().find_map(|sign| rest.strip_suffix(sign)) {
        wears(Dress::Currency);
        rest = amount.trim_end();
    }
    if let Some(share) = rest.strip_suffix('%') {
        wears(Dress::Percent);
        rest = share.trim_end();
    }
    let plain = undress(rest, &mut wears)?;
    let value: f64 = plain.parse().ok().filter(|value: &f64| value.is_finite())?;
    // A sign apart from its digits, as in `- 5`, is no dress that people give.
    (!dress.is_empty()).then(|| Dressed { value: if negative { -value } else { value }, dress })
}

/// Reads `inf` or `-Infinity`: what programs write where a number was too large, or
/// divided by zero.
pub fn infinite(cell: &[u8]) -> Option<f64> {
    let word = cell.trim_ascii();
    let (value, word) = match word {
        [b'-', rest @ ..] => (f64::NEG_INFINITY, rest),
        [b'+', rest @ ..] => (f64::INFINITY, rest),
        _ => (f64::INFINITY, word),
    };
    let known = ["inf", "infinity"].iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()));
    known.then_some(value)
}

/// Reads a number in whatever dress, if it is finite. `decimal_comma` says that the
/// column writes fractions after a comma, so that `1,234` is little more than one.
pub fn amount(cell: &[u8], decimal_comma: bool) -> Option<f64> {
    if let Some(number) = number(cell) {
        return Some(number);
    }
    let turned = |byte: &u8| match byte {
        b',' => b'.',
        b'.' => b',',
        other => *other,
    };
    let turned: Vec<u8> = match decimal_comma {
        true => cell.iter().map(turned).collect(),
        false => return dressed(cell).map(|read| read.value).filter(|value| value.is_finite()),
    };
    amount(&turned, false)
}

/// Takes separators out of digits: groups of three are thousands, a last comma before
/// other than three digits is a decimal one.
fn undress(text: &str, wears: &mut impl FnMut(Dress)) -> Option<String> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let exponent = |text: &str| {
        text.split_once(['e', 'E']).is_none_or(|(base, power)| {
            !base.is_empty() && digits(power.trim_start_matches(['+', '-']))
        })
    };
    let is_plain = |text: &str| {
        text.bytes().next().is_some_and(|b| b.is_ascii_digit() || b == b'.')
            && exponent(text)
            && text.parse::<f64>().is_ok()
    };
    if is_plain(text) {
        return Some(text.to_owned());
    }
    let decimal = match (text.rfind('.'), text.rfind(',')) {
        (Some(point), Some(comma)) if point > comma => Some('.'),
        (Some(_), Some(_)) => Some(','),
        (None, Some(comma)) => {
            let one = text.matches(',').count() == 1;
            let grouped = text.len() - comma - 1 == 3 && comma > 0 && !text.starts_with('0');
            (one && !grouped).then_some(',')
        }
        (Some(_), None) => (text.matches('.').count() == 1).then_some('.'),
        (None, None) => None,
    };
    let (whole, fraction) = match decimal {
        Some(mark) => text.rsplit_once(mark)?,
        None => (text, ""),
    };
    if !fraction.is_empty() && !digits(fraction) {
        return None;
    }
    let mut groups = whole.split([',', '.', '\'', '\u{2019}', ' ']);
    let first = groups.next()?;
    let rest: Vec<&str> = groups.collect();
    let grouped = !rest.is_empty();
    let well_formed = if grouped {
        digits(first)
            && first.len() <= 3
            && rest.iter().all(|group| group.len() == 3 && digits(group))
    } else {
        digits(first) || first.is_empty() && !fraction.is_empty()
    };
    if !well_formed {
        return None;
    }
    if grouped {
        wears(Dress::Thousands);
    }
    if decimal == Some(',') {
        wears(Dress::DecimalComma);
    }
    Some(format!("{}{}.{}", first, rest.concat(), if fraction.is_empty() { "0" } else { fraction }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_may_have_a_sign_an_exponent_and_blanks_around_it() {
        for (cell, value) in
            [(" 39", 39.0), ("1e3", 1000.0), ("-.5", -0.5), ("+2.", 2.0), ("007 ", 7.0)]
        {
            assert_eq!(number(cell.as_bytes()), Some(value), "{cell:?}");
            assert_eq!(dressed(cell.as_bytes()), None, "{cell:?}");
        }
        for cell in ["inf", "nan", "1e999", "", "-", ".", "1 2", "0x10", "1_000", "e5"] {
            assert_eq!(number(cell.as_bytes()), None, "{cell:?}");
        }
    }

    #[test]
    fn a_dressed_number_is_told_by_what_it_wears() {
        use Dress::*;
        for (cell, value, dress) in [
            ("$70", 70.0, vec![Currency]),
            ("-$1,234.50", -1234.5, vec![Currency, Thousands]),
            ("1.234,50 €", 1234.5, vec![Currency, Thousands, DecimalComma]),
            ("1,234.50", 1234.5, vec![Thousands]),
            ("1,234", 1234.0, vec![Thousands]),
            ("1'234'567", 1_234_567.0, vec![Thousands]),
            ("1,5", 1.5, vec![DecimalComma]),
            ("0,125", 0.125, vec![DecimalComma]),
            ("12 %", 12.0, vec![Percent]),
            ("1\u{a0}234", 1234.0, vec![NoBreakSpace, Thousands]),
            ("\u{2212}3.5", -3.5, vec![Minus]),
            ("(70)", -70.0, vec![Brackets]),
            ("-inf", f64::NEG_INFINITY, vec![Infinite]),
            ("USD 5", 5.0, vec![Currency]),
        ] {
            assert_eq!(dressed(cell.as_bytes()), Some(Dressed { value, dress }), "{cell:?}");
        }
    }

    #[test]
    fn a_column_says_what_its_comma_means() {
        assert_eq!(amount(b"1,234", false), Some(1234.0));
        assert_eq!(amount(b"1,234", true), Some(1.234));
        assert_eq!(amount("1.234,5 €".as_bytes(), true), Some(1234.5));
        assert_eq!(amount(b"-inf", false), None);
        assert_eq!(infinite(b" -Inf"), Some(f64::NEG_INFINITY));
        assert_eq!((or_infinite(b"inf"), or_infinite(b"1.5")), (Some(f64::INFINITY), Some(1.5)));
        assert_eq!((or_infinite(b"1e999"), or_infinite(b"info")), (None, None));
        assert_eq!((infinite(b"info"), infinite(b"-")), (None, None));
    }

    #[test]
    fn words_dates_and_codes_are_no_numbers_in_any_dress() {
        for cell in [
            "31.01.2026",
            "2026-01-31",
            "12:30",
            "415-0199",
            "a1",
            "1 2",
            "v1.2.3",
            "192.168.0.1",
            "1,2,3",
            "12,34,567",
            "seventy",
            "$",
            "%",
            "--5",
            "10.000.00",
            "B12 3",
        ] {
            assert_eq!(dressed(cell.as_bytes()), None, "{cell:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_stands_in_a_cell_is_read_or_not(cell in proptest::collection::vec(any::<u8>(), 0..30)) {
            let _ = (number(&cell), dressed(&cell));
        }

        #[test]
        fn numbers_read_back_from_their_dress(whole in 0_u32..100_000_000, cents in 0_u32..100) {
            let value = f64::from(whole) + f64::from(cents) / 100.0;
            let plain: String = whole.to_string();
            let mut grouped = String::new();
            for (at, digit) in plain.chars().enumerate() {
                if at > 0 && (plain.len() - at).is_multiple_of(3) { grouped.push(','); }
                grouped.push(digit);
            }
            for text in [format!("${grouped}.{cents:02}"), format!("{plain},{cents:02}")] {
                let read = dressed(text.as_bytes()).map(|d| d.value);
                prop_assert!(read.is_some_and(|read| (read - value).abs() < 1e-6), "{} {:?}", text, read);
            }
        }
    }
}
