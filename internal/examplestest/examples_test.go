package examplestest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"sluice/internal/poll"
	"sluice/internal/ports"
	"sluice/internal/rig"
)

// examples are the folders of examples/. packages are the Debian packages of the programs that an example needs.
var examples = []struct {
	name     string
	packages map[string]string
	orders   []string // the command
	webhook  []string // the command of the webhook handler, with ADDRESS or PORT; none: webhook.sh, a CGI program
}{
	{"curl", map[string]string{"curl": "curl", "openssl": "openssl"}, []string{"./orders.sh"}, nil},
	{"go", nil, []string{"./orders"}, []string{"./orders", "serve", "PORT"}},
	{"node", map[string]string{"node": "nodejs"}, []string{"node", "orders.mjs"}, []string{"node", "orders.mjs", "serve", "PORT"}},
	{"php", map[string]string{"php": "php-cli"}, []string{"php", "orders.php"}, []string{"php", "-S", "ADDRESS", "webhook.php"}},
	{"python", map[string]string{"python3": "python3"}, []string{"python3", "orders.py"}, []string{"python3", "orders.py", "serve", "PORT"}},
}

// TestExamples runs the same story with each example: a lost answer sends nothing twice, a message waits for another one, each
// end of a message has its reaction, and the webhook handler accepts what the relay signed and nothing else.
func TestExamples(t *testing.T) {
	t.Parallel()
	w := startWorld(t)
	t.Run("WooCommerce plugin", func(t *testing.T) { testPlugin(t, w) })
	t.Run("WooCommerce webhooks", func(t *testing.T) { testWooCommerceWebhooks(t, w) })
	t.Run("Express", func(t *testing.T) { testExpress(t, w) })
	t.Run("move from Meta", func(t *testing.T) { testMove(t, w) })
	for i, example := range examples {
		t.Run(example.name, func(t *testing.T) {
			t.Parallel()
			for program, debian := range example.packages {
				if _, err := exec.LookPath(program); err != nil {
					t.Fatalf("%s is not installed. Install the package %s", program, debian)
				}
			}
			s := &shop{t: t, dir: t.TempDir(), api: w.badNetwork(t)}
			if err := os.CopyFS(s.dir, os.DirFS(filepath.Join("..", "..", "examples", example.name))); err != nil {
				t.Fatal(err)
			}
			if example.name == "go" {
				build := exec.CommandContext(t.Context(), "go", "build", "-o", s.dir+"/orders", "./examples/go")
				build.Dir, build.Env = filepath.Join("..", ".."), append(os.Environ(), "CGO_ENABLED=0")
				if out, err := build.CombinedOutput(); err != nil {
					t.Fatalf("build: %v\n%s", err, out)
				}
			}
			hookURL, hook := s.serve(example.webhook)
			w.setTarget(t, example.name, hookURL, `"tags":["shop-`+example.name+`"]`)
			watch := s.start(example.orders, "watch")

			good, bad, unsure, later := fmt.Sprint(1001+10*i), fmt.Sprint(1002+10*i), fmt.Sprint(1003+10*i), fmt.Sprint(1004+10*i)
			phone := fmt.Sprintf("+1555010%d", 1000+i)
			placed := s.run(example.orders, "place", good, phone)
			if again := s.run(example.orders, "place", good, phone); again != placed || !strings.HasPrefix(placed, "order-"+good+"-paid: duplicate ") {
				t.Errorf("placed with a lost answer: %s; placed again: %s", placed, again)
			}
			if shipped := s.run(example.orders, "ship", good, phone); !strings.HasPrefix(shipped, "order-"+good+"-shipped: accepted ") {
				t.Errorf("shipped: %s", shipped)
			}
			s.run(example.orders, "place", bad, "+99999131026") // Meta reports a failure
			s.run(example.orders, "ship", bad, "+99999131026")
			id := strings.Fields(s.run(example.orders, "place", unsure, "+99999900005"))[2] // Meta resets the connection
			poll.Until(t, "in-doubt message", func() bool {
				return w.call(t, http.MethodGet, w.api+"/v1/messages/"+id, "")["state"] == "in_doubt"
			})
			w.call(t, http.MethodPost, w.console+"/v1/in-doubt/"+id+"/resolve", `{"resolution":"cancel","actor":"test","reason":"example"}`)
			watch.await(
				"events were dropped", "order-"+good+"-paid: delivered", "order-"+good+"-shipped: delivered",
				"order-"+bad+"-paid: fallback by SMS: ", "order-"+bad+"-shipped: fallback by SMS: ",
				"order-"+unsure+"-paid: a person must ask the customer: ",
			)
			hook.await(
				"webhook: order-"+good+"-paid sent", "webhook: order-"+good+"-paid delivered", "webhook: order-"+good+"-shipped read",
				"webhook: order-"+bad+"-paid failed", "webhook: order-"+bad+"-shipped failed",
			)
			if n := w.received(t, phone); n != 2 {
				t.Errorf("Meta took %d messages to the customer, want 2: paid and shipped", n)
			}

			s.checkSignatures(hookURL, hook)

			// A consumer that lost its cursor gets all events again, and does nothing twice.
			watch.stop()
			w.call(t, http.MethodDelete, w.api+"/v1/events/cursors/shop-"+example.name, "")
			s.run(example.orders, "place", later, phone)
			watch = s.start(example.orders, "watch")
			watch.await("order-" + later + "-paid: delivered")
			if printed := watch.String(); strings.Contains(printed, "order-"+good) || strings.Contains(printed, "order-"+bad) {
				t.Errorf("it reacts a second time:\n%s", printed)
			}
		})
	}
}

// shop is an example in a folder of its own.
type shop struct {
	t        *testing.T
	dir, api string
}

// program is a running program, or what takes its place. It is safe for concurrent use.
type program struct {
	t     *testing.T
	cmd   *exec.Cmd
	ended chan struct{}

	mu      sync.Mutex
	printed strings.Builder
}

func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.printed.Write(b)
}

// String returns all that the program printed.
func (p *program) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.printed.String()
}

// await waits until the program has printed all of the texts.
func (p *program) await(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		poll.Until(p.t, text, func() bool {
			select {
			case <-p.ended:
				p.t.Fatalf("%s ended before it printed %q:\n%s", p.cmd, text, p)
			default:
			}
			return strings.Contains(p.String(), text)
		})
	}
}

// stop ends the program and its children.
func (p *program) stop() {
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.ended
}

func (s *shop) command(command []string, args ...string) *exec.Cmd {
	command = append(append([]string{}, command...), args...)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = s.dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "SLUICE_API=" + s.api, "SLUICE_API_KEY=" + rig.APIKey,
		"PHONE_NUMBER_ID=" + phoneNumberID, "WEBHOOK_SECRET=" + webhookSecret, "WOOCOMMERCE_SECRET=" + webhookSecret,
	}
	if strings.HasPrefix(command[0], "./") {
		cmd.Path = filepath.Join(s.dir, command[0])
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// run runs the example to its end and returns what it printed.
func (s *shop) run(command []string, args ...string) string {
	s.t.Helper()
	out, err := s.command(command, args...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s %s: %v\n%s", command, args, err, out)
	}
	return string(out)
}

// start runs the example until the test ends.
func (s *shop) start(command []string, args ...string) *program {
	s.t.Helper()
	p := &program{t: s.t, cmd: s.command(command, args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		p.cmd.Wait() // the tests compare what it printed
	}()
	s.t.Cleanup(func() {
		p.stop()
		if s.t.Failed() {
			s.t.Logf("%s printed:\n%s", p.cmd, p)
		}
	})
	return p
}

// serve starts the webhook handler and returns its URL.
func (s *shop) serve(command []string) (string, *program) {
	s.t.Helper()
	if command == nil {
		p := &program{t: s.t}
		h := &cgi.Handler{Path: filepath.Join(s.dir, "webhook.sh"), Dir: s.dir, Env: []string{"WEBHOOK_SECRET=" + webhookSecret}, Stderr: p}
		server := httptest.NewServer(h)
		s.t.Cleanup(server.Close)
		return server.URL + "/webhook.sh", p
	}
	addr := must(ports.Free())(s.t)
	_, port, _ := strings.Cut(addr, ":")
	var filled []string
	for _, word := range command {
		filled = append(filled, strings.NewReplacer("ADDRESS", addr, "PORT", port).Replace(word))
	}
	p := s.start(filled)
	poll.Until(s.t, "webhook handler", func() bool { return rig.Dials(addr)(s.t.Context()) == nil })
	return "http://" + addr + "/webhook", p
}

// post sends a body with a header, names and values in turn, and returns the status of the answer.
func (s *shop) post(url, body string, header ...string) int {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for ; len(header) > 1; header = header[2:] {
		req.Header.Set(header[0], header[1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// checkSignatures: the webhook handler refuses a body without the right signature, and a body that comes twice counts once.
func (s *shop) checkSignatures(url string, hook *program) {
	s.t.Helper()
	const body = `{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"value":{"statuses":[{"id":"wamid.forged","status":"read","sluice":{"ref":"order-forged"}}]},"field":"messages"}]}]}`
	mac := hmac.New(sha256.New, []byte(webhookSecret))
	mac.Write([]byte(body))
	right := "sha256=" + hex.EncodeToString(mac.Sum(nil))
	wrong := right[:len(right)-1] + string("01"[1-strings.Count(right[len(right)-1:], "1")])
	for i, c := range []struct {
		signature string
		want      int
	}{{wrong, 403}, {"", 403}, {right[:20], 403}, {strings.TrimPrefix(right, "sha256="), 403}, {right, 200}, {right, 200}} {
		var header []string
		if c.signature != "" {
			header = []string{"X-Hub-Signature-256", c.signature}
		}
		if status := s.post(url, body, header...); status != c.want {
			s.t.Errorf("request %d with the signature %q is answered %d, want %d", i, c.signature, status, c.want)
		}
		if c.want == 403 && strings.Contains(hook.String(), "order-forged") {
			s.t.Errorf("the handler stored what it refused")
		}
	}
	hook.await("webhook: order-forged read")
	if n := strings.Count(hook.String(), "webhook: order-forged read"); n != 1 {
		s.t.Errorf("a status that came twice was counted %d times", n)
	}
}
