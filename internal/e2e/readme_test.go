package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"sluice/internal/client"
	"sluice/internal/message"
	"sluice/internal/poll"
)

// The part of README.md that is run here: its fenced blocks of sh, in their order, in one shell.
const firstMessages = "## Send your first messages"

// guideTypes are the kinds of message that every guide to the Cloud API shows.
var guideTypes = []string{"text", "image", "document", "template", "button", "list"}

// A newcomer pastes what the README says into a terminal. Every message of it is delivered,
// and Redis holds no key that docs/architecture.md does not tell of.
func TestReadmeSendsFirstMessages(t *testing.T) {
	t.Parallel()
	blocks := readmeBlocks(t)
	sh := newShell(t)
	sh.build()
	types := map[string]bool{}
	for _, block := range blocks {
		answer := sh.run(block)
		switch {
		case strings.HasPrefix(block, "make trial\n"):
			if !strings.Contains(answer, "\nready: ") {
				t.Fatalf("the programs do not start:\n%s", answer)
			}
			if again := sh.run("tools/trial start"); !strings.Contains(again, "redis-server runs already. make trial-stop ends the trial.") {
				t.Errorf("started again: %s", again)
			}
		case strings.HasPrefix(block, "curl"):
			types[typeOf(t, block)] = true
			if again := sh.run(block); !strings.Contains(again, `"duplicate":true`) {
				t.Errorf("pasted again it answers %s", again)
			}
			fallthrough
		case strings.HasPrefix(block, "bin/sluice send"):
			ids := messageID.FindAllString(answer, -1)
			if len(ids) == 0 {
				t.Fatalf("%s\nanswers %s", block, answer)
			}
			for _, id := range ids {
				sh.delivered(id)
			}
		case strings.HasPrefix(block, "bin/sluice events"):
			if !strings.Contains(answer, `"to":"delivered"`) {
				t.Errorf("no delivery among the events:\n%s", answer)
			}
			sh.checkKeys()
		case strings.HasPrefix(block, "make trial-stop"):
			if left := sh.run("cat out/*.pid"); !strings.Contains(left, "No such file") {
				t.Errorf("still running: %s", left)
			}
			sh.checkPorts()
		default:
			t.Errorf("a block that this test does not know:\n%s", block)
		}
	}
	for _, want := range guideTypes {
		if !types[want] {
			t.Errorf("the README shows no message of type %s", want)
		}
	}
}

var messageID = regexp.MustCompile(`\b[0-9]+-[a-z2-7]{26}\b`)

var fenced = regexp.MustCompile("(?s)```sh\n(.*?)```")

// readmeBlocks returns the commands of the section, block by block.
func readmeBlocks(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(page), "\n"+firstMessages+"\n")
	if !ok {
		t.Fatalf("README.md has no section %q", firstMessages)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var blocks []string
	for _, m := range fenced.FindAllStringSubmatch(section, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// typeOf returns the type of the message in a curl, for interactive ones their own type.
func typeOf(t *testing.T, curl string) string {
	t.Helper()
	parts := strings.Split(curl, "'")
	var order struct {
		Message struct {
			Type        string
			Interactive struct{ Type string }
		}
	}
	if err := json.Unmarshal([]byte(parts[len(parts)-2]), &order); err != nil {
		t.Fatalf("the body of\n%s: %v", curl, err)
	}
	if order.Message.Type == "interactive" {
		return order.Message.Interactive.Type
	}
	return order.Message.Type
}

// shell is a bash in an empty folder that stands for a fresh clone. What it is given to run
// is changed in one thing: the well-known ports become free ones.
type shell struct {
	t     *testing.T
	dir   string
	in    io.Writer
	out   *bufio.Reader
	ports *strings.Replacer
	api   *client.Client
	redis *redis.Client
}

func newShell(t *testing.T) *shell {
	t.Helper()
	for _, tool := range []string{"bash", "curl", "redis-server", "redis-cli"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is not installed: the README needs it", tool)
		}
	}
	free := freePorts(t, 8)
	s := &shell{t: t, dir: t.TempDir()}
	s.ports = strings.NewReplacer(
		"6390", free[0], "8080", free[1], "8090", free[2], "8070", free[3], "9101", free[4], "9102", free[5], "9103", free[6], "8081", free[7],
		"make trial\n", "tools/trial start\n", "make trial-stop\n", "tools/trial stop\n",
		"bin/sluice events --from 0\n", "timeout -s INT 2 bin/sluice events --from 0\n", // our Ctrl-C
	)
	s.api = &client.Client{Base: "http://127.0.0.1:" + free[1], Key: "trial-api-key-0123456789"}
	s.redis = redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + free[0], DisableIdentity: true})
	t.Cleanup(func() { s.redis.Close() })

	cmd := exec.Command("bash")
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "SLUICE_API=" + s.api.Base, "SLUICE_CONSOLE=http://127.0.0.1:" + free[7]}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	s.in, s.out = in, bufio.NewReader(r)
	// When its input ends, by our wish or because we died, nothing of it stays behind.
	fmt.Fprintln(in, `trap 'tools/trial stop' EXIT`)
	for _, tool := range []string{"need", "trial"} {
		text, err := os.ReadFile("../../tools/" + tool)
		if err != nil {
			t.Fatal(err)
		}
		s.program("tools/"+tool, s.ports.Replace(string(text)))
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
		r.Close()
		if t.Failed() {
			s.logs()
		}
	})
	return s
}

// program writes a script into the clone.
func (s *shell) program(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o700)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// build does what `make build` does, for this clone.
func (s *shell) build() {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), "go", "build", "-o", filepath.Join(s.dir, "bin")+"/", "./cmd/...")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("build: %v\n%s", err, out)
	}
}

// run runs commands and returns what they print, whether or not they succeed.
func (s *shell) run(commands string) string {
	s.t.Helper()
	const end = "-- end of block --"
	fmt.Fprintf(s.in, "%s\necho; echo '%s'\n", s.ports.Replace(commands), end)
	var b strings.Builder
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			s.t.Fatalf("the shell ended in\n%s\nafter\n%s", commands, b.String())
		}
		if line == end+"\n" {
			return strings.TrimSuffix(b.String(), "\n")
		}
		b.WriteString(line)
	}
}

// delivered waits until a message's record says that it arrived.
func (s *shell) delivered(id string) {
	s.t.Helper()
	poll.Until(s.t, id+" is delivered", func() bool {
		r, err := s.api.Get(s.t.Context(), id)
		if err != nil {
			s.t.Fatal(err)
		}
		arrived := r.State == message.Delivered || r.State == message.Read
		if !arrived && r.State.Final() {
			s.t.Fatalf("%s is %s: %+v", id, r.State, r)
		}
		return arrived
	})
}

// checkKeys holds the keys in Redis against the table of them in docs/architecture.md.
func (s *shell) checkKeys() {
	s.t.Helper()
	page, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		s.t.Fatal(err)
	}
	var known []*regexp.Regexp
	for _, m := range regexp.MustCompile("(?m)^\\| `((?:sluice|asynq):.+?)` \\|").FindAllStringSubmatch(string(page), -1) {
		form := regexp.QuoteMeta(m[1])
		form = strings.ReplaceAll(form, "sNN", "s[0-9]{2}")
		form = regexp.MustCompile(`<[a-z ]+>`).ReplaceAllString(form, ".+")
		known = append(known, regexp.MustCompile("^"+form+"$"))
	}
	keys, err := s.redis.Keys(s.t.Context(), "*").Result()
	if err != nil || len(keys) == 0 {
		s.t.Fatalf("keys: %d, %v", len(keys), err)
	}
	for _, key := range keys {
		if !slices.ContainsFunc(known, func(r *regexp.Regexp) bool { return r.MatchString(key) }) {
			s.t.Errorf("Redis holds %s, and docs/architecture.md knows no such key", key)
		}
	}
}

// logs shows what the programs said.
func (s *shell) logs() {
	files, _ := filepath.Glob(filepath.Join(s.dir, "out", "*.log"))
	for _, f := range files {
		b, _ := os.ReadFile(f)
		s.t.Logf("%s:\n%s", filepath.Base(f), b[max(0, len(b)-4000):])
	}
}

// TestTheTrialSaysWhyItDoesNotStart: a port that is taken, settings of somebody's own, and a program that ends are named
// within seconds, with the fix, and nothing stays behind.
func TestTheTrialSaysWhyItDoesNotStart(t *testing.T) {
	t.Parallel()
	sh := newShell(t)
	want := func(why, answer string) {
		t.Helper()
		if !strings.Contains(answer, why) {
			t.Errorf("it says\n%s\nwant %q", answer, why)
		}
		sh.checkPorts()
	}
	want("trial: bin/producer is missing. Run make build.", sh.run("tools/trial start"))
	for _, name := range []string{"producer", "webhook", "worker", "sluice"} {
		sh.program("bin/"+name, "#!/bin/sh\necho no; exit 7\n")
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+sh.ports.Replace("9102"))
	if err != nil {
		t.Fatal(err)
	}
	answer := sh.run("tools/trial start")
	l.Close()
	want(sh.ports.Replace("trial: port 9102 is taken by another program. End that program"), answer)
	want("trial: .env has settings of yours", sh.run("echo SLUICE_API_KEY=my-own-key-0123456789 > .env; tools/trial start"))
	want("trial: simulate did not start; above is the end of its log", sh.run("rm .env; tools/trial start"))
}

// checkPorts fails the test when something listens on one of the ports of the trial.
func (s *shell) checkPorts() {
	s.t.Helper()
	for _, port := range wellKnown {
		if c, err := net.Dial("tcp", "127.0.0.1:"+s.ports.Replace(port)); err == nil {
			c.Close()
			s.t.Errorf("something still listens on the port that stands for %s", port)
		}
	}
}

// wellKnown are the ports of the trial.
var wellKnown = []string{"6390", "8070", "8080", "8081", "8090", "9101", "9102", "9103"}

// freePorts returns ports that nobody listens on, all different.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	ports := make([]string, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, ports[i], _ = net.SplitHostPort(l.Addr().String())
	}
	return ports
}
