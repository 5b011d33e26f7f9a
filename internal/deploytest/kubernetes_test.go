package deploytest

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sluice/internal/queue"
)

// secretKeys are the keys of the secrets that a kustomization makes, or says how to make.
func secretKeys(t *testing.T, overlay string) map[string][]string {
	t.Helper()
	keys := map[string][]string{}
	line := regexp.MustCompile(`create secret generic (\S+)((?: --from-file=\S+)+)`)
	for _, m := range line.FindAllStringSubmatch(read(t, overlay+"/kustomization.yaml"), -1) {
		keys[m[1]] = strings.Fields(strings.ReplaceAll(m[2], "--from-file=", ""))
	}
	for _, s := range list(documents(t, overlay+"/kustomization.yaml")[0], "secretGenerator") {
		for _, literal := range words(s, "literals") {
			key, _, _ := strings.Cut(literal, "=")
			keys[text(s, "name")] = append(keys[text(s, "name")], key)
		}
	}
	return keys
}

func kubernetesConfig(t *testing.T, overlay string) loaded {
	t.Helper()
	dir := t.TempDir()
	for _, keys := range secretKeys(t, overlay) {
		for _, key := range keys {
			if err := os.WriteFile(filepath.Join(dir, key), []byte("0123456789abcdef"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return load(t, overlay+"/sluice.yaml", "/etc/sluice/secrets", dir)
}

func TestDeployments(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{dev, prod} {
		c, all, keys := kubernetesConfig(t, dir), overlay(t, dir), secretKeys(t, dir)
		token := filepath.Base(text(documents(t, dir+"/sluice.yaml")[0], "numbers.0.token_file"))
		password := keys["sluice-redis"] // of a Redis outside the cluster
		type want struct {
			ops, listen string   // addresses
			files       []string // the files that the configuration names for this program
		}
		for name, w := range map[string]want{
			"producer": {ops: c.producer.Ops, listen: c.producer.Listen, files: []string{"secrets-key"}},
			"worker":   {ops: c.worker.Ops, files: []string{"marker-key", "secrets-key", token}},
			"webhook":  {ops: c.webhook.Ops, listen: c.webhook.Listen, files: []string{"app-secret", "secrets-key", "verify-token"}},
		} {
			t.Run(filepath.Base(dir)+" "+name, func(t *testing.T) {
				deployment := all.find(t, "Deployment", name)
				pod := at(deployment, "spec.template.spec")
				one := at(pod, "containers.0")
				if got := append(words(one, "command"), words(one, "args")...); !slices.Equal(got, []string{"/" + name, "--config", "/etc/sluice/sluice.yaml"}) {
					t.Errorf("runs %q", got)
				}
				stop := int(queue.ShutdownTimeout.Seconds())
				if grace, _ := at(pod, "terminationGracePeriodSeconds").(int); grace < stop+5+10 {
					t.Errorf("grace period %d s: a stop takes up to %d s after 5 s of preStop, and outcomes are recorded after that", grace, stop)
				}
				ports := map[string]int{}
				for _, p := range list(one, "ports") {
					ports[text(p, "name")], _ = at(p, "containerPort").(int)
				}
				if ports["ops"] != port(t, w.ops) {
					t.Errorf("ops port %d, want %s", ports["ops"], w.ops)
				}
				for probe, path := range map[string]string{"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"} {
					if text(one, probe+".httpGet.path") != path || text(one, probe+".httpGet.port") != "ops" {
						t.Errorf("%s: %v", probe, at(one, probe))
					}
					if s, _ := at(one, probe+".timeoutSeconds").(int); s < 3 {
						t.Errorf("%s: %d s; a check may take 2 s", probe, s)
					}
				}
				if w.listen != "" {
					service := all.find(t, "Service", name)
					if target := text(service, "spec.ports.0.targetPort"); ports[target] != port(t, w.listen) {
						t.Errorf("the service leads to port %q = %d, want %s", target, ports[target], w.listen)
					}
					selects(t, at(service, "spec.selector"), name)
				}
				memory(t, one)
				selects(t, at(all.find(t, "PodDisruptionBudget", name), "spec.selector.matchLabels"), name)
				selects(t, at(all.find(t, "NetworkPolicy", name), "spec.podSelector.matchLabels"), name)
				selects(t, at(deployment, "spec.selector.matchLabels"), name)
				var keysOf []string
				for _, topology := range list(pod, "topologySpreadConstraints") {
					selects(t, at(topology, "labelSelector.matchLabels"), name)
					keysOf = append(keysOf, text(topology, "topologyKey"))
				}
				if !slices.Equal(keysOf, []string{"topology.kubernetes.io/zone", "kubernetes.io/hostname"}) {
					t.Errorf("spread over %q", keysOf)
				}
				if at(deployment, "spec.template.metadata.labels").(map[string]any)["app.kubernetes.io/name"] != name {
					t.Error("the label of the pods is not that of the selector")
				}
				secrets := mounts(t, pod, all)
				var files []string
				for _, secret := range secrets {
					files = append(files, keys[secret]...)
				}
				slices.Sort(files)
				if want := slices.Sorted(slices.Values(append(w.files, password...))); !slices.Equal(files, want) {
					t.Errorf("the secrets %q have the files %q, the configuration names %q", secrets, files, want)
				}
			})
		}
	}
}

// Every pod has only the rights of Pod Security's profile "restricted", and the namespace demands it.
func TestPodsAreRestricted(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{dev, prod} {
		all := overlay(t, dir)
		labels, _ := at(all.find(t, "Namespace", "sluice"), "metadata.labels").(map[string]any)
		if labels["pod-security.kubernetes.io/enforce"] != "restricted" {
			t.Errorf("labels of the namespace: %v", labels)
		}
		for name, pod := range all.pods() {
			t.Run(filepath.Base(dir)+" "+name, func(t *testing.T) { restricted(t, at(pod, "spec")) })
		}
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

// mounts checks that the configuration and the secrets lie where the programs look for them, and that the configuration is
// one that is generated: its name has a hash, so a change of it restarts the pods. It returns the names of the secrets.
func mounts(t *testing.T, pod any, all objects) (secrets []string) {
	t.Helper()
	got := map[string]string{}
	for _, m := range list(pod, "containers.0.volumeMounts") {
		got[text(m, "name")] = text(m, "mountPath")
	}
	want := map[string]string{"config": "/etc/sluice/sluice.yaml", "secrets": "/etc/sluice/secrets"}
	if !maps.Equal(got, want) || len(list(pod, "volumes")) != len(want) {
		t.Errorf("mounts %v of volumes %v, want %v", got, list(pod, "volumes"), want)
	}
	if name := text(pod, "volumes.0.configMap.name"); unhashed(name) != "sluice" || at(all.find(t, "ConfigMap", name), "data") == nil {
		t.Errorf("configuration of %s", name)
	}
	for _, s := range list(pod, "volumes.1.projected.sources") {
		name := text(s, "secret.name")
		if len(all.kind("Secret")) > 0 {
			all.find(t, "Secret", name)
			name = unhashed(name)
		}
		secrets = append(secrets, name)
	}
	return secrets
}

// The policies let in what the programs listen on, and out to Redis; only the worker gets
// out to Meta.
func TestNetworkPolicies(t *testing.T) {
	t.Parallel()
	c, all := kubernetesConfig(t, prod), overlay(t, prod)
	for name, want := range map[string]struct{ in, out []int }{
		"producer": {[]int{port(t, c.producer.Listen), port(t, c.producer.Ops)}, []int{53, 53, 6379, 443}},
		"worker":   {[]int{port(t, c.worker.Ops)}, []int{53, 53, 6379, 443}},
		"webhook":  {[]int{port(t, c.webhook.Listen), port(t, c.webhook.Ops)}, []int{53, 53, 6379}},
	} {
		policy := all.find(t, "NetworkPolicy", name)
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
	t.Parallel()
	o := overlay(t, dev).find(t, "StatefulSet", "redis")
	one := at(o, "spec.template.spec.containers.0")
	redisServer(t, append(words(one, "command"), words(one, "args")...))
	if at(o, "spec.volumeClaimTemplates.0.metadata.name") != at(one, "volumeMounts.0.name") {
		t.Error("the data is not on the claimed volume")
	}
}

// An autoscaler and a fixed number of replicas would undo each other. The workers scale on the rule that leaves held
// messages out (deploy/prometheus/tests/scaling.yml).
func TestAutoscaling(t *testing.T) {
	t.Parallel()
	for dir, workers := range map[string]string{prod: "ScaledObject", plainAutoscaling(t): "HorizontalPodAutoscaler"} {
		all := overlay(t, dir)
		for name, kind := range map[string]string{"producer": "HorizontalPodAutoscaler", "webhook": "HorizontalPodAutoscaler", "worker": workers} {
			if target := text(all.find(t, kind, name), "spec.scaleTargetRef.name"); target != name {
				t.Errorf("%s %s scales %s", kind, name, target)
			}
			if at(all.find(t, "Deployment", name), "spec.replicas") != nil {
				t.Errorf("%s has an autoscaler and a number of replicas", name)
			}
		}
		if n := len(all.kind("HorizontalPodAutoscaler")) + len(all.kind("ScaledObject")); n != 3 {
			t.Errorf("%d autoscalers for 3 programs", n)
		}
	}
	scaled := overlay(t, prod).find(t, "ScaledObject", "worker")
	query := text(scaled, "spec.triggers.0.metadata.query")
	if !slices.ContainsFunc(rules(t, "rules.yml"), func(r rule) bool { return r.Record == query }) {
		t.Errorf("KEDA asks for %s, which rules.yml does not record", query)
	}
}

// The monitor finds every pod with a port for metrics.
func TestMonitorFindsThePrograms(t *testing.T) {
	t.Parallel()
	all := overlay(t, prod)
	service, monitor := all.find(t, "Service", "ops"), all.find(t, "ServiceMonitor", "sluice")
	contains := func(labels, selector any) bool {
		l, _ := labels.(map[string]any)
		s, _ := selector.(map[string]any)
		for k, v := range s {
			if l[k] != v {
				return false
			}
		}
		return len(s) > 0
	}
	if !contains(at(service, "metadata.labels"), at(monitor, "spec.selector.matchLabels")) || at(monitor, "spec.endpoints.0.port") != at(service, "spec.ports.0.name") {
		t.Error("the monitor does not select the service")
	}
	for _, o := range all.kind("Deployment") {
		if !contains(at(o, "spec.template.metadata.labels"), at(service, "spec.selector")) || !strings.Contains(string(render(t, prod)), "targetPort: ops") {
			t.Errorf("the metrics of %s are not found", text(o, "metadata.name"))
		}
	}
}

// Each annotation that lets kube-score ignore a finding follows a comment with the reason.
func TestIgnoredFindingsHaveReasons(t *testing.T) {
	t.Parallel()
	found := 0
	err := filepath.WalkDir(filepath.Join(root, k8s), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		before := ""
		for line := range strings.Lines(read(t, strings.TrimPrefix(path, root+"/"))) {
			if strings.Contains(line, "kube-score/ignore") {
				if found++; !strings.HasPrefix(strings.TrimSpace(before), "#") {
					t.Errorf("%s: give the reason in a comment before: %s", path, line)
				}
			}
			before = line
		}
		return nil
	})
	if err != nil || found == 0 {
		t.Errorf("%d ignored findings, %v", found, err)
	}
}
