//! Sealing: what lies on the disk can be read with the master key alone, and cannot be changed or moved unnoticed.
//!
//! - A **record** is XChaCha20-Poly1305 under a key derived from the master key; its name is the associated data, so a
//!   record put in another's place does not open.
//! - A **body** is the same in chunks of 64 KiB (STREAM, `EncryptorBE32`): a chunk that is lost, cut or moved shows.
//! - The **key check** tells a wrong key from damage before anything is opened.
//! - A **fingerprint** of a secret is keyed: it tells whether two secrets are the same to whoever sees both, and is of no
//!   use for guessing.
//!
//! Everything sealed begins with its format version.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use aead_stream::{DecryptorBE32, EncryptorBE32};
use chacha20poly1305::aead::{Aead, AeadInOut, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use frankd_proto::Secret;
use ring::hmac;
use rustix::fs::{Mode, OFlags};
use zeroize::{Zeroize as _, Zeroizing};

use super::disk;
use crate::entropy::{Entropy, SharedEntropy};

/// Name of the file or credential with the master key.
pub const KEY_FILE: &str = "master-key";

const FORMAT: u8 = 1;
const NONCE: usize = 24;
const STREAM_NONCE: usize = 19;
const TAG: usize = 16;
const CHUNK: usize = 64 * 1024;

/// The master key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is a store and no key for it.
    #[error(
        "there is a store in {state} but no master key: neither the credential {KEY_FILE} nor the file {state}/{KEY_FILE}. \
         Put the key back; nothing was touched"
    )]
    Missing {
        /// The state directory.
        state: String,
    },
    /// There is neither a store nor a key, and none is to be made.
    #[error("there is no store in {state}")]
    NoStore {
        /// The state directory.
        state: String,
    },
    /// The key file can be read by others.
    #[error("{path} can be read by others (mode {mode:o}); make it 0400")]
    Exposed {
        /// Which file.
        path: String,
        /// Its permissions.
        mode: u32,
    },
    /// The key is neither 32 octets nor 64 hexadecimal digits.
    #[error("{path} is no master key: it has neither 32 octets nor 64 hexadecimal digits")]
    Malformed {
        /// Which file.
        path: String,
    },
    /// The key cannot be read or made.
    #[error("the master key {path} cannot be read or made")]
    Io {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The key under which everything is sealed. Wiped when it goes.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

impl MasterKey {
    /// A key of these octets.
    pub fn new(octets: [u8; 32]) -> Self {
        Self(Zeroizing::new(octets))
    }

    /// Finds the key: the credential, else the file in the state directory. On the first start, when `create` is given and
    /// the state directory holds no store, makes that file.
    pub fn load(
        credentials_dir: Option<&Path>,
        state_dir: &Path,
        create: Option<&dyn Entropy>,
    ) -> Result<Self, KeyError> {
        let credential = credentials_dir.map(|dir| dir.join(KEY_FILE));
        let file = state_dir.join(KEY_FILE);
        if let Some(path) = credential
            && let Some(key) = read_key(&path, false)?
        {
            return Ok(key);
        }
        if let Some(key) = read_key(&file, true)? {
            return Ok(key);
        }
        let state = state_dir.display().to_string();
        match create {
            _ if disk::Layout::new(state_dir).holds_a_store() => Err(KeyError::Missing { state }),
            Some(entropy) => make_key(state_dir, &file, entropy),
            None => Err(KeyError::NoStore { state }),
        }
    }

    /// What gives secrets their fingerprints.
    pub fn fingerprinter(&self) -> Fingerprinter {
        Fingerprinter(hmac::Key::new(hmac::HMAC_SHA256, &*self.derive("fingerprint")))
    }

    /// A value that tells whether a store was made with this key, and nothing else of it.
    pub(super) fn check(&self) -> [u8; 32] {
        *self.derive("key check")
    }

    /// A key for one purpose (RFC 5869 §2.3 with one block).
    fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &*self.0);
        let tag = hmac::sign(&key, format!("frankd 1 {purpose}\x01").as_bytes());
        let mut derived = Zeroizing::new([0; 32]);
        derived.copy_from_slice(tag.as_ref());
        derived
    }
}

/// Reads a key file; `None` if there is none.
fn read_key(path: &Path, private: bool) -> Result<Option<MasterKey>, KeyError> {
    let shown = || path.display().to_string();
    let failed = |source: io::Error| KeyError::Io { path: shown(), source };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(failed(error.into())),
    };
    let mode = rustix::fs::fstat(&file).map_err(|e| failed(e.into()))?.st_mode & 0o7777;
    if private && mode & 0o077 != 0 {
        return Err(KeyError::Exposed { path: shown(), mode });
    }
    let mut octets = Zeroizing::new(Vec::with_capacity(128));
    let mut file = std::fs::File::from(file).take(128);
    file.read_to_end(&mut octets).map_err(failed)?;
    parse_key(&octets).map(Some).ok_or_else(|| KeyError::Malformed { path: shown() })
}

fn parse_key(octets: &[u8]) -> Option<MasterKey> {
    if let Ok(key) = octets.try_into() {
        return Some(MasterKey::new(key));
    }
    let text = std::str::from_utf8(octets).ok()?.trim_end();
    if text.len() != 64 || !text.bytes().all(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    let mut key = MasterKey::new([0; 32]);
    for (octet, pair) in key.0.iter_mut().zip(text.as_bytes().chunks(2)) {
        *octet = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(key)
}

fn make_key(directory: &Path, path: &Path, entropy: &dyn Entropy) -> Result<MasterKey, KeyError> {
    let mut octets = [0; 32];
    entropy.fill(&mut octets);
    let key = MasterKey::new(octets);
    octets.zeroize();
    let made = disk::create_directory(directory).and_then(|()| disk::replace_file(directory, KEY_FILE, &*key.0, 0o400));
    made.map(|()| key).map_err(|source| KeyError::Io { path: PathBuf::from(path).display().to_string(), source })
}

/// Gives secrets their fingerprints.
#[derive(Clone)]
pub struct Fingerprinter(hmac::Key);

impl fmt::Debug for Fingerprinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprinter(…)")
    }
}

impl Fingerprinter {
    /// The first 12 hexadecimal digits of a keyed digest (HMAC-SHA256) of `secret`.
    pub fn fingerprint(&self, secret: &Secret) -> String {
        let tag = hmac::sign(&self.0, secret.expose().as_bytes());
        let octets = tag.as_ref().iter().take(6);
        octets.fold(String::with_capacity(12), |text, octet| text + &format!("{octet:02x}"))
    }
}

/// Something sealed does not open: it is damaged, cut, of another name, or of another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its seal is broken")]
pub struct BrokenSeal;

/// Seals and opens.
#[derive(Clone)]
pub struct Sealer {
    records: XChaCha20Poly1305,
    bodies: XChaCha20Poly1305,
    entropy: SharedEntropy,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(…)")
    }
}

impl Sealer {
    /// A sealer under `key`; nonces come from `entropy`.
    pub fn new(key: &MasterKey, entropy: SharedEntropy) -> Self {
        let cipher = |purpose| XChaCha20Poly1305::new((&*key.derive(purpose)).into());
        Self { records: cipher("records"), bodies: cipher("bodies"), entropy }
    }

    /// Seals a record under its name.
    pub fn seal(&self, name: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(1 + NONCE + plain.len() + TAG);
        sealed.push(FORMAT);
        let mut nonce = [0; NONCE];
        self.entropy.fill(&mut nonce);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let nonce: XNonce = nonce.into();
        let (_, text) = sealed.split_at_mut(1 + NONCE);
        // The one error of this call is a text over 256 GiB.
        let Ok(tag) = self.records.encrypt_inout_detached(&nonce, name, text.into()) else {
            return Vec::new();
        };
        sealed.extend_from_slice(&tag);
        sealed
    }

    /// Opens a record.
    pub fn open(&self, name: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, BrokenSeal> {
        let (format, rest) = sealed.split_first().ok_or(BrokenSeal)?;
        let (nonce, text) = rest.split_at_checked(NONCE).ok_or(BrokenSeal)?;
        if *format != FORMAT {
            return Err(BrokenSeal);
        }
        let nonce = XNonce::try_from(nonce).map_err(|_| BrokenSeal)?;
        let payload = Payload { msg: text, aad: name };
        self.records.decrypt(&nonce, payload).map(Zeroizing::new).map_err(|_| BrokenSeal)
    }

    /// Seals a body under its name, into `out`.
    pub(super) fn seal_body<W: Write>(&self, name: Vec<u8>, mut out: W) -> io::Result<BodySealer<W>> {
        let mut nonce = [0; STREAM_NONCE];
        self.entropy.fill(&mut nonce);
        out.write_all(&[FORMAT])?;
        out.write_all(&nonce)?;
        let stream = EncryptorBE32::from_aead(self.bodies.clone(), (&nonce).into());
        Ok(BodySealer { name, stream, waiting: Vec::new(), out })
    }

    /// Opens a body of that name; `length` is that of all that is sealed.
    pub(super) fn open_body<R: Read>(
        &self,
        name: Vec<u8>,
        length: u64,
        mut input: R,
    ) -> io::Result<Result<BodyOpener<R>, BrokenSeal>> {
        let mut head = [0; 1 + STREAM_NONCE];
        let Some(left) = length.checked_sub(head.len() as u64) else {
            return Ok(Err(BrokenSeal));
        };
        input.read_exact(&mut head)?;
        let [format, nonce @ ..] = head;
        if format != FORMAT {
            return Ok(Err(BrokenSeal));
        }
        let stream = DecryptorBE32::from_aead(self.bodies.clone(), (&nonce).into());
        Ok(Ok(BodyOpener { name, stream: Some(stream), left, input }))
    }
}

/// Seals a body while it comes.
pub(super) struct BodySealer<W> {
    name: Vec<u8>,
    stream: EncryptorBE32<XChaCha20Poly1305>,
    /// Less than a chunk, or one whose turn comes with the next octet: the last chunk is sealed in another way.
    waiting: Vec<u8>,
    out: W,
}

impl<W> fmt::Debug for BodySealer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodySealer(…)")
    }
}

impl<W: Write> BodySealer<W> {
    /// Takes the next octets.
    pub(super) fn write(&mut self, mut plain: &[u8]) -> io::Result<()> {
        while self.waiting.len() + plain.len() > CHUNK {
            let (piece, after) = plain.split_at(CHUNK - self.waiting.len());
            let chunk = if self.waiting.is_empty() {
                piece
            } else {
                self.waiting.extend_from_slice(piece);
                &self.waiting
            };
            let sealed = self.stream.encrypt_next(Payload { msg: chunk, aad: &self.name }).map_err(too_long)?;
            self.out.write_all(&sealed)?;
            self.waiting.clear();
            plain = after;
        }
        self.waiting.extend_from_slice(plain);
        Ok(())
    }

    /// Ends the body, and gives back where it went.
    pub(super) fn finish(mut self) -> io::Result<W> {
        let last = Payload { msg: &self.waiting, aad: &self.name };
        let sealed = self.stream.encrypt_last(last).map_err(too_long)?;
        self.out.write_all(&sealed)?;
        Ok(self.out)
    }
}

fn too_long(_: chacha20poly1305::aead::Error) -> io::Error {
    io::Error::from(io::ErrorKind::FileTooLarge)
}

/// Opens a body, chunk by chunk.
pub(super) struct BodyOpener<R> {
    name: Vec<u8>,
    /// `None` once the last chunk is out.
    stream: Option<DecryptorBE32<XChaCha20Poly1305>>,
    left: u64,
    input: R,
}

impl<R> fmt::Debug for BodyOpener<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodyOpener(…)")
    }
}

impl<R: Read> BodyOpener<R> {
    /// The next octets; `None` at the end.
    pub(super) fn read(&mut self) -> io::Result<Result<Option<Vec<u8>>, BrokenSeal>> {
        let Some(mut stream) = self.stream.take() else {
            return Ok(Ok(None));
        };
        let whole = (CHUNK + TAG) as u64;
        let mut chunk = vec![0; usize::try_from(self.left.min(whole)).unwrap_or(CHUNK + TAG)];
        self.input.read_exact(&mut chunk)?;
        let payload = Payload { msg: &chunk, aad: &self.name };
        if self.left > whole {
            self.left -= whole;
            let piece = stream.decrypt_next(payload);
            self.stream = Some(stream);
            return Ok(piece.map(Some).map_err(|_| BrokenSeal));
        }
        Ok(stream.decrypt_last(payload).map(Some).map_err(|_| BrokenSeal))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use super::*;
    use crate::entropy::SeededEntropy;

    fn sealer(key: u8) -> Sealer {
        Sealer::new(&MasterKey::new([key; 32]), Arc::new(SeededEntropy::new(1)))
    }

    #[test]
    fn a_record_opens_under_its_name_and_key_alone() {
        let sealed = sealer(1).seal(b"slot/1", b"refresh-token");
        assert!(!sealed.windows(7).any(|w| w == b"refresh"));
        assert_eq!(&*sealer(1).open(b"slot/1", &sealed).unwrap(), b"refresh-token");
        assert_eq!(sealer(1).open(b"slot/2", &sealed), Err(BrokenSeal));
        assert_eq!(sealer(2).open(b"slot/1", &sealed), Err(BrokenSeal));
        for cut in 0..sealed.len() {
            assert_eq!(sealer(1).open(b"slot/1", &sealed[..cut]), Err(BrokenSeal), "{cut}");
        }
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(sealer(1).open(b"slot/1", &damaged), Err(BrokenSeal), "{bit}");
        }
    }

    #[test]
    fn a_body_that_is_cut_stretched_or_out_of_order_does_not_open() {
        let seal = |body: &[u8]| {
            let mut writing = sealer(1).seal_body(b"body/1".to_vec(), Vec::new()).unwrap();
            // In pieces of an odd size: how it comes makes no difference.
            body.chunks(40_001).for_each(|piece| writing.write(piece).unwrap());
            writing.finish().unwrap()
        };
        let open = |sealed: &[u8], name: &[u8]| {
            let mut reading = sealer(1).open_body(name.to_vec(), sealed.len() as u64, sealed).unwrap().ok()?;
            let mut body = Vec::new();
            while let Some(piece) = reading.read().unwrap().ok()? {
                body.extend_from_slice(&piece);
            }
            Some(body)
        };
        for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let body: Vec<u8> = (0..size).map(|i| i.to_le_bytes()[0]).collect();
            let sealed = seal(&body);
            assert!(open(&sealed, b"body/1") == Some(body), "{size}");
            assert_eq!(open(&sealed, b"body/2"), None);
            assert_eq!(open(&sealed[..sealed.len() - 1], b"body/1"), None);
            assert_eq!(open(&[&*sealed, b"x"].concat(), b"body/1"), None);
        }
        let sealed = seal(&vec![7; 3 * CHUNK]);
        let (first, second) = (1 + STREAM_NONCE, 1 + STREAM_NONCE + CHUNK + TAG);
        assert_eq!(open(&sealed[..second], b"body/1"), None, "cut between chunks");
        let mut swapped = sealed.clone();
        swapped[first..second].copy_from_slice(&sealed[second..second + CHUNK + TAG]);
        swapped[second..second + CHUNK + TAG].copy_from_slice(&sealed[first..second]);
        assert_eq!(open(&swapped, b"body/1"), None);
    }

    #[test]
    fn a_key_is_made_once_and_never_beside_a_store() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let entropy = SeededEntropy::new(1);
        assert!(matches!(MasterKey::load(None, &state, None), Err(KeyError::NoStore { .. })));
        let made = MasterKey::load(None, &state, Some(&entropy)).unwrap();
        let mode = std::fs::metadata(state.join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o400);
        let again = MasterKey::load(None, &state, Some(&entropy)).unwrap();
        assert_eq!(made.check(), again.check());
        std::fs::remove_file(state.join(KEY_FILE)).unwrap();
        std::fs::create_dir(state.join("store")).unwrap();
        let refused = MasterKey::load(None, &state, Some(&entropy));
        assert!(matches!(refused, Err(KeyError::Missing { .. })), "{refused:?}");
        assert!(!state.join(KEY_FILE).exists());
    }

    #[test]
    fn a_credential_wins_and_a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (credentials, state) = (dir.path().join("credentials"), dir.path().join("state"));
        std::fs::create_dir_all(&credentials).unwrap();
        std::fs::create_dir_all(&state).unwrap();
        std::fs::write(state.join(KEY_FILE), [1; 32]).unwrap();
        std::fs::set_permissions(state.join(KEY_FILE), PermissionsExt::from_mode(0o440)).unwrap();
        let refused = MasterKey::load(None, &state, None);
        assert!(matches!(refused, Err(KeyError::Exposed { mode: 0o440, .. })), "{refused:?}");
        std::fs::write(credentials.join(KEY_FILE), "02".repeat(32) + "\n").unwrap();
        let key = MasterKey::load(Some(&credentials), &state, None).unwrap();
        assert_eq!(key.check(), MasterKey::new([2; 32]).check());
        std::fs::write(credentials.join(KEY_FILE), "short").unwrap();
        let refused = MasterKey::load(Some(&credentials), &state, None);
        assert!(matches!(refused, Err(KeyError::Malformed { .. })), "{refused:?}");
    }

    #[test]
    fn a_fingerprint_tells_secrets_apart_and_needs_the_key() {
        let one = MasterKey::new([1; 32]).fingerprinter();
        let print = one.fingerprint(&Secret::new("hunter2"));
        assert_eq!(print.len(), 12);
        assert_eq!(print, one.fingerprint(&Secret::new("hunter2")));
        assert_ne!(print, one.fingerprint(&Secret::new("hunter3")));
        assert_ne!(print, MasterKey::new([2; 32]).fingerprinter().fingerprint(&Secret::new("hunter2")));
    }
}
