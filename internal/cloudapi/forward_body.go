package cloudapi

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"

	"sluice/internal/content"
	"sluice/internal/jsondoc"
)

// The Graph API accepts parameters in bodies too, also an access token or another method. So a Forwarder reads the
// body of a call before it forwards the call with its own token.

// bodyRefused is why a body is not forwarded.
type bodyRefused string

// Error returns the reason.
func (b bodyRefused) Error() string { return string(b) }

// formFields are the fields of a form with media. Meta, Cloud API, "Upload media".
var formFields = []string{"file", "messaging_product", "type"}

// passedBody returns the body to forward, and sets its length and type in r. The caller must close it. It returns
// bodyRefused if the body must not be forwarded.
func passedBody(r *http.Request) (io.ReadCloser, error) {
	kind, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // after an error kind is empty
	switch {
	case r.Method != http.MethodPost:
		r.ContentLength = 0
		r.Header.Del("Content-Type")
		return http.NoBody, nil
	case strings.HasSuffix(r.URL.Path, "/media"):
		if kind != "multipart/form-data" || params["boundary"] == "" {
			return nil, bodyRefused("Send media as multipart/form-data.")
		}
		r.Header.Set("Content-Type", mime.FormatMediaType(kind, map[string]string{"boundary": params["boundary"]}))
		return newForm(r.Body, params["boundary"]), nil
	case kind != "application/json":
		return nil, bodyRefused("The body is not declared as JSON. Send the header Content-Type: application/json.")
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var d jsondoc.Doc
	if d.Read(string(text)) != nil || d.Root().Kind() != jsondoc.Object {
		return nil, bodyRefused("The body is not a JSON object.")
	}
	for name := range d.Root().Members() {
		if p := content.Command(name); p != "" {
			return nil, bodyRefused(p + ": Sluice does not forward this parameter. Remove it. Sluice uses its own token and the method of the call.")
		}
	}
	r.ContentLength = int64(len(text))
	return io.NopCloser(bytes.NewReader(text)), nil
}

// form forwards a multipart body and parses it at the same time. It returns the last bytes only after it has checked
// that all fields are in formFields. Meta does nothing with an incomplete body.
type form struct {
	body    io.Closer
	ahead   *bufio.Reader
	along   *io.PipeWriter
	verdict chan error
}

func newForm(body io.ReadCloser, boundary string) *form {
	read, along := io.Pipe()
	f := &form{body, bufio.NewReaderSize(io.TeeReader(body, along), 32<<10), along, make(chan error, 1)}
	go func() { // until along is closed
		err := readForm(read, boundary)
		if err == nil {
			_, err = io.Copy(io.Discard, read) // what follows the form
		}
		read.CloseWithError(err)
		f.verdict <- err
	}()
	return f
}

// readForm reads a form and refuses fields that do not pass.
func readForm(r io.Reader, boundary string) error {
	parts := multipart.NewReader(r, boundary)
	for {
		p, err := parts.NextRawPart()
		if err == io.EOF { // a wrapped io.EOF means that the end of the form is missing
			return nil
		}
		if err != nil {
			return bodyRefused("The form is not valid.")
		}
		if !slices.Contains(formFields, p.FormName()) {
			return bodyRefused("The form has another field than file, type and messaging_product. Remove it.")
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
