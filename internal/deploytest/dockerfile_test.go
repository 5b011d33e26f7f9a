package deploytest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
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

func TestDockerfileBuildsEveryProgram(t *testing.T) {
	var build string
	for _, i := range dockerfile(t) {
		if i.name == "RUN" && strings.Contains(i.rest, "go build") {
			build = i.rest
		}
	}
	var built []string
	for word := range strings.FieldsSeq(build) {
		if name, ok := strings.CutPrefix(word, "./cmd/"); ok {
			built = append(built, name)
		}
	}
	slices.Sort(built)
	if want := commands(t); !slices.Equal(built, want) {
		t.Errorf("the image has %q, the programs are %q", built, want)
	}
	for _, want := range []string{"CGO_ENABLED=0", "-trimpath", "--mount=type=cache", "-o /out/"} {
		if !strings.Contains(build, want) {
			t.Errorf("the build lacks %s: %s", want, build)
		}
	}
}

func TestImageIsSmallAndNotRoot(t *testing.T) {
	var last []instruction // of the last stage
	args := map[string]bool{}
	for _, i := range dockerfile(t) {
		switch i.name {
		case "ARG":
			name, _, ok := strings.Cut(i.rest, "=")
			args["${"+name+"}"] = ok
		case "FROM":
			if base, _, _ := strings.Cut(i.rest, " "); !args[base] {
				t.Errorf("FROM %s: the base cannot be replaced by an ARG with a default", i.rest)
			}
			last = nil
		}
		last = append(last, i)
	}
	want := []instruction{
		{"FROM", "${RUNTIME_IMAGE}"},
		{"COPY", "--from=build /out/ /"},
		{"USER", "65532:65532"},
		{"CMD", `["/sluice", "demo"]`},
	}
	if !slices.Equal(last, want) {
		t.Errorf("the image is made by %q, want %q", last, want)
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
