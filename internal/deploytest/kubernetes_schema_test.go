package deploytest

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// kinds are the schemas of objects, by apiVersion and kind.
type kinds map[string]*jsonschema.Schema

// schemas reads those in testdata/schemas, which tools/kube copies from their sources.
func schemas(t *testing.T) kinds {
	t.Helper()
	all := kinds{}
	files, err := filepath.Glob("testdata/schemas/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no schemas", err)
	}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		doc, err := jsonschema.UnmarshalJSON(f)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		strict(doc)
		c := jsonschema.NewCompiler()
		if err := c.AddResource(file, doc); err != nil {
			t.Fatal(err)
		}
		names, _ := at(doc, "kinds").(map[string]any)
		for kind, name := range names {
			if all[kind], err = c.Compile(fmt.Sprintf("%s#/components/schemas/%s", file, name)); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
		}
	}
	return all
}

// strict makes every schema that lists the members of an object refuse other members, as the API server does.
func strict(schema any) {
	switch v := schema.(type) {
	case []any:
		for _, one := range v {
			strict(one)
		}
	case map[string]any:
		_, lists := v["properties"].(map[string]any)
		if lists && v["type"] == "object" && v["additionalProperties"] == nil && v["x-kubernetes-preserve-unknown-fields"] == nil {
			v["additionalProperties"] = false
		}
		for _, one := range v {
			strict(one)
		}
	}
}

// wrong returns what the schema of an object says against it.
func (all kinds) wrong(object any) error {
	kind := text(object, "apiVersion") + " " + text(object, "kind")
	if all[kind] == nil {
		return fmt.Errorf("no schema of %s: add it to tools/kube/schemas.go", kind)
	}
	b, err := json.Marshal(object)
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(b)))
	if err != nil {
		return err
	}
	return all[kind].Validate(value)
}

// plainAutoscaling is a directory with an overlay that has the component hpa, which no overlay of the repository has alone.
func plainAutoscaling(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	up, err := filepath.Rel(dir, filepath.Join(top, k8s))
	if err != nil {
		t.Fatal(err)
	}
	k := fmt.Sprintf("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [%s/base]\ncomponents: [%s/components/hpa]\n", up, up)
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(k), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// The API server, KEDA and the Prometheus Operator would accept every manifest.
func TestManifestsHaveTheirSchemas(t *testing.T) {
	t.Parallel()
	known := schemas(t)
	unused := slices.Collect(maps.Keys(known))
	for _, dir := range []string{dev, prod, plainAutoscaling(t)} {
		for _, o := range overlay(t, dir) {
			if err := known.wrong(o); err != nil {
				t.Errorf("%s: %s %s: %v", dir, text(o, "kind"), text(o, "metadata.name"), err)
			}
			unused = slices.DeleteFunc(unused, func(kind string) bool { return kind == text(o, "apiVersion")+" "+text(o, "kind") })
		}
	}
	if len(unused) > 0 {
		t.Errorf("schemas that no manifest needs: remove %q from tools/kube/schemas.go", unused)
	}
}

// The schemas refuse what is wrong, and name it.
func TestWrongManifestsAreFound(t *testing.T) {
	t.Parallel()
	known := schemas(t)
	all := overlay(t, prod)
	for _, test := range []struct{ kind, name, old, broken, says string }{
		{"Deployment", "worker", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: 'yes'", "readOnlyRootFilesystem"},
		{"Deployment", "worker", "startupProbe:", "startProbe:", "startProbe"},
		{"Deployment", "worker", "selector:", "selectors:", "selector"},
		{"Deployment", "worker", "containerPort: 9102", "containerPort: ops", "containerPort"},
		{"PodDisruptionBudget", "worker", "maxUnavailable: 1", "maximumUnavailable: 1", "maximumUnavailable"},
		{"NetworkPolicy", "worker", "podSelector:", "podSelectors:", "podSelector"},
		{"Ingress", "webhook", "pathType: Prefix", "type: Prefix", "pathType"},
		{"CronJob", "doctor", "suspend: true", "suspend: 'true'", "suspend"},
		{"HorizontalPodAutoscaler", "webhook", "maxReplicas: 10", "maxReplicaCount: 10", "maxReplicas"},
		{"ScaledObject", "worker", "maxReplicaCount: 10", "maxReplicas: 10", "maxReplicas"},
		{"ServiceMonitor", "sluice", "port: ops", "ports: ops", "ports"},
		{"PrometheusRule", "sluice-alerts", "alert: SluiceNumberHeld\n", "alarm: SluiceNumberHeld\n", "alarm"},
	} {
		b, err := yaml.Marshal(all.find(t, test.kind, test.name))
		if err != nil {
			t.Fatal(err)
		}
		broken := strings.Replace(string(b), test.old, test.broken, 1)
		if broken == string(b) {
			t.Errorf("%s %s has no %q", test.kind, test.name, test.old)
			continue
		}
		if err := known.wrong(parse(t, []byte(broken))[0]); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s %s with %q: %v", test.kind, test.name, test.broken, err)
		}
	}
	if err := known.wrong(map[string]any{"apiVersion": "v2", "kind": "Deployment"}); err == nil {
		t.Error("a kind without a schema passes")
	}
}
