package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"sluice/internal/graphsim"
	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/ports"
)

// A real Prometheus with the configuration and the rules of deploy/prometheus scrapes running programs: it reaches all of
// them, each rule can be evaluated, each recording rule has a value, and no alert fires.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	w := setup(t, 80, graphsim.Options{})
	w.watchedWorker()
	p := w.prometheus("1s")

	w.settled(append(w.order(20, message.Authentication), w.order(20, message.Utility)...), over)
	poll.Until(t, "all targets are up", func() bool {
		up := p.query("up == 1")
		return len(up) == len(w.ops)
	})
	// The counters of attempts begin with the first attempt, so a rate needs one after the first scrape of them.
	poll.Until(t, "attempts are scraped", func() bool { return len(p.query("sluice_send_attempts_total")) > 0 })
	w.settled(w.order(20, message.Utility), over)
	var missing []string
	t.Cleanup(func() {
		if len(missing) > 0 {
			t.Log("recording rules without a value:", missing)
		}
	})
	poll.Until(t, "each recording rule has a value", func() bool {
		missing = slices.DeleteFunc(slices.Clone(p.recorded), func(name string) bool { return len(p.query(name)) > 0 })
		return len(missing) == 0
	})
	var rules struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError, State string }
		}
	}
	p.get("rules", nil, &rules)
	found := 0
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if found++; r.Health != "ok" {
				t.Errorf("rule %s is %s: %s", r.Name, r.Health, r.LastError)
			}
		}
	}
	if found < len(p.recorded) {
		t.Errorf("Prometheus has %d rules", found)
	}
	// An alert about a program that is not scraped yet may have been pending. The alerts of the objectives, which alone have
	// a window, are left out: on a busy machine they are right.
	poll.Until(t, "no alert is pending", func() bool { return len(p.query(`ALERTS{window=""}`)) == 0 })
	for _, labels := range p.query(`max_over_time(ALERTS{alertstate="firing",window=""}[10m])`) {
		t.Errorf("an alert fired: %v", labels)
	}
}

// watchedWorker starts a worker that Prometheus can reach.
func (w *world) watchedWorker() *worker {
	w.t.Helper()
	addr, err := ports.Free()
	if err != nil {
		w.t.Fatal(err)
	}
	w.ops["worker"] = addr
	return w.worker("--listen-ops", addr)
}

// prometheus is a running Prometheus.
type prometheus struct {
	t        *testing.T
	url      string
	recorded []string // the names of the recording rules
}

// prometheus starts one with the configuration of deploy/prometheus, but with the addresses of this world, and with this
// interval between two scrapes and two evaluations. It stops when the test ends.
func (w *world) prometheus(interval string) *prometheus {
	w.t.Helper()
	const deployed = "../../deploy/prometheus/"
	dir := w.t.TempDir()
	edit := func(name string, replace ...string) string {
		b, err := os.ReadFile(deployed + name)
		if err != nil {
			w.t.Fatal(err)
		}
		text := string(b)
		for i := 0; i < len(replace); i += 2 {
			changed := regexp.MustCompile(replace[i]).ReplaceAllString(text, replace[i+1])
			if changed == text {
				w.t.Fatalf("%s has no %s", name, replace[i])
			}
			text = changed
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			w.t.Fatal(err)
		}
		return text
	}
	edit("prometheus.yml",
		`scrape_interval: .*`, "scrape_interval: "+interval+"\n  evaluation_interval: "+interval,
		`dns_sd_configs: .*names: \[worker\].*`, fmt.Sprintf("static_configs: [{targets: [%q]}]", w.ops["worker"]),
		`"producer:\d+"`, fmt.Sprintf("%q", w.ops["producer"]),
		`"webhook:\d+"`, fmt.Sprintf("%q", w.ops["webhook"]),
		`"simulator:\d+"`, fmt.Sprintf("%q", w.ops["simulator"]))
	edit("alerts.yml")
	rules := edit("rules.yml", `interval: 5m`, "interval: "+interval)

	addr, err := ports.Free()
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command("prometheus", "--config.file", filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path", filepath.Join(dir, "data"),
		"--web.listen-address", addr, "--log.level", "warn")
	cmd.Stdout, cmd.Stderr = w.t.Output(), w.t.Output()
	if err := cmd.Start(); err != nil {
		w.t.Fatalf("%v. Install the Debian package prometheus", err)
	}
	w.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	p := &prometheus{t: w.t, url: "http://" + addr}
	for _, m := range regexp.MustCompile(`record: (\S+)`).FindAllStringSubmatch(rules, -1) {
		p.recorded = append(p.recorded, m[1])
	}
	poll.Until(w.t, "Prometheus is ready", func() bool {
		r, err := http.Get(p.url + "/-/ready")
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
	return p
}

// get asks the API of Prometheus.
func (p *prometheus) get(path string, query url.Values, into any) {
	p.t.Helper()
	r, err := http.Get(p.url + "/api/v1/" + path + "?" + query.Encode())
	if err != nil {
		p.t.Fatal(err)
	}
	defer r.Body.Close()
	answer := struct {
		Error string
		Data  any
	}{Data: into}
	if err := json.NewDecoder(r.Body).Decode(&answer); err != nil || answer.Error != "" {
		p.t.Fatal(path, query, err, answer.Error)
	}
}

// query returns the labels of each series that an expression yields now.
func (p *prometheus) query(expr string) (series []map[string]string) {
	p.t.Helper()
	var data struct {
		Result []struct{ Metric map[string]string }
	}
	p.get("query", url.Values{"query": {expr}}, &data)
	for _, r := range data.Result {
		series = append(series, r.Metric)
	}
	return series
}
