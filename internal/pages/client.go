package pages

import (
	"bytes"
	"encoding/json"
	"net/http"

	"sluice/internal/httpapi"
)

// problem is why an API refused a request, as a page shows it.
type problem struct {
	Status int
	Title  string
	Detail string
	Code   string // Sluice's code; empty: the pages themselves refused
	Errors []mistake
}

// words returns what was wrong, in one line.
func (p *problem) words() string {
	text := p.Title + "."
	if p.Detail != "" {
		text += " " + p.Detail
	}
	for _, m := range p.Errors {
		text += " " + m.Path + ": " + m.Detail + " " + m.Fix
	}
	return text
}

// mistake is one mistake in a request.
type mistake struct {
	Path   string `json:"path"`
	Detail string `json:"detail"`
	Fix    string `json:"fix"`
}

// console makes a request of the console API, see call.
func (v *view) console(method, path string, body, into any) *problem {
	return v.call(v.p.o.Console, method, path, body, into)
}

// api makes a request of the API of callers, see call.
func (v *view) api(method, path string, body, into any) *problem {
	return v.call(v.p.o.API, method, path, body, into)
}

// call makes a request of an API in this process, with the rights of the session, and reads the JSON of its answer
// into into. A body that is not nil is sent as JSON. Without success it returns what the API answered, and into is as
// it was.
func (v *view) call(h http.Handler, method, path string, body, into any) *problem {
	var text bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&text).Encode(body); err != nil {
			return v.broken(path, err)
		}
	}
	r, err := http.NewRequestWithContext(httpapi.As(v, v.session.key), method, path, &text)
	if err != nil {
		return v.broken(path, err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	a := answer{header: http.Header{}, status: http.StatusOK}
	h.ServeHTTP(&a, r)
	if a.status >= 300 {
		return refusal(a)
	}
	if err := json.Unmarshal(a.body.Bytes(), into); err != nil {
		return v.broken(path, err)
	}
	return nil
}

// refusal reads a problem document.
func refusal(a answer) *problem {
	p := &problem{Status: a.status, Title: http.StatusText(a.status)}
	var document struct {
		Detail string    `json:"detail"`
		Code   string    `json:"code"`
		Errors []mistake `json:"errors"`
	}
	if err := json.Unmarshal(a.body.Bytes(), &document); err != nil {
		p.Detail = "The API gave no reason."
		return p
	}
	p.Detail, p.Code, p.Errors = document.Detail, document.Code, document.Errors
	return p
}

// broken returns the problem of a request that could not be made or read.
func (v *view) broken(path string, err error) *problem {
	v.p.o.Log.Error("cannot read answer of own API", "operation", path, "err", err)
	return &problem{Status: http.StatusInternalServerError, Title: "The page cannot be shown", Detail: "The console could not read the answer of its own API. The log of the producer says why."}
}

// answer collects the answer of an API.
type answer struct {
	header http.Header
	status int
	wrote  bool
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if !a.wrote {
		a.status, a.wrote = status, true
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.wrote = true
	return a.body.Write(b)
}
