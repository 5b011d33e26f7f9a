package cloudapi

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"

	"sluice/internal/jsondoc"
)

// Meta's answers can have the access token: links to further pages have it as a parameter, and an error quotes a token that
// Meta cannot read. API callers must not get it, so Sluice reads an answer before they do.
// https://developers.facebook.com/docs/graph-api/results

const (
	// maxText is the maximum size of an answer that is not media.
	maxText = 8 << 20
	// tokenRemoved replaces the access token in answers.
	tokenRemoved = "ACCESS_TOKEN_REMOVED"
)

// tokenIn returns what replaces the access token in a text.
func tokenIn(token string) *strings.Replacer {
	return strings.NewReplacer(token, tokenRemoved, url.QueryEscape(token), tokenRemoved)
}

// withoutToken returns an answer with tokenRemoved in place of the access token.
func withoutToken(answer []byte, token string) []byte {
	remove := tokenIn(token)
	return mapTexts(answer, func(_, text string) string { return remove.Replace(text) })
}

// mapTexts returns a JSON text with each string replaced by change, which gets the decoded string and the name of its member.
// Names stay. A text that is not JSON is one string.
func mapTexts(answer []byte, change func(name, text string) string) []byte {
	if !json.Valid(answer) {
		return []byte(change("", string(answer)))
	}
	var out []byte
	name, kept := "", 0
	for i := 0; i < len(answer); i++ {
		if answer[i] != '"' {
			continue
		}
		start, end := i, i+quoted(answer[i:])
		i = end - 1
		text := string(unquote(answer[start:end]))
		if bytes.HasPrefix(bytes.TrimLeft(answer[end:], " \t\r\n"), []byte(":")) {
			name = text
			continue
		}
		if changed := change(name, text); changed != text {
			out = jsondoc.AppendString(append(out, answer[kept:start]...), changed)
			kept = end
		}
		name = ""
	}
	return append(out, answer[kept:]...)
}

// rewrite replaces the body of an answer of Meta by one for the caller: without the token, and with links to further pages
// that lead to origin, the scheme and the host of Sluice. A client that follows a link of Meta would give its API key to Meta.
func (f *Forwarder) rewrite(resp *http.Response, token string, origin *url.URL) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxText+1))
	if err != nil {
		return err
	}
	if len(text) > maxText {
		return bodyRefused("Meta's answer is larger than 8 MiB. Ask for fewer elements, with the parameter limit.")
	}
	remove := tokenIn(token)
	text = mapTexts(text, func(name, text string) string {
		if name == "next" || name == "previous" {
			text = f.pageLink(text, origin)
		}
		return remove.Replace(text)
	})
	resp.Header.Del("Content-Length") // net/http sets it
	resp.ContentLength = int64(len(text))
	resp.Body = struct {
		io.Reader
		io.Closer
	}{bytes.NewReader(text), resp.Body}
	return nil
}

// pageLink returns a link of Meta to a page of a list as one of Sluice. Other texts stay.
func (f *Forwarder) pageLink(link string, origin *url.URL) string {
	u, err := url.Parse(link)
	if err != nil || u.Host == "" {
		return link
	}
	path := strings.TrimPrefix(u.Path, f.base.Path)
	if !passable.MatchString(path) {
		return link
	}
	own := url.URL{Scheme: origin.Scheme, Host: origin.Host, Path: path, RawQuery: passedQuery(u.Query()).Encode()}
	return own.String()
}
