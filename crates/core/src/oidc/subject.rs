//! The claim `sub` of GitHub's ID tokens.
//!
//! GitHub writes `repo:OWNER/NAME:CONTEXT`. For repositories created, renamed or moved since 15 July 2026,
//! and for those that opt in, it writes `repo:OWNER@ID/NAME@ID:CONTEXT`. An owner can also choose other
//! claims for `sub`. None of this changes the other claims, and `jobpass setup` compares only those.

/// A `sub` as GitHub writes it by default: `repo:OWNER/NAME:CONTEXT`, with or without ids after the names.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Subject<'a> {
    owner: Named<'a>,
    repository: Named<'a>,
    context: &'a str,
}

/// The name of an owner or of a repository, and the id after it, if there is one: `NAME@ID`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Named<'a> {
    name: &'a str,
    id: Option<&'a str>,
}

impl<'a> Subject<'a> {
    /// Parses a `sub`. `None` if the `sub` has another form, or comes from another platform.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (repository, context) = text.strip_prefix("repo:")?.split_once(':')?;
        let (owner, repository) = repository.split_once('/')?;
        let (owner, repository) = (Named::parse(owner)?, Named::parse(repository)?);
        // In one form both names have ids, and in the other form neither has one.
        (owner.id.is_some() == repository.id.is_some()).then_some(Self {
            owner,
            repository,
            context,
        })
    }

    /// Whether exactly one of the two `sub` has ids, and both name the same owner, repository and context.
    pub(crate) fn is_other_form_of(&self, other: &Self) -> bool {
        let names = |one: &Self| (one.owner.name.to_lowercase(), one.repository.name.to_lowercase());
        self.owner.id.is_some() != other.owner.id.is_some()
            && names(self) == names(other)
            && self.context == other.context
    }
}

impl<'a> Named<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (name, id) = match text.split_once('@') {
            Some((name, id)) => (name, Some(id)),
            None => (text, None),
        };
        let is_id = |id: &str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
        (!name.is_empty() && !name.contains('/') && id.is_none_or(is_id)).then_some(Self { name, id })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::ref_(
        "repo:team/app:ref:refs/heads/main",
        "repo:team@1/app@2:ref:refs/heads/main",
        true
    )]
    #[case::environment("repo:team/app:environment:a:b", "repo:team@1/app@2:environment:a:b", true)]
    #[case::case("repo:Team/App:pull_request", "repo:team@1/app@2:pull_request", true)]
    #[case::another_ref(
        "repo:team/app:ref:refs/heads/x",
        "repo:team@1/app@2:ref:refs/heads/main",
        false
    )]
    #[case::another_repository("repo:team/other:pull_request", "repo:team@1/app@2:pull_request", false)]
    #[case::the_same_form("repo:team/app:pull_request", "repo:team/app:pull_request", false)]
    #[case::other_ids("repo:team@3/app@4:pull_request", "repo:team@1/app@2:pull_request", false)]
    fn both_forms_name_the_same_jobs(#[case] one: &str, #[case] other: &str, #[case] same: bool) {
        let (one, other) = (
            Subject::parse(one).expect(one),
            Subject::parse(other).expect(other),
        );
        assert_eq!(one.is_other_form_of(&other), same);
        assert_eq!(other.is_other_form_of(&one), same);
    }

    #[rstest]
    #[case("repository_owner:team:repository_visibility:private")]
    #[case("project_path:team/scan:ref_type:branch:ref:main")]
    #[case("repo:team@1/app:pull_request")]
    #[case("repo:team@x/app@2:pull_request")]
    #[case("repo:team/app")]
    #[case("repo:team/a/b:pull_request")]
    #[case("")]
    fn other_subjects(#[case] text: &str) {
        assert_eq!(Subject::parse(text), None);
    }
}
