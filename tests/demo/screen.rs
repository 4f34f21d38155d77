//! What the reader sees: plain text, with a little colour on a terminal that wants it.

use std::env;
use std::io::{IsTerminal, Result, Stdout, Write, stdout};

/// Colours of pod1, pod2 and pod3: cyan, yellow, magenta.
const PODS: [&str; 3] = ["36", "33", "35"];
const BOLD: &str = "1";
const DIM: &str = "2";

/// The standard output.
#[derive(Debug)]
pub(crate) struct Screen {
    out: Stdout,
    colour: bool,
}

impl Screen {
    /// Colour only for eyes: not in a pipe, not where NO_COLOR is set (<https://no-color.org>).
    pub(crate) fn new() -> Self {
        let unset = |name| env::var_os(name).is_none_or(|value| value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        let out = stdout();
        let colour = out.is_terminal() && unset("NO_COLOR") && !dumb;
        Self { out, colour }
    }

    /// The start of a chapter.
    pub(crate) fn title(&self, text: &str) -> Result<()> {
        writeln!(&self.out, "\n{}", self.paint(BOLD, text))
    }

    /// A line, indented.
    pub(crate) fn line(&self, text: &str) -> Result<()> {
        writeln!(&self.out, "{}", format!("  {text}").trim_end())
    }

    /// Several of them.
    pub(crate) fn lines<'a>(&self, lines: impl IntoIterator<Item = &'a str>) -> Result<()> {
        lines.into_iter().try_for_each(|line| self.line(line))
    }

    /// A command as it would be typed, before its output.
    pub(crate) fn command(&self, text: &str) -> Result<()> {
        self.line(&self.paint(DIM, &format!("# {text}")))
    }

    /// Text in the colour of the pod with this index.
    pub(crate) fn pod(&self, index: usize, text: &str) -> String {
        PODS.get(index).map_or_else(|| text.to_owned(), |colour| self.paint(colour, text))
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
