// Package certificate keeps the TLS certificate of a listener: it reads it again
// when its files change, and makes a self-signed one where there is none.
package certificate

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
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Store holds a certificate. Its methods are safe for concurrent use.
type Store struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	// changed are the files' times when current was read, looked when they were last
	// looked at.
	changed [2]time.Time
	looked  time.Time
}

// lookAgain is how often the files are looked at, when connections come.
const lookAgain = time.Second

// Load reads the certificate and its key, both in PEM.
func Load(certFile, keyFile string, log *slog.Logger) (*Store, error) {
	s := &Store{certFile: certFile, keyFile: keyFile, log: log}
	changed, err := s.times()
	if err == nil {
		err = s.read(changed)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the certificate: %w", err)
	}
	return s, nil
}

// Get returns the certificate; it is for tls.Config.GetCertificate. Files that have
// changed to something that can't be used leave the old certificate in place.
func (s *Store) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.looked) < lookAgain {
		return s.current, nil
	}
	s.looked = time.Now()
	changed, err := s.times()
	if err == nil && changed != s.changed {
		if err = s.read(changed); err == nil {
			s.log.Info("read the changed certificate", "file", s.certFile)
		}
	}
	if err != nil {
		s.log.Warn("the changed certificate can't be read; the old one stays in use", "file", s.certFile, "err", err)
	}
	return s.current, nil
}

func (s *Store) times() (at [2]time.Time, err error) {
	for i, name := range []string{s.certFile, s.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return at, err
		}
		at[i] = info.ModTime()
	}
	return at, nil
}

func (s *Store) read(changed [2]time.Time) error {
	pair, err := tls.LoadX509KeyPair(s.certFile, s.keyFile)
	if err != nil {
		return err
	}
	s.current, s.changed = &pair, changed
	return nil
}

// The files of the self-signed certificate in the data directory.
const (
	selfSignedCert = "federation.crt"
	selfSignedKey  = "federation.key"
)

// SelfSigned reads the self-signed certificate in dataDir for a host, or makes one
// when there is none or it is about to expire.
func SelfSigned(dataDir, host string, log *slog.Logger) (*Store, error) {
	certFile, keyFile := filepath.Join(dataDir, selfSignedCert), filepath.Join(dataDir, selfSignedKey)
	s, err := Load(certFile, keyFile, log)
	if err == nil && time.Until(s.current.Leaf.NotAfter) > 30*24*time.Hour && s.current.Leaf.VerifyHostname(host) == nil {
		return s, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := create(certFile, keyFile, host); err != nil {
		return nil, fmt.Errorf("making a self-signed certificate: %w", err)
	}
	return Load(certFile, keyFile, log)
}

func create(certFile, keyFile, host string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(5, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		// It is its own authority, so that others can trust it by trusted_ca_files.
		IsCA: true, BasicConstraintsValid: true,
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := write(keyFile, "PRIVATE KEY", private, 0o600); err != nil {
		return err
	}
	return write(certFile, "CERTIFICATE", der, 0o644)
}

func write(name, kind string, der []byte, mode fs.FileMode) error {
	temporary := name + ".new"
	if err := os.WriteFile(temporary, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode); err != nil {
		return err
	}
	return os.Rename(temporary, name)
}

// Pool is the system's authorities and those in the files; nil, which stands for the
// system's alone, without files.
func Pool(files []string) (*x509.CertPool, error) {
	if len(files) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("reading the system's certificate authorities: %w", err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading a certificate authority: %w", err)
		}
		if !pool.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", name)
		}
	}
	return pool, nil
}
