package pages

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// signedIn returns the session of a request. Without one it answers, with the sign-in page for a browser that opens a
// page, and returns false.
func (p *Pages) signedIn(w http.ResponseWriter, r *http.Request, extend bool) (session, bool) {
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		if r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Site") == "cross-site" {
			// A link on another site led here, so the browser sent no cookie. It does when the page itself loads again.
			p.write(w, http.StatusOK, "again", frame{content: content{Title: "Console", Path: r.URL.RequestURI()}})
			return session{}, false
		}
		redirect(w, root+"sign-in?next="+url.QueryEscape(next(r)))
		return session{}, false
	}
	s, err := p.sessions.get(r.Context(), c.Value, extend)
	switch {
	case errors.Is(err, errSignedOut):
		setCookie(w, r, sessionCookie, "", -1)
		redirect(w, root+"sign-in?ended=1&next="+url.QueryEscape(next(r)))
	case err != nil:
		p.storeFailed(w, err)
	}
	return s, err == nil
}

// next returns the address to which a browser returns after it has signed in.
func next(r *http.Request) string {
	if r.Method != http.MethodGet {
		return r.URL.EscapedPath()
	}
	return r.URL.RequestURI()
}

func (p *Pages) storeFailed(w http.ResponseWriter, err error) {
	p.o.Log.Error("cannot access console session", "err", err)
	p.refuse(w, http.StatusServiceUnavailable, "Storage is temporarily unavailable", "Redis does not answer, so the console cannot read your session. Try again in some seconds. sluice doctor shows what is wrong.")
}

func (p *Pages) showSignIn(w http.ResponseWriter, r *http.Request) {
	f := frame{content: content{Title: "Sign in", Query: r.URL.Query()}, Form: url.Values{"next": {r.URL.Query().Get("next")}}}
	if r.URL.Query().Has("ended") {
		f.Done = "Your session has ended: it was not used for 12 hours, or its API key is no longer valid. Sign in again."
	}
	p.write(w, http.StatusOK, "sign-in", f)
}

// signIn exchanges an API key for a session.
func (p *Pages) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		p.refuse(w, http.StatusBadRequest, "The form cannot be read", "The form is too large or is damaged. Go back and send it again.")
		return
	}
	actor, to := strings.TrimSpace(r.PostForm.Get("actor")), r.PostForm.Get("next")
	again := func(status int, failed *problem) {
		p.write(w, status, "sign-in", frame{content: content{Title: "Sign in"}, Form: url.Values{"next": {to}, "actor": {actor}}, Failed: failed})
	}
	if actor == "" || utf8.RuneCountInString(actor) > 64 || !utf8.ValidString(actor) || strings.ContainsFunc(actor, unicode.IsControl) {
		again(http.StatusUnprocessableEntity, &problem{Title: "Your name is missing", Detail: "Give your name, up to 64 characters. The audit log shows it with everything that you do."})
		return
	}
	if message.ReservedActor(actor) {
		again(http.StatusUnprocessableEntity, &problem{Title: "This name is reserved", Detail: "Names that begin with sluice are reserved for what Sluice does by itself. Give your own name."})
		return
	}
	key, refused := p.o.Keys.OfToken(strings.TrimSpace(r.PostForm.Get("key")), httpapi.ScopeConsole)
	if refused != nil {
		// A valid key always passes: behind a proxy all operators have one address.
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		if !p.tries.allow(host, time.Now()) {
			again(http.StatusTooManyRequests, &problem{Title: "Too many tries", Detail: "Too many API keys were refused from your address. Wait a minute and try again."})
			return
		}
		p.tries.failed(host, time.Now())
		p.o.Log.Warn("console sign-in refused", "code", refused[0].Code)
		detail := "This API key is not valid, or its scopes do not include admin or console:read. Use another API key."
		if refused[0].Code == "api_key_revoked" || refused[0].Code == "api_key_expired" {
			detail = refused[0].Detail + " " + refused[0].Fix
		}
		again(http.StatusForbidden, &problem{Title: "The API key was refused", Detail: detail})
		return
	}
	id, err := p.sessions.add(r.Context(), key, actor)
	if err != nil {
		p.storeFailed(w, err)
		return
	}
	setCookie(w, r, sessionCookie, id, 0)
	if !strings.HasPrefix(to, root) || strings.Contains(to, `\`) || strings.HasPrefix(to, root+"sign-out") { // only pages of ours
		to = root
	}
	redirect(w, to)
}

// signOut ends the session of a request.
func (p *Pages) signOut(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(sessionCookie); err == nil {
		ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
		defer cancel()
		if err := p.sessions.end(ctx, c.Value); err != nil {
			p.storeFailed(w, err)
			return
		}
	}
	setCookie(w, r, sessionCookie, "", -1)
	redirect(w, root+"sign-in")
}

// Limits of refused API keys.
const (
	triesPerMinute = 10   // from one address
	triesAddresses = 1000 // that are counted at a time; when there are more, the count begins again
)

// tries counts the API keys that were refused, by the address of the client. Its zero value is ready.
type tries struct {
	mu    sync.Mutex
	since time.Time
	count map[string]int
}

// allow reports whether an address may try another API key.
func (t *tries) allow(host string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return now.Sub(t.since) >= time.Minute || t.count[host] < triesPerMinute
}

// failed counts a refused API key.
func (t *tries) failed(host string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.since) >= time.Minute || len(t.count) >= triesAddresses {
		t.since, t.count = now, map[string]int{}
	}
	t.count[host]++
}
