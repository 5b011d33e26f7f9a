package deploytest

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice/internal/redistest"
)

const systemd = "deploy/systemd"

// common are the settings of all units.
const common = systemd + "/sluice-.service.d/10-common.conf"

// directives returns the values of a directive in the files of a unit, in order.
func directives(t *testing.T, unit, name string) (values []string) {
	t.Helper()
	for line := range strings.Lines(read(t, common) + read(t, systemd+"/sluice-"+unit+".service")) {
		if value, ok := strings.CutPrefix(line, name+"="); ok {
			values = append(values, strings.TrimSpace(value))
		}
	}
	return values
}

// systemd reads the units, and finds that they take every right away that the programs do not need.
func TestUnitsAreHardened(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(root, systemd))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"producer", "worker", "webhook"} {
		unit := "sluice-" + name + ".service"
		// systemd-analyze wants the program to exist.
		text := strings.ReplaceAll(read(t, systemd+"/"+unit), "/usr/local/lib/sluice/"+name, "/bin/true")
		if err := os.WriteFile(filepath.Join(dir, unit), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"verify", unit}, {"security", "--offline=true", "--no-pager", "--threshold=15", unit}} {
			cmd := exec.CommandContext(t.Context(), "systemd-analyze", args...)
			cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":", "SYSTEMD_COLORS=0")
			out, err := cmd.CombinedOutput()
			if err != nil || args[0] == "verify" && len(out) > 0 {
				t.Errorf("systemd-analyze %q: %v\n%s", args, err, out)
			}
		}
	}
}

// The programs run with the arguments, the environment and the credentials of their units, and get no other secret.
func TestUnitsRun(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	for name, secrets := range map[string][]string{
		"producer": {"redis-password", "secrets-key"},
		"worker":   {"marker-key", "redis-password", "secrets-key", "token"},
		"webhook":  {"app-secret", "redis-password", "secrets-key", "verify-token"},
	} {
		credentials := t.TempDir()
		var got []string
		for _, value := range directives(t, name, "LoadCredential") {
			credential, path, _ := strings.Cut(value, ":")
			content := "demo-only-" + credential
			switch credential {
			case "sluice.yaml":
				content = read(t, systemd+"/sluice.yaml")
				for old, here := range map[string]string{"rediss://sluice@redis.example.com:6379": redis.URL(), "environment: prod": "environment: prod\ngraph: {base_url: \"http://127.0.0.1:1\"}"} {
					if !strings.Contains(content, old) {
						t.Errorf("the configuration lacks %s", old)
					}
					content = strings.Replace(content, old, here, 1)
				}
				// The Redis of this test has no password.
				content = strings.Replace(content, "  password_file: redis-password\n", "", 1)
			default:
				if got = append(got, credential); filepath.Dir(path) != "/etc/sluice/secrets" {
					t.Errorf("%s is read from %s", credential, path)
				}
			}
			if credential == "token" { // a directory: each file in it is a credential
				credential = "token_106540352242922"
			}
			if err := os.WriteFile(filepath.Join(credentials, credential), []byte(content), 0o400); err != nil {
				t.Fatal(err)
			}
		}
		if slices.Sort(got); !slices.Equal(got, secrets) {
			t.Errorf("%s gets the secrets %q, want %q", name, got, secrets)
		}
		line := strings.Fields(strings.ReplaceAll(directives(t, name, "ExecStart")[0], "%d", credentials))
		ops := free(t)
		env := append(directives(t, name, "Environment"), "SLUICE_LISTEN_OPS="+ops)
		for _, listener := range []string{"API", "CONSOLE", "WEBHOOK"} {
			env = append(env, "SLUICE_LISTEN_"+listener+"=127.0.0.1:0")
		}
		start(t, env, program(t, filepath.Base(line[0])), line[1:]...)
		answers(t, "http://"+ops+"/readyz")
	}
}
