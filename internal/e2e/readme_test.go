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
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/client"
	"sluice/internal/buildtest"
	"sluice/internal/ports"
	"sluice/internal/redistest"
)

// quickStart has the fenced sh blocks that run here, from one heading to the other, in their order, in one shell.
const quickStart, quickStartFrom, quickStartTo = "docs/quick-start.md", "\n## Send your first message\n", "\n## Next\n"

// guideTypes are the types of messages in every guide to the Cloud API.
var guideTypes = []string{"text", "image", "document", "template", "button", "list"}

// The commands of the quick start run in a shell. Every message is delivered, except the one
// that shows a failure, and docs/architecture.md lists every key in Redis.
func TestQuickStartSendsFirstMessages(t *testing.T) {
	t.Parallel()
	blocks := walkBlocks(t)
	sh := newShell(t)
	types := map[string]bool{}
	for _, block := range blocks {
		if strings.HasPrefix(block, "make build") {
			sh.build()
		}
		answer := sh.run(block)
		switch {
		case strings.HasPrefix(block, "make build"):
			if n := strings.Count(answer, ": ok\n"); n != 5 {
				t.Fatalf("%d of 5 programs are ready:\n%s", n, answer)
			}
			if again := sh.run("tools/trial start"); !strings.Contains(again, "the trial runs already") {
				t.Errorf("a second start answers %s", again)
			}
		case strings.HasPrefix(block, "curl"):
			types[typeOf(t, block)] = true
			if again := sh.run(block); !strings.Contains(again, `"duplicate":true`) && !strings.Contains(again, `"messaging_product":"whatsapp"`) {
				t.Errorf("pasted again it answers %s", again)
			}
			sh.reach(block, answer, client.StateDelivered, client.StateRead)
		case strings.HasPrefix(block, "bin/sluice send --to +99999"):
			sh.reach(block, answer, client.StateFailed)
		case strings.HasPrefix(block, "bin/sluice send"), strings.HasPrefix(block, "ID="):
			sh.reach(block, answer, client.StateDelivered, client.StateRead)
		case strings.HasPrefix(block, "bin/sluice events"):
			if !strings.Contains(answer, `"to":"delivered"`) {
				t.Errorf("no delivery among the events:\n%s", answer)
			}
			sh.checkKeys()
		case block == "tools/trial stop\n":
			if n := strings.Count(answer+"\n", ": stopped\n"); n != 5 {
				t.Errorf("%d of 5 programs were stopped:\n%s", n, answer)
			}
		default:
			t.Errorf("a block that this test does not know:\n%s", block)
		}
	}
	for _, want := range guideTypes {
		if !types[want] {
			t.Errorf("the page shows no message of type %s", want)
		}
	}
}

// The script of the quick start names a missing program, a port in use, and a program that did not start.
func TestTrialSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ before, want string }{
		"no redis-server": {`mkdir few; for p in dirname bash; do ln -s "$(command -v $p)" few/; done; PATH=$PWD/few`, "redis-server is not installed"},
		"not built":       {"true", "Run: make build"},
		"other settings":  {"mkdir bin; for p in sluice webhook worker producer; do ln -s /bin/true bin/$p; done; echo ACCESS_TOKEN=real > .env", "settings of another installation"},
		"a program ends":  {"mkdir bin; for p in sluice webhook worker producer; do ln -s /bin/false bin/$p; done", "simulator has ended. Its last log lines"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sh := newShell(t)
			answer := sh.run(c.before + "\ntools/trial start; echo status $?")
			if !strings.Contains(answer, c.want) || !strings.HasSuffix(answer, "status 1\n") {
				t.Errorf("it answers %s", answer)
			}
		})
	}
	t.Run("a taken port", func(t *testing.T) {
		t.Parallel()
		sh := newShell(t)
		l, err := net.Listen("tcp", "127.0.0.1:"+sh.ports.Replace("8080"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		answer := sh.run("mkdir bin; for p in sluice webhook worker producer; do ln -s /bin/true bin/$p; done; tools/trial start")
		if !strings.Contains(answer, "is used by another program") {
			t.Errorf("it answers %s", answer)
		}
	})
}

var messageID = regexp.MustCompile(`\b[0-9]+-[a-z2-7]{26}\b`)

var fenced = regexp.MustCompile("(?s)```sh\n(.*?)```")

// walkBlocks returns the commands of the page, block by block.
func walkBlocks(t *testing.T) (blocks []string) {
	t.Helper()
	page, err := os.ReadFile("../../" + quickStart)
	if err != nil {
		t.Fatal(err)
	}
	_, section, began := strings.Cut(string(page), quickStartFrom)
	section, _, ended := strings.Cut(section, quickStartTo)
	if !began || !ended {
		t.Fatalf("%s does not have the headings %q and %q", quickStart, quickStartFrom, quickStartTo)
	}
	for _, m := range fenced.FindAllStringSubmatch(section, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// typeOf returns the type of the message in a curl, for interactive ones their own type.
func typeOf(t *testing.T, curl string) string {
	t.Helper()
	type content struct {
		Type        string
		Interactive struct{ Type string }
	}
	parts := strings.Split(curl, "'")
	var request struct {
		content         // of Meta's own path
		Message content // of ours
	}
	if err := json.Unmarshal([]byte(parts[len(parts)-2]), &request); err != nil {
		t.Fatalf("the body of\n%s: %v", curl, err)
	}
	c := request.Message
	if c.Type == "" {
		c = request.content
	}
	if c.Type == "interactive" {
		return c.Interactive.Type
	}
	return c.Type
}

// shell is a bash in an empty folder in place of a fresh clone. It replaces the well-known ports in the
// commands by free ones.
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
			t.Fatalf("%s is not installed: the quick start needs it", tool)
		}
	}
	free := freePorts(t, 8)
	s := &shell{t: t, dir: t.TempDir()}
	s.ports = strings.NewReplacer(
		"6390", free[0], "8080", free[1], "8090", free[2], "8070", free[3], "9101", free[4], "9102", free[5], "9103", free[6], "8081", free[7],
		"make build\n", "",
		"bin/sluice events --from oldest\n", "timeout -s INT 2 bin/sluice events --from oldest\n", // our Ctrl-C
	)
	script, err := os.ReadFile("../../tools/trial")
	if err != nil {
		t.Fatal(err)
	}
	for _, setting := range redistest.Settings[:len(redistest.Settings)-1] {
		if !strings.Contains(string(script), " "+setting) {
			t.Errorf("tools/trial starts Redis without %q", setting)
		}
	}
	if err := os.Mkdir(filepath.Join(s.dir, "tools"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "tools", "trial"), []byte(s.ports.Replace(string(script))), 0o755); err != nil {
		t.Fatal(err)
	}
	s.api = client.New("http://127.0.0.1:"+free[1], "trial-api-key-0123456789", client.WithRetryFor(0))
	s.redis = redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + free[0], DisableIdentity: true})
	t.Cleanup(func() { s.redis.Close() })

	cmd := exec.Command("bash")
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "SLUICE_API=" + s.api.String(), "SLUICE_CONSOLE=http://127.0.0.1:" + free[7]}
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
	// When its input ends, also because the test was killed, all its processes end.
	fmt.Fprintln(in, `trap 'kill -9 $(cat out/trial/*.pid) 2>/dev/null' EXIT`)
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

// build has the effect of `make build` in this clone.
func (s *shell) build() {
	s.t.Helper()
	if err := os.Symlink(buildtest.Programs(s.t), filepath.Join(s.dir, "bin")); err != nil {
		s.t.Fatal(err)
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

// reach waits until the records of the messages in an answer are in one of the states.
func (s *shell) reach(block, answer string, want ...client.State) {
	s.t.Helper()
	ids := messageID.FindAllString(answer, -1)
	if len(ids) == 0 {
		s.t.Fatalf("%s\nanswers %s", block, answer)
	}
	end := time.Now().Add(30 * time.Second)
	for _, id := range ids {
		for {
			r, err := s.api.Get(s.t.Context(), id)
			if err != nil {
				s.t.Fatal(err)
			}
			if slices.Contains(want, r.State) {
				break
			}
			if time.Now().After(end) || r.Final {
				s.t.Fatalf("%s is %s: %+v", id, r.State, r)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// checkKeys compares the keys in Redis with the table in docs/architecture.md.
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
			s.t.Errorf("Redis has the key %s, and docs/architecture.md does not list it", key)
		}
	}
}

// logs prints the logs of the programs.
func (s *shell) logs() {
	files, _ := filepath.Glob(filepath.Join(s.dir, "out", "trial", "*.log"))
	for _, f := range files {
		b, _ := os.ReadFile(f)
		s.t.Logf("%s:\n%s", filepath.Base(f), b[max(0, len(b)-4000):])
	}
}

// freePorts returns different free ports, which no outgoing connection takes meanwhile.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	free := make([]string, n)
	for i := range free {
		addr, err := ports.Free()
		if err != nil {
			t.Fatal(err)
		}
		_, free[i], _ = net.SplitHostPort(addr)
	}
	return free
}
