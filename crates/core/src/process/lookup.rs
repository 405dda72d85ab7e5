//! Finds programs by their names, and the user's home.

use std::{ffi::OsStr, path::PathBuf};

use super::{environment::Environment, system};

pub use super::system::is_path;

/// The files that `program` may mean, the preferred file first. A name may be in any folder of `PATH`; a path
/// means itself. On Windows, a file may also have one of the endings of PATHEXT.
pub fn files_of(program: &OsStr, environment: &Environment) -> Vec<PathBuf> {
    let paths = match is_path(program) {
        true => vec![PathBuf::from(program)],
        false => std::env::split_paths(environment.get("PATH").unwrap_or_default())
            .map(|folder| folder.join(program))
            .collect(),
    };
    paths
        .into_iter()
        .flat_map(|path| system::programs(path, environment))
        .collect()
}

/// The endings of programs if PATHEXT is not set (Go, `os/exec/lp_windows.go`).
#[cfg(any(windows, test))]
const ENDINGS: &str = ".com;.exe;.bat;.cmd";

/// The files that a path means on Windows: the path itself if it has an ending, and the path with each of the
/// endings of PATHEXT. client-go finds the programs of a kubeconfig in the same way.
#[cfg(any(windows, test))]
pub(super) fn programs_on_windows(path: PathBuf, endings: Option<&str>) -> Vec<PathBuf> {
    let has_an_ending = path.extension().is_some();
    let endings = endings.unwrap_or(ENDINGS).split(';');
    let with_ending = endings.filter(|ending| !ending.is_empty()).map(|ending| {
        let dot = if ending.starts_with('.') { "" } else { "." };
        let mut path = path.clone().into_os_string();
        path.push(format!("{dot}{}", ending.to_ascii_lowercase()));
        PathBuf::from(path)
    });
    let with_ending = with_ending.collect::<Vec<_>>();
    let as_named = has_an_ending.then_some(path);
    as_named.into_iter().chain(with_ending).collect()
}

/// The folders that may be the user's home on Windows. client-go takes the first that has `.kube\config`.
#[cfg(any(windows, test))]
pub(super) fn homes_on_windows(environment: &Environment) -> Result<Vec<PathBuf>, crate::Error> {
    let of_drive = environment
        .utf8("HOMEDRIVE")?
        .zip(environment.utf8("HOMEPATH")?)
        .map(|(drive, path)| format!("{drive}{path}"));
    let homes = [
        environment.utf8("HOME")?.map(str::to_owned),
        of_drive,
        environment.utf8("USERPROFILE")?.map(str::to_owned),
    ];
    Ok(homes.into_iter().flatten().map(PathBuf::from).collect())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::of_a_name("aws", None, &["aws.com", "aws.exe", "aws.bat", "aws.cmd"])]
    #[case::with_an_ending("aws.cmd", Some(".EXE"), &["aws.cmd", "aws.cmd.exe"])]
    #[case::as_pathext_says("bin/aws", Some(".EXE;;PS1"), &["bin/aws.exe", "bin/aws.ps1"])]
    #[case::with_a_dot_in_its_name("kubectl-1.30", Some(".EXE"), &["kubectl-1.30", "kubectl-1.30.exe"])]
    fn a_program_on_windows_has_an_ending(
        #[case] name: &str,
        #[case] endings: Option<&str>,
        #[case] expected: &[&str],
    ) {
        let files = programs_on_windows(name.into(), endings);
        assert_eq!(files, expected.iter().map(PathBuf::from).collect::<Vec<_>>());
    }

    #[test]
    fn the_homes_of_a_user_on_windows_have_the_order_of_client_go() {
        let environment = Environment::from([
            ("USERPROFILE", r"C:\Users\ci"),
            ("HOMEDRIVE", "H:"),
            ("HOMEPATH", r"\"),
            ("HOME", "/c/Users/ci"),
        ]);
        let homes = homes_on_windows(&environment).expect("UTF-8");
        let expected = ["/c/Users/ci", r"H:\", r"C:\Users\ci"].map(PathBuf::from);
        assert_eq!(homes, expected);
        let without = environment.with("HOME", None).with("HOMEPATH", None);
        let homes = homes_on_windows(&without).expect("UTF-8");
        assert_eq!(homes, [PathBuf::from(r"C:\Users\ci")]);
    }

    #[test]
    fn a_name_is_searched_for_on_path_and_a_path_is_itself() {
        let environment = Environment::from([("PATH", "/usr/bin:bin")]);
        let files = |program: &str| files_of(program.as_ref(), &environment);
        assert_eq!(files("aws"), ["/usr/bin/aws", "bin/aws"].map(PathBuf::from));
        assert_eq!(files("./aws"), [PathBuf::from("./aws")]);
    }
}
