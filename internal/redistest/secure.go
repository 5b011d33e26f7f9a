package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Password is the password of every user of secured servers.
const Password = "redistest-password"

// patience is after how many milliseconds without an answer a secured master is replaced.
const patience = "30000"

// Access has the users of secured servers, as lines of ACL files. Its servers speak TLS only, and have the users replica,
// by which they follow each other, and sentinel, by which Sentinels watch them. Sentinels have a user sentinel too, by which
// they talk to each other. The tests themselves use a user admin, which is added.
type Access struct{ Servers, Sentinels string }

// authority is a certificate authority of this process, with a certificate for 127.0.0.1.
type authority struct {
	ca, cert, key string // files
	pool          *x509.CertPool
}

// trusted is set by Trust.
var trusted *authority

// Trust makes a certificate authority for secured servers, and lets this process and its children trust it, by
// SSL_CERT_FILE. Call it from TestMain: Go reads this variable once. The caller calls remove at the end.
func Trust() (remove func(), err error) {
	dir, err := os.MkdirTemp("", "redistest-tls-")
	if err != nil {
		return nil, err
	}
	remove = func() { os.RemoveAll(dir) }
	if trusted, err = newAuthority(dir); err == nil {
		err = os.Setenv("SSL_CERT_FILE", trusted.ca)
	}
	if err != nil {
		remove()
		return nil, fmt.Errorf("certificates of secured servers: %w", err)
	}
	return remove, nil
}

func newAuthority(dir string) (*authority, error) {
	a := &authority{filepath.Join(dir, "ca.pem"), filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key"), x509.NewCertPool()}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serverKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	until := time.Now().Add(24 * time.Hour)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redistest"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "127.0.0.1"}, NotBefore: ca.NotBefore, NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, // replicas are clients
	}
	for _, c := range []struct {
		file   string
		of     *x509.Certificate
		public *ecdsa.PublicKey
	}{{a.ca, ca, &caKey.PublicKey}, {a.cert, server, &serverKey.PublicKey}} {
		der, err := x509.CreateCertificate(rand.Reader, c.of, ca, c.public, caKey)
		if err != nil {
			return nil, err
		}
		if err := writePEM(c.file, "CERTIFICATE", der); err != nil {
			return nil, err
		}
	}
	der, err := x509.MarshalPKCS8PrivateKey(serverKey)
	if err != nil {
		return nil, err
	}
	if err := writePEM(a.key, "PRIVATE KEY", der); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(a.ca)
	if err == nil && !a.pool.AppendCertsFromPEM(text) {
		err = errors.New("the certificate authority cannot be read")
	}
	return a, err
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// args are the arguments of a secured server or Sentinel. users is its ACL file.
func (a *authority) args(users string) []string {
	return []string{
		"--tls-cert-file", a.cert, "--tls-key-file", a.key, "--tls-ca-cert-file", a.ca, "--tls-auth-clients", "no",
		"--tls-replication", "yes", "--aclfile", users,
	}
}

func (a *authority) client() *tls.Config {
	return &tls.Config{RootCAs: a.pool, MinVersion: tls.VersionTLS12}
}
