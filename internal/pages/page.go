package pages

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"sluice/internal/httpapi"
)

// page is one page of the console.
type page struct {
	name  string // of its template, templates/<name>.html
	path  string // below /console/, a pattern of http.ServeMux: "holds", "numbers/{id}"
	title string
	nav   bool                   // it is in the navigation
	may   func(httpapi.Key) bool // which API keys have it there; nil: all
	live  bool                   // its template defines "live", which the browser gets again every two seconds
	// read returns the data of the template, or why there is none.
	read func(v *view) (any, *problem)
	// acts are what the page's forms do, by the value of their field act. They return what happened in words.
	acts map[string]func(v *view) (done, *problem)
}

// done is the result of an act.
type done struct {
	text string // what happened, for operators
	to   string // where to go then; empty: the page without a query
	show any    // if not nil: the page shows it at once and keeps what was typed, instead of going on
}

// view is one request for a page.
type view struct {
	context.Context
	p       *Pages
	r       *http.Request
	session session
}

// query returns a parameter of the address; empty: it is not there.
func (v *view) query(name string) string { return v.r.URL.Query().Get(name) }

// field returns what was typed into a field of the form of an act, without white space around it.
func (v *view) field(name string) string { return strings.TrimSpace(v.r.PostForm.Get(name)) }

// order returns the body of an order: the given members that are not empty, the actor of the session, and the reason
// from the form.
func (v *view) order(members map[string]any) map[string]any {
	body := map[string]any{"actor": v.session.actor, "reason": v.field("reason")}
	for name, value := range members {
		if value != "" {
			body[name] = value
		}
	}
	return body
}

// content is what the live region of a page shows. All viewers of a page with the same rights share it, so it has
// nothing of a session.
type content struct {
	Page    string // the name of the page
	Title   string
	Path    string     // of the address
	Query   url.Values // of the address
	CanAct  bool       // the API key may act, not only read
	Data    any        // what read returned
	Problem *problem   // why there is no data
}

// frame is what templates get.
type frame struct {
	content
	Nav    []link
	Actor  string // of the session; empty: there is none
	Key    string // the name of the API key of the session
	Live   string // the address of the live region; empty: the page has none
	Form   url.Values
	Done   string   // what an act did
	Result any      // what an act found, or what it would do
	Failed *problem // why an act did nothing
}

// link is an entry of the navigation.
type link struct {
	Path, Title string
	Here        bool
}

// page returns a handler of one page: it reads, or acts and then reads.
func (p *Pages) page(pg page) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, ok := p.signedIn(w, r, true)
		if !ok {
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
		defer cancel()
		v := &view{ctx, p, r, s}
		f := frame{Actor: s.actor, Key: s.key.Name, Done: takeNotice(w, r)}
		status := http.StatusOK
		if r.Method == http.MethodPost {
			result, failed := v.act(w, pg)
			if failed == nil && result.show == nil {
				leaveNotice(w, r, result.text)
				if result.to == "" {
					result.to = r.URL.EscapedPath()
				}
				redirect(w, result.to)
				return
			}
			f.Form, f.Result = r.PostForm, result.show
			if f.Failed = failed; failed != nil {
				status = failed.Status
			}
		}
		f.content = v.read(pg)
		if f.Problem != nil && f.Failed == nil {
			status = f.Problem.Status
		}
		if pg.live {
			f.Live = root + "live" + strings.TrimPrefix(r.URL.RequestURI(), strings.TrimSuffix(root, "/"))
		}
		for _, other := range all() {
			if other.nav && (other.may == nil || other.may(s.key)) {
				f.Nav = append(f.Nav, link{root + other.path, other.title, other.name == pg.name})
			}
		}
		if client := s.key.Client; client != "" {
			f.Nav = append(f.Nav, link{address("clients/" + client), "Client " + client, pg.name == "client"})
		}
		p.write(w, status, pg.name, f)
	}
}

// act reads the form of a request and carries out its act.
func (v *view) act(w http.ResponseWriter, pg page) (done, *problem) {
	v.r.Body = http.MaxBytesReader(w, v.r.Body, maxForm)
	if err := v.r.ParseForm(); err != nil {
		return done{}, &problem{Status: http.StatusBadRequest, Title: "The form cannot be read", Detail: "The form is too large or is damaged. Send it again with less text."}
	}
	act := pg.acts[v.field("act")]
	if act == nil {
		return done{}, &problem{Status: http.StatusBadRequest, Title: "Unknown action", Detail: "This page has no such action. Load the page again."}
	}
	return act(v)
}

// maxForm is the maximum size of a form, in bytes.
const maxForm = 512 << 10

// read returns the content of a page.
func (v *view) read(pg page) content {
	c := content{Page: pg.name, Title: pg.title, Path: v.r.URL.Path, Query: v.r.URL.Query(), CanAct: v.session.key.Has(httpapi.ScopeAdmin)}
	c.Data, c.Problem = pg.read(v)
	return c
}

// noticeCookie carries what an act did to the page that is shown next.
const noticeCookie = "sluice_done"

func leaveNotice(w http.ResponseWriter, r *http.Request, text string) {
	setCookie(w, r, noticeCookie, base64.RawURLEncoding.EncodeToString([]byte(text)), 60)
}

func takeNotice(w http.ResponseWriter, r *http.Request) string {
	c, err := r.Cookie(noticeCookie)
	if err != nil {
		return ""
	}
	setCookie(w, r, noticeCookie, "", -1)
	text, err := base64.RawURLEncoding.DecodeString(c.Value)
	if err != nil {
		return ""
	}
	return string(text)
}
