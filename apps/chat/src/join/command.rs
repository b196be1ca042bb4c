//! What a person may type, and what is said about anything else.

use crate::protocol::Request;

/// The commands, for a person.
pub const HELP: &str = "\
Commands: join GROUP           get the messages of a group
          post GROUP MESSAGE…  send a message to a group
          quit                 leave (so does Ctrl-D)";

/// A line that was typed.
#[derive(Debug, PartialEq)]
pub enum Command<'a> {
    /// Something for the server.
    Send(Request<'a>),
    /// To be told the commands.
    Help,
    /// To leave.
    Quit,
    /// An empty line.
    Nothing,
}

impl<'a> Command<'a> {
    /// Reads a line. A message keeps the white space inside it.
    ///
    /// # Errors
    ///
    /// A text for whoever typed the line.
    pub fn parse(line: &'a str) -> Result<Self, String> {
        let line = line.trim();
        let (word, rest) = split_word(line);
        match (word, rest) {
            ("", _) => Ok(Command::Nothing),
            ("join", "") => Err("Join what? join GROUP".into()),
            ("join", group) if split_word(group).1.is_empty() => {
                Ok(Command::Send(Request::join(group)))
            }
            ("join", _) => Err("A group's name is one word: join GROUP".into()),
            ("post", rest) => match split_word(rest) {
                ("", _) => Err("Post where? post GROUP MESSAGE…".into()),
                (group, "") => Err(format!("Post what to {group}? post GROUP MESSAGE…")),
                (group, message) => Ok(Command::Send(Request::post(group, message))),
            },
            ("help" | "?", _) => Ok(Command::Help),
            ("quit" | "exit", "") => Ok(Command::Quit),
            (word, _) => Err(format!(
                "Unknown command '{}'. The commands are: join GROUP, post GROUP MESSAGE…, quit",
                word.escape_debug()
            )),
        }
    }
}

/// The first word, and what comes after it and its white space.
fn split_word(text: &str) -> (&str, &str) {
    match text.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim_start()),
        None => (text, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_what_they_mean() {
        let post = |group, message| Ok(Command::Send(Request::post(group, message)));
        let cases = [
            ("join Dogs\n", Ok(Command::Send(Request::join("Dogs")))),
            ("  join\t Dogs  \r\n", Ok(Command::Send(Request::join("Dogs")))),
            ("post Dogs Samoyeds rock!\n", post("Dogs", "Samoyeds rock!")),
            ("post Dogs  two  spaces \n", post("Dogs", "two  spaces")),
            ("\n", Ok(Command::Nothing)),
            ("help\n", Ok(Command::Help)),
            ("quit\n", Ok(Command::Quit)),
            ("quit", Ok(Command::Quit)),
        ];
        for (line, command) in cases {
            assert_eq!(Command::parse(line), command, "{line:?}");
        }
    }

    #[test]
    fn mistakes_and_what_is_said_of_them() {
        let cases = [
            ("jion Dogs", "Unknown command 'jion'"),
            ("\x1b[A", "Unknown command '\\u{1b}[A'"),
            ("join", "join GROUP"),
            ("join Cats and Dogs", "one word"),
            ("post", "Post where?"),
            ("post Dogs", "Post what to Dogs?"),
            ("quit now", "Unknown command 'quit'"),
        ];
        for (line, text) in cases {
            let error = Command::parse(line).unwrap_err();
            assert!(error.contains(text), "{line:?}: {error}");
        }
    }
}
