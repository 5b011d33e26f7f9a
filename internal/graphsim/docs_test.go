package graphsim

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestPageIsComplete: the page describes every path, every call of the control API, every member of a scenario
// and every magic number. Its examples are valid scenarios.
func TestPageIsComplete(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../docs/simulator.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	var want []string
	for pattern := range (&Sim{}).routes() {
		if pattern != "/" {
			want = append(want, pattern)
		}
	}
	for pattern := range (&Sim{}).controls() {
		want = append(want, pattern)
	}
	for digits := range endings {
		want = append(want, digits)
	}
	for _, of := range []any{Account{}, Token{}, App{}, Number{}, Template{}, Step{}, On{}, Answer{}, Notice{}, Faults{}} {
		for i := range reflect.TypeOf(of).NumField() {
			want = append(want, reflect.TypeOf(of).Field(i).Tag.Get("json"))
		}
	}
	for _, name := range want {
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("docs/simulator.md does not tell of `%s`", name)
		}
	}
	examples := strings.Split(page, "```yaml\n")[1:]
	for i, example := range examples {
		text, _, _ := strings.Cut(example, "```")
		file := filepath.Join(t.TempDir(), "example.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := ReadScenario(file, &Options{}); err != nil {
			t.Errorf("example %d: %v", i, err)
		}
	}
	if len(examples) == 0 {
		t.Error("there are no examples")
	}
}
