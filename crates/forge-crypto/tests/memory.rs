//! What is left in memory that was freed: nothing that was secret. And how often memory is asked
//! for at all.

use std::convert::Infallible;
use std::hint::black_box;

use forge_crypto::{
    ApiKeys, Context, CredentialLayer, FromExtensions, KeyEntry, KeyState, Keyring, RootKey,
    SealedColumn, SealedTable, StoredCredential, Vault,
};
use http::{Request, Response};
use secrecy::ExposeSecret;
use tower::{Layer, ServiceExt, service_fn};

#[global_allocator]
static ALLOCATOR: test_alloc::Watching = test_alloc::Watching;

/// Not on the heap but where the test puts it.
const SECRET: &str = "gho_16C7e42F292c6912E7710c838347Ae178B4a";
const TABLE: SealedTable = SealedTable::new("users", "id", &["token"]);
const TOKEN: SealedColumn = TABLE.column("token");

fn place() -> Context<'static> {
    TOKEN.row("user-17")
}

fn two_keys(primary: usize, keys: &[RootKey; 2]) -> Keyring {
    let entry = |at: usize| {
        let state = if at == primary {
            KeyState::Primary
        } else {
            KeyState::Retired
        };
        let key = RootKey::parse(keys[at].to_text().expose_secret()).unwrap();
        KeyEntry::new(state, key)
    };
    Keyring::new([entry(0), entry(1)]).unwrap()
}

#[test]
fn the_search_finds_what_is_left_behind() {
    let leave = || drop(black_box(SECRET.to_owned()));
    assert_eq!(test_alloc::freed_with(SECRET.as_bytes(), leave), 1);
    let grow = || {
        let mut text = String::from(SECRET);
        text.reserve(1000);
        zeroize::Zeroize::zeroize(&mut text);
    };
    assert_eq!(test_alloc::freed_with(SECRET.as_bytes(), grow), 1);
}

#[test]
fn sealing_and_opening_leave_no_plaintext() {
    let vault = Vault::new(&Keyring::generate().unwrap());
    let long = [b'x'; 4000];
    let found = test_alloc::freed_with(SECRET.as_bytes(), || {
        for _ in 0..10 {
            let sealed = vault.seal(&place(), SECRET).unwrap();
            vault.open(&place(), &sealed).unwrap();
            vault.open_string(&place(), &sealed).unwrap();
            vault.open(&TOKEN.row("user-18"), &sealed).unwrap_err();
            vault.seal(&TOKEN.row(""), SECRET).unwrap_err();
        }
    });
    assert_eq!(found, 0);
    let found = test_alloc::freed_with(&long[..64], || {
        let sealed = vault.seal(&place(), &long).unwrap();
        vault.open(&place(), &sealed).unwrap();
        vault.open_string(&place(), &sealed).unwrap();
        // No text: what was opened for nothing is wiped as well.
        let mut bytes = long;
        bytes[3999] = 0xff;
        let sealed = vault.seal(&place(), &bytes).unwrap();
        vault.open_string(&place(), &sealed).unwrap_err();
    });
    assert_eq!(found, 0);
}

#[test]
fn sealing_anew_leaves_no_plaintext() {
    let keys = [(); 2].map(|()| RootKey::generate().unwrap());
    let vault = Vault::new(&two_keys(0, &keys));
    let sealed = vault.seal(&place(), SECRET).unwrap();
    vault.reload(&two_keys(1, &keys));
    let found = test_alloc::freed_with(SECRET.as_bytes(), || {
        assert!(vault.reseal(&place(), &sealed).unwrap().is_some());
    });
    assert_eq!(found, 0);
}

/// The database's driver has buffers of its own; what passes them is sealed.
#[cfg(feature = "sqlite")]
#[test]
fn rewrapping_leaves_no_plaintext() {
    use forge_crypto::{Rewrap, SqliteSealedStore};

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = format!(
        "sqlite://{}?mode=rwc",
        folder.path().join("test.db").display()
    );
    let keys = [(); 2].map(|()| RootKey::generate().unwrap());
    let vault = Vault::new(&two_keys(0, &keys));
    let found = test_alloc::freed_with(SECRET.as_bytes(), || {
        runtime.block_on(async {
            let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
            sqlx::query("CREATE TABLE users (id TEXT PRIMARY KEY, token TEXT)")
                .execute(&pool)
                .await
                .unwrap();
            for n in 0..50 {
                let id = n.to_string();
                let sealed = vault.seal(&TOKEN.row(&id), SECRET).unwrap();
                sqlx::query("INSERT INTO users VALUES (?, ?)")
                    .bind(id)
                    .bind(sealed)
                    .execute(&pool)
                    .await
                    .unwrap();
            }
            vault.reload(&two_keys(1, &keys));
            let store = SqliteSealedStore::new(pool.clone());
            let rewrap = Rewrap::new(&vault, &store).table(TABLE).batch(7);
            assert_eq!(rewrap.run(|_| ()).await.unwrap().done, 50);
            pool.close().await;
        });
    });
    assert_eq!(found, 0);
}

#[test]
fn a_header_leaves_no_credential() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let vault = Vault::new(&Keyring::generate().unwrap());
    let upstream = service_fn(|request: Request<()>| async move {
        assert!(
            request.headers()["authorization"]
                .as_bytes()
                .ends_with(SECRET.as_bytes())
        );
        // A copy, as a retry has it, is the same bytes.
        drop(request.headers().clone());
        Ok::<_, Infallible>(Response::new(()))
    });
    let found = test_alloc::freed_with(SECRET.as_bytes(), || {
        let client = CredentialLayer::new(vault.clone(), FromExtensions).layer(upstream);
        let sealed = vault.seal(&TOKEN.row("7"), SECRET).unwrap();
        let mut request = Request::get("https://api.github.com/").body(()).unwrap();
        let credential = StoredCredential::new(TOKEN, "7", sealed);
        request.extensions_mut().insert(credential);
        runtime.block_on(client.oneshot(request)).unwrap();

        // Not fit for a header, so that it goes nowhere.
        let client = CredentialLayer::new(vault.clone(), FromExtensions).layer(upstream);
        let broken = vault.seal(&TOKEN.row("7"), &[SECRET.as_bytes(), b"\n"].concat());
        let mut request = Request::get("https://api.github.com/").body(()).unwrap();
        let credential = StoredCredential::new(TOKEN, "7", broken.unwrap());
        request.extensions_mut().insert(credential);
        runtime.block_on(client.oneshot(request)).unwrap_err();
    });
    // The test's own `concat`.
    assert_eq!(found, 1);
}

#[test]
fn a_keyring_leaves_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring");
    let ring = Keyring::generate().unwrap();
    ring.create_file(&path).unwrap();
    let text = ring.primary().key().to_text();
    let text = text.expose_secret().as_bytes();
    let use_it = || {
        let read = Keyring::from_file(&path).unwrap();
        drop(read.to_text());
        let vault = Vault::new(&read);
        vault.reload(&read);
        drop((vault, read));
        let key = RootKey::generate().unwrap();
        let id = key.id();
        Keyring::change_file(&path, |ring| ring.add(key, "second")).unwrap();
        Keyring::change_file(&path, |ring| ring.promote(id)).unwrap();
        assert!(Keyring::from_file("/dev/null").is_err());
    };
    assert_eq!(test_alloc::freed_with(text, use_it), 0);
}

#[test]
fn an_api_key_leaves_nothing_behind() {
    let keys = ApiKeys::new(&Keyring::generate().unwrap(), "acme").unwrap();
    let (key, hash) = keys.issue().unwrap();
    let (mut presented, len) = ([0; 54], key.expose_secret().len());
    presented[..len].copy_from_slice(key.expose_secret().as_bytes());
    let found = test_alloc::freed_with(&presented, || {
        let presented = std::str::from_utf8(&presented).unwrap();
        assert!(keys.verify(presented, &hash));
        assert_eq!(keys.hashes(presented).unwrap().count(), 1);
        drop(key);
        drop(keys.issue().unwrap());
    });
    assert_eq!(found, 0);
}

#[cfg(feature = "argon2")]
#[test]
fn a_password_leaves_nothing_behind() {
    use forge_crypto::{PasswordCheck, Passwords};
    use secrecy::SecretString;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let passwords = Passwords::new().cost(64, 1, 1).unwrap();
    let found = test_alloc::freed_with(SECRET.as_bytes(), || {
        runtime.block_on(async {
            let stored = passwords.hash(SecretString::from(SECRET)).await.unwrap();
            let check = passwords
                .verify(SecretString::from(SECRET), Some(&stored))
                .await;
            assert!(matches!(check, Ok(PasswordCheck::Matches { .. })));
        });
    });
    assert_eq!(found, 0);
}

#[test]
fn sealing_and_opening_allocate_once() {
    let vault = Vault::new(&Keyring::generate().unwrap());
    let warm = vault.seal(&place(), SECRET).unwrap();
    vault.open(&place(), &warm).unwrap();

    let (allocations, sealed) = test_alloc::count(|| vault.seal(&place(), SECRET).unwrap());
    assert_eq!(allocations, 1);
    let (allocations, _) = test_alloc::count(|| vault.open(&place(), &sealed).unwrap());
    assert_eq!(allocations, 1);
    let (allocations, _) = test_alloc::count(|| vault.open_string(&place(), &sealed).unwrap());
    assert_eq!(allocations, 1);

    // What is too long to be sealed or opened is refused before anything is allocated.
    let huge = "A".repeat(16 << 20);
    let (allocations, _) = test_alloc::count(|| vault.open(&place(), &huge).unwrap_err());
    assert_eq!(allocations, 0);
    let huge = format!("fv1.V3d3AZZ3Wsg.{huge}");
    let (allocations, _) = test_alloc::count(|| vault.open(&place(), &huge).unwrap_err());
    assert_eq!(allocations, 0);
    let (allocations, _) = test_alloc::count(|| vault.seal(&place(), &huge).unwrap_err());
    assert_eq!(allocations, 0);
}
