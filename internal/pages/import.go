package pages

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"sluice/internal/httpapi"
	"sluice/internal/importer"
	"sluice/internal/importfile"
)

// Limits of imports.
const (
	importsAtOnce = 4         // of a producer
	importRows    = 1_000_000 // of a file: the browser keeps their results
	importHead    = 3         // rows that are shown of a chosen file
	importEvery   = 500 * time.Millisecond
	auditWithin   = 5 * time.Second
)

// importForm is the data of the page that imports a file.
type importForm struct {
	Number    string // as in sendForm
	CanSend   bool
	Simulator bool
	Rows      int // the maximum of a file
}

func importPage() page {
	return page{
		name: "import", path: "import", title: "Import", nav: true, may: maySend,
		read: func(v *view) (any, *problem) {
			return importForm{Number: v.onlyNumber(), CanSend: maySend(v.session.key), Simulator: v.p.o.Simulator, Rows: importRows}, nil
		},
	}
}

// importOrder is what the script of the page asks for.
type importOrder struct {
	Action  string // head: show the first rows, check: a dry run, or send
	File    string // its name
	Size    int64  // of the file, in bytes
	Reason  string
	Mapping importer.Mapping
}

// importStop is why an import ends before the end of its file, in sentences for operators.
type importStop string

func (e importStop) Error() string { return string(e) }

const (
	errImportLeft    importStop = "The browser has left."
	errImportStopped importStop = "Stopped. To go on, send the same file again: no row is sent twice."
	errImportStop    importStop = "The producer stops. Load the page again and choose the file again: no row is sent twice."
	errImportEnded   importStop = "Your session has ended. Sign in and choose the file again: no row is sent twice."
	errImportIdle    importStop = "The browser sent nothing for 5 minutes. Choose the file again: no row is sent twice."
	errImportRights  importStop = "Your API key may not send any more: its scopes were changed while the import was running."
)

// serveImport serves the connection of one import: the file comes from the browser in the chunks that it is asked for, and progress,
// mistakes and results go back. The file is nowhere on this machine, so the import ends with the connection. A second one of the same file
// goes on, because each row has a key. The caller has checked where the request comes from.
func (p *Pages) serveImport(w http.ResponseWriter, r *http.Request) {
	s, ok := p.signedIn(w, r, true)
	if !ok {
		return
	}
	if !maySend(s.key) {
		p.refuse(w, http.StatusForbidden, "Import refused", "Your API key may not send: it needs the scopes admin and messages:send.")
		return
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.Context()))
	defer cancel(nil)
	c, err := openSocket(w, r, cancel)
	if err != nil { // the browser has its answer
		return
	}
	defer c.close()
	var order importOrder
	if err := c.readOrder(&order); err != nil {
		return
	}
	select {
	case p.imports <- struct{}{}:
		defer func() { <-p.imports }()
	default:
		c.end(importEnd{Problem: fmt.Sprintf("This producer runs %d imports already. Wait until one ends, or use sluice import.", importsAtOnce)})
		return
	}
	c.receive(ctx)
	one := &oneImport{p: p, r: r, c: c, cancel: cancel, order: order}
	one.session.Store(&s)
	defer one.watch(ctx)()
	c.end(one.run(ctx))
}

// oneImport is an import of a browser.
type oneImport struct {
	p       *Pages
	r       *http.Request
	c       *socket
	cancel  context.CancelCauseFunc
	order   importOrder
	session atomic.Pointer[session]
	running atomic.Pointer[importer.Import] // nil: none yet
}

// watch shows the progress, and ends the import with the producer, the session and the connection. The function that it returns ends that.
func (one *oneImport) watch(ctx context.Context) (end func()) {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		show, check := time.NewTicker(importEvery), time.NewTicker(one.p.check)
		defer show.Stop()
		defer check.Stop()
		stopped := one.p.stopped
		for {
			select {
			case <-stop:
				return
			case <-stopped:
				one.cancel(errImportStop)
				stopped = nil
			case <-show.C:
				one.show()
			case <-check.C:
				one.check(ctx)
			}
		}
	}()
	return func() { close(stop); <-done }
}

// show sends the progress.
func (one *oneImport) show() {
	if im := one.running.Load(); im != nil {
		one.c.send(serverMessage{Progress: progressOf(im.Progress())})
	}
}

// check ends the import if its session has ended, has lost its rights, or if the browser does not answer.
func (one *oneImport) check(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	s, err := one.p.sessions.get(ctx, one.session.Load().id, true)
	switch {
	case errors.Is(err, errSignedOut):
		one.cancel(errImportEnded)
	case err != nil: // Redis does not answer: the import waits for it too
	case !maySend(s.key):
		one.cancel(errImportRights)
	default:
		one.session.Store(&s)
	}
	one.c.ping()
}

// run carries out the order and returns how it ended.
func (one *oneImport) run(ctx context.Context) importEnd {
	options, err := one.order.Mapping.Options()
	if err != nil {
		return importEnd{Problem: err.Error()}
	}
	file := &upload{ctx: ctx, c: one.c, idle: one.p.idle}
	if one.order.Action == "head" {
		head, err := importfile.ReadHead(file, options, importHead)
		if err != nil {
			return importEnd{Problem: why(ctx, err)}
		}
		one.c.send(serverMessage{Head: &head})
		return importEnd{}
	}
	rows, err := importfile.Open(file, options)
	if err != nil {
		return importEnd{Problem: why(ctx, err)}
	}
	dry := one.order.Action != "send"
	if failed := one.note(ctx, dry, "begin to import "+one.name()); failed != nil {
		return importEnd{Problem: failed.words()}
	}
	api, end := local(one.p.o.API, func() httpapi.Key { return one.session.Load().key }, one.p.o.Log)
	defer end()
	im := importer.New(importer.Options{
		API: api, File: rows, Size: one.order.Size, MaxRows: importRows, DryRun: dry,
		Results: importfile.NewResults(one.c.results()), Notes: one.c.notes(),
	})
	one.running.Store(im)
	ended := importEnd{}
	if err := im.Run(ctx); err != nil {
		ended.Problem = why(ctx, err)
	}
	one.show()
	ended.Done = ended.Problem == ""
	if failed := one.note(ctx, dry, fmt.Sprintf("import of %s ended: %s", one.name(), im.Progress())); failed != nil {
		ended.Problem = strings.TrimSpace(ended.Problem + " The audit log does not have the end of the import: " + failed.words())
	}
	var report strings.Builder
	im.Report(&report, time.Now())
	ended.Report = report.String()
	return ended
}

// why returns why an import ended: what ended its context, or else err.
func why(ctx context.Context, err error) string {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err.Error()
}

// note writes an entry of the audit log, unless nothing is sent. An import that is stopped meanwhile has both its entries too, and says
// that it was stopped, not that the audit log is unavailable.
func (one *oneImport) note(ctx context.Context, dry bool, target string) *problem {
	if dry {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditWithin)
	defer cancel()
	s := *one.session.Load()
	v := &view{ctx, one.p, one.r, s}
	return v.console("POST", "/v1/audit", map[string]any{"actor": s.actor, "reason": one.order.Reason, "target": target}, new(auditEntry))
}

// name returns the name of the file for the audit log.
func (one *oneImport) name() string {
	name := []rune(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, one.order.File))
	return cmp.Or(string(name[:min(len(name), 80)]), "a file")
}
