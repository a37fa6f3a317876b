use super::*;
use proptest::prelude::*;

fn rendered(dialect: Dialect, template: &str, name: &str) -> Result<Vec<String>> {
    let values = Values { name, password: Some("p'w\\"), native_hash: Some("*AB"), expiration: Some("2026-01-01") };
    let done = render(&[template.to_owned()], dialect, &values)?;
    Ok(done.iter().map(|s| s.to_string()).collect())
}

fn check(dialect: Dialect, template: &str, name: &str, expect: &[&str]) {
    assert_eq!(rendered(dialect, template, name).unwrap(), expect, "{template}");
}

fn refuses(dialect: Dialect, template: &str, name: &str) {
    assert!(matches!(rendered(dialect, template, name), Err(TargetError::BadTemplate(_))), "{template} with {name}");
}

use Dialect::{Mysql, Postgresql};

#[test]
fn postgresql_values_are_quoted_by_where_they_stand() {
    let name = r#"v-a"b'c\d"#;
    check(
        Postgresql,
        r#"CREATE ROLE "{{name}}" PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; GRANT x TO {{ username }};"#,
        name,
        &[r#"CREATE ROLE "v-a""b'c\d" PASSWORD 'p''w\' VALID UNTIL '2026-01-01'"#, r#"GRANT x TO "v-a""b'c\d""#],
    );
    check(Postgresql, "SELECT E'{{name}}', e'x\\'; y'", name, &[r#"SELECT E'v-a"b''c\\d', e'x\'; y'"#]);
    check(Postgresql, "SELECT 'it''s; one', \"a\"\"b;\", '{{name}}'", "n", &["SELECT 'it''s; one', \"a\"\"b;\", 'n'"]);
}

#[test]
fn statements_are_cut_only_in_the_open() {
    check(
        Postgresql,
        "DO $$ BEGIN DROP ROLE \"{{name}}\"; END $$; -- a; b\nSELECT 1 /* ; /* ; */ ; */; SELECT $a$;$$;$a$;;",
        "n",
        &["DO $$ BEGIN DROP ROLE \"n\"; END $$", "-- a; b\nSELECT 1 /* ; /* ; */ ; */", "SELECT $a$;$$;$a$"],
    );
    check(Mysql, "SELECT 1 # ; x\n; SELECT 2 -- ; y\n, 3--4", "n", &["SELECT 1 # ; x", "SELECT 2 -- ; y\n, 3--4"]);
}

#[test]
fn mysql_values_are_quoted_and_passwords_hashed() {
    check(
        Mysql,
        "CREATE USER '{{name}}'@'%' identified  by '{{password}}'; GRANT ALL ON {{name}}.* TO '{{name}}'@'%'",
        r"a'b\c`",
        &[
            r"CREATE USER 'a''b\\c`'@'%' IDENTIFIED WITH mysql_native_password AS '*AB'",
            r"GRANT ALL ON `a'b\c```.* TO 'a''b\\c`'@'%'",
        ],
    );
    check(Mysql, "SET PASSWORD FOR x = '{{password_hash}}'", "n", &["SET PASSWORD FOR x = '*AB'"]);
    check(Mysql, "SELECT '\\'; {{name}}'", "n", &["SELECT '\\'; n'"]);
}

#[test]
fn what_may_not_travel_is_an_error() {
    let values = Values { name: "n", ..Values::default() };
    let try_one = |template: &str| render(&[template.to_owned()], Mysql, &values).map(|_| ());
    assert!(try_one("SELECT '{{password}}'").is_err());
    assert!(try_one("SELECT '{{expiration}}'").is_err());
    assert!(try_one("SELECT '{{name}}'").is_ok());
}

#[test]
fn places_that_cannot_be_made_safe_are_refused() {
    refuses(Postgresql, "SELECT 1 -- {{name}}", "n");
    refuses(Postgresql, "SELECT /* {{name}} */ 1", "n");
    refuses(Mysql, "SELECT 1 # {{name}}", "n");
    refuses(Mysql, "/*! DROP USER {{name}} */", "n");
    refuses(Postgresql, "SELECT x{{name}}", "n");
    refuses(Postgresql, "SELECT {{name}}{{name}}", "n");
    refuses(Postgresql, "SELECT {{secret}}", "n");
    refuses(Postgresql, "SELECT {{name", "n");
    refuses(Postgresql, "SELECT '{{name}}", "n");
    refuses(Postgresql, "DO $$ SELECT 1", "n");
    refuses(Postgresql, "DO $$ SELECT '{{name}}' $$", "a$$; DROP");
    refuses(Postgresql, "EXECUTE 'DROP ROLE \"{{name}}\"'", "a\"; DROP ROLE b; --");
    refuses(Postgresql, "SELECT U&'{{name}}'", "\\0027");
    refuses(Postgresql, "SELECT '{{name}}'", "a\0b");
    check(Postgresql, "EXECUTE 'DROP ROLE \"{{name}}\"'", "v-safe_1", &["EXECUTE 'DROP ROLE \"v-safe_1\"'"]);
}

/// Reads a text of one literal or identifier as PostgreSQL or MySQL would, to see that it is one.
fn unquote(text: &str, quote: char, escapes: bool) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.chars();
    if chars.next()? != quote {
        return None;
    }
    while let Some(c) = chars.next() {
        if c == '\\' && escapes {
            out.push(chars.next()?);
        } else if c == quote {
            match chars.next() {
                Some(next) if next == quote => out.push(quote),
                None => return Some(out),
                Some(_) => return None,
            }
        } else {
            out.push(c);
        }
    }
    None
}

proptest! {
    #[test]
    fn whatever_the_value_it_stays_one_token(name in "[^\0]{0,24}") {
        for (dialect, template, quote, escapes) in [
            (Postgresql, "'{{name}}'", '\'', false),
            (Postgresql, "\"{{name}}\"", '"', false),
            (Postgresql, "{{name}}", '"', false),
            (Mysql, "'{{name}}'", '\'', true),
            (Mysql, "\"{{name}}\"", '"', true),
            (Mysql, "`{{name}}`", '`', false),
            (Mysql, "{{name}}", '`', false),
        ] {
            let done = rendered(dialect, template, &name).unwrap();
            prop_assert_eq!(done.len(), 1);
            let value = unquote(&done[0], quote, escapes);
            prop_assert_eq!(value.as_deref(), Some(name.as_str()));
        }
    }

    #[test]
    fn no_template_makes_it_panic(template in "[-a-z'\"`$;\\\\{} /*#\n]{0,60}", name in "\\PC{0,8}") {
        for dialect in [Postgresql, Mysql] {
            let _ = rendered(dialect, &template, &name);
        }
    }
}
