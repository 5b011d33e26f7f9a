package deploytest

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const k8s = "deploy/k8s"

// object finds an object of the base by kind and name.
func object(t *testing.T, kind, name string) any {
	t.Helper()
	for _, file := range words(documents(t, k8s+"/kustomization.yaml")[0], "resources") {
		for _, o := range documents(t, k8s+"/"+file) {
			if text(o, "kind") == kind && text(o, "metadata.name") == name {
				return o
			}
		}
	}
	t.Fatalf("no %s %s", kind, name)
	return nil
}

// secretKeys are the keys of the secrets that the kustomization tells people to make.
func secretKeys(t *testing.T) map[string][]string {
	t.Helper()
	keys := map[string][]string{}
	line := regexp.MustCompile(`create secret generic (\S+)((?: --from-file=\S+)+)`)
	for _, m := range line.FindAllStringSubmatch(read(t, k8s+"/kustomization.yaml"), -1) {
		keys[m[1]] = strings.Fields(strings.ReplaceAll(m[2], "--from-file=", ""))
	}
	return keys
}

func kubernetesConfig(t *testing.T) loaded {
	t.Helper()
	dir := t.TempDir()
	for _, keys := range secretKeys(t) {
		for _, key := range keys {
			if err := os.WriteFile(filepath.Join(dir, key), []byte("0123456789abcdef"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return load(t, k8s+"/sluice.yaml", "/etc/sluice/secrets", dir)
}

func TestKustomizationsListTheirFolders(t *testing.T) {
	for _, dir := range []string{k8s, k8s + "/redis"} {
		k := documents(t, dir+"/kustomization.yaml")[0]
		listed := append(words(k, "resources"), words(k, "configMapGenerator.0.files")...)
		listed = append(listed, "kustomization.yaml")
		var there []string
		entries, err := os.ReadDir(filepath.Join(root, dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !e.IsDir() {
				there = append(there, e.Name())
			}
		}
		slices.Sort(listed)
		if !slices.Equal(listed, there) {
			t.Errorf("%s lists %q, there are %q", dir, listed, there)
		}
	}
}

func TestDeployments(t *testing.T) {
	c := kubernetesConfig(t)
	type want struct {
		ops, listen string // addresses
		secret      string
		files       []string // the secret's keys that the configuration names for this program
	}
	for name, w := range map[string]want{
		"producer": {ops: c.producer.Ops, listen: c.producer.Listen, secret: "sluice-producer", files: []string{"secrets-key"}},
		"worker":   {ops: c.worker.Ops, secret: "sluice-worker", files: []string{"marker-key", "secrets-key", "token-" + c.worker.Numbers[0].ID}},
		"webhook":  {ops: c.webhook.Ops, listen: c.webhook.Listen, secret: "sluice-webhook", files: []string{"app-secret", "verify-token"}},
	} {
		t.Run(name, func(t *testing.T) {
			pod := at(object(t, "Deployment", name), "spec.template.spec")
			one := at(pod, "containers.0")
			if got := append(words(one, "command"), words(one, "args")...); !slices.Equal(got, []string{"/" + name, "--config", "/etc/sluice/sluice.yaml"}) {
				t.Errorf("runs %q", got)
			}
			if grace, _ := at(pod, "terminationGracePeriodSeconds").(int); grace <= 25+5 {
				t.Errorf("grace period %d s: a stop takes up to 25 s, after 5 s of preStop", grace)
			}
			ports := map[string]int{}
			for _, p := range list(one, "ports") {
				ports[text(p, "name")], _ = at(p, "containerPort").(int)
			}
			if ports["ops"] != port(t, w.ops) {
				t.Errorf("ops port %d, want %s", ports["ops"], w.ops)
			}
			for probe, path := range map[string]string{"livenessProbe": "/livez", "readinessProbe": "/readyz"} {
				if text(one, probe+".httpGet.path") != path || text(one, probe+".httpGet.port") != "ops" {
					t.Errorf("%s: %v", probe, at(one, probe))
				}
				if s, _ := at(one, probe+".timeoutSeconds").(int); s < 3 {
					t.Errorf("%s: %d s; a check may take 2 s", probe, s)
				}
			}
			if w.listen != "" {
				service := object(t, "Service", name)
				if target := text(service, "spec.ports.0.targetPort"); ports[target] != port(t, w.listen) {
					t.Errorf("the service leads to port %q = %d, want %s", target, ports[target], w.listen)
				}
				selects(t, at(service, "spec.selector"), name)
			}
			memory(t, one)
			restricted(t, pod)
			budget := object(t, "PodDisruptionBudget", name)
			selects(t, at(budget, "spec.selector.matchLabels"), name)
			selects(t, at(object(t, "NetworkPolicy", name), "spec.podSelector.matchLabels"), name)
			selects(t, at(object(t, "Deployment", name), "spec.selector.matchLabels"), name)
			selects(t, at(object(t, "Deployment", name), "spec.template.metadata.labels"), name)
			mounts(t, pod, w.secret)
			if got := secretKeys(t)[w.secret]; !slices.Equal(got, w.files) {
				t.Errorf("secret %s is made of %q, the configuration names %q", w.secret, got, w.files)
			}
		})
	}
}

// selects checks a set of labels or a selector.
func selects(t *testing.T, labels any, name string) {
	t.Helper()
	m, _ := labels.(map[string]any)
	if len(m) != 1 || m["app.kubernetes.io/name"] != name {
		t.Errorf("labels %v, want those of %s", m, name)
	}
}

// memory checks that requests, limits and Go's own limit fit together.
func memory(t *testing.T, container any) {
	t.Helper()
	mib := func(s string) int {
		n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSuffix(s, "B"), "Mi"))
		if err != nil {
			t.Errorf("memory %q is not in MiB", s)
		}
		return n
	}
	limit := mib(text(container, "resources.limits.memory"))
	if request := mib(text(container, "resources.requests.memory")); request != limit {
		t.Errorf("memory: request %d, limit %d", request, limit)
	}
	if text(container, "resources.requests.cpu") == "" {
		t.Error("no CPU requested")
	}
	if text(container, "env.0.name") != "GOMEMLIMIT" {
		t.Fatal("no GOMEMLIMIT")
	}
	if soft := mib(text(container, "env.0.value")); soft > limit*95/100 || soft < limit*80/100 {
		t.Errorf("GOMEMLIMIT %d MiB under a limit of %d MiB", soft, limit)
	}
}

// restricted checks Pod Security's profile of that name, and a little more.
func restricted(t *testing.T, pod any) {
	t.Helper()
	for path, want := range map[string]any{
		"automountServiceAccountToken":                          false,
		"securityContext.runAsNonRoot":                          true,
		"securityContext.seccompProfile.type":                   "RuntimeDefault",
		"containers.0.securityContext.allowPrivilegeEscalation": false,
		"containers.0.securityContext.readOnlyRootFilesystem":   true,
		"containers.0.securityContext.capabilities.drop.0":      "ALL",
		"containers.0.securityContext.capabilities.add":         nil,
		"containers.0.securityContext.privileged":               nil,
		"hostNetwork":    nil,
		"hostPID":        nil,
		"containers.1":   nil,
		"initContainers": nil,
	} {
		if got := at(pod, path); got != want {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
	if user, _ := at(pod, "securityContext.runAsUser").(int); user == 0 {
		t.Error("runs as root")
	}
}

// mounts checks that every mount has its volume and the other way round, that the volumes'
// sources exist, and that the configuration and the secret lie where it looks for them.
func mounts(t *testing.T, pod any, secret string) {
	t.Helper()
	sources := map[string]string{}
	for _, v := range list(pod, "volumes") {
		switch {
		case at(v, "configMap") != nil:
			sources[text(v, "name")] = "configMap " + text(v, "configMap.name")
		case at(v, "secret") != nil:
			sources[text(v, "name")] = "secret " + text(v, "secret.secretName")
		default:
			t.Errorf("volume %v is neither configuration nor secret", v)
		}
	}
	got := map[string]string{}
	for _, m := range list(pod, "containers.0.volumeMounts") {
		got[text(m, "mountPath")] = sources[text(m, "name")]
	}
	generated := text(documents(t, k8s+"/kustomization.yaml")[0], "configMapGenerator.0.name")
	want := map[string]string{"/etc/sluice/sluice.yaml": "configMap " + generated}
	if secret != "" {
		want["/etc/sluice/secrets"] = "secret " + secret
	}
	if !maps.Equal(got, want) || len(sources) != len(want) {
		t.Errorf("mounts %v of volumes %v, want %v", got, sources, want)
	}
}

// The policies let in what the programs listen on, and out to Redis; only the worker gets
// out to Meta.
func TestNetworkPolicies(t *testing.T) {
	c := kubernetesConfig(t)
	for name, want := range map[string]struct{ in, out []int }{
		"producer": {[]int{port(t, c.producer.Listen), port(t, c.producer.Ops)}, []int{53, 53, 6379}},
		"worker":   {[]int{port(t, c.worker.Ops)}, []int{53, 53, 6379, 443}},
		"webhook":  {[]int{port(t, c.webhook.Listen), port(t, c.webhook.Ops)}, []int{53, 53, 6379}},
	} {
		policy := object(t, "NetworkPolicy", name)
		if got := policyPorts(policy, "ingress"); !slices.Equal(got, want.in) {
			t.Errorf("%s: in by %v, want %v", name, got, want.in)
		}
		if got := policyPorts(policy, "egress"); !slices.Equal(got, want.out) {
			t.Errorf("%s: out by %v, want %v", name, got, want.out)
		}
	}
}

func policyPorts(policy any, direction string) []int {
	var all []int
	for _, rule := range list(policy, "spec."+direction) {
		for _, p := range list(rule, "ports") {
			n, _ := at(p, "port").(int)
			all = append(all, n)
		}
	}
	return all
}

func TestKubernetesRedis(t *testing.T) {
	for _, o := range documents(t, k8s+"/redis/redis.yaml") {
		if text(o, "kind") != "StatefulSet" {
			continue
		}
		pod := at(o, "spec.template.spec")
		redisServer(t, append(words(pod, "containers.0.command"), words(pod, "containers.0.args")...))
		restricted(t, pod)
		if at(o, "spec.volumeClaimTemplates.0.metadata.name") != at(pod, "containers.0.volumeMounts.0.name") {
			t.Error("the data is not on the claimed volume")
		}
		return
	}
	t.Error("no StatefulSet")
}

// Where kubectl is, it has the last word on whether the folders are kustomizations.
func TestKustomizeBuilds(t *testing.T) {
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Log("kubectl is not here: the folders were only read as YAML")
		return
	}
	for _, dir := range []string{k8s, k8s + "/redis"} {
		out, err := exec.CommandContext(t.Context(), kubectl, "kustomize", filepath.Join(root, dir)).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", dir, err, out)
		}
	}
}
