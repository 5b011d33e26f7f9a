package config

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"sluice/internal/golden"
	"sluice/internal/message"
)

//go:generate go test . -run TestConfigurationPage -update

// TestConfigurationPage: docs/configuration.md is its template with the tables of the code.
func TestConfigurationPage(t *testing.T) {
	t.Parallel()
	page, err := template.ParseFiles(filepath.Join("testdata", "configuration.md.tmpl"))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	var d document
	if err := page.Execute(&b, map[string]string{
		"settings": settingRows(),
		"numbers":  memberRows("numbers[].", d.ofNumber(new(number))),
		"apps":     memberRows("apps[].", d.ofApp(new(app))),
		"apiKeys":  memberRows("api_keys[].", d.ofAPIKey(new(APIKey))),
		"clients":  memberRows("clients[].", d.ofClient(new(Client))),
		"canary":   memberRows("canary[].", d.ofCanary(new(canary))),
		"classes":  classRows(d.ofClass(new(Class))),
	}); err != nil {
		t.Fatal(err)
	}
	golden.File(t, filepath.Join("..", "..", "docs", "configuration.md"), b.Bytes())
}

func settingRows() string {
	var b strings.Builder
	for _, s := range new(values).settings("") {
		def := code(s.def)
		if s.key == "listen.ops" {
			def = fmt.Sprintf("producer `%s`, worker `%s`, webhook `%s`", opsListen["producer"], opsListen["worker"], opsListen["webhook"])
		}
		meaning := strings.ToUpper(s.help[:1]) + s.help[1:] + ". " + s.more
		row(&b, code(s.key), code(s.env()), code("--"+s.flag()), cmp.Or(def, "none"),
			cmp.Or(strings.Join(strings.Fields(s.use), ", "), "all"), strings.TrimSpace(meaning))
	}
	return b.String()
}

func memberRows(prefix string, members []member) string {
	var b strings.Builder
	for _, m := range members {
		def := cmp.Or(m.def, "none")
		if m.must {
			def = "required"
		}
		row(&b, code(prefix+m.key), def, m.doc)
	}
	return b.String()
}

// classRows shows the defaults that the classes have in message.
func classRows(members []member) string {
	var b strings.Builder
	for _, m := range members {
		cells := []string{code("classes.<class>." + m.key)}
		for _, class := range classNames {
			p := message.DefaultPolicy(message.Class(class))
			cells = append(cells, map[string]string{
				"deadline": short(p.Deadline), "in_doubt_window": short(p.InDoubtWindow),
				"in_doubt_policy": string(p.InDoubtPolicy), "server_error_window": short(p.ErrorWindow),
				"webhook_retry_window": short(p.RepeatWindow),
			}[m.key])
		}
		row(&b, append(cells, m.doc)...)
	}
	return b.String()
}

func row(b *strings.Builder, cells ...string) {
	fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// short writes a duration without zero parts: 24h, not 24h0m0s.
func short(d time.Duration) string {
	return strings.NewReplacer("h0m0s", "h", "m0s", "m").Replace(d.String())
}

func TestEveryKeyIsInTheExample(t *testing.T) {
	example, err := os.ReadFile("../../deploy/sluice.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, err = LoadTool([]string{"--config", write(t, t.TempDir(), "s.yaml", "nosuch: 1\n")}, env())
	_, top, ok := strings.Cut(err.Error(), "unknown key; valid keys: ")
	if !ok {
		t.Fatalf("no keys in: %v", err)
	}
	all := slices.Concat(strings.Split(top, ", "), classNames)
	for _, s := range new(values).settings("") {
		all = append(all, s.key[strings.LastIndex(s.key, ".")+1:])
	}
	var d document
	for _, m := range slices.Concat(d.ofNumber(new(number)), d.ofApp(new(app)), d.ofAPIKey(new(APIKey)), d.ofClient(new(Client)), d.ofCanary(new(canary)), d.ofClass(new(Class))) {
		all = append(all, m.key)
	}
	for _, key := range all {
		if !regexp.MustCompile(`(^|[\s{#])` + key + `:`).Match(example) {
			t.Errorf("the example has no %s", key)
		}
	}
}

// TestEveryVariableIsDocumented: every variable that the code reads by name has a row.
func TestEveryVariableIsDocumented(t *testing.T) {
	var page []byte
	for _, name := range []string{"configuration.md", "tracing.md"} { // which has those of OpenTelemetry
		b, err := os.ReadFile("../../docs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		page = append(page, b...)
	}
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
			if !strings.Contains(string(page), "`"+m[1]) {
				t.Errorf("%s is not documented", m[1])
			}
		}
	}
	if !slices.Contains(found, "ACCESS_TOKEN") {
		t.Errorf("the test finds only %q", found)
	}
}
