//! Decrypts with rage's own library what it is sent, file after file, in one process: the peer of tests/interop/agreement, as age/main.go beside it
//! (which has the messages). p256tag, which rage leaves to plugins, is done with the crates that rage encrypts to it with.
use std::io::{self, BufReader, BufWriter, Read, Write};

use age::armor::ArmoredReader;
use age::secrecy::SecretString;
use age::{DecryptError, Decryptor, Identity};
use age_core::format::{FileKey, Stanza};
use age_core::primitives::hpke_open;
use base64::{prelude::BASE64_STANDARD_NO_PAD, Engine};
use hkdf::Hkdf;
use hpke::{Deserializable, Kem as _, Serializable};
use sha2::{Digest, Sha256};

const WORK_FACTOR_MAX: u8 = 10;
const LABEL: &str = "age-encryption.org/p256tag";

type Kem = hpke::kem::DhP256HkdfSha256;

struct P256Identity {
    private: <Kem as hpke::Kem>::PrivateKey,
    recipient_hash: [u8; 4],
}

impl P256Identity {
    fn new(scalar: &str) -> Option<Self> {
        let raw: Vec<u8> = (0..scalar.len() / 2)
            .map(|i| u8::from_str_radix(&scalar[2 * i..2 * i + 2], 16).ok())
            .collect::<Option<_>>()?;
        let private = <Kem as hpke::Kem>::PrivateKey::from_bytes(&raw).ok()?;
        let point = Kem::sk_to_pk(&private).to_bytes();
        let mut compressed = [0; 33];
        compressed[0] = 2 | point[64] & 1;
        compressed[1..].copy_from_slice(&point[1..33]);
        let recipient_hash = Sha256::digest(compressed)[..4].try_into().ok()?;
        Some(P256Identity { private, recipient_hash })
    }

    fn tag(&self, enc: &[u8]) -> [u8; 4] {
        let material: Vec<u8> = enc.iter().chain(&self.recipient_hash).copied().collect();
        let (tag, _) = Hkdf::<Sha256>::extract(Some(LABEL.as_bytes()), &material);
        tag[..4].try_into().expect("a hash is longer")
    }
}

fn field(text: &str, length: usize) -> Option<Vec<u8>> {
    BASE64_STANDARD_NO_PAD.decode(text).ok().filter(|raw| raw.len() == length)
}

impl Identity for P256Identity {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        if stanza.tag != "p256tag" {
            return None;
        }
        if stanza.args.len() != 2 || stanza.body.len() != 32 {
            return Some(Err(DecryptError::InvalidHeader));
        }
        let (Some(tag), Some(enc)) = (field(&stanza.args[0], 4), field(&stanza.args[1], 65)) else {
            return Some(Err(DecryptError::InvalidHeader));
        };
        if enc[0] != 4 {
            return Some(Err(DecryptError::InvalidHeader));
        }
        if tag != self.tag(&enc) {
            return None;
        }
        let enc = <Kem as hpke::Kem>::EncappedKey::from_bytes(&enc).ok()?;
        let opened = hpke_open::<Kem>(&enc, &self.private, LABEL.as_bytes(), &stanza.body).ok()?;
        Some(Ok(FileKey::init_with_mut(|key| key.copy_from_slice(&opened))))
    }
}

/// What was released before it went wrong, and what went wrong.
fn decrypt(file: &[u8], identity: &dyn Identity) -> (Vec<u8>, Option<String>) {
    let mut released = Vec::new();
    let decryptor = match Decryptor::new_buffered(ArmoredReader::new(file)) {
        Ok(decryptor) => decryptor,
        Err(problem) => return (released, Some(format!("{problem:?}"))),
    };
    let mut reader = match decryptor.decrypt(std::iter::once(identity)) {
        Ok(reader) => reader,
        Err(problem) => return (released, Some(format!("{problem:?}"))),
    };
    let problem = reader.read_to_end(&mut released).err().map(|problem| problem.to_string());
    (released, problem)
}

fn answer(output: &mut impl Write, released: &[u8], problem: Option<String>) -> io::Result<()> {
    let words = problem.clone().unwrap_or_default();
    output.write_all(&[problem.is_none() as u8])?;
    output.write_all(&(released.len() as u32).to_le_bytes())?;
    output.write_all(&Sha256::digest(released))?;
    output.write_all(&(words.len() as u32).to_le_bytes())?;
    output.write_all(words.as_bytes())?;
    output.flush()
}

fn identities(arguments: &[String]) -> Option<[Box<dyn Identity>; 3]> {
    let [x25519, passphrase, scalar] = arguments else { return None };
    let x25519: age::x25519::Identity = x25519.parse().ok()?;
    let mut passphrase = age::scrypt::Identity::new(SecretString::from(passphrase.clone()));
    passphrase.set_max_work_factor(WORK_FACTOR_MAX);
    Some([Box::new(x25519), Box::new(passphrase), Box::new(P256Identity::new(scalar)?)])
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == ["--version"] {
        println!("{}", env!("CARGO_PKG_VERSION")); // Cargo.toml pins the library to the same
        return Ok(());
    }
    let known = identities(&arguments).expect("usage: X25519-IDENTITY PASSPHRASE P256-SCALAR");
    let mut input = BufReader::with_capacity(1 << 18, io::stdin().lock());
    let mut output = BufWriter::new(io::stdout().lock());
    let mut head = [0; 8];
    loop {
        match input.read_exact(&mut head) {
            Err(problem) if problem.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        }
        let kind = u32::from_le_bytes(head[..4].try_into().expect("four bytes")) as usize;
        let mut file = vec![0; u32::from_le_bytes(head[4..].try_into().expect("four bytes")) as usize];
        input.read_exact(&mut file)?;
        let (released, problem) = decrypt(&file, known[kind].as_ref());
        answer(&mut output, &released, problem)?;
    }
}
