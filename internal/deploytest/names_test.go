package deploytest

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	recordedName = regexp.MustCompile(`sluice:\w+:\w+`)
	metricName   = regexp.MustCompile(`\b(sluice_[a-z_]*[a-z])\b(?:\{([^}]*)\})?`)
	labelName    = regexp.MustCompile(`(\w+)(?:=|!=|=~|!~)"`)
	metricRow    = regexp.MustCompile("(?m)^\\| `(sluice_\\w+)` \\| (\\w+) \\| ([^|]*) \\|")
	code         = regexp.MustCompile("`([^`]+)`")
)

// otherNames look like metrics and are none.
var otherNames = []string{"sluice_outbox", "sluice_archive", "sluice_archive_20260131" /* tables */, "sluice_default" /* the network of compose */}

// metricTable has the labels of each series that the programs export.
type metricTable map[string][]string

// metrics reads docs/metrics.md, which is made from the registries of the programs.
func metrics(t *testing.T) metricTable {
	t.Helper()
	all := metricTable{}
	for _, m := range metricRow.FindAllStringSubmatch(read(t, "docs/metrics.md"), -1) {
		labels := []string{"job", "instance"} // Prometheus adds them
		for _, l := range code.FindAllStringSubmatch(m[3], -1) {
			labels = append(labels, l[1])
		}
		if m[2] == "histogram" {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				all[m[1]+suffix] = append(labels, "le")
			}
		}
		all[m[1]] = labels
	}
	if len(all) == 0 {
		t.Fatal("docs/metrics.md has no metrics")
	}
	return all
}

// wrong returns what is wrong with the metrics and labels that a text names.
func (all metricTable) wrong(text string) (wrong []string) {
	for _, m := range metricName.FindAllStringSubmatch(text, -1) {
		labels, ok := all[m[1]]
		if !ok {
			if !slices.Contains(otherNames, m[1]) {
				wrong = append(wrong, "no program exports the metric "+m[1])
			}
			continue
		}
		for _, l := range labelName.FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(labels, l[1]) {
				wrong = append(wrong, "the metric "+m[1]+" has no label "+l[1])
			}
		}
	}
	return wrong
}

// commandTable has the flags of each command of the tool.
type commandTable map[string][]string

// toolCommands reads docs/cli.md, which is made from the command line of the tool.
func toolCommands(t *testing.T) commandTable {
	t.Helper()
	all := commandTable{}
	for section := range strings.SplitSeq(read(t, "docs/cli.md"), "\n## `sluice ") {
		name, rest, ok := strings.Cut(section, "`\n")
		if !ok {
			continue
		}
		flags := []string{"--help"}
		for _, f := range regexp.MustCompile("(?m)^\\| `(--[a-z-]+)` ").FindAllStringSubmatch(rest, -1) {
			flags = append(flags, f[1])
		}
		all[name] = flags
	}
	if len(all) < 10 {
		t.Fatalf("docs/cli.md has %d commands", len(all))
	}
	return all
}

var (
	toolCall = regexp.MustCompile(`(?:^|[\s/` + "`" + `])sluice ([a-z][a-z-]*)((?: [a-z][a-z-]*)?)([^\n` + "`" + `]*)`)
	flagWord = regexp.MustCompile(`(?:^|\s)(--[a-z][a-z-]*)`)
)

// wrong returns what is wrong with the commands of the tool in a text and with their flags, and how many commands there
// are. A command reaches to the end of its line or of its code.
func (all commandTable) wrong(text string) (wrong []string, found int) {
	// A line that ends with a backslash goes on, in prose the next command begins with the next "sluice", and the
	// namespace of kubectl is none.
	text = strings.NewReplacer("\\\n", " ", " -n sluice ", " ", " sluice ", "\nsluice ").Replace(text)
	for _, m := range toolCall.FindAllStringSubmatch(text, -1) {
		found++
		flags, ok := all[m[1]+m[2]]
		if !ok {
			flags, ok = all[m[1]]
		}
		if !ok {
			wrong = append(wrong, "the tool has no command "+m[1]+m[2])
			continue
		}
		command, _, _ := strings.Cut(m[3], " #")
		for _, f := range flagWord.FindAllStringSubmatch(command, -1) {
			if !slices.Contains(flags, f[1]) {
				wrong = append(wrong, "sluice "+m[1]+m[2]+" has no "+f[1])
			}
		}
	}
	return wrong, found
}

// What alerts, runbooks and dashboards name exists.
func TestNamedMetricsAndCommandsExist(t *testing.T) {
	t.Parallel()
	known, commands := metrics(t), toolCommands(t)
	files := []string{prometheusDir + "/alerts.yml", "docs/runbook.md", "docs/alerts.md", "docs/kubernetes.md", "docs/hosts.md"}
	for _, pattern := range []string{"docs/runbooks/*.md", "deploy/grafana/*.json"} {
		more, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range more {
			files = append(files, strings.TrimPrefix(path, root+"/"))
		}
	}
	found := 0
	for _, file := range files {
		text := read(t, file)
		wrong, n := commands.wrong(text)
		for _, w := range append(wrong, known.wrong(text)...) {
			t.Errorf("%s: %s", file, w)
		}
		found += n
	}
	if found < 50 {
		t.Errorf("only %d commands were found", found)
	}
}

// The checks find what is wrong, and only that.
func TestWrongNamesAreFound(t *testing.T) {
	t.Parallel()
	known, commands := metrics(t), toolCommands(t)
	count := func(text string) int {
		wrong, _ := commands.wrong(text)
		return len(wrong) + len(known.wrong(text))
	}
	for _, text := range []string{
		"run sluice explode ID", "`sluice relay paint x`", "sluice holds --colour red", "sluice hold X --all \\\n  --why x",
		"rate(sluice_nothing_total[5m])", `sluice_dead_letters{phone_number_id="1"}`, `sluice_api_request_duration_seconds_bucket{lt="1"}`,
	} {
		if count(text) != 1 {
			t.Errorf("%q passes, or is wrong in several ways", text)
		}
	}
	right := "/sluice relay list --json, then sluice in-doubt list. `sluice rate X --set 5 --reason 'x'` # sluice_queue_depth{class=\"utility\"}"
	if count(right) != 0 {
		t.Errorf("%q does not pass", right)
	}
}
