package examplestest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sluice/internal/nodetest"
	"sluice/internal/poll"
	"sluice/internal/rig"
)

var fenced = regexp.MustCompile("(?sm)^```(php|python|js|xml)\n(.*?)^```$")

// checks has for each language how to check the syntax of a file, and the Debian package of the program.
var checks = map[string]struct {
	file, debian string
	command      []string
}{
	"php":    {"code.php", "php-cli", []string{"php", "-l"}},
	"python": {"code.py", "python3", []string{"python3", "-m", "py_compile"}},
	"js":     {"code.mjs", "nodejs", []string{"node", "--check"}},
}

// TestCodeOfPages: the code of the pages in these languages has no syntax error.
func TestCodeOfPages(t *testing.T) {
	t.Parallel()
	pages := must(filepath.Glob("../../docs/*.md"))(t)
	found := map[string]int{}
	for _, page := range pages {
		for i, block := range fenced.FindAllStringSubmatch(string(must(os.ReadFile(page))(t)), -1) {
			language, code := block[1], block[2]
			found[language]++
			where := fmt.Sprintf("%s, block %d (%s)", filepath.Base(page), i+1, language)
			if language == "xml" {
				d := xml.NewDecoder(strings.NewReader(code))
				for err := error(nil); err != io.EOF; {
					if _, err = d.Token(); err != nil && err != io.EOF {
						t.Errorf("%s: %v", where, err)
						break
					}
				}
				continue
			}
			if language == "php" && !strings.HasPrefix(code, "<?php\n") {
				code = "<?php\n" + code // a part of a file
			}
			check := checks[language]
			file := filepath.Join(t.TempDir(), check.file)
			if err := os.WriteFile(file, []byte(code), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), check.command[0], append(check.command[1:], file)...).CombinedOutput()
			if errors.Is(err, exec.ErrNotFound) {
				t.Fatalf("%s is not installed. Install the package %s", check.command[0], check.debian)
			}
			if err != nil {
				t.Errorf("%s: %v\n%s", where, err, out)
			}
		}
	}
	for _, language := range []string{"php", "python", "js", "xml"} {
		if found[language] == 0 {
			t.Errorf("no page has code in %s", language)
		}
	}
}

// saveBlock writes the block of a page that is in the language and contains a text to a file.
func saveBlock(t *testing.T, page, language, contains, file string) {
	t.Helper()
	for _, block := range fenced.FindAllStringSubmatch(string(must(os.ReadFile("../../docs/"+page))(t)), -1) {
		if block[1] == language && strings.Contains(block[2], contains) {
			if err := os.WriteFile(file, []byte(block[2]), 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("%s has no %s code with %q", page, language, contains)
}

// testPlugin runs the WooCommerce plugin of docs/shops.md: an event that comes twice is one message, a lost answer and a lost job are made
// good, a refusal becomes a note, and a message that does not arrive becomes a job for an SMS.
func testPlugin(t *testing.T, w *world) {
	t.Parallel()
	s := &shop{t: t, dir: t.TempDir(), api: w.badNetwork(t)}
	saveBlock(t, "shops.md", "php", "Plugin Name", filepath.Join(s.dir, "sluice.php"))
	for name, content := range map[string]string{
		"wordpress.php": string(must(os.ReadFile("testdata/wordpress.php"))(t)),
		"state.json": `{"jobs":[],"orders":{
			"7001":{"status":"pending","phone":"(555) 010-7001","meta":{"_whatsapp_consent":"yes"}},
			"7002":{"status":"pending","phone":"+99999131026","meta":{"_whatsapp_consent":"yes"}},
			"7003":{"status":"completed","phone":"001 555 010 7003","meta":{"_whatsapp_consent":"yes"}},
			"7004":{"status":"pending","phone":"5550107004","meta":{}},
			"7005":{"status":"pending","phone":"none","meta":{"_whatsapp_consent":"yes"}}}}`,
	} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	site, _ := s.serve([]string{"php", "-S", "ADDRESS", "wordpress.php"})
	site = strings.TrimSuffix(site, "/webhook") + "/wp-json/sluice/v1/events"
	w.setTarget(t, "plugin", site, `"tags":["shop"],"format":"sluice","types":["final"]`)
	wp := func(args ...string) {
		t.Helper()
		if out := s.run([]string{"php", "wordpress.php"}, args...); out != "" {
			t.Errorf("%s prints %s", args, out)
		}
	}
	state := func() string { return string(must(os.ReadFile(filepath.Join(s.dir, "state.json")))(t)) }

	wp("change", "7001", "processing")
	wp("jobs") // its answer is lost
	if !strings.Contains(state(), `["sluice_send",[7001,"processing",2]]`) {
		t.Errorf("after a lost answer there is no further job: %s", state())
	}
	wp("change", "7001", "processing")
	for _, order := range []string{"7002", "7004", "7005"} {
		wp("change", order, "processing")
	}
	wp("jobs")
	wp("sweep")
	wp("jobs")
	poll.Until(t, "an SMS", func() bool {
		wp("jobs")
		return strings.Contains(state(), `"sms":[[7002,"processing"]]`)
	})
	for phone, want := range map[string]int{"15550107001": 1, "15550107003": 1, "15550107004": 0} {
		poll.Until(t, "a message to "+phone, func() bool { return w.received(t, phone) >= want })
		if n := w.received(t, phone); n != want {
			t.Errorf("Meta took %d messages to %s, want %d", n, phone, want)
		}
	}
	if !strings.Contains(state(), `"notes":["WhatsApp: `) || !strings.Contains(state(), `"_sluice_processing":"refused"`) {
		t.Errorf("a message that Sluice refuses leaves no note: %s", state())
	}
	if status := s.post(site, `{"events":[]}`, "X-Hub-Signature-256", "sha256=00"); status != http.StatusForbidden {
		t.Errorf("a forged event is answered %d", status)
	}
}

// testWooCommerceWebhooks runs the receiver of docs/shops.md for webhooks of WooCommerce.
func testWooCommerceWebhooks(t *testing.T, w *world) {
	t.Parallel()
	s := &shop{t: t, dir: t.TempDir(), api: w.badNetwork(t)}
	saveBlock(t, "shops.md", "php", "HTTP_X_WC_WEBHOOK_SIGNATURE", filepath.Join(s.dir, "woocommerce.php"))
	url, _ := s.serve([]string{"php", "-S", "ADDRESS", "woocommerce.php"})
	if status := s.post(url, "webhook_id=1"); status != http.StatusOK {
		t.Errorf("the ping is answered %d", status)
	}
	order := func(status, paid string) string {
		return fmt.Sprintf(`{"id":7101,"number":"7101","status":%q,"date_paid_gmt":%q,"date_completed_gmt":null,"billing":{"phone":"+15550107101"},"meta_data":[{"id":1,"key":"_whatsapp_consent","value":"yes"}]}`, status, paid)
	}
	const today = "2999-01-01T00:00:00" // or later
	for i, c := range []struct {
		body, secret string
		want, total  int
	}{
		{order("processing", today), "wrong", 403, 0},
		{order("pending", today), webhookSecret, 200, 0},
		{order("processing", "2020-01-01T00:00:00"), webhookSecret, 200, 0},
		{order("processing", today), webhookSecret, 200, 1}, // the first answer is lost
		{order("processing", today), webhookSecret, 200, 1},
	} {
		mac := hmac.New(sha256.New, []byte(c.secret))
		mac.Write([]byte(c.body))
		status := s.post(url, c.body, "X-WC-Webhook-Topic", "order.updated", "X-WC-Webhook-Signature", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		if status != c.want {
			t.Errorf("request %d is answered %d, want %d", i, status, c.want)
		}
		poll.Until(t, "message", func() bool { return w.received(t, "15550107101") >= c.total })
		if n := w.received(t, "15550107101"); n != c.total {
			t.Errorf("after request %d Meta took %d messages, want %d", i, n, c.total)
		}
	}
}

// testExpress runs the code of docs/frameworks.md for Express: a sweep after a lost answer sends nothing twice, and the webhook handler
// gets the body as it came.
func testExpress(t *testing.T, w *world) {
	t.Parallel()
	s := &shop{t: t, dir: t.TempDir(), api: w.badNetwork(t)}
	if err := nodetest.Install("testdata/express", s.dir); err != nil {
		t.Fatal(err)
	}
	saveBlock(t, "frameworks.md", "js", "express.raw", filepath.Join(s.dir, "sluice.mjs"))
	url, hook := s.serve([]string{"node", "shop.mjs", "serve", "PORT"})
	url = strings.TrimSuffix(url, "/webhook") + "/webhooks/sluice"
	w.setTarget(t, "express", url, `"tags":["shop"]`)
	sweep := []string{"node", "shop.mjs", "sweep", "7301", "+15550107301"}
	if lost := s.run(sweep); !strings.HasPrefix(lost, "order 7301: ") {
		t.Errorf("a sweep whose answer is lost prints %s", lost)
	}
	if stored := s.run(sweep); !strings.HasPrefix(stored, "stored: 7301") {
		t.Errorf("the next sweep prints %s", stored)
	}
	hook.await("webhook: order-7301-paid delivered")
	if n := w.received(t, "15550107301"); n != 1 {
		t.Errorf("Meta took %d messages, want 1", n)
	}
	s.checkSignatures(url, hook)
}

// testMove plays docs/move-from-meta.md: a handler for Meta's webhooks gets the statuses of messages that its program sent to Meta directly,
// with Meta's ids, and those that it sent through Sluice, with Sluice's ids.
func testMove(t *testing.T, w *world) {
	t.Parallel()
	s := &shop{t: t, dir: t.TempDir()}
	if err := os.CopyFS(s.dir, os.DirFS("../../examples/node")); err != nil {
		t.Fatal(err)
	}
	url, _ := s.serve([]string{"node", "orders.mjs", "serve", "PORT"})
	w.setTarget(t, "move", url, `"message_ids":"sluice"`)
	const path, body = "/v25.0/" + phoneNumberID + "/messages", `{"messaging_product":"whatsapp","to":"+15550107201","type":"text","text":{"body":"Hello"}}`
	id := func(base, token string) string {
		answer := w.callAs(t, token, http.MethodPost, base+path, body)
		return answer["messages"].([]any)[0].(map[string]any)["id"].(string)
	}
	for _, sent := range []string{id("http://"+w.rig.Sim.Addr, rig.Token), id(w.api, rig.APIKey)} {
		seen := fmt.Sprintf("%x", sha256.Sum256([]byte(sent+" delivered")))
		poll.Until(t, "the status of "+sent, func() bool { _, err := os.Stat(filepath.Join(s.dir, "seen", seen)); return err == nil })
	}
}
