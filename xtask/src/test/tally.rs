//! Reads from the output of test runners how many tests passed and failed, and what failed.

use super::suites::Count;

/// The counts in an output: cargo's `test result:` lines, otherwise the last line with `N passed`
/// or `N failed`, as vitest, Playwright, pytest and our own scripts end.
pub fn read(output: &str) -> Count {
    let cargo: Vec<&str> = output.lines().filter(|l| l.starts_with("test result: ")).collect();
    if !cargo.is_empty() {
        return cargo.iter().map(|l| line(l)).fold(Count::default(), |a, b| a + b);
    }
    // Playwright puts the two numbers on lines of their own; a line with both settles it, whatever a suite told before.
    let mut sum = Count::default();
    for found in output.lines().rev().take(15) {
        let count = line(found);
        if found.contains("passed") && found.contains("failed") {
            return count;
        }
        sum.passed = if sum.passed == 0 { count.passed } else { sum.passed };
        sum.failed = if sum.failed == 0 { count.failed } else { sum.failed };
    }
    sum
}

fn line(line: &str) -> Count {
    let words: Vec<&str> = line.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).collect();
    // vitest first counts files; only its line of tests matters.
    if words.contains(&"Files") {
        return Count::default();
    }
    let before = |word: &str| words.windows(2).find(|w| w[1] == word).and_then(|w| w[0].parse().ok()).unwrap_or(0);
    Count { passed: before("passed"), failed: before("failed") }
}

/// The part of an output that tells why: from cargo's first `failures:` or compile error on, cut to a
/// screenful.
pub fn telling(output: &str) -> Option<String> {
    let lines: Vec<&str> = output.lines().collect();
    let first = lines.iter().position(|l| *l == "failures:" || l.starts_with("error[") || l.starts_with("error: "))?;
    Some(lines[first..].iter().take(80).copied().collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(output: &str, passed: u64, failed: u64) {
        assert_eq!(read(output), Count { passed, failed }, "{output}");
    }

    #[test]
    fn reads_what_runners_say() {
        check(
            "test result: ok. 12 passed; 0 failed; 1 ignored\nx\ntest result: FAILED. 3 passed; 2 failed; 0 ignored",
            15,
            2,
        );
        check(" Test Files  3 passed (3)\n      Tests  14 passed (14)\n   Start at  03:00:00", 14, 0);
        check(" Test Files  1 failed | 2 passed (3)\n      Tests  1 failed | 13 passed (14)", 13, 1);
        check("  2 failed\n    a.spec.ts\n  7 passed (12.3s)", 7, 2);
        check("==== 5 passed, 1 skipped in 0.12s ====", 5, 0);
        check("all good", 0, 0);
        check("      8000 requests in 4.0 s, 110 failed {401: 110}\nok    rolled back\n5 passed, 0 failed", 5, 0);
        check("      8000 requests in 4.0 s, 110 failed {401: 110}\nFAIL  rolled back\n4 passed, 1 failed", 4, 1);
    }

    #[test]
    fn shows_why_it_failed() {
        assert_eq!(telling("a\nerror[E0425]: no such name\nb").as_deref(), Some("error[E0425]: no such name\nb"));
        assert_eq!(telling("fine"), None);
    }
}
