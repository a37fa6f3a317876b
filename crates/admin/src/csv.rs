//! Comma-separated values (RFC 4180) for spreadsheets.

/// The media type.
pub(crate) const CSV: &str = "text/csv";

/// One line. What a spreadsheet would take for a formula is a text: others than the reader name what stands in cells.
pub(crate) fn push_line<'a>(out: &mut String, cells: impl IntoIterator<Item = &'a str>) {
    for (nth, cell) in cells.into_iter().enumerate() {
        if nth > 0 {
            out.push(',');
        }
        let guard = if is_formula(cell) { "'" } else { "" };
        if cell.contains([',', '"', '\n', '\r']) {
            out.push('"');
            out.push_str(guard);
            out.push_str(&cell.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(guard);
            out.push_str(cell);
        }
    }
    out.push_str("\r\n");
}

/// Whether a spreadsheet may reckon with it; signed numbers are numbers.
fn is_formula(cell: &str) -> bool {
    const BEGINS: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];
    let digits = |n: &str| n.bytes().all(|b| b.is_ascii_digit() || b == b'.') && n.parse::<f64>().is_ok();
    cell.starts_with(BEGINS) && !cell.strip_prefix(['+', '-']).is_some_and(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_back_and_holds_no_formula() {
        let line = |cells: &[&str]| {
            let mut text = String::new();
            push_line(&mut text, cells.iter().copied());
            text
        };
        for (cell, told) in [
            ("ada", "ada"),
            ("", ""),
            ("2026", "2026"),
            ("-0.5", "-0.5"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("=1+1", "'=1+1"),
            ("=1,\"x\"", "\"'=1,\"\"x\"\"\""),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
            ("-1+1", "'-1+1"),
            ("--1", "'--1"),
            ("-inf", "'-inf"),
            ("\t=1", "'\t=1"),
            ("\n=1", "\"'\n=1\""),
            ("＝1", "'＝1"),
        ] {
            assert_eq!(line(&[cell]), format!("{told}\r\n"), "{cell:?}");
        }
        assert_eq!(line(&["a", "", "=b"]), "a,,'=b\r\n");
    }
}
