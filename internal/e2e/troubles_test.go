package e2e

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/client"
	"sluice/internal/buildtest"
	"sluice/internal/graphsim"
	"sluice/internal/poll"
	"sluice/internal/rig"
)

// asTroubles is an environment variable. With it TestTroubles runs: about 20 minutes.
const asTroubles = "SLUICE_TROUBLES"

// troubles are what operators meet most often. Each fires its alert in a real Prometheus, and the first command of the
// runbook names the cause.
var troubles = []struct {
	name  string
	begin func(*world)
	alert string
	names string // what the first command of the runbook prints; empty: it cannot run here
}{
	{"Meta refuses 30 % of the messages as too fast", func(w *world) {
		w.sim.SetFaults(graphsim.Faults{Throttle: 0.3})
	}, "SluiceThrottled", `REFUSED AT`},
	{"the access token is revoked", func(w *world) {
		w.simulate(http.MethodPatch, "account", `{"token": {"revoked": true}}`)
	}, "SluiceAccessTokenInvalid", `fail +token \d+ .*Meta refuses it|fail +token`},
	{"Meta pauses a template", func(w *world) {
		w.simulate(http.MethodPatch, "templates/campaign/en_US", `{"status": "PAUSED"}`)
	}, "SluiceTemplateHeld", `template campaign/en_US.*(PAUSED|paused)`},
	{"Meta locks the account, by a webhook only", func(w *world) {
		w.simulate(http.MethodPut, "steps", `[{"name": "lock", "at": "1s", "webhooks": [{"field": "account_update", "value": {"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": ["DISABLE"]}}}]}]`)
	}, "SluiceNumberHeld", `Meta announced for the account`},
	{"Meta sends no webhooks any more", func(w *world) {
		w.simulate(http.MethodPatch, "account", `{"app": {"unsubscribed": true}}`)
	}, "SluiceWebhooksSilent", `does not send its webhooks to the app`},
	{"another client makes Redis slow", func(w *world) {
		c := w.redis.admin
		ctx, stop := context.WithCancel(context.Background())
		w.t.Cleanup(stop)
		go func() {
			for ctx.Err() == nil {
				c.Eval(ctx, `local t = redis.call("TIME") local e = t[1] * 1000000 + t[2] + 200000 repeat t = redis.call("TIME") until t[1] * 1000000 + t[2] > e`, nil)
				select {
				case <-ctx.Done():
				case <-time.After(800 * time.Millisecond):
				}
			}
		}()
	}, "SluiceRedisSlow", `(?i)eval`},
	{"the only worker is killed", nil, "SluiceProgramMissing", ""},
	{"a webhook cannot be read", func(w *world) {
		body := []byte(`{"object": "whatsapp_business_account", `)
		mac := hmac.New(sha256.New, []byte(appSecret))
		mac.Write(body)
		if status := w.post(body, "sha256="+hex.EncodeToString(mac.Sum(nil))); status != http.StatusOK {
			w.t.Fatalf("the webhook was answered with %d", status)
		}
	}, "SluiceEventsUnreadable", `why`},
	{"the clock of Redis is 5 s ahead", func(w *world) {
		_, rest, _ := strings.Cut(w.redis.admin.Info(w.t.Context(), "server").Val(), "process_id:")
		pid, err := strconv.Atoi(strings.Fields(rest)[0])
		if err == nil {
			err = rig.SetClock(pid, 5*time.Second)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}, "SluiceClockSkew", `(warn|fail) +clock of redis`},
	{"Redis has little memory left", func(w *world) {
		c := w.redis.admin
		_, rest, _ := strings.Cut(c.Info(w.t.Context(), "memory").Val(), "used_memory:")
		used, err := strconv.Atoi(strings.Fields(rest)[0])
		if err == nil {
			err = c.ConfigSet(w.t.Context(), "maxmemory", fmt.Sprint(used*100/73)).Err()
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}, "SluiceRedisMemoryHigh", `EVENTS`},
}

// TestTroubles makes each trouble in a world of its own, with the rules as they are deployed, scraped every 5 s. It prints
// the table of docs/alerts.md.
func TestTroubles(t *testing.T) {
	if os.Getenv(asTroubles) == "" {
		t.Skip("it takes 20 minutes: set " + asTroubles + "=1 and -timeout 60m to run it")
	}
	bin := buildtest.Programs(t)
	for _, one := range troubles {
		t.Run(one.alert, func(t *testing.T) {
			t.Parallel()
			w := setup(t, 80, graphsim.Options{Token: "e2e-access-token", Account: graphsim.Account{Templates: []graphsim.Template{{Name: "campaign"}}}})
			k := w.watchedWorker()
			p := w.prometheus("5s")
			w.traffic()
			poll.Until(t, "all targets are up", func() bool { return len(p.query("up == 1")) == len(w.ops) })
			p.wait(45 * time.Second)
			if alerts := p.firing(); len(alerts) > 0 {
				t.Fatalf("before the trouble these alerts fire: %v", alerts)
			}

			begun := time.Now()
			if one.begin == nil {
				k.kill()
			} else {
				one.begin(w)
			}
			for !slices.Contains(p.firing(), one.alert) {
				if time.Since(begun) > 20*time.Minute {
					t.Fatalf("%s does not fire within 20 minutes; these do: %v", one.alert, p.firing())
				}
				p.wait(time.Second)
			}
			after := time.Since(begun).Round(time.Second)
			said := "not run: it needs the cluster"
			if one.names != "" {
				out := w.firstCommand(bin, one.alert)
				if said = "yes"; !regexp.MustCompile(one.names).MatchString(out) {
					t.Errorf("%s: the first command of the runbook does not name the cause. It printed:\n%s", one.alert, out)
					said = "**no**"
				}
			}
			others := slices.DeleteFunc(p.firing(), func(a string) bool { return a == one.alert })
			fmt.Printf("| %s | %s | %s | %s | %s |\n", one.name, one.alert, after, strings.Join(others, ", "), said)
		})
	}
}

// traffic sends a message from each number and one of a template every second, until the test ends.
func (w *world) traffic() {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	w.t.Cleanup(func() { stop(); <-done })
	go func() {
		defer close(done)
		every := time.NewTicker(time.Second)
		defer every.Stop()
		for n := 0; ; n++ {
			to := fmt.Sprintf(`"to": "+1555%02d00001"`, n%97) // others every second, because of the limit of messages to one
			text := json.RawMessage(`{` + to + `, "type": "text", "text": {"body": "Hello"}}`)
			template := json.RawMessage(`{` + to + `, "type": "template", "template": {"name": "campaign", "language": {"code": "en_US"}}}`)
			for i, m := range []client.Message{{From: numbers[0], Content: text}, {From: numbers[1], Content: text}, {From: numbers[0], Content: template}} {
				m.Class, m.Key = client.ClassUtility, fmt.Sprint("traffic-", n, "-", i)
				w.api.Send(ctx, m) // some troubles make it fail
			}
			select {
			case <-ctx.Done():
				return
			case <-every.C:
			}
		}
	}()
}

// simulate calls the control API of the simulator.
func (w *world) simulate(method, path, body string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.graph+"/_sim/"+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode >= 300 {
		w.t.Fatalf("%s %s: %s", method, path, answer.Status)
	}
}

// firstCommand runs the first command of the runbook of an alert, with the tool in bin, and returns what it prints.
func (w *world) firstCommand(bin, alert string) string {
	w.t.Helper()
	page, err := os.ReadFile("../../docs/runbooks/" + alert + ".md")
	if err != nil {
		w.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```sh\n")
	command, _, _ := strings.Cut(rest, "\n")
	command = strings.ReplaceAll(command, "https://<your host>/webhooks/whatsapp/main", w.hooks)
	dir := w.t.TempDir()
	wrapper := fmt.Sprintf("#!/bin/sh\nexec %s -u %s \"$@\"\n", "/usr/bin/redis-cli", w.redis.server.URL())
	if err := os.WriteFile(filepath.Join(dir, "redis-cli"), []byte(wrapper), 0o700); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+bin+":"+os.Getenv("PATH"), "SLUICE_CONFIG="+w.config, "SLUICE_CONSOLE="+w.console, "SLUICE_API_KEY="+apiKey)
	out, _ := cmd.CombinedOutput() // doctor ends with 1 when it finds something
	return command + "\n" + string(out)
}

// firing returns the names of the alerts that fire now, sorted, without those of the objectives: on a busy machine they
// are right.
func (p *prometheus) firing() []string {
	p.t.Helper()
	names := map[string]bool{}
	for _, labels := range p.query(`ALERTS{alertstate="firing",window=""}`) {
		names[labels["alertname"]] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// wait waits for d, or until the test ends.
func (p *prometheus) wait(d time.Duration) {
	select {
	case <-p.t.Context().Done():
		p.t.Fatal("test ended")
	case <-time.After(d):
	}
}
