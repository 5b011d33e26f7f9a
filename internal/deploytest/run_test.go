package deploytest

import (
	"encoding/base64"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/internal/buildtest"
	"sluice/internal/poll"
	"sluice/internal/ports"
	"sluice/internal/redistest"
)

// program returns the path of a built program.
func program(t *testing.T, name string) string {
	t.Helper()
	return filepath.Join(buildtest.Programs(t), name)
}

// free returns a loopback address where nothing listens.
func free(t *testing.T) string {
	t.Helper()
	addr, err := ports.Free()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// start starts a program with exactly this environment. When the test ends it gets SIGTERM, and must stop without an error.
func start(t *testing.T, env []string, path string, args ...string) {
	t.Helper()
	var out strings.Builder
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = t.TempDir(), env, &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
		defer late.Stop()
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Errorf("%s: %v; it printed:\n%s", filepath.Base(path), err, &out)
		}
	})
}

// answers waits until a GET is answered with 200.
func answers(t *testing.T, url string) {
	t.Helper()
	poll.Until(t, url, func() bool {
		r, err := http.Get(url)
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
}

// cluster runs the containers of an overlay as processes on this machine.
type cluster struct {
	t     *testing.T
	all   objects
	here  *strings.Replacer // from the addresses in the cluster to those here
	addrs map[string]string // of the ports of containers, by "container port"
}

// listenAs is the environment variable for the address of a port. Only here do the programs not listen on the ports of the
// manifests, which other processes of this machine may have: TestDeployments compares those with the defaults.
var listenAs = map[string]string{"api": "SLUICE_LISTEN_API", "webhook": "SLUICE_LISTEN_WEBHOOK", "ops": "SLUICE_LISTEN_OPS"}

// mount writes the files of the volumes of a pod below dir, as the kubelet would.
func (c *cluster) mount(pod any, dir string) {
	c.t.Helper()
	write := func(path, value string) {
		path = filepath.Join(dir, path)
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if err == nil {
			err = os.WriteFile(path, []byte(value), 0o400)
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
	volumes := map[string]any{}
	for _, v := range list(pod, "volumes") {
		volumes[text(v, "name")] = v
	}
	for _, m := range list(pod, "containers.0.volumeMounts") {
		path, v := text(m, "mountPath"), volumes[text(m, "name")]
		if name := text(v, "configMap.name"); name != "" {
			data, _ := at(c.all.find(c.t, "ConfigMap", name), "data").(map[string]any)
			value, _ := data[text(m, "subPath")].(string)
			write(path, c.here.Replace(strings.ReplaceAll(value, "/etc/sluice", dir+"/etc/sluice")))
		}
		for _, source := range list(v, "projected.sources") {
			data, _ := at(c.all.find(c.t, "Secret", text(source, "secret.name")), "data").(map[string]any)
			for key, value := range data {
				decoded, err := base64.StdEncoding.DecodeString(value.(string))
				if err != nil {
					c.t.Fatal(err)
				}
				write(filepath.Join(path, key), string(decoded))
			}
		}
	}
}

// command returns the environment, the program and the arguments of a pod whose volumes are below dir.
func (c *cluster) command(pod any, dir string) (env []string, path string, args []string) {
	c.t.Helper()
	c.mount(pod, dir)
	one := at(pod, "containers.0")
	for _, e := range list(one, "env") {
		env = append(env, text(e, "name")+"="+text(e, "value"))
	}
	for _, p := range list(one, "ports") {
		if name := listenAs[text(p, "name")]; name != "" {
			env = append(env, name+"="+c.addrs[text(one, "name")+" "+text(p, "name")])
		}
	}
	if text(one, "name") == "producer" {
		env = append(env, "SLUICE_LISTEN_CONSOLE=127.0.0.1:0")
	}
	for _, a := range words(one, "args") {
		args = append(args, c.here.Replace(strings.ReplaceAll(a, "/etc/sluice", dir+"/etc/sluice")))
	}
	return env, program(c.t, filepath.Base(text(one, "command.0"))), args
}

// The overlay dev works: its programs run with the arguments, the environment and the files of their pods, every probe is
// answered, a message is delivered, `sluice doctor` finds nothing wrong, and SIGTERM ends all without an error.
func TestDevOverlayRuns(t *testing.T) {
	t.Parallel()
	c := &cluster{t: t, all: overlay(t, dev), addrs: map[string]string{}}
	deployments := c.all.kind("Deployment")
	for _, d := range deployments {
		one := at(d, "spec.template.spec.containers.0")
		for _, p := range list(one, "ports") {
			c.addrs[text(one, "name")+" "+text(p, "name")] = free(t)
		}
	}
	c.here = strings.NewReplacer("redis:6379", redistest.Start(t).Addr, "simulator:8070", c.addrs["simulator graph"],
		"http://webhook/", "http://"+c.addrs["webhook webhook"]+"/", ":8070", c.addrs["simulator graph"])
	for _, d := range deployments {
		env, path, args := c.command(at(d, "spec.template.spec"), t.TempDir())
		start(t, env, path, args...)
	}
	for _, d := range deployments {
		one := at(d, "spec.template.spec.containers.0")
		for _, probe := range []string{"startupProbe", "livenessProbe", "readinessProbe"} {
			if at(one, probe) != nil {
				answers(t, "http://"+c.addrs[text(one, "name")+" "+text(one, probe+".httpGet.port")]+text(one, probe+".httpGet.path"))
			}
		}
	}

	env, path, args := c.command(at(c.all.find(t, "CronJob", "doctor"), "spec.jobTemplate.spec.template.spec"), t.TempDir())
	doctor := exec.CommandContext(t.Context(), path, args...)
	doctor.Env = env
	if out, err := doctor.CombinedOutput(); err != nil {
		t.Errorf("sluice doctor: %v\n%s", err, out)
	}

	page := strings.ReplaceAll(read(t, "docs/kubernetes.md"), "http://127.0.0.1:8080", "http://"+c.addrs["producer api"])
	calls := regexp.MustCompile("(?s)```sh\n(curl .*?)```").FindAllStringSubmatch(page, -1)
	if len(calls) != 2 {
		t.Fatalf("docs/kubernetes.md has %d calls of the API, not one that sends and one that asks", len(calls))
	}
	curl := func(command string) string {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		return string(out)
	}
	if out := curl(calls[0][1]); !strings.Contains(out, `"wamid":`) {
		t.Errorf("Meta did not accept the message: %s", out)
	}
	poll.Until(t, "the message is delivered", func() bool {
		out := curl(calls[1][1])
		return strings.Contains(out, `"state":"delivered"`) || strings.Contains(out, `"state":"read"`)
	})
}
