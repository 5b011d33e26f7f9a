package pages_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sluice/internal/pages"
	"sluice/internal/poll"
)

// said is what the producer says of an import.
type said struct {
	Next     bool
	Head     *struct{ Columns []string }
	Progress *struct{ Texts map[string]string }
	Note     string
	End      *struct {
		Problem, Report string
		Done            bool
	}
}

// script does what the script of the page Import does.
type script struct {
	t       *testing.T
	conn    *websocket.Conn
	file    string // the rest of it
	results string
	notes   string
}

// dial opens the connection of an import. Without success it returns the status.
func (b *browser) dial(header http.Header) (*websocket.Conn, int) {
	conn, resp, err := websocket.Dial(b.t.Context(), b.url+"/console/import/socket", &websocket.DialOptions{HTTPClient: &b.http, HTTPHeader: header})
	if err != nil && resp == nil {
		b.t.Fatal(err)
	}
	return conn, resp.StatusCode
}

const mapping = `{"from":"` + ours + `","to":"phone","key":"order","campaign":"spring","text":"Hello {{name}}"}`

// order begins an import.
func (b *browser) order(t *testing.T, action, file string) *script {
	t.Helper()
	conn, status := b.dial(http.Header{"Origin": {b.url}})
	if conn == nil {
		t.Fatalf("no connection: %d", status)
	}
	t.Cleanup(func() { conn.CloseNow() })
	conn.SetReadLimit(1 << 20)
	text := fmt.Sprintf(`{"action":%q,"file":"spring\n.csv","size":%d,"reason":"spring sale","mapping":%s}`, action, len(file), mapping)
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
		t.Fatal(err)
	}
	return &script{t: t, conn: conn, file: file}
}

// next returns what the producer says next. It collects results and notes.
func (s *script) next() (m said) {
	s.t.Helper()
	kind, text, err := s.conn.Read(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	if kind == websocket.MessageBinary {
		s.results += string(text)
	} else if err := json.Unmarshal(text, &m); err != nil {
		s.t.Fatal(err)
	}
	s.notes += m.Note
	return m
}

// chunk sends the next part of the file.
func (s *script) chunk() {
	s.t.Helper()
	n := min(len(s.file), 4096)
	if err := s.conn.Write(s.t.Context(), websocket.MessageBinary, []byte(s.file[:n])); err != nil {
		s.t.Fatal(err)
	}
	s.file = s.file[n:]
}

// finish sends the file until the import has ended.
func (s *script) finish() said {
	s.t.Helper()
	for {
		m := s.next()
		if m.Next {
			s.chunk()
		}
		if m.End != nil {
			s.conn.CloseNow()
			return m
		}
	}
}

// rows returns a file of so many rows. One of them has no recipient.
func rows(n int) string {
	var b strings.Builder
	b.WriteString("phone,order,name\n")
	for i := range n {
		phone := fmt.Sprintf("+1555%07d", i)
		if i == 1 {
			phone = ""
		}
		fmt.Fprintf(&b, "%s,o-%d,Ada %d\n", phone, i, i)
	}
	return b.String()
}

// messages counts the messages that are stored.
func (s *site) messages() int {
	s.t.Helper()
	keys, err := s.redis.Keys(s.t.Context(), "sluice:{s*}:m:*").Result()
	if err != nil {
		s.t.Fatal(err)
	}
	return len(keys)
}

// TestImport: a file is looked at and checked, which sends nothing. Then it is sent, the connection is cut in the middle, and it is sent
// again: each message is accepted once, and the audit log has the begin and the end of both.
func TestImport(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b := s.signIn("admin")
	contains(t, b.get("/console/import"), "to real people", `id="import-to"`, `href="/console/import"`)
	const n = 600
	file := rows(n)

	head := b.order(t, "head", file)
	for m := head.next(); ; m = head.next() {
		if m.Next {
			head.chunk()
		} else if m.Head != nil {
			if fmt.Sprint(m.Head.Columns) != "[phone order name]" {
				t.Errorf("columns %q", m.Head.Columns)
			}
			break
		}
	}

	check := b.order(t, "check", file)
	end := check.finish().End
	if want := "Nothing was sent. 599 rows would be accepted, 0 were accepted before, 1 would be refused\nto 599 different recipients\n"; !end.Done || end.Problem != "" || !strings.HasPrefix(end.Report, want) {
		t.Errorf("check: %+v", end)
	}
	if !strings.HasPrefix(check.results, "line,key,id,result,code,mistake\n3,") || strings.Count(check.results, "\n") != 2 || !strings.HasPrefix(check.notes, "line 3: --to: the cell phone is empty") {
		t.Errorf("check: results %q, notes %q", check.results, check.notes)
	}
	if found := s.messages(); found != 0 {
		t.Errorf("the check stored %d messages", found)
	}
	if p := b.get("/console/audit"); strings.Contains(p.text, "spring") {
		t.Error("the audit log has the check")
	}

	cut := b.order(t, "send", file)
	for asked := 0; !strings.Contains(cut.results, "accepted"); {
		if cut.next().Next {
			if asked++; asked <= 2 { // the third chunk never comes
				cut.chunk()
			}
		}
	}
	cut.conn.CloseNow()
	poll.Until(t, "the audit log has the end", func() bool { return strings.Contains(b.get("/console/audit").text, "import of spring .csv ended: ") })
	before := s.messages()
	if before == 0 || before >= n-1 {
		t.Fatalf("%d messages when the connection was cut", before)
	}

	again := b.order(t, "send", file)
	end = again.finish().End
	if want := fmt.Sprintf("%d accepted, %d accepted before, 1 refused\nrefused with row_invalid: 1, first lines 3\n", n-1-before, before); !end.Done || end.Problem != "" || end.Report != want {
		t.Errorf("%+v, want %s", end, want)
	}
	if found := s.messages(); found != n-1 || strings.Count(again.results, "\n") != n+1 {
		t.Errorf("%d messages, %d lines of results", found, strings.Count(again.results, "\n"))
	}
	contains(t, b.get("/console/audit"), "begin to import spring .csv", "spring sale", fmt.Sprintf("import of spring .csv ended: %d accepted, %d accepted before, 1 refused", n-1-before, before))
	contains(t, b.get("/console/campaigns/spring"), "599")
}

// TestImportIsProtected: an import needs a page of ours, a session, and the rights to send.
func TestImportIsProtected(t *testing.T) {
	t.Parallel()
	s := setup(t)
	admin := s.signIn("admin")
	for name, c := range map[string]struct {
		b      *browser
		header http.Header
		want   int
	}{
		"a page of ours":          {admin, http.Header{"Origin": {s.url}}, http.StatusSwitchingProtocols},
		"our page behind a proxy": {admin, http.Header{"Origin": {"https://proxy.example"}, "Sec-Fetch-Site": {"same-origin"}}, http.StatusSwitchingProtocols},
		"another site":            {admin, http.Header{"Origin": {"https://evil.example"}}, http.StatusForbidden},
		"another site behind one": {admin, http.Header{"Origin": {s.url}, "Sec-Fetch-Site": {"cross-site"}}, http.StatusForbidden},
		"no session":              {s.browser(s.url), http.Header{"Origin": {s.url}}, http.StatusSeeOther},
		"it may only read":        {s.signIn("reader"), http.Header{"Origin": {s.url}}, http.StatusForbidden},
		"it may not send":         {s.signIn("narrow"), http.Header{"Origin": {s.url}}, http.StatusForbidden},
	} {
		conn, status := c.b.dial(c.header)
		if status != c.want {
			t.Errorf("%s: %d, want %d", name, status, c.want)
		}
		if conn != nil {
			conn.CloseNow()
		}
	}
	reader := s.signIn("reader")
	contains(t, reader.get("/console/import"), "may not send")
	if p := reader.get("/console/holds"); strings.Contains(p.text, "/console/import") {
		t.Error("the navigation has the page for a key that may not send")
	}
	// A key of some numbers sends from these only, and an import without a reason does not begin.
	other := strings.Replace(mapping, ours, "300000000000003", 1)
	for _, c := range []struct{ mapping, reason, want string }{
		{other, "x", "phone_number_id_not_found"}, {mapping, "", "reason"}, {`{"template":["a/en","b/en"]}`, "x", "--template"}, {`{"to":"nosuch","text":"x"}`, "x", "nosuch"},
	} {
		i := admin.order(t, "check", "")
		i.conn.CloseNow()
		conn, _ := admin.dial(http.Header{"Origin": {s.url}})
		defer conn.CloseNow()
		i = &script{t: t, conn: conn, file: rows(1)}
		conn.Write(t.Context(), websocket.MessageText, fmt.Appendf(nil, `{"action":"send","reason":%q,"mapping":%s}`, c.reason, c.mapping))
		if m := i.finish(); !strings.Contains(m.End.Problem+m.End.Report+i.notes, c.want) {
			t.Errorf("%+v %q, want %s", m.End, i.notes, c.want)
		}
	}
	if n := s.messages(); n != 0 {
		t.Errorf("%d messages", n)
	}
}

// TestImportEnds: an import ends with its session, when the operator stops it, when the browser sends nothing, and with the producer, which waits until the browser knows.
// A producer runs four at a time.
func TestImportEnds(t *testing.T) {
	t.Parallel()
	s := setup(t)
	pages.Check(s.pages, 10*time.Millisecond)
	begin := func(b *browser) *script {
		i := b.order(t, "send", rows(10))
		for !i.next().Next {
		}
		return i
	}
	leaving := s.signIn("admin")
	i := begin(leaving)
	leaving.post("/console/sign-out", nil)
	if m := i.finish(); !strings.HasPrefix(m.End.Problem, "Your session has ended.") || m.End.Done {
		t.Errorf("sign out: %+v", m.End)
	}
	b := s.signIn("admin")
	i = begin(b)
	i.conn.Write(t.Context(), websocket.MessageText, []byte("stop"))
	if m := i.finish(); !strings.HasPrefix(m.End.Problem, "Stopped.") {
		t.Errorf("stop: %+v", m.End)
	}
	sleepy, url := s.serve(s.keys)
	pages.Idle(sleepy, 10*time.Millisecond)
	b.url = url
	i = b.order(t, "send", rows(10))
	for m := i.next(); m.End == nil || !strings.HasPrefix(m.End.Problem, "The browser sent nothing"); m = i.next() {
	}
	i.conn.CloseNow()
	b.url = s.url
	var running []*script
	poll.Until(t, "the others have ended", func() bool {
		running = append(running, b.order(t, "send", rows(10)))
		last := running[len(running)-1]
		for {
			m := last.next()
			if m.End != nil { // one of the others has not left yet
				last.conn.CloseNow()
				running = running[:len(running)-1]
				return false
			}
			if m.Next {
				return len(running) == 4
			}
		}
	})
	if m := b.order(t, "send", rows(10)).finish(); !strings.Contains(m.End.Problem, "runs 4 imports already") {
		t.Errorf("the fifth: %+v", m.End)
	}
	var knows atomic.Int32
	var reading sync.WaitGroup
	for _, i := range running {
		reading.Go(func() {
			m := i.next()
			for m.End == nil {
				m = i.next()
			}
			if !strings.HasPrefix(m.End.Problem, "The producer stops.") {
				t.Errorf("the producer stops: %+v", m.End)
			}
			knows.Add(1)
			i.conn.CloseNow()
		})
	}
	s.pages.Stop()
	if n := knows.Load(); n != 4 {
		t.Errorf("%d of 4 browsers know that the producer stops", n)
	}
	reading.Wait()
}
