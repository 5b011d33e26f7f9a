package deploytest

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/joho/godotenv"

	"sluice/internal/config"
)

// The programs start with the settings of .env.example, and call Meta.
func TestEnvExample(t *testing.T) {
	example := read(t, ".env.example")
	settings, err := godotenv.Unmarshal(example)
	if err != nil {
		t.Fatal(err)
	}
	getenv := func(name string) string { return settings[name] }
	_, producer := config.LoadProducer(nil, getenv)
	worker, err := config.LoadWorker(nil, getenv)
	_, webhook := config.LoadWebhook(nil, getenv)
	if producer != nil || err != nil || webhook != nil {
		t.Fatalf("producer: %v, worker: %v, webhook: %v", producer, err, webhook)
	}
	if worker.Graph.BaseURL != "https://graph.facebook.com" {
		t.Errorf("the worker sends to %s", worker.Graph.BaseURL)
	}
	reference := read(t, "docs/configuration.md") + strings.ReplaceAll(read(t, composeFile), "${SLUICE_COMPOSE:-", "`SLUICE_COMPOSE`")
	for _, name := range regexp.MustCompile(`(?m)^#?([A-Z_]+)=`).FindAllStringSubmatch(example, -1) {
		if !strings.Contains(reference, "`"+name[1]+"`") {
			t.Errorf("%s is no setting", name[1])
		}
	}
}

// CI on GitHub is .ci/run with the whole history, which a test of upgrades builds from.
func TestWorkflow(t *testing.T) {
	job := at(documents(t, ".github/workflows/ci.yml")[0], "jobs.ci")
	steps := list(job, "steps")
	var runs []string
	for _, s := range steps {
		if run := text(s, "run"); run != "" {
			runs = append(runs, run)
		}
	}
	if !slices.Equal(runs, []string{".ci/run"}) || len(steps) != 2 || at(steps[0], "with.fetch-depth") != 0 {
		t.Errorf("the steps are %v, want a checkout with fetch-depth 0 and .ci/run", steps)
	}
}
