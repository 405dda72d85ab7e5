//! The table of anchors that `list` prints for people, laid out for their terminal.

use jiff::Timestamp;
use jobpass_core::{anchor::list::ListedAnchor, inputs::spec::TokenType};
use unicode_width::UnicodeWidthStr as _;

use crate::terminal::screen::{BOLD, GREEN, RED, Screen, YELLOW, cut, roughly};

const HEADER: [&str; COLUMNS] = [
    "PIPELINE",
    "REPOSITORY",
    "SERVICE ACCOUNT",
    "ANCHOR",
    "AGE",
    "EXPIRES IN",
    "STATE",
];
const COLUMNS: usize = 7;
/// The column of the state.
const STATE: usize = COLUMNS - 1;
/// The number of columns, counted from the first, that jobpass may shorten. The other columns are short,
/// except the anchor, which a person copies.
const FLEXIBLE: usize = 3;
/// The least width to which jobpass shortens a column.
const MIN_WIDTH: usize = 12;
/// The space between two columns.
const GAP: &str = "  ";

/// The state of an anchor, in the table of `list`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The anchor exists, and its token has not expired.
    Live,
    /// The anchor's token has expired.
    Expired,
    /// The anchor's run or pipeline has ended.
    Ended,
    /// The anchor's annotations state no credible expiry, or jobpass did not create the anchor.
    Unclear,
    /// Somebody deleted the anchor while `--watch` ran.
    Gone,
}

/// The row of one anchor.
pub(crate) struct Row {
    cells: [String; COLUMNS],
    standing: Standing,
    link: Option<String>,
}

/// The layout of a table. The first rows decide it, because jobpass prints rows before it has read the whole
/// list.
pub(crate) enum Layout {
    /// One line for each anchor.
    Columns {
        /// The screen that shows the table.
        screen: Screen,
        /// The width of each column.
        widths: [usize; COLUMNS],
    },
    /// Four lines for each anchor, for a terminal that is too narrow for columns.
    Stacked {
        /// The screen that shows the table.
        screen: Screen,
        /// The width of the screen.
        width: usize,
    },
}

impl Standing {
    /// The word for the state. The JSON of `list` has the same word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Expired => "expired",
            Self::Ended => "ended",
            Self::Unclear => "unclear",
            Self::Gone => "gone",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Live => GREEN,
            Self::Expired | Self::Ended => RED,
            Self::Unclear => YELLOW,
            Self::Gone => "",
        }
    }
}

impl Row {
    /// The row of `anchor` at the time `now`.
    pub(crate) fn new(anchor: &ListedAnchor, standing: Standing, now: Timestamp) -> Self {
        let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
        let since = |time: Timestamp| roughly(now.duration_since(time).as_secs().unsigned_abs());
        let expires = match anchor.expires {
            Some(expires) if expires > now => since(expires),
            Some(expires) => format!("{} ago", since(expires)),
            None => "-".into(),
        };
        Self {
            cells: [
                pipeline(anchor),
                shown(&anchor.repository),
                format!("{}/{}", anchor.namespace, shown(&anchor.service_account)),
                format!("{}/{}", anchor.namespace, anchor.name),
                anchor.created.map_or_else(|| "-".into(), since),
                expires,
                standing.word().into(),
            ],
            standing,
            link: anchor.url.clone().filter(|url| is_link(url)),
        }
    }
}

/// The pipeline of an anchor, from the anchor's annotations: `github run 77, job scan`.
pub(crate) fn pipeline(anchor: &ListedAnchor) -> String {
    let platform = anchor.platform.as_deref().unwrap_or("unknown");
    let run = if platform == "gitlab" { "pipeline" } else { "run" };
    let run = anchor.run_id.as_ref().map(|id| format!("{run} {id}"));
    let job = anchor.job.as_ref().map(|job| format!("job {job}"));
    let by = match (&run, &job, &anchor.requested_by) {
        (None, None, Some(user)) => Some(format!("by {user}")),
        _ => None,
    };
    let parts = [run, job, by]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ");
    match (anchor.token_type, &anchor.platform) {
        (TokenType::Bound, _) => format!("{platform} {parts}").trim_end().to_owned(),
        (TokenType::Legacy, Some(_)) => format!("{platform} {parts}, legacy token").replace(" , ", ", "),
        (TokenType::Legacy, None) => "legacy token".to_owned(),
    }
}

/// Whether `url` is a link that cannot contain an escape sequence for the terminal.
fn is_link(url: &str) -> bool {
    url.starts_with("https://") && url.len() <= 500 && url.bytes().all(|b| b.is_ascii_graphic())
}

impl Layout {
    /// The layout that shows `rows` on `screen`.
    pub(crate) fn new(screen: Screen, rows: &[Row]) -> Self {
        let mut widths = HEADER.map(str::width);
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(&row.cells) {
                *width = (*width).max(cell.width());
            }
        }
        let Some(width) = screen.width else {
            return Self::Columns { screen, widths };
        };
        let gaps = GAP.len() * (COLUMNS - 1);
        while widths.iter().sum::<usize>() + gaps > width {
            let widest = widths[..FLEXIBLE].iter_mut().max();
            match widest.filter(|widest| **widest > MIN_WIDTH) {
                Some(widest) => *widest -= 1,
                None => return Self::Stacked { screen, width },
            }
        }
        Self::Columns { screen, widths }
    }

    /// The line above the rows. Empty for stacked rows.
    pub(crate) fn header(&self) -> String {
        match self {
            Self::Columns { screen, widths } => {
                let link = screen.width.is_none().then_some("LINK");
                let cells = HEADER
                    .iter()
                    .zip(widths)
                    .map(|(cell, width)| padded(&cut(cell, *width), *width));
                let line = cells.chain(link.map(str::to_owned)).collect::<Vec<_>>().join(GAP);
                format!("{}\n", screen.paint(line.trim_end(), BOLD))
            }
            Self::Stacked { .. } => String::new(),
        }
    }

    /// The lines of one row.
    pub(crate) fn row(&self, row: &Row) -> String {
        match self {
            Self::Columns { screen, widths } => {
                let mut line = String::new();
                for (column, (cell, width)) in row.cells.iter().zip(widths).enumerate() {
                    // A pipe or a file has room for a cell of any width.
                    let text = match screen.width {
                        Some(_) => padded(&cut(cell, *width), *width),
                        None => padded(cell, *width),
                    };
                    line += &match column {
                        0 => link(&text, row.link.as_deref().filter(|_| screen.escapes)),
                        STATE => screen.paint(&text, row.standing.colour()),
                        _ => text,
                    };
                    line += GAP;
                }
                if let (None, Some(url)) = (screen.width, &row.link) {
                    line += url;
                }
                format!("{}\n", line.trim_end())
            }
            Self::Stacked { screen, width } => {
                let [pipeline, repository, account, anchor, age, expires, state] = &row.cells;
                let expiry = match expires.as_str() {
                    "-" => String::new(),
                    past if past.ends_with(" ago") => format!(", expiry {past}"),
                    _ => format!(", expires in {expires}"),
                };
                let fit = |text: &str| cut(text, *width);
                let first = link(&fit(pipeline), row.link.as_deref().filter(|_| screen.escapes));
                let second = fit(&format!("  {account} for {repository}"));
                let third = fit(&format!("  {state}, {age} old{expiry}"));
                let state = screen.paint(state, row.standing.colour());
                let third = third.replacen(row.standing.word(), &state, 1);
                format!("{first}\n{second}\n{third}\n  {anchor}\n")
            }
        }
    }
}

/// A link as an OSC 8 sequence: <https://gist.github.com/egmontkob/eb114294efbcd5adb1944c9f3cb5feda>.
fn link(text: &str, url: Option<&str>) -> String {
    let Some(url) = url else { return text.to_owned() };
    let (words, padding) = text.split_at(text.trim_end().len());
    format!("\x1b]8;;{url}\x1b\\{words}\x1b]8;;\x1b\\{padding}")
}

fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::terminal::screen::PIPE;

    const NOW: &str = "2026-11-24T12:00:00Z";

    fn anchor(mut more: serde_json::Value) -> ListedAnchor {
        let common = json!({
            "namespace": "ci", "anchor": "jobpass-aaaaaaaaaaaaaaaaaaaa", "uid": "u", "service-account": "scanner", "requested-by": "someone",
            "url": "https://ci.example/1", "created": "2026-11-24T11:48:00Z",
        });
        let more = more.as_object_mut().expect("an object");
        more.extend(common.as_object().cloned().unwrap_or_default());
        serde_json::from_value(json!(more)).expect("an anchor")
    }

    fn shown(screen: Screen) -> String {
        let now = NOW.parse().expect("a time");
        let github = json!({
            "platform": "github", "repository": "team/app", "run-id": "77", "job": "scan", "expires": "2026-11-24T12:48:00Z",
        });
        let gitlab = json!({
            "platform": "gitlab", "repository": "group/subgroup/a-long-project", "run-id": "1234567", "job": "98765432",
            "expires": "2026-11-24T11:00:00Z",
        });
        let rows = [
            Row::new(&anchor(github), Standing::Live, now),
            Row::new(&anchor(gitlab), Standing::Expired, now),
            Row::new(
                &anchor(json!({ "platform": "cli", "repository": "項目" })),
                Standing::Unclear,
                now,
            ),
        ];
        let layout = Layout::new(screen, &rows);
        rows.iter()
            .fold(layout.header(), |text, row| text + &layout.row(row))
    }

    #[test]
    fn a_pipe_gets_every_cell_in_full() {
        insta::assert_snapshot!(shown(PIPE), @"
        PIPELINE                               REPOSITORY                     SERVICE ACCOUNT  ANCHOR                           AGE     EXPIRES IN  STATE    LINK
        github run 77, job scan                team/app                       ci/scanner       ci/jobpass-aaaaaaaaaaaaaaaaaaaa  12 min  48 min      live     https://ci.example/1
        gitlab pipeline 1234567, job 98765432  group/subgroup/a-long-project  ci/scanner       ci/jobpass-aaaaaaaaaaaaaaaaaaaa  12 min  1 h ago     expired  https://ci.example/1
        cli by someone                         項目                           ci/scanner       ci/jobpass-aaaaaaaaaaaaaaaaaaaa  12 min  -           unclear  https://ci.example/1
        ");
    }

    #[test]
    fn the_long_columns_are_cut_to_fit_a_terminal() {
        let text = shown(Screen {
            width: Some(120),
            ..PIPE
        });
        assert!(text.lines().all(|line| line.width() <= 120), "{text}");
        insta::assert_snapshot!(text, @"
        PIPELINE              REPOSITORY           SERVICE ACCOUNT  ANCHOR                           AGE     EXPIRES IN  STATE
        github run 77, job …  team/app             ci/scanner       ci/jobpass-aaaaaaaaaaaaaaaaaaaa  12 min  48 min      live
        gitlab pipeline 123…  group/subgroup/a-l…  ci/scanner       ci/jobpass-aaaaaaaaaaaaaaaaaaaa  12 min  1 h ago     expired
        cli by someone        項目                 ci/scanner       ci/jobpass-aaaaaaaaaaaaaaaaaaaa  12 min  -           unclear
        ");
    }

    #[test]
    fn rows_are_stacked_on_a_narrow_terminal() {
        let text = shown(Screen {
            width: Some(38),
            ..PIPE
        });
        assert!(text.lines().all(|line| line.width() <= 38), "{text}");
        insta::assert_snapshot!(text, @"
        github run 77, job scan
          ci/scanner for team/app
          live, 12 min old, expires in 48 min
          ci/jobpass-aaaaaaaaaaaaaaaaaaaa
        gitlab pipeline 1234567, job 98765432
          ci/scanner for group/subgroup/a-lon…
          expired, 12 min old, expiry 1 h ago
          ci/jobpass-aaaaaaaaaaaaaaaaaaaa
        cli by someone
          ci/scanner for 項目
          unclear, 12 min old
          ci/jobpass-aaaaaaaaaaaaaaaaaaaa
        ");
    }

    #[test]
    fn colours_and_links_are_around_the_words_and_not_the_padding() {
        let screen = Screen {
            width: Some(140),
            colours: true,
            escapes: true,
        };
        let text = shown(screen);
        assert!(
            text.contains("\x1b]8;;https://ci.example/1\x1b\\github run 77, job scan\x1b]8;;\x1b\\  "),
            "{text:?}"
        );
        assert!(
            text.contains("\x1b[32mlive   \x1b[0m") && text.starts_with("\x1b[1mPIPELINE"),
            "{text:?}"
        );
    }

    #[test]
    fn a_link_cannot_hold_an_escape_sequence() {
        assert!(is_link("https://github.com/team/app/actions/runs/77"));
        for url in [
            "javascript:alert(1)",
            "http://x",
            "https://a\u{1b}\\b",
            "https://a b",
            "https://ä",
        ] {
            assert!(!is_link(url), "{url}");
        }
    }
}
