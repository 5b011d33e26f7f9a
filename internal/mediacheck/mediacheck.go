// Package mediacheck fetches files by the links of messages, as Meta will, to find out before a campaign whether Meta can use them.
//
// It connects to the public internet only, also after redirects, reads no more of a file than it needs, and returns nothing of the answer
// but type and size.
package mediacheck

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"sluice/internal/content"
	"sluice/internal/message"
	"sluice/internal/publicnet"
	"sluice/internal/version"
)

const (
	// timeout bounds a check, with its redirects and the body. Meta does not document how long it waits.
	timeout = 10 * time.Second
	// redirects is how many redirects are followed.
	redirects = 5
	// bodyMost is how much of a file is read whose size the server does not say.
	bodyMost = 17 << 20
	// atOnce is how many checks run at once, and waitMost how long a further one waits.
	atOnce   = 16
	waitMost = 5 * time.Second
)

// Options configure a Checker. All are optional.
type Options struct {
	Dial func(ctx context.Context, network, addr string) (net.Conn, error) // connects to public addresses only; nil: publicnet.Dialer
}

// Checker checks links. It is safe for concurrent use.
type Checker struct {
	client http.Client
	slots  chan struct{}
}

// New returns a Checker.
func New(o Options) *Checker {
	if o.Dial == nil {
		o.Dial = publicnet.Dialer{}.DialContext
	}
	return &Checker{slots: make(chan struct{}, atOnce), client: http.Client{
		Transport: &http.Transport{ // without a proxy, which would connect in its place
			DialContext:            o.Dial,
			TLSHandshakeTimeout:    publicnet.DialTimeout,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true, // the size is that of the file
			DisableKeepAlives:      true,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > redirects {
				return errRedirects
			}
			if len(content.CheckLink(r.URL.String())) > 0 {
				return publicnet.ErrPrivate
			}
			return nil
		},
	}}
}

var errRedirects = errors.New("too many redirects")

// Check fetches the file behind a link for a message of a kind: image, video, audio, document or sticker. It returns the type and the size that the
// server says, or the problems that Meta would have with it; then a later check may succeed. It blocks for up to 15 s. The error is
// message.ErrBusy, or that of ctx.
func (c *Checker) Check(ctx context.Context, kind, link string) (message.MediaFile, []message.Problem, error) {
	if problems := content.CheckLink(link); len(problems) > 0 {
		return message.MediaFile{}, problems, nil
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-time.After(waitMost):
		return message.MediaFile{}, nil, message.ErrBusy
	case <-ctx.Done():
		return message.MediaFile{}, nil, ctx.Err()
	}
	fetching, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	f, failed := c.fetch(fetching, kind, link)
	if ctx.Err() != nil {
		return message.MediaFile{}, nil, ctx.Err()
	}
	if failed != "" {
		return f, []message.Problem{{Path: "link", Code: message.MediaUnreachable, Detail: failed}}, nil
	}
	return f, judge(kind, f), nil
}

// fetch returns what a server says of a file, or in words why it cannot be fetched.
func (c *Checker) fetch(ctx context.Context, kind, link string) (f message.MediaFile, failed string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil) // as Meta does: some servers answer HEAD in another way
	if err != nil {
		return f, "The link cannot be requested."
	}
	req.Header.Set("User-Agent", version.UserAgent)
	resp, err := c.client.Do(req)
	if err != nil {
		return f, why(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return f, fmt.Sprintf("The server answers with the HTTP status %d.", resp.StatusCode)
	}
	if f.Type, _, err = mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || len(f.Type) > 100 {
		f.Type = ""
	}
	if f.Bytes = resp.ContentLength; f.Bytes >= 0 {
		return f, ""
	}
	most := min(most(kind), bodyMost)
	switch n, err := io.Copy(io.Discard, io.LimitReader(resp.Body, most+1)); {
	case err != nil:
		return f, why(ctx, err)
	case n <= bodyMost:
		f.Bytes = n
	}
	return f, ""
}

// why says why a request failed, without the link.
func why(ctx context.Context, err error) string {
	_, cert := errors.AsType[*tls.CertificateVerificationError](err)
	dns, isDNS := errors.AsType[*net.DNSError](err)
	switch {
	case errors.Is(err, publicnet.ErrPrivate):
		return "The host, or one that it redirects to, is not on the public internet."
	case errors.Is(err, errRedirects):
		return fmt.Sprintf("The server redirects more than %d times.", redirects)
	case ctx.Err() != nil:
		return fmt.Sprintf("The server does not send the file within %d seconds.", int(timeout.Seconds()))
	case cert:
		return "The certificate of the server is not valid."
	case isDNS && dns.IsNotFound:
		return "The host does not exist."
	}
	return "No connection to the server, or it broke."
}

// most is the size that Meta allows for files of a kind, in bytes.
func most(kind string) (most int64) {
	for _, t := range content.MediaTypes() {
		if t.Kind == kind {
			most = max(most, t.Most)
		}
	}
	return most
}

// judge returns the problems that Meta would have with a file. Documents may have any type.
func judge(kind string, f message.MediaFile) (problems []message.Problem) {
	var types []string
	for _, t := range content.MediaTypes() {
		if t.Kind == kind {
			types = append(types, t.Type)
		}
	}
	if kind != "document" && !slices.Contains(types, f.Type) {
		is := "without a Content-Type"
		if f.Type != "" {
			is = "with the type " + f.Type
		}
		problems = append(problems, message.Problem{Path: "link", Code: message.MediaTypeWrong, Detail: fmt.Sprintf("The server sends the file %s. Meta takes for this kind: %s.", is, strings.Join(types, ", "))})
	}
	if limit := most(kind); f.Bytes > limit {
		problems = append(problems, message.Problem{Path: "link", Code: message.MediaTooLarge, Detail: fmt.Sprintf("The file is larger than the %d bytes that Meta takes for this kind.", limit)})
	}
	return problems
}
