// Schemas writes the schemas that the tests of deploy/k8s check the manifests with: those that the API server of
// Kubernetes publishes, and those of the custom resources of KEDA and the Prometheus Operator. Run: make vendor-schemas
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// source is a module with schemas.
type source struct {
	module string
	file   string // where its schemas go
	from   map[string][]string
}

var sources = []source{
	{"k8s.io/kubernetes@v1.35.4", "kubernetes.json", map[string][]string{
		"api/openapi-spec/v3/api__v1_openapi.json":                     {"ConfigMap", "Namespace", "Secret", "Service"},
		"api/openapi-spec/v3/apis__apps__v1_openapi.json":              {"Deployment", "StatefulSet"},
		"api/openapi-spec/v3/apis__autoscaling__v2_openapi.json":       {"HorizontalPodAutoscaler"},
		"api/openapi-spec/v3/apis__batch__v1_openapi.json":             {"CronJob"},
		"api/openapi-spec/v3/apis__networking.k8s.io__v1_openapi.json": {"Ingress", "NetworkPolicy"},
		"api/openapi-spec/v3/apis__policy__v1_openapi.json":            {"PodDisruptionBudget"},
	}},
	{"github.com/kedacore/keda/v2@v2.21.0", "keda.json", map[string][]string{
		"config/crd/bases/keda.sh_scaledobjects.yaml": nil,
	}},
	{"github.com/prometheus-operator/prometheus-operator@v0.85.0", "prometheus-operator.json", map[string][]string{
		"example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml": nil,
		"example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml": nil,
	}},
}

// schemas is a file of schemas. It has the form of an OpenAPI document, so that the references in it stay as they are.
type schemas struct {
	Source     string            `json:"source"`
	Licence    string            `json:"licence"`
	Kinds      map[string]string `json:"kinds"` // the name of the schema, by apiVersion and kind
	Components struct {
		Schemas map[string]any `json:"schemas"`
	} `json:"components"`
}

func main() {
	for _, s := range sources {
		if err := s.write(filepath.Join("../../internal/deploytest/testdata/schemas", s.file)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func (s source) write(path string) error {
	cmd := exec.Command("go", "mod", "download", "-json", s.module)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("download %s: %w", s.module, err)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return err
	}
	all := schemas{Source: s.module, Licence: "Apache-2.0", Kinds: map[string]string{}}
	all.Components.Schemas = map[string]any{}
	for file, kinds := range s.from {
		b, err := os.ReadFile(filepath.Join(module.Dir, file))
		if err != nil {
			return err
		}
		var doc map[string]any
		if err := yaml.Unmarshal(b, &doc); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if kinds == nil {
			all.addCustom(doc)
		} else {
			all.add(doc["components"].(map[string]any)["schemas"].(map[string]any), kinds)
		}
	}
	b, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// add copies the schemas of kinds, and those that they refer to.
func (s *schemas) add(from map[string]any, kinds []string) {
	for name, schema := range from {
		named, _ := schema.(map[string]any)["x-kubernetes-group-version-kind"].([]any)
		for _, kind := range kinds {
			if len(named) != 1 || !strings.HasSuffix(name, "."+kind) {
				continue
			}
			k := named[0].(map[string]any)
			if k["kind"] != kind {
				continue
			}
			s.Kinds[strings.TrimPrefix(fmt.Sprintf("%s/%s %s", k["group"], k["version"], kind), "/")] = name
			s.copy(from, name)
		}
	}
}

func (s *schemas) copy(from map[string]any, name string) {
	if s.Components.Schemas[name] != nil {
		return
	}
	s.Components.Schemas[name] = from[name]
	trim(from[name], func(ref string) { s.copy(from, strings.TrimPrefix(ref, "#/components/schemas/")) })
}

// addCustom copies the schemas of a custom resource.
func (s *schemas) addCustom(crd map[string]any) {
	spec := crd["spec"].(map[string]any)
	kind := spec["names"].(map[string]any)["kind"].(string)
	for _, v := range spec["versions"].([]any) {
		version := v.(map[string]any)
		name := fmt.Sprintf("%s/%s", spec["group"], version["name"])
		schema := version["schema"].(map[string]any)["openAPIV3Schema"]
		trim(schema, nil)
		s.Kinds[name+" "+kind] = kind
		s.Components.Schemas[kind] = schema
	}
}

// trim removes the descriptions, which are most of a schema, and what says nothing about which values are valid. It calls
// refer for each reference.
func trim(schema any, refer func(string)) {
	switch v := schema.(type) {
	case []any:
		for _, one := range v {
			trim(one, refer)
		}
	case map[string]any:
		for key, value := range v {
			switch {
			case key == "properties":
				for _, p := range value.(map[string]any) {
					trim(p, refer)
				}
			case key == "$ref":
				refer(value.(string))
			case key == "description", key == "default", strings.HasPrefix(key, "x-kubernetes-") && key != "x-kubernetes-preserve-unknown-fields":
				delete(v, key)
			default:
				trim(value, refer)
			}
		}
	}
}
