package deploytest

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const composeFile = "docker-compose.yml"

// compose returns the services by name.
func compose(t *testing.T) map[string]any {
	t.Helper()
	services, _ := at(documents(t, composeFile)[0], "services").(map[string]any)
	for _, name := range []string{"redis", "producer", "worker", "webhook", "simulator", "prometheus", "alertmanager", "grafana"} {
		if services[name] == nil {
			t.Fatalf("no service %s", name)
		}
	}
	return services
}

func composeConfig(t *testing.T) loaded {
	t.Helper()
	secrets, err := filepath.Abs(filepath.Join(root, "deploy/compose/secrets"))
	if err != nil {
		t.Fatal(err)
	}
	return load(t, "deploy/compose/sluice.yaml", "/run/secrets", secrets)
}

func TestComposeRedisKeepsThePromises(t *testing.T) {
	services := compose(t)
	redisServer(t, words(services["redis"], "command"))
	if words(services["redis"], "healthcheck.test") == nil {
		t.Error("Redis has no health check, and the programs wait for it")
	}
	if list(services["redis"], "volumes") == nil {
		t.Error("Redis has no volume")
	}
}

func TestComposePrograms(t *testing.T) {
	services := compose(t)
	c := composeConfig(t)
	ops := map[string]string{"producer": c.producer.Ops, "worker": c.worker.Ops, "webhook": c.webhook.Ops}
	for name, address := range ops {
		s := services[name]
		if got, want := words(s, "command"), []string{"/" + name, "--config", "/etc/sluice/sluice.yaml"}; !slices.Equal(got, want) {
			t.Errorf("%s runs %q, want %q", name, got, want)
		}
		if got := text(s, "configs.0.target"); got != "/etc/sluice/sluice.yaml" {
			t.Errorf("%s: configuration at %q", name, got)
		}
		health := []string{"CMD", "/sluice", "health", "http://127.0.0.1" + address + "/readyz"}
		if got := words(s, "healthcheck.test"); !slices.Equal(got, health) {
			t.Errorf("%s: health check %q, want %q", name, got, health)
		}
		if at(s, "depends_on.redis.condition") != "service_healthy" {
			t.Errorf("%s does not wait for Redis", name)
		}
		grace, err := time.ParseDuration(text(s, "stop_grace_period"))
		if err != nil || grace <= 25*time.Second {
			t.Errorf("%s: grace period %s, %v; a stop takes up to 25 s", name, grace, err)
		}
		if at(s, "read_only") != true || !slices.Equal(words(s, "cap_drop"), []string{"ALL"}) {
			t.Errorf("%s: root is writable or capabilities are kept", name)
		}
	}
	if at(services["worker"], "deploy.replicas") != 2 {
		t.Error("there are not two workers")
	}
	for name, addresses := range map[string][]string{"producer": {c.producer.Listen, c.producer.Console}, "webhook": {c.webhook.Listen}} {
		var want []string
		for _, address := range addresses {
			want = append(want, "127.0.0.1"+address+address)
		}
		if !slices.Equal(words(services[name], "ports"), want) {
			t.Errorf("%s publishes %q, want %q", name, words(services[name], "ports"), want)
		}
	}
	if got := string(c.producer.Redis.URL); got != "redis://redis:6379" {
		t.Errorf("Redis is looked for at %s", got)
	}
}

func TestComposeSimulator(t *testing.T) {
	services := compose(t)
	c := composeConfig(t)
	want := []string{
		"/sluice", "simulate", "--listen", ":8070",
		"--webhook-url", "http://webhook" + c.webhook.Listen + "/webhooks/whatsapp/" + c.webhook.Apps[0].Name,
		"--app-secret-file", "/run/secrets/app_secret", "--token-file", "/run/secrets/access_token",
	}
	if got := words(services["simulator"], "command"); !slices.Equal(got, want) {
		t.Errorf("the simulator runs %q, want %q", got, want)
	}
	if got := c.worker.Graph.BaseURL; got != "http://simulator:8070" {
		t.Errorf("the worker sends to %s", got)
	}
}

// Each program gets the secrets that its part of the configuration names, and no other.
func TestComposeSecrets(t *testing.T) {
	services := compose(t)
	want := map[string][]string{
		"producer": {"secrets_key"}, "worker": {"access_token", "marker_key", "secrets_key"}, "webhook": {"app_secret", "secrets_key", "verify_token"},
		"simulator": {"access_token", "app_secret"}, "redis": nil, "prometheus": nil, "alertmanager": nil, "grafana": nil,
	}
	for name, secrets := range want {
		got := words(services[name], "secrets")
		slices.Sort(got)
		if !slices.Equal(got, secrets) {
			t.Errorf("%s gets the secrets %q, want %q", name, got, secrets)
		}
	}
	all := project(t, nil).Secrets
	for name, secret := range all {
		value, err := os.ReadFile(secret.File)
		if err != nil {
			t.Error(err)
		}
		if !strings.HasPrefix(string(value), "demo-only-") {
			t.Errorf("secret %s does not say that it is for the demo only", name)
		}
	}
	if len(all) != 5 {
		t.Errorf("%d secrets", len(all))
	}
}

func TestPrometheusFindsThePrograms(t *testing.T) {
	services := compose(t)
	c := composeConfig(t)
	ports := map[string]int{
		"producer": port(t, c.producer.Ops), "worker": port(t, c.worker.Ops),
		"webhook": port(t, c.webhook.Ops), "simulator": 8070,
	}
	jobs := list(documents(t, "deploy/prometheus/prometheus.yml")[0], "scrape_configs")
	for _, job := range jobs {
		name := text(job, "job_name")
		target := text(job, "static_configs.0.targets.0")
		if at(job, "dns_sd_configs") != nil {
			p, _ := at(job, "dns_sd_configs.0.port").(int)
			target = text(job, "dns_sd_configs.0.names.0") + ":" + strconv.Itoa(p)
		}
		if services[name] == nil || target != name+":"+strconv.Itoa(ports[name]) {
			t.Errorf("job %s scrapes %s, want port %d", name, target, ports[name])
		}
		delete(ports, name)
	}
	if len(ports) > 0 {
		t.Errorf("not scraped: %v", ports)
	}
}
