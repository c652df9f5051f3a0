//! Writing to standard output and standard error, and what can be pasted from
//! there.

use std::io::{self, ErrorKind, Write};

use clap::ColorChoice;

/// Decides about terminal styles for the whole program. By default they are there on a
/// terminal, unless the environment variable `NO_COLOR` is set.
pub fn choose_colors(choice: ColorChoice) {
    let choice = match choice {
        ColorChoice::Auto => anstream::ColorChoice::Auto,
        ColorChoice::Always => anstream::ColorChoice::Always,
        ColorChoice::Never => anstream::ColorChoice::Never,
    };
    choice.write_global();
}

/// Writes `text`, with the terminal styles in it or without, see [`choose_colors`].
///
/// # Errors
/// If it cannot be written. That nobody reads it to its end, as with
/// `| head`, is no error.
pub fn print(text: &str) -> io::Result<()> {
    write(&mut anstream::stdout().lock(), text)
}

/// Writes `text` as it is.
///
/// # Errors
/// As [`print`].
pub fn print_plain(text: &str) -> io::Result<()> {
    write(&mut io::stdout().lock(), text)
}

/// Writes `text` to standard error, with terminal styles as [`print`] does.
///
/// # Errors
/// As [`print`].
pub fn print_error(text: &str) -> io::Result<()> {
    write(&mut anstream::stderr().lock(), text)
}

fn write(out: &mut impl Write, text: &str) -> io::Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// The text as one word of a POSIX shell.
pub fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_for_the_shell() {
        assert_eq!(shell_word("/tmp/gapless-ca-1.pem"), "/tmp/gapless-ca-1.pem");
        assert_eq!(shell_word("/tmp/my files/ca.pem"), "'/tmp/my files/ca.pem'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word(""), "''");
    }
}
