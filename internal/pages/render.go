package pages

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"sluice/internal/holdpolicy"
	"sluice/internal/httpapi"
	"sluice/internal/message"
)

//go:embed templates
var templateFiles embed.FS

// templates are the parsed templates of each page by its name, with those that all pages share.
var templates = func() map[string]*template.Template {
	shared := template.Must(template.New("").Funcs(funcs).ParseFS(templateFiles, "templates/layout.html", "templates/partials.html"))
	files, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		panic(err)
	}
	sets := map[string]*template.Template{}
	for _, file := range files {
		set := template.Must(shared.Clone())
		sets[strings.TrimSuffix(path.Base(file), ".html")] = template.Must(set.ParseFS(templateFiles, file))
	}
	return sets
}()

// funcs are the functions of the templates.
var funcs = template.FuncMap{
	"time":    clock,
	"iso":     func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"ago":     func(t time.Time) string { return span(time.Since(t)) },
	"until":   func(t time.Time) string { return span(time.Until(t)) },
	"span":    span,
	"spanOf":  func(seconds float64) string { return span(time.Duration(seconds * float64(time.Second))) },
	"rate":    rate,
	"spark":   spark,
	"ends":    ends,
	"release": release,
	"number":  number,
	"percent": func(share float64) string { return strconv.FormatFloat(100*share, 'f', 1, 64) + " %" },
	"ratio":   func(n, of int) float64 { return float64(n) / float64(max(of, 1)) },
	"seconds": func(s float64) string { return strconv.FormatFloat(s, 'f', 1, 64) + " s" },
	"static":  staticPath,
	"link":    address,
	"dict":    dict,
	"list":    func(texts ...string) []string { return texts },
}

// clock returns a time in UTC for people; empty for the zero time.
func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// ends says what ends a hold.
func ends(h httpapi.Hold) string {
	return holdpolicy.Ends(message.Hold{Number: h.Number, Template: h.Template, Tag: h.Tag, By: h.Actor, Until: h.Until}, time.UTC)
}

// release returns the address at which a hold is released.
func release(h httpapi.Hold) string {
	return address("holds", "release", 1, "phone_number_id", h.Number, "template", h.Template, "tag", h.Tag, "campaign", h.Campaign, "client", h.Client)
}

// span writes a time in its two largest units: 3m 12s.
func span(d time.Duration) string {
	switch s := int(d.Round(time.Second) / time.Second); {
	case s <= 0:
		return "0s"
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm %02ds", s/60, s%60)
	case s < 24*3600:
		return fmt.Sprintf("%dh %02dm", s/3600, s/60%60)
	default:
		return fmt.Sprintf("%dd %02dh", s/86400, s/3600%24)
	}
}

// number writes a whole number with commas between thousands.
func number(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// rate writes messages per second, with a digit after the point for small ones.
func rate(r float64) string {
	if r > 0 && r < 10 {
		return strconv.FormatFloat(r, 'f', 1, 64)
	}
	return number(int(r + 0.5))
}

// The size of a sparkline, in units of its viewBox.
const sparkWidth, sparkHeight = 90, 20

// spark returns the points of a sparkline as SVG needs them: values on a scale up to the largest one, or up to most.
func spark(values []float64, most float64) string {
	for _, v := range values {
		most = max(most, v)
	}
	var b strings.Builder
	for i, v := range values {
		fmt.Fprintf(&b, "%d,%.1f ", sparkWidth-len(values)+i, sparkHeight-v/max(most, 1)*(sparkHeight-1))
	}
	return b.String()
}

// address returns a path of the pages with a query of names and values; empty values are left out.
func address(to string, query ...any) string {
	values := url.Values{}
	for i := 0; i+1 < len(query); i += 2 {
		if value := fmt.Sprint(query[i+1]); value != "" {
			values.Set(fmt.Sprint(query[i]), value)
		}
	}
	if len(values) > 0 {
		to += "?" + values.Encode()
	}
	return root + to
}

// dict returns a map of names and values, to give a template several.
func dict(pairs ...any) map[string]any {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	return m
}

// render executes a template of a page. A template that fails is a mistake in it: the log has it, and the text says so.
func (p *Pages) render(page, name string, f frame) []byte {
	var b bytes.Buffer
	if err := templates[page].ExecuteTemplate(&b, name, f); err != nil {
		p.o.Log.Error("cannot render page", "operation", page, "err", err)
		return []byte("<p>This page cannot be shown. The log of the producer says why.</p>")
	}
	return b.Bytes()
}

// write answers with a page.
func (p *Pages) write(w http.ResponseWriter, status int, page string, f frame) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(p.render(page, "layout", f)) // an error means that the browser has left
}
