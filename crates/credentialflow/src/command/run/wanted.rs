//! Which variables are wanted, and what they are made of.

/// A variable of the program's environment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) parts: Vec<Part>,
}

/// A part of a variable's text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// As it stands.
    Text(String),
    /// A secret's field.
    Secret(Secret),
}

/// A field of a secret behind the run-time API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Secret {
    /// Mount and path.
    pub(super) path: String,
    pub(super) field: String,
}

impl Wanted {
    /// `NAME=MOUNT/PATH#FIELD`.
    pub(super) fn read_flag(text: &str) -> Result<Self, String> {
        let (name, place) = text.split_once('=').ok_or("write NAME=MOUNT/PATH#FIELD")?;
        Ok(Self { name: variable(name)?, parts: vec![Part::Secret(Secret::read(place)?)] })
    }

    /// `NAME=TEXT` with `${vault:MOUNT/PATH#FIELD}` in the text.
    fn read_line(line: &str) -> Result<Self, String> {
        let (name, mut rest) = line.split_once('=').ok_or("write NAME=TEXT")?;
        let mut parts = Vec::new();
        while let Some((before, after)) = rest.split_once("${") {
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let (reference, after) = after.split_once('}').ok_or("a reference does not end")?;
            let Some(place) = reference.strip_prefix("vault:") else {
                return Err("only ${vault:MOUNT/PATH#FIELD} is known here".to_owned());
            };
            parts.push(Part::Secret(Secret::read(place)?));
            rest = after;
        }
        if !rest.is_empty() || parts.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { name: variable(name.trim())?, parts })
    }
}

impl Secret {
    fn read(place: &str) -> Result<Self, String> {
        let (path, field) = place.split_once('#').ok_or("name the field: MOUNT/PATH#FIELD")?;
        let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.chars().any(char::is_control);
        if !path.contains('/') || !path.split('/').all(plain) || !plain(field) {
            return Err("a secret is given as MOUNT/PATH#FIELD".to_owned());
        }
        Ok(Self { path: path.to_owned(), field: field.to_owned() })
    }
}

/// Reads a file of variables; empty lines and lines that begin with `#` say nothing. The error tells the
/// line.
pub(super) fn read_file(text: &str) -> Result<Vec<Wanted>, (usize, String)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim_start()));
    let said = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    said.map(|(number, line)| Wanted::read_line(line).map_err(|why| (number, why))).collect()
}

fn variable(name: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if name.is_empty() || name.as_bytes()[0].is_ascii_digit() || !name.bytes().all(plain) {
        return Err("a variable's name has letters, digits and `_`, and begins with none of the digits".to_owned());
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(path: &str, field: &str) -> Part {
        Part::Secret(Secret { path: path.to_owned(), field: field.to_owned() })
    }

    #[test]
    fn a_flag_names_a_variable_and_a_field() {
        let read = Wanted::read_flag("DB_PASSWORD=database/creds/app#password").unwrap();
        assert_eq!((read.name.as_str(), read.parts), ("DB_PASSWORD", vec![secret("database/creds/app", "password")]));
        for bad in
            ["A", "A=secret#x", "A=secret/x", "A=secret/x#", "1A=secret/x#y", "A-B=s/x#y", "A=s//x#y", "A=s/../x#y"]
        {
            assert!(Wanted::read_flag(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_mixes_text_and_secrets() {
        let text = "# of the app\n\nPLAIN=a b=c\nURL=postgres://${vault:db/creds/a#username}:${vault:db/creds/a#password}@h/d\nEMPTY=\n";
        let read = read_file(text).unwrap();
        assert_eq!(read[0].parts, [Part::Text("a b=c".to_owned())]);
        assert_eq!(
            read[1].parts,
            [
                Part::Text("postgres://".to_owned()),
                secret("db/creds/a", "username"),
                Part::Text(":".to_owned()),
                secret("db/creds/a", "password"),
                Part::Text("@h/d".to_owned()),
            ]
        );
        assert_eq!(read[2].parts, [Part::Text(String::new())]);
    }

    #[test]
    fn what_is_misspelt_never_becomes_text() {
        for bad in ["A=${env:HOME}", "A=${vault:secret/x}", "A=${vault:secret/x#y", "A=${}", "A"] {
            assert_eq!(read_file(&format!("\n{bad}\n")).unwrap_err().0, 2, "{bad}");
        }
    }
}
