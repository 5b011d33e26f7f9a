package sdktest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/graphsim"
	"sluice/internal/nodetest"
)

// sdks are the SDKs, as node/package.json names them and as the files of node/ do. The order is that of the page. Those with inbox
// have a handler of webhooks that inbox.mjs can call.
var sdks = []struct {
	name, file, base string
	inbox            bool
}{
	{"@kapso/whatsapp-cloud-api", "kapso", "`baseUrl`", true},
	{"@great-detail/whatsapp", "great-detail", "`baseUrl`", true},
	{"@microfox/whatsapp-business", "microfox", "`baseUrl`, with the version: `http://127.0.0.1:8080/v25.0`", true},
	{"whatsapp-api-js", "whatsapp-api-js", "none, but `ponyfill.fetch`, a function that makes the requests", true},
	{"@chat-adapter/whatsapp", "chat-adapter", "`apiUrl`", true},
	{"whatsapp", "meta", "`WA_BASE_URL`, the name of a host. The SDK uses HTTPS and port 443, so put a server with TLS before Sluice", false},
	{"whatsapp-business", "whatsapp-business", "none, but `client.restClient.fetch.defaults.baseURL`, with the version", false},
}

// versions returns the pinned version of each SDK.
func versions(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile("node/package.json")
	var p struct{ Dependencies map[string]string }
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p.Dependencies
}

// call is a call of an SDK and what came of it.
type call struct {
	Name     string
	Requests []request
	Thrown   string // by the SDK
}

type request struct {
	Method, Path string
	Status, Code int
	Message      string
	Details      string
}

func (c call) works() bool { return c.Thrown == "" && c.refusal() == nil }

// refusal returns the request that was refused, or nil.
func (c call) refusal() *request {
	for i := range c.Requests {
		if c.Requests[i].Status >= 400 {
			return &c.Requests[i]
		}
	}
	return nil
}

func (c call) String() string {
	if r := c.refusal(); r != nil {
		return fmt.Sprintf("%s %s: %d, code %d: %s %s", r.Method, normal(r.Path), r.Status, r.Code, r.Message, r.Details)
	}
	if c.Thrown != "" {
		return "the SDK failed: " + c.Thrown
	}
	return "works"
}

var (
	nodeOnce sync.Once
	errNode  error
)

// nodeDir is where the SDKs are installed.
var nodeDir = filepath.Join("..", "..", "out", "sdktest")

// node returns a directory with the scripts and the SDKs. It installs them once.
func node(t *testing.T) string {
	t.Helper()
	nodeOnce.Do(func() { errNode = nodetest.Install("node", nodeDir) })
	if errNode != nil {
		t.Fatal(errNode)
	}
	return nodeDir
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// play lets an SDK make its calls at a base URL.
func play(t *testing.T, sdk, base string, recipients string) []call {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Minute, errors.New("the SDK does not end"))
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "run.mjs", sdk)
	cmd.Dir = node(t)
	cert, key := certificate(t)
	settings := must(json.Marshal(map[string]any{
		"tls":  map[string]string{"cert": cert, "key": key},
		"base": base, "key": apiKey, "number": number, "account": account, "recipients": recipients, "inbound": "wamid.HBgLMTU1NTEyMzQ1NjcVAgASGCA=",
	}))
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte(cert), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "SDKTEST="+string(settings), "NODE_EXTRA_CA_CERTS="+ca)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", sdk, err, &stderr)
	}
	var calls []call
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c call
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatalf("%s printed %q: %v", sdk, lines.Text(), err)
		}
		calls = append(calls, c)
	}
	if len(calls) == 0 {
		t.Fatalf("%s made no call\n%s", sdk, &stderr)
	}
	return calls
}

// certificate returns a certificate for 127.0.0.1 and its key, as PEM.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	encoded, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}))
}

// Ids that are different in each run, or that name the same thing in Sluice and at Meta.
var (
	wamids = regexp.MustCompile(`wamid\.[A-Za-z0-9+/=_-]+`)
	ids    = regexp.MustCompile(`\b[0-9]{15}\b`)
)

// normal returns a text with names in place of such ids.
func normal(text string) string {
	text = strings.NewReplacer(number, "{number}", account, "{account}").Replace(text)
	return ids.ReplaceAllString(wamids.ReplaceAllString(text, "{wamid}"), "{id}")
}

//go:generate go test . -run TestSDKs -update

// TestSDKs: what an SDK can do at Meta, it can do through Sluice, but for the calls of reasons. The same messages arrive. The table
// of docs/drop-in.md says what works.
func TestSDKs(t *testing.T) {
	t.Parallel()
	s := startSluice(t)
	direct := startMeta(t, apiKey, graphsim.Webhook{})
	page := newTable()
	sent := 0
	for i, sdk := range sdks {
		recipients := fmt.Sprintf("1555%d000", i)
		want := play(t, sdk.file, direct.url, recipients)
		got := play(t, sdk.file, s.base, recipients)
		if len(want) != len(got) {
			t.Fatalf("%s: %d calls at Meta, %d through Sluice", sdk.name, len(want), len(got))
		}
		for j := range want {
			page.add(t, i, want[j], got[j])
			if want[j].works() {
				sent += got[j].sent()
			}
		}
	}
	s.settle(t, sent)
	for _, m := range direct.Accepted() {
		to := m.To
		if !strings.Contains(to, ".") { // a phone number
			to = "+" + to
		}
		if a, b := direct.received(to), s.received(to); a != b {
			t.Errorf("the SDK sends\n%s\nand Meta receives through Sluice\n%s", a, b)
		}
	}
	page.check(t)
}

// sent returns the number of messages that were accepted.
func (c call) sent() (n int) {
	for _, r := range c.Requests {
		if strings.HasPrefix(c.Name, "send: ") && strings.HasSuffix(r.Path, "/messages") && r.Status < 300 {
			n++
		}
	}
	return n
}
