package importer

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/client"
	"sluice/internal/importfile"
	"sluice/internal/poll"
)

// batchAPI answers lines of a batch as the API does: a key is accepted once.
type batchAPI struct {
	mu    sync.Mutex
	seen  map[string]int    // lines by their key
	wrong map[string]string // by a key: the code of its problem
}

func (a *batchAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	http.NewResponseController(w).EnableFullDuplex()
	w.Header().Set("Connection", "close") // the server panics if it uses a connection again whose request a handler of full duplex left unread
	w.WriteHeader(http.StatusOK)
	lines := json.NewDecoder(r.Body)
	for n := 1; ; n++ {
		var body struct{ Key string }
		if lines.Decode(&body) != nil {
			return
		}
		a.mu.Lock()
		code := a.wrong[body.Key]
		if code == "" {
			a.seen[body.Key]++
		}
		status, again := http.StatusAccepted, a.seen[body.Key] > 1
		a.mu.Unlock()
		if again {
			status = http.StatusOK
		}
		if code != "" {
			fmt.Fprintf(w, `{"line":%d,"status":422,"problem":{"status":422,"code":%q,"detail":"No."}}`+"\n", n, code)
		} else {
			fmt.Fprintf(w, `{"line":%d,"status":%d,"id":"id-%s","duplicate":%t}`+"\n", n, status, body.Key, again)
		}
		w.(http.Flusher).Flush()
	}
}

// TestImportGoesOn: an import is stopped twice in the middle, and goes on with its file of results. Each row is accepted once, and
// has one result.
func TestImportGoesOn(t *testing.T) {
	t.Parallel()
	const rows = 3000
	var text strings.Builder
	text.WriteString("to,text,key\n")
	for n := range rows {
		fmt.Fprintf(&text, "+1555%07d,hi,k-%d\n", n, n)
	}
	text.WriteString("+1,,k-wrong\n") // no content
	api := &batchAPI{seen: map[string]int{}, wrong: map[string]string{"k-7": "text_too_long"}}
	srv := httptest.NewServer(api)
	t.Cleanup(srv.Close)
	name := filepath.Join(t.TempDir(), "results.csv")
	run := func(stopAt int) Progress {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		results, err := importfile.OpenResults(name)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		im := New(Options{API: once(srv.URL), File: fileOf(t, text.String(), importfile.Options{From: "9"}), Results: results})
		im.call = func(ctx context.Context, lines io.Reader, f func(client.LineResult) error) error {
			return once(srv.URL).SendLines(ctx, lines, func(v client.LineResult) error {
				err := f(v)
				if n++; n == stopAt { // or the API would answer many more rows before the stop is noticed
					stop()
					err = ctx.Err()
				}
				return err
			})
		}
		im.pause = func(context.Context) error { return nil }
		if err = im.Run(ctx); (err != nil) != (stopAt > 0) {
			t.Fatalf("stopped at %d: %v", stopAt, err)
		}
		return im.Progress()
	}
	run(1000)
	run(800)
	last := run(0)
	if last.Skipped < 1800 || last.Skipped >= rows {
		t.Errorf("the last run skipped %d rows", last.Skipped)
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	all, err := csv.NewReader(file).ReadAll()
	if err != nil || len(all) != rows+2 {
		t.Fatalf("%d lines, %v", len(all), err)
	}
	seen := map[string]bool{}
	for _, r := range all[1:] {
		want := []string{r[0], r[1], "id-" + r[1], r[3], "", ""}
		switch {
		case r[1] == "k-7":
			want = []string{"9", "k-7", "", "refused", "text_too_long", "422 text_too_long: No."}
		case r[1] == "k-wrong":
			want = []string{strconv.Itoa(rows + 2), "k-wrong", "", "refused", "row_invalid", "the row has no content: fill one of the cells text, template and message"}
		case r[3] != importfile.Accepted && r[3] != importfile.Duplicate:
			want[3] = importfile.Accepted
		}
		if seen[r[0]] || !reflect.DeepEqual(r, want) {
			t.Errorf("result %q, want %q once", r, want)
		}
		seen[r[0]] = true
	}
	api.mu.Lock()
	defer api.mu.Unlock()
	if len(api.seen) != rows-1 {
		t.Errorf("%d messages", len(api.seen))
	}
}

// TestImportStoresResultsMeanwhile: the results are in the file while the import waits for more rows.
func TestImportStoresResultsMeanwhile(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(&batchAPI{seen: map[string]int{}})
	t.Cleanup(srv.Close)
	name := filepath.Join(t.TempDir(), "results.csv")
	results, err := importfile.OpenResults(name)
	if err != nil {
		t.Fatal(err)
	}
	in, out := io.Pipe()
	ended := make(chan error)
	go func() {
		file, err := importfile.Open(in, importfile.Options{From: "9"})
		if err != nil {
			panic(err)
		}
		ended <- New(Options{API: once(srv.URL), File: file, Results: results}).Run(t.Context())
	}()
	io.WriteString(out, "to,text,key\n+1,hi,k-1\n")
	poll.Until(t, "the result is stored", func() bool {
		text, _ := os.ReadFile(name)
		return strings.Contains(string(text), "\n2,k-1,id-k-1,accepted,,\n")
	})
	out.Close()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// TestImportSendsNoMoreThanItMust: rows without a result are limited, so that a slow API does not fill the memory.
func TestImportSendsNoMoreThanItMust(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const rows, size = 40, maxUnanswered / 16
		sent, answer := 0, make(chan struct{})
		im := New(Options{API: once("http://127.0.0.1:1"), File: fileOf(t, "{}", importfile.Options{})})
		im.call = func(_ context.Context, lines io.Reader, f func(client.LineResult) error) error {
			var reading sync.WaitGroup
			reading.Go(func() {
				in := bufio.NewScanner(lines)
				for in.Buffer(nil, 2*size); in.Scan(); sent++ {
				}
			})
			for n := range rows {
				<-answer
				if err := f(client.LineResult{Line: n + 1, Status: http.StatusAccepted}); err != nil {
					return err
				}
			}
			reading.Wait()
			return nil
		}
		go func() {
			defer close(im.rows)
			for n := range rows {
				im.rows <- importfile.Row{Line: n + 1, Key: "1", Body: make([]byte, size)}
			}
		}()
		ended := make(chan error)
		go func() { ended <- im.run(t.Context()) }()
		synctest.Wait()
		if sent != 16 {
			t.Errorf("%d rows were sent before a result", sent)
		}
		answer <- struct{}{}
		synctest.Wait()
		if sent != 17 {
			t.Errorf("%d rows were sent before the second result", sent)
		}
		for range rows - 1 {
			answer <- struct{}{}
			synctest.Wait() // an API answers only what it has read
		}
		if err := <-ended; err != nil || im.progress.Accepted != rows {
			t.Errorf("%v, %d rows were accepted", err, im.progress.Accepted)
		}
	})
}

// TestImportThroughProxy: a proxy that passes on only whole requests gets several.
func TestImportThroughProxy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var requests []int
		im := New(Options{API: once("http://127.0.0.1:1"), File: fileOf(t, "{}", importfile.Options{})})
		im.call = func(_ context.Context, lines io.Reader, f func(client.LineResult) error) error {
			text, err := io.ReadAll(lines)
			n := strings.Count(string(text), "\n")
			requests = append(requests, n)
			for i := range n {
				err = errors.Join(err, f(client.LineResult{Line: i + 1, Status: http.StatusAccepted}))
			}
			return err
		}
		for n := range 40 {
			im.rows <- importfile.Row{Line: n + 1, Key: "1", Body: make([]byte, maxUnanswered/16)}
		}
		close(im.rows)
		if err := im.run(t.Context()); err != nil || fmt.Sprint(requests) != "[16 16 8]" || im.progress.Accepted != 40 {
			t.Errorf("%v, requests of %d rows, %d accepted", err, requests, im.progress.Accepted)
		}
	})
}

// TestDryRun: rows are checked and not sent. The report counts recipients, rows that are equal, messages by class and template, and codes.
func TestDryRun(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/messages/batch/check" {
			t.Errorf("called %s", r.URL.Path)
		}
		lines := json.NewDecoder(r.Body)
		for n := 1; ; n++ {
			var body struct {
				Key     string
				Message json.RawMessage
			}
			if lines.Decode(&body) != nil {
				return
			}
			if body.Key == "3" { // over a budget
				fmt.Fprintf(w, `{"line":%d,"status":200,"class":"marketing","template":"a/en","payload":%s,"over_budgets":[{"budget":"per_day","limit":"0.25","spent":"0.00","until":"2030-01-02T00:00:00Z"}],"estimated_cost":{"amount":"0.11","currency":"EUR"}}`+"\n", n, body.Message)
			} else if body.Key == "wrong" {
				fmt.Fprintf(w, `{"line":%d,"status":422,"problem":{"status":422,"code":"template_not_found","detail":"No."}}`+"\n", n)
			} else {
				fmt.Fprintf(w, `{"line":%d,"status":200,"key":%q,"class":"marketing","template":"a/en","duplicate":%t,"payload":%s,"sent_about":"2030-01-01T00:00:0%dZ","estimated_cost":{"amount":"0.11","currency":"EUR","guess":%t}}`+"\n", n, body.Key, body.Key == "again", body.Message, 9-n, n == 2)
			}
		}
	}))
	t.Cleanup(srv.Close)
	var mistakes strings.Builder
	file := fileOf(t, "to,template,key\n+1,a/en,1\n+2,a/en,2\n+1,a/en,3\n+3,a/en,again\n+4,a/en,wrong\n+5,,5\n+2,a/en,2\n", importfile.Options{From: "9"})
	im := New(Options{API: once(srv.URL), File: file, DryRun: true, Results: importfile.NewResults(&mistakes)})
	if err := im.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	im.Report(&out, time.Date(2029, 12, 31, 22, 0, 0, 0, time.UTC))
	const want = `Nothing was sent. 3 rows would be accepted, 1 were accepted before, 2 would be refused
rows with the key of an earlier row, or without a key and with its content: 1. Nothing is sent for them
to 2 different recipients
1 of them would wait at least until 2030-01-02T00:00:00Z: the budget per_day of 0.25 does not suffice, 0.00 is spent
the last one of the others would be sent about 2030-01-01T00:00:08Z, in 2h0m8s, at the present rates
at a cost of about 0.33 EUR at Meta, 1 messages to countries without a price at the highest price of their category
marketing, template a/en: 3
refused with row_invalid: 1, first lines 7
refused with template_not_found: 1, first lines 6
`
	if out.String() != want {
		t.Errorf("%s\nwant\n%s", &out, want)
	}
	const refused = `line,key,id,result,code,mistake
7,5,,refused,row_invalid,"the row has no content: fill one of the cells text, template and message"
6,wrong,,refused,template_not_found,422 template_not_found: No.
`
	if got := sorted(mistakes.String()); got != sorted(refused) {
		t.Errorf("%s\nwant\n%s", got, refused)
	}
}

// sorted sorts the lines of a text.
func sorted(text string) string {
	return strings.Join(slices.Sorted(strings.Lines(text)), "")
}

// TestMaxRows: a file with too many rows ends the import, which has sent those before.
func TestMaxRows(t *testing.T) {
	t.Parallel()
	api := &batchAPI{seen: map[string]int{}}
	srv := httptest.NewServer(api)
	t.Cleanup(srv.Close)
	im := New(Options{API: once(srv.URL), MaxRows: 3, File: fileOf(t, "to,text,key\n+1,a,1\n+1,,2\n+1,c,3\n+1,d,4\n", importfile.Options{From: "9"})})
	if err := im.Run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "line 5: the file has more than 3 rows") || len(api.seen) != 2 || im.Progress().Refused != 1 {
		t.Errorf("%v, %d messages, %s", err, len(api.seen), im.Progress())
	}
	im = New(Options{API: once(srv.URL), MaxRows: 4, File: fileOf(t, "to,text,key\n+1,a,1\n+1,,2\n+1,c,3\n+1,d,4\n", importfile.Options{From: "9"})})
	if err := im.Run(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestProgress: the speed and the time left are of what was read since the first result: skipping the rows of an earlier run says nothing
// about them.
func TestProgress(t *testing.T) {
	t.Parallel()
	begun := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	at := pace{begun: begun, read: 100, rows: 1}
	for name, c := range map[string]struct {
		pace      pace
		p         Progress
		perSecond float64
		left      time.Duration
	}{
		"a file":      {at, Progress{Accepted: 600, Refused: 41, Read: 500, Size: 1000}, 10, 80 * time.Second},
		"a pipe":      {at, Progress{Accepted: 600, Refused: 41, Read: 500}, 10, 0},
		"no result":   {pace{}, Progress{Read: 500, Size: 1000}, 0, 0},
		"all is read": {at, Progress{Accepted: 641, Read: 1000, Size: 1000}, 10, 0},
	} {
		p := c.p
		c.pace.of(&p, begun.Add(64*time.Second))
		if p.RowsPerSecond != c.perSecond || p.Left != c.left {
			t.Errorf("%s: %v rows/s, %s left", name, p.RowsPerSecond, p.Left)
		}
	}
}

// TestDryRunMedia: each different link in the rows is checked once, wherever the message has it, and the report names those that Meta cannot use.
func TestDryRunMedia(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Type, Link string }
		if r.URL.Path != "/v1/media/check" || json.NewDecoder(r.Body).Decode(&body) != nil {
			t.Errorf("called %s", r.URL.Path)
		}
		mu.Lock()
		asked = append(asked, body.Type+" "+body.Link)
		mu.Unlock()
		if strings.HasSuffix(body.Link, "404") {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusUnprocessableEntity)
			fmt.Fprint(w, `{"status":422,"code":"media_unreachable","detail":"It answers 404.","errors":[{"path":"link","code":"media_unreachable","detail":"It answers 404.","fix":"x"}]}`)
			return
		}
		fmt.Fprint(w, `{"content_type":"image/png","bytes":7}`)
	}))
	t.Cleanup(srv.Close)
	check, api := check{kinds: map[string]int{}, costs: map[string]*cost{}}, once(srv.URL)
	header := `{"to":"+1","type":"template","template":{"components":[{"type":"header","parameters":[{"type":"image","image":{"link":"https://a/%d"}}]}]}}`
	for i, payload := range []string{
		`{"to":"+1","type":"text","text":{"body":"https://a/0"}}`,
		fmt.Sprintf(header, 1), fmt.Sprintf(header, 1), fmt.Sprintf(header, 404),
		`{"to":"+1","type":"video","video":{"link":"https://a/1"}}`, `{"to":"+1","type":"image","image":{"id":"7"}}`,
	} {
		check.count(client.Checked{Key: strconv.Itoa(i), Payload: json.RawMessage(payload)})
	}
	if err := check.media.run(t.Context(), api); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	check.media.report(&out)
	const want = "media: 3 of 3 different links checked, 1 with a problem\nhttps://a/404 (image): It answers 404.\n"
	slices.Sort(asked)
	if out.String() != want || !slices.Equal(asked, []string{"image https://a/1", "image https://a/404", "video https://a/1"}) || check.media.wrong != 1 {
		t.Errorf("%s, asked %q; want %s", &out, asked, want)
	}
	srv.Close()
	if err := check.media.run(t.Context(), api); err == nil {
		t.Error("without the API the media are good")
	}
}
