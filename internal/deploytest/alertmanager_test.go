package deploytest

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"sluice/internal/poll"
	"sluice/internal/ports"
)

// The example is valid and names only alerts that there are.
func TestAlertmanagerExample(t *testing.T) {
	t.Parallel()
	tool(t, "amtool", "check-config", "alertmanager.yml")
	alerts := alertNames(t)
	found := 0
	for _, name := range regexp.MustCompile(`Sluice[A-Z]\w+`).FindAllString(read(t, prometheusDir+"/alertmanager.yml"), -1) {
		if found++; !slices.Contains(alerts, name) {
			t.Errorf("alertmanager.yml names %s, and there is no such alert", name)
		}
	}
	if found == 0 {
		t.Error("alertmanager.yml has no inhibit rules")
	}
}

// A real Alertmanager with the example keeps quiet what only follows from another alert, and nothing else.
func TestInhibition(t *testing.T) {
	t.Parallel()
	addr, err := ports.Free()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "prometheus-alertmanager", "--config.file", filepath.Join(root, prometheusDir, "alertmanager.yml"),
		"--web.listen-address", addr, "--cluster.listen-address", "", "--storage.path", t.TempDir())
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })

	type alert = map[string]string // its labels
	number, other := "106540352242922", "106540352242923"
	given := []struct {
		labels alert
		quiet  bool
	}{
		{alert{"alertname": "SluiceRedisDown", "cluster": "a", "severity": "page"}, false},
		{alert{"alertname": "SluiceStatusesNotApplied", "cluster": "a", "severity": "page"}, true},
		{alert{"alertname": "SluiceQueueOld", "cluster": "a", "severity": "page", "phone_number_id": number}, true},
		{alert{"alertname": "SluiceAccessTokenInvalid", "cluster": "a", "severity": "page", "phone_number_id": number}, false},
		{alert{"alertname": "SluiceStatusesNotApplied", "cluster": "b", "severity": "page"}, false}, // the Redis of a is down, not that of b
		{alert{"alertname": "SluiceNumberHeld", "cluster": "b", "severity": "page", "phone_number_id": number}, false},
		{alert{"alertname": "SluiceQueueOld", "cluster": "b", "severity": "page", "phone_number_id": number}, true},
		{alert{"alertname": "SluiceMessagesHeld", "cluster": "b", "severity": "ticket", "phone_number_id": number}, true},
		{alert{"alertname": "SluiceQueueOld", "cluster": "b", "severity": "page", "phone_number_id": other}, false},
		{alert{"alertname": "SluiceRedisRestored", "cluster": "c", "severity": "page", "phone_number_id": number}, false},
		{alert{"alertname": "SluiceMessagesHeld", "cluster": "c", "severity": "ticket", "phone_number_id": number}, true},
		{alert{"alertname": "SluiceMessagesHeld", "cluster": "c", "severity": "ticket", "phone_number_id": other}, false}, // held for another reason
		{alert{"alertname": "SluiceRedisLostWrites", "cluster": "c", "severity": "page"}, false},
		{alert{"alertname": "SluiceProgramMissing", "cluster": "c", "severity": "page", "program": "worker"}, false},
		{alert{"alertname": "SluiceInstanceDown", "cluster": "c", "severity": "ticket", "job": "sluice/worker"}, true},
		{alert{"alertname": "SluiceInstanceDown", "cluster": "c", "severity": "ticket", "job": "producer"}, false}, // no worker runs, and another program is down
		{alert{"alertname": "SluiceAuthenticationSlow", "cluster": "b", "severity": "page", "window": "1h"}, false},
		{alert{"alertname": "SluiceAuthenticationSlow", "cluster": "b", "severity": "ticket", "window": "3d"}, true},
	}
	var body []map[string]alert
	want := 0 // how many must be quiet
	for _, g := range given {
		if g.quiet {
			want++
		}
		body = append(body, map[string]alert{"labels": g.labels})
	}
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	poll.Until(t, "Alertmanager takes the alerts", func() bool {
		answer, err := http.Post("http://"+addr+"/api/v2/alerts", "application/json", bytes.NewReader(text))
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	// An alert is unprocessed until Alertmanager has decided about it, and active until it has read the alert that inhibits it.
	var got []struct {
		Labels alert
		Status struct{ State string }
	}
	poll.Until(t, "Alertmanager has decided about each alert", func() bool {
		answer, err := http.Get("http://" + addr + "/api/v2/alerts")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		got = nil
		if err := json.NewDecoder(answer.Body).Decode(&got); err != nil {
			t.Fatal(err)
		}
		quiet := 0
		for _, a := range got {
			switch a.Status.State {
			case "unprocessed":
				return false
			case "suppressed":
				quiet++
			}
		}
		return len(got) == len(given) && quiet >= want
	})
	for _, g := range given {
		for _, a := range got {
			if maps.Equal(a.Labels, g.labels) && (a.Status.State == "suppressed") != g.quiet {
				t.Errorf("%v is %s, must be quiet: %t", g.labels, a.Status.State, g.quiet)
			}
		}
	}
}
