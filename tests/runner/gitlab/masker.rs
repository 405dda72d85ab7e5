//! Masks like a runner (gitlab-runner's `common/buildlogger`).

/// The default prefix of GitLab's access tokens. Every runner from 15.5 on masks the text after it
/// (`tokensanitizer`). The prefixes of GitLab's other tokens, which newer runners can mask too, are not
/// modelled.
const PREFIX: &str = "glpat-";
const MASKED: &str = "[MASKED]";

/// Masks the values of masked variables, and then the text after each [`PREFIX`].
pub(super) fn mask<'a>(log: &str, values: impl Iterator<Item = &'a str>) -> String {
    let mut values = values.filter(|value| !value.is_empty()).collect::<Vec<_>>();
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    let log = values
        .iter()
        .fold(log.to_owned(), |log, value| log.replace(value, MASKED));
    let mut masked = String::new();
    let mut rest = &*log;
    while let Some((before, after)) = rest.split_once(PREFIX) {
        masked += before;
        masked += PREFIX;
        let in_token = |c: char| c.is_ascii_alphanumeric() || "._=-".contains(c);
        rest = after.trim_start_matches(in_token);
        if rest.len() < after.len() {
            masked += MASKED;
        }
    }
    masked + rest
}

/// Removes the `::add-mask::` lines from a log, like `proxy-exec`. Returns the other lines, and the values of
/// the removed lines.
pub(super) fn added(log: &str) -> (String, Vec<&str>) {
    let (commands, shown): (Vec<_>, Vec<_>) = log
        .split_inclusive('\n')
        .partition(|line| line.starts_with("::add-mask::"));
    let values = commands
        .iter()
        .filter_map(|line| line.trim_end().strip_prefix("::add-mask::"));
    (shown.concat(), values.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_gitlab() {
        for (log, shown) in [
            ("a glpat-im_p.er=di-et b", "a glpat-[MASKED] b"),
            ("esseglpat-a\nglpat-b", "esseglpat-[MASKED]\nglpat-[MASKED]"),
            ("glpat-impglpat-erdiet x", "glpat-[MASKED] x"),
            ("glpat- x glpat-", "glpat- x glpat-"),
            ("glpat-a~b", "glpat-[MASKED]~b"),
        ] {
            assert_eq!(mask(log, std::iter::empty()), shown);
        }
    }

    #[test]
    fn masked_variables_the_longest_first() {
        let values = ["abcdefgh", "abcdefghijkl"];
        assert_eq!(
            mask("<abcdefghijkl>\nabcdefgh", values.into_iter()),
            "<[MASKED]>\n[MASKED]"
        );
        assert_eq!(mask("abcdefg", values.into_iter()), "abcdefg");
    }
}
