// Decrypts with age's own library what it is sent, file after file, in one process: the peer of tests/interop/agreement. It looks for
// armor where the program age does, and does p256tag, which age leaves to plugins, with the P-256 and HPKE that age encrypts to it with.
//
//	main X25519-IDENTITY PASSPHRASE P256-SCALAR-IN-HEX
//	input:  kind u32 (0 x25519, 1 passphrase, 2 p256tag) | length u32 | file, again and again; little endian
//	output: accepted u8 | released u32 | SHA-256 of what was released | length u32 | why not
package main

import (
	"bufio"
	"bytes"
	"crypto/ecdh"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
	"filippo.io/age/tag"
	"filippo.io/hpke"
)

const (
	armorWhiteSpace = 1024
	workFactorMax   = 10
)

type p256Identity struct {
	private   hpke.PrivateKey
	recipient *tag.Recipient
}

func newP256Identity(scalar string) (*p256Identity, error) {
	raw, err := hex.DecodeString(scalar)
	if err != nil {
		return nil, err
	}
	key, err := ecdh.P256().NewPrivateKey(raw)
	if err != nil {
		return nil, err
	}
	private, err := hpke.NewDHKEMPrivateKey(key)
	if err != nil {
		return nil, err
	}
	point := key.PublicKey().Bytes()
	recipient, err := tag.NewClassicRecipient(append([]byte{2 | point[64]&1}, point[1:33]...))
	return &p256Identity{private, recipient}, err
}

func field(text string, length int) ([]byte, error) {
	raw, err := base64.RawStdEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != length || strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("malformed p256tag stanza")
	}
	return raw, nil
}

func (identity *p256Identity) unwrap(stanza *age.Stanza) ([]byte, error) {
	if stanza.Type != "p256tag" {
		return nil, age.ErrIncorrectIdentity
	}
	if len(stanza.Args) != 2 || len(stanza.Body) != 32 {
		return nil, errors.New("malformed p256tag stanza")
	}
	got, err := field(stanza.Args[0], 4)
	if err != nil {
		return nil, err
	}
	enc, err := field(stanza.Args[1], 65)
	if err != nil {
		return nil, err
	}
	if enc[0] != 4 {
		return nil, errors.New("malformed p256tag stanza")
	}
	wanted, err := identity.recipient.Tag(enc)
	if err != nil || subtle.ConstantTimeCompare(got, wanted[:4]) != 1 {
		return nil, age.ErrIncorrectIdentity
	}
	opener, err := hpke.NewRecipient(enc, identity.private, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), []byte("age-encryption.org/p256tag"))
	if err != nil {
		return nil, age.ErrIncorrectIdentity
	}
	fileKey, err := opener.Open(nil, stanza.Body)
	if err != nil {
		return nil, age.ErrIncorrectIdentity
	}
	return fileKey, nil
}

func (identity *p256Identity) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	for _, stanza := range stanzas {
		fileKey, err := identity.unwrap(stanza)
		if !errors.Is(err, age.ErrIncorrectIdentity) {
			return fileKey, err
		}
	}
	return nil, age.ErrIncorrectIdentity
}

func decrypt(file []byte, identity age.Identity) ([]byte, error) {
	reader := bufio.NewReaderSize(bytes.NewReader(file), 4096)
	var input io.Reader = reader
	start, _ := reader.Peek(armorWhiteSpace + len(armor.Header))
	if strings.HasPrefix(string(bytes.TrimSpace(start)), armor.Header) {
		input = armor.NewReader(reader)
	}
	plain, err := age.Decrypt(input, identity)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(plain)
}

func answer(output *bufio.Writer, released []byte, problem error) error {
	words := ""
	accepted := byte(1)
	if problem != nil {
		words, accepted = fmt.Sprintf("%.4000s", problem.Error()), 0
	}
	sum := sha256.Sum256(released)
	message := append([]byte{accepted}, binary.LittleEndian.AppendUint32(nil, uint32(len(released)))...)
	message = append(message, sum[:]...)
	message = binary.LittleEndian.AppendUint32(message, uint32(len(words)))
	message = append(message, words...)
	if _, err := output.Write(message); err != nil {
		return err
	}
	return output.Flush()
}

func identities(arguments []string) ([]age.Identity, error) {
	if len(arguments) != 3 {
		return nil, errors.New("usage: X25519-IDENTITY PASSPHRASE P256-SCALAR")
	}
	x25519, err := age.ParseX25519Identity(arguments[0])
	if err != nil {
		return nil, err
	}
	passphrase, err := age.NewScryptIdentity(arguments[1])
	if err != nil {
		return nil, err
	}
	passphrase.SetMaxWorkFactor(workFactorMax)
	p256, err := newP256Identity(arguments[2])
	return []age.Identity{x25519, passphrase, p256}, err
}

func serve(arguments []string) error {
	known, err := identities(arguments)
	if err != nil {
		return err
	}
	input, output := bufio.NewReaderSize(os.Stdin, 1<<18), bufio.NewWriter(os.Stdout)
	for {
		var head [8]byte
		if _, err := io.ReadFull(input, head[:]); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		file := make([]byte, binary.LittleEndian.Uint32(head[4:]))
		if _, err := io.ReadFull(input, file); err != nil {
			return err
		}
		released, problem := decrypt(file, known[binary.LittleEndian.Uint32(head[:])])
		if err := answer(output, released, problem); err != nil {
			return err
		}
	}
}

// The version of age that was built in, which is what tools/peers asks for.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "filippo.io/age" {
				return strings.TrimPrefix(module.Version, "v")
			}
		}
	}
	return "unknown"
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println(version())
		return
	}
	if err := serve(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "agreement: age:", err)
		os.Exit(1)
	}
}
