package deploytest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v3"

	"sluice/internal/golden"
)

const (
	k8s  = "deploy/k8s"
	dev  = k8s + "/overlays/dev"
	prod = k8s + "/overlays/prod"
)

var rendered sync.Map // of func() ([]byte, error) by directory

// render returns the manifests that kustomize makes of a directory.
func render(t *testing.T, dir string) []byte {
	t.Helper()
	once, _ := rendered.LoadOrStore(dir, sync.OnceValues(func() ([]byte, error) {
		cmd := exec.Command("go", "tool", "-modfile=tools/kube/go.mod", "kustomize", "build", dir)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as in the Makefile, whose builds it shares
		return cmd.Output()
	}))
	out, err := once.(func() ([]byte, error))()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		t.Fatalf("kustomize build %s: %v\n%s", dir, err, failed.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// objects are rendered manifests.
type objects []any

func parse(t *testing.T, manifests []byte) (all objects) {
	t.Helper()
	d := yaml.NewDecoder(bytes.NewReader(manifests))
	for {
		var one any
		err := d.Decode(&one)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
}

// overlay returns the objects of an overlay.
func overlay(t *testing.T, dir string) objects {
	t.Helper()
	return parse(t, render(t, dir))
}

// find returns an object by kind and name. A name that kustomize ended with a hash is found without it.
func (all objects) find(t *testing.T, kind, name string) any {
	t.Helper()
	for _, o := range all {
		if full := text(o, "metadata.name"); text(o, "kind") == kind && (full == name || unhashed(full) == name) {
			return o
		}
	}
	t.Fatalf("no %s %s", kind, name)
	return nil
}

func (all objects) kind(kind string) (some objects) {
	for _, o := range all {
		if text(o, "kind") == kind {
			some = append(some, o)
		}
	}
	return some
}

// unhashed returns the name of a generated object without the hash that kustomize adds to it.
func unhashed(name string) string { return name[:max(0, strings.LastIndex(name, "-"))] }

// pods returns the template of the pods of every object that makes some, by its kind and name.
func (all objects) pods() map[string]any {
	pods := map[string]any{}
	for _, o := range all {
		for _, path := range []string{"spec.template", "spec.jobTemplate.spec.template"} {
			if at(o, path+".spec.containers") != nil {
				pods[text(o, "kind")+" "+text(o, "metadata.name")] = at(o, path)
			}
		}
	}
	return pods
}

// Each kustomization uses all files of its directory.
func TestKustomizationsListTheirFolders(t *testing.T) {
	t.Parallel()
	found := 0
	err := filepath.WalkDir(filepath.Join(root, k8s), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "kustomization.yaml" {
			return err
		}
		found++
		dir := strings.TrimPrefix(filepath.Dir(path), root+"/")
		k := documents(t, dir+"/kustomization.yaml")[0]
		listed := append(words(k, "resources"), words(k, "configMapGenerator.0.files")...)
		listed = append(slices.DeleteFunc(listed, func(name string) bool { return strings.Contains(name, "/") }), "kustomization.yaml")
		slices.Sort(listed)
		var there []string
		entries, err := os.ReadDir(filepath.Dir(path))
		for _, e := range entries {
			there = append(there, e.Name())
		}
		if !slices.Equal(listed, there) {
			t.Errorf("%s lists %q, there are %q", dir, listed, there)
		}
		return err
	})
	if err != nil || found < 7 {
		t.Errorf("%d kustomizations, %v", found, err)
	}
}

//go:generate go test . -run TestPrometheusRulesAreThoseOfPrometheus -update

// The rules of the Prometheus Operator are the files of deploy/prometheus.
func TestPrometheusRulesAreThoseOfPrometheus(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"alerts", "rules"} {
		var b strings.Builder
		b.WriteString("# Made from deploy/prometheus/" + name + ".yml by: make docs\n")
		b.WriteString("apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: sluice-" + name + "\nspec:\n")
		for line := range strings.Lines(read(t, prometheusDir+"/"+name+".yml")) {
			if line != "\n" {
				line = "  " + line
			}
			b.WriteString(line)
		}
		golden.File(t, filepath.Join(root, k8s, "components/monitoring", name+".yaml"), []byte(b.String()))
	}
}
