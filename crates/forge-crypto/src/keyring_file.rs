//! Keyrings in files: read with care, and replaced as a whole.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use crate::entropy;
use crate::error::KeyringError;
use crate::keyring::Keyring;

/// A file with more bytes is no keyring: 256 keys with long comments fit.
const MAX_FILE: u64 = 256 * 1024;

/// The name of the credential, as systemd passes it.
const CREDENTIAL: &str = "forge-keyring";

impl Keyring {
    /// Reads the keyring in the file `path`.
    ///
    /// On Unix the file must be readable by its owner alone (mode 0600 or 0400). A link is
    /// followed; what it leads to is checked.
    ///
    /// # Errors
    /// When others may read the file, it cannot be read, or it is no keyring. Each message says
    /// what to do.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, KeyringError> {
        read(path.as_ref(), check_permissions)
    }

    /// Reads the keyring that the service manager passed: `$CREDENTIALS_DIRECTORY/forge-keyring`,
    /// as with systemd's `LoadCredential=forge-keyring:/etc/forge/keyring` or
    /// `LoadCredentialEncrypted=`.
    ///
    /// The permissions are not looked at: systemd grants a service under another user its
    /// credentials by an access list, which shows as the mode of the group, in a folder that no
    /// other service can enter.
    ///
    /// # Errors
    /// When the variable is not set, or the file is no keyring.
    pub fn from_credentials_directory() -> Result<Self, KeyringError> {
        Self::from_credentials(std::env::var_os("CREDENTIALS_DIRECTORY"))
    }

    /// Reads the keys in the environment variable `name`: see [`parse_list`](Self::parse_list).
    ///
    /// An environment is seen by every child process, and by whoever may read `/proc`: a file is
    /// the better place.
    ///
    /// # Errors
    /// When the variable is not set, or holds no keys.
    pub fn from_env(name: &str) -> Result<Self, KeyringError> {
        let missing = |_| KeyringError::NoVariable { name: name.into() };
        let text = Zeroizing::new(std::env::var(name).map_err(missing)?);
        Self::parse_list(&text)
    }

    fn from_credentials(directory: Option<OsString>) -> Result<Self, KeyringError> {
        let directory = directory
            .filter(|directory| !directory.is_empty())
            .ok_or(KeyringError::NoCredentialsDirectory)?;
        read(&PathBuf::from(directory).join(CREDENTIAL), |_, _| Ok(()))
    }

    /// Writes the keyring into the new file `path`, with mode 0600 on Unix.
    ///
    /// The file appears whole and on disk, or not at all, and a file that is there already is left
    /// as it is. The folder must be on a file system that has hard links.
    ///
    /// # Errors
    /// [`KeyringError::Exists`] when there is a file of that name, [`KeyringError::Io`] when it
    /// cannot be written.
    pub fn create_file(&self, path: impl AsRef<Path>) -> Result<(), KeyringError> {
        let path = path.as_ref();
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => KeyringError::Exists { path: path.into() },
            _ => KeyringError::Io {
                path: path.into(),
                action: "written",
                source,
            },
        };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let draft = Draft::create(folder).map_err(failed)?;
        draft
            .write(self.to_text().expose_secret().as_bytes())
            // A link is made only where there is nothing, which renaming does not promise.
            .and_then(|()| fs::hard_link(&draft.path, path))
            .and_then(|()| sync_folder(folder))
            .map_err(failed)
    }
}

/// Changing a keyring that is in use.
impl Keyring {
    /// Puts what `change` makes of the keyring in the file `path` in its place, and returns it.
    ///
    /// Readers see the old keyring or the new one, whole. Two changes at once follow one another,
    /// and neither is lost. Owner, group and mode stay as they are; lines that are only comments
    /// do not. A link is followed. When `change` refuses, nothing is written.
    ///
    /// ```no_run
    /// # use forge_crypto::{Keyring, RotationError};
    /// # fn promote(id: forge_crypto::KeyId) -> Result<(), RotationError> {
    /// Keyring::change_file("/etc/forge/keyring", |ring| ring.promote(id))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What `change` says, or when the file cannot be read or written.
    pub fn change_file<E: From<KeyringError>>(
        path: impl AsRef<Path>,
        change: impl FnOnce(Self) -> Result<Self, E>,
    ) -> Result<Self, E> {
        let path = path.as_ref();
        let failed = |action| {
            move |source| KeyringError::Io {
                path: path.into(),
                action,
                source,
            }
        };
        let target = fs::canonicalize(path).map_err(failed("read"))?;
        require_file(path, &fs::metadata(&target).map_err(failed("read"))?)?;
        let locked = lock(&target).map_err(failed("locked"))?;
        let ring = change(read(&target, check_permissions)?)?;
        let write = || {
            let folder = target.parent().unwrap_or(Path::new("/"));
            let draft = Draft::create(folder)?;
            keep_owner_and_mode(&locked.metadata()?, &draft.file)?;
            draft.write(ring.to_text().expose_secret().as_bytes())?;
            fs::rename(&draft.path, &target)?;
            sync_folder(folder)
        };
        write().map_err(failed("written"))?;
        Ok(ring)
    }
}

/// The file under an exclusive lock. Who waited may hold the lock of a file that was replaced
/// meanwhile: then the one that is there now is locked.
fn lock(path: &Path) -> io::Result<File> {
    loop {
        let file = File::open(path)?;
        file.lock()?;
        if is_same_file(&file.metadata()?, &fs::metadata(path)?) {
            return Ok(file);
        }
    }
}

#[cfg(unix)]
fn is_same_file(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(not(unix))]
fn is_same_file(_: &fs::Metadata, _: &fs::Metadata) -> bool {
    true
}

/// So that the service can read what an administrator replaced as another user.
#[cfg(unix)]
fn keep_owner_and_mode(of: &fs::Metadata, file: &File) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let metadata = file.metadata()?;
    if (metadata.uid(), metadata.gid()) != (of.uid(), of.gid()) {
        fchown(file, Some(of.uid()), Some(of.gid()))?;
    }
    file.set_permissions(of.permissions())
}

#[cfg(not(unix))]
fn keep_owner_and_mode(_: &fs::Metadata, _: &File) -> io::Result<()> {
    Ok(())
}

/// A file beside the final one that nobody else knows; removed when dropped.
struct Draft {
    path: PathBuf,
    file: File,
}

impl Draft {
    fn create(folder: &Path) -> io::Result<Self> {
        let mut name = [0; 16];
        entropy::from_os(&mut name).map_err(io::Error::other)?;
        let name = format!(".forge-keyring-{:032x}", u128::from_ne_bytes(name));
        let path = folder.join(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path)?;
        Ok(Self { path, file })
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.file).write_all(bytes)?;
        self.file.sync_all()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // When it stays behind, it is a copy with the same protection as the file itself.
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes the new name last, where folders can be synced.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn read(
    path: &Path,
    check: impl FnOnce(&Path, &fs::Metadata) -> Result<(), KeyringError>,
) -> Result<Keyring, KeyringError> {
    let failed = |source| KeyringError::Io {
        path: path.into(),
        action: "read",
        source,
    };
    // Looked at before it is opened, since opening a pipe waits for a writer; and the opened file
    // again, since the name can lead elsewhere by then.
    require_file(path, &fs::metadata(path).map_err(failed)?)?;
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    require_file(path, &metadata)?;
    check(path, &metadata)?;

    let too_large = || KeyringError::TooLarge {
        path: path.into(),
        most: MAX_FILE,
    };
    let capacity = usize::try_from(metadata.len()).map_err(|_| too_large())?;
    if metadata.len() > MAX_FILE {
        return Err(too_large());
    }
    // With room to spare, so that reading does not grow the buffer and leave a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity + 64));
    file.take(metadata.len() + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    let text = std::str::from_utf8(&bytes);
    Keyring::parse(text.map_err(|_| KeyringError::NotText { path: path.into() })?)
}

fn require_file(path: &Path, metadata: &fs::Metadata) -> Result<(), KeyringError> {
    if metadata.is_file() {
        Ok(())
    } else {
        Err(KeyringError::NotAFile { path: path.into() })
    }
}

#[cfg(unix)]
fn check_permissions(path: &Path, metadata: &fs::Metadata) -> Result<(), KeyringError> {
    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777;
    if mode & 0o077 == 0 {
        Ok(())
    } else {
        Err(KeyringError::Permissions {
            path: path.into(),
            mode,
        })
    }
}

#[cfg(not(unix))]
fn check_permissions(_path: &Path, _metadata: &fs::Metadata) -> Result<(), KeyringError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::RotationError;
    use crate::key::RootKey;

    #[test]
    fn what_was_created_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyring");
        let ring = Keyring::generate().unwrap();
        ring.create_file(&path).unwrap();

        let read = Keyring::from_file(&path).unwrap();
        assert_eq!(read.primary().key(), ring.primary().key());
        let names = fs::read_dir(folder.path()).unwrap();
        assert_eq!(names.count(), 1, "the draft is gone");
    }

    #[test]
    fn never_overwrites() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyring");
        fs::write(&path, "mine").unwrap();
        let error = Keyring::generate().unwrap().create_file(&path).unwrap_err();
        assert!(matches!(error, KeyringError::Exists { .. }));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn says_where_a_file_cannot_be_written_or_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("keyring");
        let error = Keyring::generate().unwrap().create_file(&path).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("keyring {} cannot be written", path.display())
        );
        let error = Keyring::from_file(&path).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("keyring {} cannot be read", path.display())
        );
    }

    #[test]
    fn refuses_what_is_no_keyring_file() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            Keyring::from_file(folder.path()),
            Err(KeyringError::NotAFile { .. })
        ));
        let credentials = |bytes: &[u8]| {
            fs::write(folder.path().join(CREDENTIAL), bytes).unwrap();
            Keyring::from_credentials(Some(folder.path().into())).unwrap_err()
        };
        assert!(matches!(
            credentials(&vec![b'#'; 256 * 1024 + 1]),
            KeyringError::TooLarge { .. }
        ));
        assert!(matches!(credentials(b"\xff"), KeyringError::NotText { .. }));
        assert!(matches!(credentials(b""), KeyringError::Header));
    }

    #[test]
    fn reads_the_credential_of_the_service_manager() {
        let folder = tempfile::tempdir().unwrap();
        let ring = Keyring::generate().unwrap();
        ring.create_file(folder.path().join("forge-keyring"))
            .unwrap();
        let read = Keyring::from_credentials(Some(folder.path().into())).unwrap();
        assert_eq!(read.primary().id(), ring.primary().id());

        for unset in [None, Some(OsString::new())] {
            assert!(matches!(
                Keyring::from_credentials(unset),
                Err(KeyringError::NoCredentialsDirectory)
            ));
        }
    }

    #[test]
    fn a_change_replaces_the_file_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyring");
        Keyring::generate().unwrap().create_file(&path).unwrap();
        let before = fs::read_to_string(&path).unwrap();

        let key = RootKey::generate().unwrap();
        let id = key.id();
        let changed = Keyring::change_file(&path, |ring| ring.add(key, "second")).unwrap();
        assert_eq!(changed.entries()[1].id(), id);
        let read = Keyring::from_file(&path).unwrap();
        assert_eq!(
            read.to_text().expose_secret(),
            changed.to_text().expose_secret()
        );
        assert!(fs::read_to_string(&path).unwrap().starts_with(&before));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

        let before = fs::read_to_string(&path).unwrap();
        let refused = Keyring::change_file(&path, |ring| {
            let primary = ring.primary().id();
            ring.promote(primary)
        });
        assert!(matches!(refused, Err(RotationError::Primary { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let nothing = Keyring::change_file(folder.path().join("none"), Ok::<_, KeyringError>);
        assert!(matches!(
            nothing,
            Err(KeyringError::Io { action: "read", .. })
        ));
    }

    #[test]
    fn changes_at_once_follow_one_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyring");
        Keyring::generate().unwrap().create_file(&path).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        let key = RootKey::generate().unwrap();
                        Keyring::change_file(&path, |ring| ring.add(key, "")).unwrap();
                    }
                });
            }
        });
        assert_eq!(Keyring::from_file(&path).unwrap().entries().len(), 21);
    }

    #[test]
    fn reads_keys_from_the_environment() {
        assert!(matches!(
            Keyring::from_env("FORGE_CRYPTO_NOT_SET"),
            Err(KeyringError::NoVariable { name }) if name == "FORGE_CRYPTO_NOT_SET"
        ));
        // Set for every test by cargo, and no key.
        assert!(matches!(
            Keyring::from_env("CARGO_PKG_NAME"),
            Err(KeyringError::Key { line: 1, .. })
        ));
    }

    #[cfg(unix)]
    mod on_unix {
        use std::os::unix::fs::PermissionsExt;

        use super::*;

        #[test]
        fn a_change_keeps_mode_and_link() {
            let folder = tempfile::tempdir().unwrap();
            let (path, link) = (folder.path().join("keyring"), folder.path().join("link"));
            Keyring::generate().unwrap().create_file(&path).unwrap();
            set_mode(&path, 0o400);
            std::os::unix::fs::symlink(&path, &link).unwrap();
            let add = |ring: Keyring| ring.add(RootKey::generate().unwrap(), "");
            Keyring::change_file(&link, add).unwrap();
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o400);
            assert_eq!(Keyring::from_file(&path).unwrap().entries().len(), 2);
            set_mode(&path, 0o644);
            assert!(matches!(
                Keyring::change_file(&path, add),
                Err(RotationError::Keyring(KeyringError::Permissions { .. }))
            ));
        }

        fn set_mode(path: &Path, mode: u32) {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }

        #[test]
        fn a_new_file_is_its_owners_alone() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("keyring");
            Keyring::generate().unwrap().create_file(&path).unwrap();
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o600);
        }

        #[test]
        fn refuses_a_file_that_others_may_read_and_says_the_fix() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("keyring");
            Keyring::generate().unwrap().create_file(&path).unwrap();
            for mode in [0o640, 0o604, 0o644, 0o620, 0o602, 0o610] {
                set_mode(&path, mode);
                let shown = Keyring::from_file(&path).unwrap_err().to_string();
                let path = path.display();
                assert_eq!(
                    shown,
                    format!(
                        "keyring {path} may be read by others (mode {mode:04o}); run: chmod 600 {path}"
                    )
                );
            }
            set_mode(&path, 0o400);
            assert!(Keyring::from_file(&path).is_ok());
        }

        #[test]
        fn a_link_is_followed_and_its_target_checked() {
            let folder = tempfile::tempdir().unwrap();
            let (path, link) = (folder.path().join("keyring"), folder.path().join("link"));
            Keyring::generate().unwrap().create_file(&path).unwrap();
            std::os::unix::fs::symlink(&path, &link).unwrap();
            assert!(Keyring::from_file(&link).is_ok());
            set_mode(&path, 0o644);
            assert!(matches!(
                Keyring::from_file(&link),
                Err(KeyringError::Permissions { .. })
            ));
            // A new keyring does not go through a link.
            fs::remove_file(&path).unwrap();
            assert!(matches!(
                Keyring::generate().unwrap().create_file(&link),
                Err(KeyringError::Exists { .. })
            ));
        }
    }
}
