package deploytest

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sluice/internal/app"
)

// instruction is one instruction of a Dockerfile.
type instruction struct{ name, rest string }

// dockerfile parses the Dockerfile: comments go, continued lines are joined.
func dockerfile(t *testing.T) []instruction {
	t.Helper()
	known := []string{"ARG", "FROM", "WORKDIR", "COPY", "RUN", "USER", "CMD", "ENTRYPOINT", "ENV", "LABEL", "EXPOSE"}
	var all []instruction
	text := regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(read(t, "Dockerfile"), "")
	text = strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.Lines(text) {
		line = strings.Join(strings.Fields(line), " ")
		if line == "" {
			continue
		}
		name, rest, _ := strings.Cut(line, " ")
		if !slices.Contains(known, name) || rest == "" {
			t.Fatalf("no instruction: %q", line)
		}
		all = append(all, instruction{name, rest})
	}
	return all
}

// The image has each program under its name. tools/image builds it and looks inside.
func TestDockerfileHasEveryProgram(t *testing.T) {
	var build string
	for _, i := range dockerfile(t) {
		if i.name == "RUN" && strings.Contains(i.rest, "go build") {
			build = i.rest
		}
	}
	links := regexp.MustCompile(`for program in ([a-z ]+); do ln -s sluice `).FindStringSubmatch(build)
	if links == nil {
		t.Fatalf("the build links no programs: %s", build)
	}
	got := append(strings.Fields(links[1]), "sluice")
	slices.Sort(got)
	if want := commands(t); !slices.Equal(got, want) {
		t.Errorf("the image has %q, the programs are %q", got, want)
	}
	linked := append(slices.Sorted(maps.Keys(app.Programs)), "sluice")
	slices.Sort(linked)
	if !slices.Equal(got, linked) {
		t.Errorf("the image has %q, and cmd/sluice can be %q", got, linked)
	}
}

// docker build must work without arguments, and the image must not run as root.
func TestDockerfileNeedsNoArguments(t *testing.T) {
	var user string
	for _, i := range dockerfile(t) {
		if i.name == "ARG" && !strings.Contains(i.rest, "=") {
			t.Errorf("ARG %s has no default", i.rest)
		}
		if i.name == "USER" {
			user = i.rest
		}
	}
	if !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(user) {
		t.Errorf("the user is %q, want numbers that are not root", user)
	}
}

// What the Dockerfile copies must be let through, and exist.
func TestDockerignoreLetsTheBuildThrough(t *testing.T) {
	var through []string
	for line := range strings.Lines(read(t, ".dockerignore")) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "!"); ok {
			through = append(through, name)
		}
	}
	for _, i := range dockerfile(t) {
		if i.name != "COPY" || strings.HasPrefix(i.rest, "--from") {
			continue
		}
		sources := strings.Fields(i.rest)
		for _, source := range sources[:len(sources)-1] {
			if _, err := os.Stat(filepath.Join(root, source)); err != nil || !slices.Contains(through, source) {
				t.Errorf("COPY %s: .dockerignore keeps it out, or: %v", source, err)
			}
		}
	}
}
