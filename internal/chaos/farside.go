package chaos

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"sluice/internal/graphsim"
)

// The ambiguous ways in which the far side answers, one for each number.
const (
	good      = "a good answer"
	truncated = "a 200 that is cut off"
	html502   = "a gateway's 502 in HTML"
	redirect  = "a 307 to itself"
	reset     = "a reset without an answer"
)

// farSide receives messages in place of Meta over TLS, answers each number in its own way, and
// counts the requests.
type farSide struct {
	addr string

	mu       sync.Mutex
	ways     map[string]string // by phone number id
	requests map[string]int    // by marker
	taken    []graphsim.Accepted
	srv      *http.Server
}

// open serves at the far side's address with a certificate.
func (f *farSide) open(cert tls.Certificate) error {
	l, err := net.Listen("tcp", f.addr)
	if err != nil {
		return err
	}
	f.srv = &http.Server{
		Handler: f, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: log.New(io.Discard, "", 0), // handshakes fail on purpose
	}
	go f.srv.ServeTLS(l, "", "") // runs until close
	return nil
}

func (f *farSide) close() { f.srv.Close() }

// arrived returns how many messages of the numbers with a way have arrived.
func (f *farSide) arrived(way string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, a := range f.taken {
		if f.ways[a.Number] == way {
			n++
		}
	}
	return n
}

// repair gives the numbers with a way good answers from now on.
func (f *farSide) repair(way string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for number, w := range f.ways {
		if w == way {
			f.ways[number] = good
		}
	}
}

// ServeHTTP receives a message, and answers in the way of its number.
func (f *farSide) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	var m struct {
		To     string `json:"to"`
		Marker string `json:"biz_opaque_callback_data"`
	}
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		http.Error(w, "no message", http.StatusBadRequest)
		return
	}
	number := strings.Split(r.URL.Path, "/")[2] // /v25.0/<number>/messages
	f.mu.Lock()
	f.requests[m.Marker]++
	way := f.ways[number]
	if way == redirect { // the message is not accepted
		f.mu.Unlock()
		http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
		return
	}
	wamid := fmt.Sprintf("wamid.far%d", len(f.taken))
	f.taken = append(f.taken, graphsim.Accepted{
		Number: number, Marker: m.Marker, WAMID: wamid, Type: "text", To: strings.TrimPrefix(m.To, "+"), Start: start, End: time.Now(),
	})
	f.mu.Unlock()
	answer := fmt.Sprintf(`{"messaging_product":"whatsapp","contacts":[{"input":%q,"wa_id":%q}],"messages":[{"id":%q}]}`, m.To, m.To, wamid)
	switch way {
	case truncated:
		w.Header().Set("Content-Length", fmt.Sprint(len(answer)))
		io.WriteString(w, answer[:20])
	case html502:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		io.WriteString(w, "<html><h1>502 Bad Gateway</h1></html>")
	case reset:
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			if t, ok := c.(*tls.Conn); ok {
				if plain, ok := t.NetConn().(*net.TCPConn); ok {
					plain.SetLinger(0)
					plain.Close()
				}
			}
		}
	default:
		io.WriteString(w, answer)
	}
}

// certificate makes a self-signed certificate for this machine, and writes it to file for the processes that trust
// it.
func certificate(file string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "far side"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, os.WriteFile(file, text, 0o600)
}
