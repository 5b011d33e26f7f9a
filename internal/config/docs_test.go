package config

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documented returns the page of the settings, and the rows of its tables by first column.
func documented(t *testing.T) (page string, rows map[string]string) {
	t.Helper()
	b, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	rows = map[string]string{}
	for line := range strings.Lines(string(b)) {
		if key, ok := strings.CutPrefix(line, "| `"); ok {
			key, _, _ = strings.Cut(key, "`")
			rows[key] = line
		}
	}
	return string(b), rows
}

func TestEverySettingIsDocumented(t *testing.T) {
	_, rows := documented(t)
	for _, s := range new(values).settings("producer") {
		for _, want := range []string{"`" + s.env() + "`", "`--" + s.flag() + "`", "`" + s.def + "`"} {
			if want != "``" && !strings.Contains(rows[s.key], want) {
				t.Errorf("%s: no %s in its row %q", s.key, want, rows[s.key])
			}
		}
		for program := range strings.FieldsSeq(s.use) {
			if !strings.Contains(rows[s.key], program) {
				t.Errorf("%s: no word of %s in its row", s.key, program)
			}
		}
	}
	for _, address := range opsListen {
		if !strings.Contains(rows["listen.ops"], "`"+address+"`") {
			t.Errorf("listen.ops: no %s", address)
		}
	}
}

// known asks the reader of the file itself which keys may stand at a place.
func known(t *testing.T, content string) []string {
	t.Helper()
	_, err := LoadTool([]string{"--config", write(t, t.TempDir(), "s.yaml", content)}, env())
	m := regexp.MustCompile(`unknown key; known here: (.*)`).FindStringSubmatch(err.Error())
	if m == nil {
		t.Fatalf("no keys in: %v", err)
	}
	return strings.Split(m[1], ", ")
}

func TestEveryListIsDocumentedAndInTheExample(t *testing.T) {
	page, rows := documented(t)
	example, err := os.ReadFile("../../deploy/sluice.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	inExample := func(key string) {
		if !regexp.MustCompile(`(^|[\s{#])` + key + `:`).Match(example) {
			t.Errorf("the example has no %s", key)
		}
	}
	for _, key := range known(t, "nosuch: 1\n") {
		inExample(key)
	}
	for list, content := range map[string]string{
		"numbers[].":       "numbers: [{nosuch: 1}]\n",
		"apps[].":          "apps: [{nosuch: 1}]\n",
		"api_keys[].":      "api_keys: [{nosuch: 1}]\n",
		"classes.<class>.": "classes: {utility: {nosuch: 1}}\n",
	} {
		for _, key := range known(t, content) {
			inExample(key)
			if rows[list+key] == "" {
				t.Errorf("%s%s is not documented", list, key)
			}
		}
	}
	for _, s := range new(values).settings("producer") {
		inExample(s.key[strings.LastIndex(s.key, ".")+1:])
	}
	for _, class := range known(t, "classes: {nosuch: {}}\n") {
		inExample(class)
		if !strings.Contains(page, "`"+class+"`") {
			t.Errorf("class %s is not documented", class)
		}
	}
}

// Every variable that the code asks for by name has a row.
func TestEveryVariableIsDocumented(t *testing.T) {
	page, rows := documented(t)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`getenv\("([A-Z_]+)"\)`).FindAllStringSubmatch(string(b), -1) {
			found = append(found, m[1])
			if rows[m[1]] == "" && !strings.Contains(page, "`"+m[1]+"`") {
				t.Errorf("%s is not documented", m[1])
			}
		}
	}
	if !slices.Contains(found, "ACCESS_TOKEN") {
		t.Errorf("the test finds only %q", found)
	}
}
