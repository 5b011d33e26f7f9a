package cloudapi

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"sluice/internal/content"
	"sluice/internal/jsondoc"
)

// The Graph API accepts parameters in bodies too, also an access token or another method. So a Forwarder reads the
// body of a call before it forwards the call with its own token.

// bodyRefused is why a body of a call or of an answer is not forwarded.
type bodyRefused string

// Error returns the reason.
func (b bodyRefused) Error() string { return string(b) }

var (
	// mediaFields are the fields of a form with media. Meta, Cloud API, "Upload media".
	mediaFields = []string{"file", "messaging_product", "type", "ttl_minutes"}
	// notPassed are parameters of a query that would change what an answer has, in addition to content.Command.
	notPassed = []string{"id", "relative_url", "include_headers", "callback", "debug", "metadata", "suppress_http_code", "include_sip_credentials"}
	// plainParameter matches the names of parameters: "limit", "categories[0]".
	plainParameter = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}(\[[0-9]{0,3}\])?$`)
	// plainField matches the names of fields of forms, also of those of objects: "components[0][type]".
	plainField = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}(\[[A-Za-z0-9_]*\])*$`)
)

// passedQuery returns the parameters that are forwarded. It drops those in notPassed, and names that Meta could read as
// one of them.
func passedQuery(query url.Values) url.Values {
	passed := url.Values{}
	for name, values := range query {
		if plainParameter.MatchString(name) && content.Command(name) == "" && !slices.Contains(notPassed, name) {
			passed[name] = values
		}
	}
	return passed
}

// checkParameter refuses a parameter of a body that is not forwarded.
func checkParameter(name string) error {
	if p := content.Command(name); p != "" {
		return bodyRefused(p + ": Sluice does not forward this parameter. Remove it. Sluice uses its own token and the method of the call.")
	}
	return nil
}

// passedBody returns the body to forward, and sets its length and type in r. The caller must close it. It returns
// bodyRefused if the body must not be forwarded.
func passedBody(r *http.Request) (io.ReadCloser, error) {
	kind, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // after an error kind is empty
	media := strings.HasSuffix(r.URL.Path, "/media")
	form := kind == "multipart/form-data" && params["boundary"] != ""
	switch {
	case r.Method == http.MethodGet, r.Method == http.MethodHead, r.ContentLength == 0 && !media:
		r.ContentLength = 0
		r.Header.Del("Content-Type")
		return http.NoBody, nil
	case media && !form:
		return nil, bodyRefused("Send media as multipart/form-data.")
	case form:
		r.Header.Set("Content-Type", mime.FormatMediaType(kind, map[string]string{"boundary": params["boundary"]}))
		return newForm(r.Body, params["boundary"], media), nil
	case kind != "application/json" && kind != "application/x-www-form-urlencoded":
		return nil, bodyRefused("The body is not declared as JSON or as a form. Send the header Content-Type: application/json.")
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	check := checkJSON
	if kind != "application/json" {
		check = checkForm
	}
	if err := check(string(text)); err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", kind)
	r.ContentLength = int64(len(text))
	return io.NopCloser(bytes.NewReader(text)), nil
}

// checkJSON refuses a body that is not a JSON object, or has parameters that are not forwarded.
func checkJSON(text string) error {
	var d jsondoc.Doc
	if d.Read(text) != nil || d.Root().Kind() != jsondoc.Object {
		return bodyRefused("The body is not a JSON object.")
	}
	for name := range d.Root().Members() {
		if err := checkParameter(name); err != nil {
			return err
		}
	}
	return nil
}

// checkForm refuses a body that is not an urlencoded form, or has parameters that are not forwarded.
func checkForm(text string) error {
	values, err := url.ParseQuery(text)
	if err != nil {
		return bodyRefused("The form is not valid.")
	}
	for name := range values {
		if !plainField.MatchString(name) {
			return bodyRefused("The form has a field without a plain name. Rename it.")
		}
		if err := checkParameter(name); err != nil {
			return err
		}
	}
	return nil
}

// form forwards a multipart body and parses it at the same time. It returns the last bytes only after it has checked
// all fields. Meta does nothing with an incomplete body.
type form struct {
	body    io.Closer
	ahead   *bufio.Reader
	along   *io.PipeWriter
	verdict chan error
}

// newForm returns the form of a body. A form with media has mediaFields only.
func newForm(body io.ReadCloser, boundary string, media bool) *form {
	read, along := io.Pipe()
	f := &form{body, bufio.NewReaderSize(io.TeeReader(body, along), 32<<10), along, make(chan error, 1)}
	go func() { // until along is closed
		err := readForm(read, boundary, media)
		if err == nil {
			_, err = io.Copy(io.Discard, read) // what follows the form
		}
		read.CloseWithError(err)
		f.verdict <- err
	}()
	return f
}

// readForm reads a form and refuses fields that do not pass.
func readForm(r io.Reader, boundary string, media bool) error {
	parts, files := multipart.NewReader(r, boundary), 0
	for {
		p, err := parts.NextRawPart()
		if err == io.EOF { // a wrapped io.EOF means that the end of the form is missing
			return nil
		}
		if err != nil {
			return bodyRefused("The form is not valid.")
		}
		if p.FormName() == "file" {
			files++
		}
		switch name := p.FormName(); {
		case media && files > 1:
			return bodyRefused("The form has several fields file. Upload one file at a time.")
		case media && !slices.Contains(mediaFields, name):
			return bodyRefused("The form has another field than file, type, messaging_product and ttl_minutes. Remove it. Send the token in the header Authorization, or in a field access_token before the file.")
		case !plainField.MatchString(name):
			return bodyRefused("The form has a field without a plain name. Rename it.")
		default:
			if err := checkParameter(name); err != nil {
				return err
			}
		}
	}
}

// Read reads the body.
func (f *form) Read(p []byte) (int, error) {
	n, err := f.ahead.Read(p)
	if err != nil {
		return 0, err
	}
	_, err = f.ahead.Peek(1)
	switch {
	case err == nil:
		return n, nil
	case !errors.Is(err, io.EOF):
		return 0, err
	}
	f.along.Close()
	err = <-f.verdict
	f.verdict <- err // for the next Read, should there be one
	if err != nil {
		return 0, err
	}
	return n, nil
}

// Close closes the body and ends the parser.
func (f *form) Close() error {
	f.along.CloseWithError(io.ErrClosedPipe)
	return f.body.Close()
}
