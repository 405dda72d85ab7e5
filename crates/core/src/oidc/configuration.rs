//! The file that lets kube-apiserver trust a CI platform's ID tokens.

use super::{
    Oidc,
    jobs::{Platform, Ref},
};
use crate::text::{cel, quoted};

impl Oidc {
    /// The configuration without its comments, as errors show it.
    pub(crate) fn in_short(&self) -> String {
        let configuration = self.configuration();
        let lines = configuration
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'));
        lines.collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn configuration(&self) -> String {
        let (id, owner_id, run_id, git_ref) = match self.platform {
            Platform::GitHub => ("repository_id", "repository_owner_id", "run_id", "ref"),
            // GitLab's `ref` does not distinguish branches from tags.
            Platform::GitLab => ("project_id", "namespace_id", "pipeline_id", "ref_path"),
        };
        let equals =
            |claim: &str, value: &str| format!("  - claim: {claim}\n    requiredValue: {}\n", quoted(value));
        let mut rules = String::from(
            "  # Ids stay when a repository is renamed; somebody else can take a name that was given up.\n",
        );
        let one_of = |claim: &str, values: &[String]| match values {
            [one] => equals(claim, one),
            several => {
                let several = several.iter().map(|value| cel(value)).collect::<Vec<_>>();
                let expression = quoted(&format!("claims.{claim} in [{}]", several.join(", ")));
                format!("  - expression: {expression}\n    message: \"another {claim}\"\n")
            }
        };
        rules += &one_of(id, &self.ids);
        if let Some(owner) = &self.owner_id {
            rules += "  # Refuses the jobs after the repository or project moves to another owner.\n";
            rules += &equals(owner_id, owner);
        }
        match &self.git_ref {
            Some(Ref::Protected) => {
                rules += "  # Everybody who may push to a ref may edit its jobs: accept only refs that the \
                          platform protects.\n";
                rules += &equals("ref_protected", "true");
            }
            Some(Ref::Named(name)) => {
                rules += "  # Everybody who may push to a ref may edit its jobs: accept only this ref.\n";
                rules += &equals(git_ref, name);
            }
            None => {}
        }
        if let Some(environment) = &self.environment {
            rules += "  # The environment's rules, such as an approval, decide which jobs run in it.\n";
            rules += &equals("environment", environment);
        }
        if !self.workflow_refs.is_empty() {
            rules += "  # The workflow that started the run, as it is on that ref.\n";
            rules += &one_of("workflow_ref", &self.workflow_refs);
        }
        if !self.job_workflow_refs.is_empty() {
            rules +=
                "  # The workflow that the job is written in. A workflow that calls it chooses the inputs.\n";
            rules += &one_of("job_workflow_ref", &self.job_workflow_refs);
        }
        for (name, value) in &self.properties {
            rules += "  # A custom property of the repository. The organization adds it to its ID tokens.\n";
            rules += &equals(&quoted(&format!("repo_property_{name}")), value);
        }
        let job = match self.platform {
            // The ID tokens of a GitHub Enterprise Server may lack this claim.
            Platform::GitHub => {
                "    # The job in that run, if GitHub names it.\n    - key: jobpass.dev/check-run-id\n      \
                 valueExpression: \"has(claims.check_run_id) ? string(claims.check_run_id) : ''\"\n"
            }
            Platform::GitLab => "",
        };
        format!(
            "# For kube-apiserver's flag --authentication-config (Kubernetes 1.34; with \
             apiserver.config.k8s.io/v1beta1 from 1.30\n# on). If the API server has such a file already, \
             add the entry below `jwt:` to it. Each issuer may have one entry.\n# The API server reads the \
             file again when it changes, and must reach the issuer's\n# /.well-known/openid-configuration; \
             add `certificateAuthority` below `issuer` if its certificate comes from a private \
             CA.\napiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- \
             issuer:\n    url: {issuer}\n    # Accepts only ID tokens for this audience. So an ID token \
             that a job sends to another service is useless here.\n    audiences: [{audience}]\n  \
             claimValidationRules:\n{rules}  claimMappings:\n    # The user that the minter's RoleBinding \
             and the admission policies name.\n    username:\n      expression: {username}\n    # The API \
             server's audit log then names the run.\n    extra:\n    - key: jobpass.dev/run-id\n      \
             valueExpression: claims.{run_id}\n{job}",
            issuer = quoted(&self.issuer),
            audience = quoted(&self.audience),
            username = quoted(&format!("{} + claims.{id}", cel(&self.user_prefix()))),
        )
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::inputs::setup::Wanted;

    fn configuration(wanted: Wanted) -> serde_json::Value {
        let wanted = Wanted {
            oidc_audience: Some("k8s".into()),
            ..wanted
        };
        let oidc = Oidc::parse(&wanted).expect("parsed").expect("jobs");
        let parse = |text: &str| serde_yaml::from_str::<serde_json::Value>(text).expect("YAML");
        let configuration = parse(&oidc.configuration());
        assert_eq!(
            parse(&oidc.in_short()),
            configuration,
            "the comments alone are left out"
        );
        assert!(
            oidc.in_short()
                .lines()
                .all(|line| !line.trim_start().starts_with('#'))
        );
        configuration["jwt"][0].clone()
    }

    /// Each case has the claim that a rule compares, and the required value. The platforms have different
    /// names for the same fact.
    #[rstest]
    #[case::repository("repository_id", "2", false, Wanted::default())]
    #[case::project("project_id", "2", true, Wanted::default())]
    #[case::owner("repository_owner_id", "3", false, Wanted { owner_id: Some("3".into()), ..Wanted::default() })]
    #[case::group("namespace_id", "3", true, Wanted { owner_id: Some("3".into()), ..Wanted::default() })]
    #[case::branch("ref", "refs/heads/main", false, Wanted { git_ref: Some("refs/heads/main".into()), ..Wanted::default() })]
    #[case::whole_branch("ref_path", "refs/heads/main", true, Wanted { git_ref: Some("refs/heads/main".into()), ..Wanted::default() })]
    #[case::protected("ref_protected", "true", false, Wanted { git_ref: Some("protected".into()), ..Wanted::default() })]
    #[case::environment("environment", "a: \"b\" #c", true, Wanted { environment: Some("a: \"b\" #c".into()), ..Wanted::default() })]
    fn a_limit_is_a_rule_about_a_claim(
        #[case] claim: &str,
        #[case] value: &str,
        #[case] gitlab: bool,
        #[case] wanted: Wanted,
    ) {
        let ids = vec!["2".to_owned()];
        let wanted = match gitlab {
            true => Wanted {
                project_ids: ids,
                ..wanted
            },
            false => Wanted {
                repository_ids: ids,
                ..wanted
            },
        };
        let limited = wanted.owner_id.is_some() || wanted.git_ref.is_some() || wanted.environment.is_some();
        let rules = configuration(wanted)["claimValidationRules"].clone();
        let rules = rules.as_array().expect("rules").clone();
        assert!(
            rules.contains(&serde_json::json!({ "claim": claim, "requiredValue": value })),
            "{rules:?}"
        );
        // Each limit adds one rule to the rule about the repository.
        assert_eq!(rules.len(), 1 + usize::from(limited), "{rules:?}");
    }

    #[test]
    fn several_repositories_are_one_rule_that_names_each() {
        let ids = vec!["2".to_owned(), "3".to_owned()];
        let jwt = configuration(Wanted {
            repository_ids: ids,
            ..Wanted::default()
        });
        let rules = &jwt["claimValidationRules"];
        assert_eq!(rules[0]["expression"], "claims.repository_id in ['2', '3']");
        assert!(rules[1].is_null(), "{rules}");
        assert_eq!(
            jwt["claimMappings"]["username"]["expression"],
            "'ci:github:' + claims.repository_id"
        );
    }
}
