package pages

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/store"
)

// Options are what Pages work with. All but Simulator and Log are required.
type Options struct {
	Console   http.Handler                          // the API of operators
	API       http.Handler                          // the API of callers
	Keys      httpapi.Keys                          // the keys of both
	DB        *store.DB                             // keeps the sessions
	Simulator bool                                  // messages go to a simulator, and not to Meta
	Left      func(context.Context) <-chan struct{} // returns a channel that is closed when the browser of a request has left
	Log       *slog.Logger                          // nil: no log
}

// Pages serve the web pages of operators. They are safe for concurrent use. Create them with New.
type Pages struct {
	o        Options
	sessions sessions
	tries    tries
	streams  streams
	imports  chan struct{} // has an element for each running import
	check    time.Duration // how often the session of a stream, or of an import, is checked
	idle     time.Duration // how long the browser of an import may send nothing
	stopped  chan struct{}
	stop     func()
}

// New makes Pages.
func New(o Options) *Pages {
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	p := &Pages{o: o, sessions: sessions{db: o.DB, keys: o.Keys}, streams: streams{most: liveStreams}, imports: make(chan struct{}, importsAtOnce), check: liveCheck, idle: importIdle, stopped: make(chan struct{})}
	p.stop = sync.OnceFunc(p.end)
	return p
}

// Stop ends the streams of live pages and the imports. It waits until the browsers of imports know, for some seconds at most.
func (p *Pages) Stop() { p.stop() }

// stopWithin is how long Stop waits for imports.
const stopWithin = 5 * time.Second

func (p *Pages) end() {
	close(p.stopped)
	limit := time.After(stopWithin)
	for range cap(p.imports) { // until no import has one
		select {
		case p.imports <- struct{}{}:
		case <-limit:
			return
		}
	}
}

// all returns every page, in the order of the navigation.
func all() []page {
	return []page{
		overviewPage(),
		numberPage(),
		messagesPage(),
		messagePage(),
		campaignsPage(),
		campaignPage(),
		inDoubtPage(),
		deadLettersPage(),
		failedPage(),
		sendPage(),
		importPage(),
		holdsPage(),
		templatesPage(),
		relayPage(),
		schedulesPage(),
		directoryPage(),
		clientPage(),
		reportsPage(),
		auditPage(),
	}
}

// root is the path of all pages.
const root = "/console/"

// Handler serves the pages, and everything outside of /console/ by the console API. A browser that asks for / is sent to the
// pages.
func (p *Pages) Handler() http.Handler {
	mux := http.NewServeMux()
	pages := all()
	for _, pg := range pages {
		h := p.page(pg)
		mux.HandleFunc("GET "+root+pg.path, h)
		mux.HandleFunc("POST "+root+pg.path, h)
		if pg.live {
			mux.HandleFunc("GET "+root+"live/"+pg.path, p.live(pg))
		}
	}
	mux.HandleFunc("GET "+root+"{$}", func(w http.ResponseWriter, r *http.Request) { redirect(w, root+pages[0].path) })
	mux.HandleFunc("GET "+root+"sign-in", p.showSignIn)
	mux.HandleFunc("POST "+root+"sign-in", p.signIn)
	mux.HandleFunc("POST "+root+"sign-out", p.signOut)
	mux.HandleFunc("GET "+root+"static/{file...}", serveStatic)
	mux.HandleFunc(root, func(w http.ResponseWriter, r *http.Request) {
		p.refuse(w, http.StatusNotFound, "Page not found", "There is no page at this address. Go to the first page of the console.")
	})
	crossOrigin := http.NewCrossOriginProtection()
	deny := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.refuse(w, http.StatusForbidden, "Request refused", "The request came from a page of another site, so nothing was done. Open the console and try again there.")
	})
	crossOrigin.SetDenyHandler(deny)
	mux.HandleFunc("GET "+root+"import/socket", func(w http.ResponseWriter, r *http.Request) {
		act := r.WithContext(r.Context())
		act.Method = http.MethodPost // it acts, though a WebSocket begins with GET
		if crossOrigin.Check(act) != nil {
			deny(w, r)
			return
		}
		p.serveImport(w, r)
	})
	own := secured(crossOrigin.Handler(mux))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == strings.TrimSuffix(root, "/"), r.URL.Path == "/" && r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html"):
			redirect(w, root)
		case strings.HasPrefix(r.URL.Path, root):
			own.ServeHTTP(w, r)
		default:
			p.o.Console.ServeHTTP(w, r)
		}
	})
}

// policy is the Content-Security-Policy of every page: only this listener's own scripts, styles and requests, nothing inline.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// secured sets the headers that protect a page.
func secured(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Referrer-Policy", "same-origin")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		header.Set("Cache-Control", "no-store")
		h.ServeHTTP(w, r)
	})
}

// redirect sends a browser to a path of ours, to get it.
func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// refuse answers with a page that says why there is nothing else.
func (p *Pages) refuse(w http.ResponseWriter, status int, title, detail string) {
	p.write(w, status, "refused", frame{content: content{Title: title, Problem: &problem{Title: title, Detail: detail}}})
}

// readTimeout bounds what one page reads.
const readTimeout = 10 * time.Second
