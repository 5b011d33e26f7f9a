package deploytest

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"

	"sluice/internal/config"
	"sluice/internal/poll"
	"sluice/internal/ports"
	"sluice/internal/redistest"
)

// project loads docker-compose.yml and more files as docker compose does with these variables. It fails for a member that compose does
// not know, and for a volume, config, secret or service that is not defined.
func project(t *testing.T, environment types.Mapping, more ...string) *types.Project {
	t.Helper()
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, name := range append([]string{composeFile}, more...) {
		files = append(files, filepath.Join(dir, name))
	}
	p, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir: dir, ConfigFiles: types.ToConfigFiles(files), Environment: environment,
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Each service says when it is healthy, and starts when those are healthy that it needs.
func TestComposeStartsInOrder(t *testing.T) {
	p := project(t, nil)
	order := map[string][]string{}
	for name, s := range p.Services {
		if s.HealthCheck == nil {
			t.Errorf("%s has no health check", name)
		}
		order[name] = slices.Sorted(maps.Keys(s.DependsOn))
		for on, d := range s.DependsOn {
			if d.Condition != types.ServiceConditionHealthy {
				t.Errorf("%s waits until %s is %s", name, on, d.Condition)
			}
		}
	}
	want := map[string][]string{
		"redis": nil, "producer": {"redis"}, "webhook": {"redis"}, "worker": {"redis", "webhook"}, "simulator": {"webhook"},
		"alertmanager": nil, "prometheus": {"alertmanager"}, "grafana": {"prometheus"},
	}
	if !maps.EqualFunc(order, want, slices.Equal) {
		t.Errorf("services wait for %v, want %v", order, want)
	}
}

func TestComposeFilesExist(t *testing.T) {
	p := project(t, nil)
	var files []string
	for _, c := range p.Configs {
		files = append(files, c.File)
	}
	for _, s := range p.Secrets {
		files = append(files, s.File)
	}
	for _, s := range p.Services {
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeBind {
				files = append(files, v.Source)
			}
		}
	}
	for _, f := range files {
		if _, err := os.Stat(f); err != nil {
			t.Error(err)
		}
	}
}

// With a directory of its own, without graph.base_url, the same file sends through Meta.
func TestComposeWithATokenTalksToMeta(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "production")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(root, "deploy/compose"))); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "sluice.yaml")
	before := readFile(t, file)
	after := bytes.ReplaceAll(before, []byte("graph: {base_url: \"http://simulator:8070\"}\n"), nil)
	if bytes.Equal(before, after) {
		t.Fatal("sluice.yaml sets no graph.base_url")
	}
	write(t, file, after)
	write(t, filepath.Join(dir, "secrets/access_token"), []byte("a-token-of-meta"))

	p := project(t, types.Mapping{"SLUICE_COMPOSE": dir})
	secrets := filepath.Dir(p.Secrets["access_token"].File)
	if p.Configs["sluice"].File != file || secrets != filepath.Join(dir, "secrets") {
		t.Fatalf("compose reads %s and %s", p.Configs["sluice"].File, secrets)
	}
	write(t, file, bytes.ReplaceAll(after, []byte("/run/secrets"), []byte(secrets)))
	c, err := config.LoadWorker([]string{"--config", file}, noEnv)
	if err != nil {
		t.Fatal(err)
	}
	if c.Graph.BaseURL != "https://graph.facebook.com" {
		t.Errorf("the worker sends to %s", c.Graph.BaseURL)
	}
}

// No container engine is here, so the commands and health checks of our services run as processes, started in the order
// of docker-compose.yml. Only paths and addresses are those of this machine.
func TestComposeServicesRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tool := program(t, "sluice")
	secrets, err := filepath.Abs(filepath.Join(root, "deploy/compose/secrets"))
	if err != nil {
		t.Fatal(err)
	}
	address := func() string {
		a, err := ports.Free()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	simulator, webhook := address(), address()
	c := composeConfig(t)
	ops := map[string]string{c.producer.Ops: address(), c.worker.Ops: address(), c.webhook.Ops: address()}
	file := filepath.Join(dir, "sluice.yaml")
	here := strings.NewReplacer("/etc/sluice/sluice.yaml", file, "/run/secrets", secrets,
		"http://127.0.0.1:8070", "http://"+simulator, ":8070", simulator, "webhook"+c.webhook.Listen, webhook,
		"127.0.0.1"+c.producer.Ops, ops[c.producer.Ops], "127.0.0.1"+c.worker.Ops, ops[c.worker.Ops], "127.0.0.1"+c.webhook.Ops, ops[c.webhook.Ops])
	write(t, file, []byte(here.Replace(read(t, "deploy/compose/sluice.yaml"))))
	environment := []string{
		"SLUICE_REDIS_URL=" + redistest.Start(t).URL(), "GRAPH_BASE_URL=http://" + simulator,
		"SLUICE_LISTEN_API=127.0.0.1:0", "SLUICE_LISTEN_CONSOLE=127.0.0.1:0", "SLUICE_LISTEN_WEBHOOK=" + webhook,
	}
	command := func(words []string, more ...string) *exec.Cmd {
		for i, w := range words {
			words[i] = here.Replace(w)
		}
		cmd := exec.Command(filepath.Join(dir, words[0]), words[1:]...)
		cmd.Dir, cmd.Env = dir, append(environment, more...)
		return cmd
	}
	services := compose(t)
	for name, listen := range map[string]string{"producer": c.producer.Ops, "worker": c.worker.Ops, "webhook": c.webhook.Ops, "simulator": ""} {
		if listen != "" {
			if err := os.Symlink(tool, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		cmd := command(words(services[name], "command"), "SLUICE_LISTEN_OPS="+ops[listen])
		cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	}
	for _, name := range []string{"webhook", "simulator", "worker", "producer"} {
		poll.Until(t, name+" is healthy", func() bool {
			return command(words(services[name], "healthcheck.test")[1:]).Run() == nil
		})
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
