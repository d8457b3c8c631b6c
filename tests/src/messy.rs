//! Random tables of every awkward kind, the same ones for the same seed. Their target
//! is `y`.

use fastrand::Rng;

/// A cell of one of many kinds; `x` is what the target follows.
fn cell(kind: usize, x: f64, row: usize, word: &str, rng: &mut Rng) -> String {
    let one =
        |list: &[&str]| list[((x * list.len() as f64) as usize).min(list.len() - 1)].to_owned();
    match kind {
        0 => format!("{:.3}", x * 10.0),
        1 => format!("{}", (x * 40.0) as i32),
        2 => one(&["red", "green", "blue", " red"]) + word,
        3 => one(&["yes", "no"]) + word,
        4 => format!("${},{:03}", (x * 9.0) as u32 + 1, rng.u32(..999)),
        5 => format!("{:.1} %", x * 100.0),
        6 => format!("{},{}", (x * 9.0) as u32, rng.u32(..9)),
        7 => format!("2026-{:02}-{:02}", (x * 11.0) as u32 + 1, rng.u32(1..28)),
        8 => format!("{:02}:{:02}:{:02}", (x * 23.0) as u32, rng.u32(..60), rng.u32(..60)),
        9 => format!("C-{word}-{row:06}"),
        10 => row.to_string(),
        11 => "same".to_owned(),
        12 => String::new(),
        13 => {
            if rng.u32(..9) == 0 {
                "inf".to_owned()
            } else {
                format!("{:.2}", x)
            }
        }
        14 => {
            if rng.u32(..5) == 0 {
                "?".to_owned()
            } else {
                format!("{:.2}", x * 7.0)
            }
        }
        15 => {
            if rng.u32(..5) == 0 {
                "\\N".to_owned()
            } else {
                one(&["a", "b"])
            }
        }
        16 => format!(
            "the customer said {} {word} and \"{}\", {row}",
            one(&["no", "yes"]),
            rng.u32(..99)
        ),
        17 => one(&["a\nb", "c\r\nd", "e"]) + word,
        18 => format!("{:05}", 10_000 + rng.u32(..400)),
        19 => format!("{:e}", x * 1e12),
        20 => one(&["TRUE", "FALSE"]),
        21 => format!("{}/{}/{:02}", rng.u32(1..13), rng.u32(1..29), rng.u32(10..30)),
        22 => {
            if rng.u32(..2) == 0 {
                "NaN".to_owned()
            } else {
                format!("{}", rng.u32(..5))
            }
        }
        23 => one(&["é", "日本", "🦀"]),
        24 => format!("{}", rng.u64(..)),
        _ => {
            if rng.u32(..3) == 0 {
                " ".to_owned()
            } else {
                format!(" {} ", rng.u32(..50))
            }
        }
    }
}

const KINDS: usize = 26;

/// A table as CSV, with a target of any of these kinds, too; a word stands in what is
/// written in words.
pub fn table(seed: u64, word: &str) -> Vec<u8> {
    let mut rng = Rng::with_seed(seed);
    let columns: Vec<usize> = (0..rng.usize(1..8)).map(|_| rng.usize(..KINDS)).collect();
    let target = rng.usize(..KINDS);
    let rows = rng.usize(490..700);
    let missing = if rng.bool() { 0 } else { rng.u32(1..40) };
    let mut writer = csv::Writer::from_writer(Vec::new());
    let names = (0..columns.len()).map(|column| format!("c{column}")).chain(["y".to_owned()]);
    writer.write_record(names).unwrap();
    for row in 0..rows {
        let x = rng.f64();
        let mut cells: Vec<String> =
            columns.iter().map(|kind| cell(*kind, x, row, word, &mut rng)).collect();
        let noisy = (x + rng.f64() * 0.2) / 1.2;
        cells.push(cell(target, noisy, row, word, &mut rng));
        for cell in &mut cells {
            if missing > 0 && rng.u32(..100) < missing {
                cell.clear();
            }
        }
        writer.write_record(cells).unwrap();
    }
    writer.into_inner().unwrap()
}
