// Package deploytest holds what is deployed (compose, Kubernetes, the image, Prometheus)
// against the programs and their configuration. It is tests only.
package deploytest

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"sluice/internal/config"
	"sluice/internal/message"
	"sluice/internal/redistest"
)

// root is the top of the repository.
const root = "../.."

// read returns a file of the repository.
func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// documents parses a YAML file of the repository; a key that is there twice fails the test.
func documents(t *testing.T, path string) []any {
	t.Helper()
	var all []any
	d := yaml.NewDecoder(bytes.NewReader([]byte(read(t, path))))
	for {
		var one any
		err := d.Decode(&one)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all = append(all, one)
	}
}

// at walks down a parsed document: "spec.ports.0.name". What is not there is nil.
func at(v any, path string) any {
	for step := range strings.SplitSeq(path, ".") {
		switch now := v.(type) {
		case map[string]any:
			v = now[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i >= len(now) {
				return nil
			}
			v = now[i]
		default:
			return nil
		}
	}
	return v
}

// text is at for a string.
func text(v any, path string) string {
	s, _ := at(v, path).(string)
	return s
}

// list is at for a list.
func list(v any, path string) []any {
	l, _ := at(v, path).([]any)
	return l
}

// words is at for a list of strings.
func words(v any, path string) []string {
	var all []string
	for _, w := range list(v, path) {
		s, _ := w.(string)
		all = append(all, s)
	}
	return all
}

// commands are the programs that can be built.
func commands(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, "cmd"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// noEnv is an environment without any variable.
func noEnv(string) string { return "" }

// loaded is a configuration as each program understands it.
type loaded struct {
	producer config.Producer
	worker   config.Worker
	webhook  config.Webhook
}

// load reads a configuration file of the repository as all programs would, with the folder
// of secrets in it replaced by one here.
func load(t *testing.T, path, secrets, here string) loaded {
	t.Helper()
	path = filepath.Join(root, path)
	if secrets != "" {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		path = filepath.Join(t.TempDir(), "sluice.yaml")
		if err := os.WriteFile(path, bytes.ReplaceAll(b, []byte(secrets), []byte(here)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var c loaded
	var errs [3]error
	args := []string{"--config", path}
	c.producer, errs[0] = config.LoadProducer(args, noEnv)
	c.worker, errs[1] = config.LoadWorker(args, noEnv)
	c.webhook, errs[2] = config.LoadWebhook(args, noEnv)
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	return c
}

// redisServer checks the command line of a Redis.
func redisServer(t *testing.T, line []string) {
	t.Helper()
	if want := append([]string{"redis-server"}, redistest.Settings...); !slices.Equal(line, want) {
		t.Errorf("Redis runs as %q, the promises need %q", line, want)
	}
}

// port returns the port of an address like ":9101".
func port(t *testing.T, address string) int {
	t.Helper()
	n, err := strconv.Atoi(address[strings.LastIndex(address, ":")+1:])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The example shows the classes' defaults, which `message` owns and `config` knows nothing of.
func TestExampleShowsTheDefaults(t *testing.T) {
	c := load(t, "deploy/sluice.example.yaml", "", "")
	for _, class := range message.Classes() {
		p := message.DefaultPolicy(class)
		want := config.Class{Deadline: p.Deadline, InDoubtWindow: p.InDoubtWindow, InDoubtPolicy: string(p.InDoubtPolicy), ErrorWindow: p.ErrorWindow, RepeatWindow: p.RepeatWindow}
		if got := c.worker.Classes[string(class)]; got != want {
			t.Errorf("%s: %+v, the default is %+v", class, got, want)
		}
	}
}
