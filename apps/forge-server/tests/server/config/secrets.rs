//! Secrets: where they may come from, and that none is shown.

use super::*;

#[test]
fn a_secret_that_others_may_replace_is_refused_and_one_they_may_read_is_told() {
    let folder = TempDir::new().unwrap();
    let path = write(&folder, "secret", SECRET);
    let variable = "FORGE_GITHUB_CLIENT_SECRET";
    let by_variable = complete()
        .without(variable)
        .with(&format!("{variable}_FILE"), path.to_str().unwrap());
    let toml = format!("github.client_secret_file = {path:?}");
    let by_key = complete().without(variable).file(&folder, &toml);
    for inputs in [by_variable, by_key] {
        for mode in [0o600, 0o400] {
            set_mode(&path, mode);
            assert!(Config::read(&inputs).unwrap().warnings.is_empty());
        }
        for mode in [0o640, 0o444] {
            set_mode(&path, mode);
            let warnings = Config::read(&inputs).unwrap().warnings;
            let file = path.display();
            let expected = format!(
                "github.client_secret can be read by others (from {file}, mode {mode:04o}): \
                 chmod 600 {file}"
            );
            assert_eq!(warnings, [expected]);
        }
        for mode in [0o620, 0o602, 0o666] {
            set_mode(&path, mode);
            let problem = problem(&inputs);
            assert!(problem.contains("can be replaced by others"), "{problem}");
        }
    }
    // The service manager's own folder shows an access list as the mode of the group.
    write(&folder, "forge-github-client-secret", SECRET);
    set_mode(&folder.path().join("forge-github-client-secret"), 0o440);
    let inputs = complete()
        .without(variable)
        .with("CREDENTIALS_DIRECTORY", folder.path().to_str().unwrap());
    assert!(Config::read(&inputs).unwrap().warnings.is_empty());
    // A configuration file that holds a secret is one.
    let toml = format!("github.client_secret = {SECRET:?}");
    let inputs = complete().without(variable).file(&folder, &toml);
    set_mode(&folder.path().join("forge.toml"), 0o644);
    assert_eq!(Config::read(&inputs).unwrap().warnings.len(), 1);
    let inputs = complete().file(&folder, "bounds.body = 4096");
    set_mode(&folder.path().join("forge.toml"), 0o666);
    assert!(Config::read(&inputs).unwrap().warnings.is_empty());
}

#[test]
fn the_file_of_the_keyring_is_the_one_that_the_server_reads() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(&folder, "keyring", &keyring());
    let inputs = Inputs::default().file(&folder, &format!("keyring_file = {file:?}\nlisen = 1\n"));
    assert_eq!(Config::keyring_file(&inputs).unwrap(), file);
    let other = write(&folder, "other", &keyring());
    let by_variable = inputs.with("FORGE_KEYRING_FILE", other.to_str().unwrap());
    assert_eq!(Config::keyring_file(&by_variable).unwrap(), other);

    let told = |inputs: &Inputs| Config::keyring_file(inputs).unwrap_err().to_string();
    let inline = told(&complete());
    assert!(
        inline.contains("keyring is not in a file of its own (from FORGE_KEYRING): name its file"),
        "{inline}"
    );
    let none = told(&Inputs::default());
    assert!(
        none.contains("keyring is missing: name its file with --keyring"),
        "{none}"
    );
    let gone = told(&Inputs::default().with("FORGE_KEYRING_FILE", "/nowhere/keyring"));
    assert!(gone.contains("(from /nowhere/keyring)"), "{gone}");
    let unread = Inputs {
        file: Some(folder.path().join("none.toml")),
        ..Inputs::default()
    };
    assert!(told(&unread).contains("config cannot be read"));
}

#[test]
fn a_secrets_variable_wins_over_its_file_over_credentials_over_the_configuration_file() {
    let folder = tempfile::tempdir().unwrap();
    let secret = |inputs: &Inputs| {
        let config = Config::read(inputs).unwrap();
        config.github.client_secret.expose_secret().to_owned()
    };
    let inputs = complete().without("FORGE_GITHUB_CLIENT_SECRET");
    let inputs = inputs.file(&folder, "[github]\nclient_secret = \"of-toml\"\n");
    assert_eq!(secret(&inputs), "of-toml");
    write(&folder, "forge-github-client-secret", "of-credentials\n");
    let inputs = inputs.with("CREDENTIALS_DIRECTORY", folder.path().to_str().unwrap());
    assert_eq!(secret(&inputs), "of-credentials");
    let file = write(&folder, "secret", "of-a-file\r\n");
    let variable = "FORGE_GITHUB_CLIENT_SECRET_FILE";
    let inputs = inputs.with(variable, file.to_str().unwrap());
    assert_eq!(secret(&inputs), "of-a-file");
    let inputs = inputs.with("FORGE_GITHUB_CLIENT_SECRET", "of-a-variable");
    assert_eq!(secret(&inputs), "of-a-variable");
}

#[test]
fn the_configuration_file_may_name_the_file_of_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(&folder, "keys", &keyring());
    let toml = format!("keyring_file = {path:?}\n");
    let inputs = complete().without("FORGE_KEYRING").file(&folder, &toml);
    assert!(Config::read(&inputs).is_ok());
    // But not that of anything else.
    let inputs = complete().file(&folder, "listen_file = \"/etc/passwd\"\n");
    assert!(problem(&inputs).starts_with("listen_file is not a key Forge knows"));
}

#[test]
fn a_secret_is_not_taken_from_the_command_line() {
    for key in ["github.client_secret", "keyring"] {
        let problem = problem(&complete().flag(key, SECRET));
        assert!(
            problem.starts_with(&format!("{key} is a secret, and the command line is seen")),
            "{problem}"
        );
        assert!(problem.contains("_FILE"), "{problem}");
    }
}

#[test]
fn a_bad_secret_is_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(&folder, "secret", SECRET);
    let file = file.to_str().unwrap();
    let many = format!("{SECRET} {SECRET}");
    for (variable, value, key) in [
        ("FORGE_KEYRING", SECRET, "keyring"),
        ("FORGE_KEYRING", many.as_str(), "keyring"),
        ("FORGE_KEYRING", "", "keyring"),
        (
            "FORGE_GITHUB_CLIENT_SECRET",
            many.as_str(),
            "github.client_secret",
        ),
        ("FORGE_GITHUB_CLIENT_SECRET", "", "github.client_secret"),
    ] {
        let problem = problem(&complete().without(variable).with(variable, value));
        let head = format!("{key} ");
        assert!(problem.starts_with(&head), "{problem}");
        assert!(problem.contains(&format!("(from {variable})")), "{problem}");
    }
    let inputs = complete().without("FORGE_KEYRING");
    let problem = problem(&inputs.with("FORGE_KEYRING_FILE", file));
    assert!(problem.contains(&format!("(from {file})")), "{problem}");
    let config = complete();
    let shown = format!("{config:?} {:?}", Config::read(&config).unwrap());
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_secret_file_that_is_none_is_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    let large = "x".repeat(64 * 1024 + 1);
    let large = write(&folder, "large", &large);
    let binary = folder.path().join("binary");
    fs::write(&binary, b"\xff\xfe").unwrap();
    let none = folder.path().join("none");
    for path in [
        large.as_path(),
        &binary,
        &none,
        folder.path(),
        Path::new(""),
    ] {
        let inputs = complete().without("FORGE_KEYRING");
        let inputs = inputs.with("FORGE_KEYRING_FILE", path.to_str().unwrap());
        // Nothing else was given, so that it is missing too.
        let problems = problems(&inputs);
        assert!(
            problems[0].starts_with("keyring cannot be read: "),
            "{problems:?}"
        );
        assert!(problems[0].ends_with(": name a readable file of text"));
    }
}
