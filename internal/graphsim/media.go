package graphsim

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"sluice/internal/content"
)

// mediaTypes are the types that Meta accepts, each with the most bytes of a file.
var mediaTypes = content.MediaTypes()

const (
	maxMedia     = 100<<20 + 1<<20 // the largest upload, with the rest of the form
	mediaKept    = 256 << 20       // of all files together; the oldest are dropped
	mediaLives   = 30 * 24 * time.Hour
	mediaURLGood = 5 * time.Minute
	mediaPath    = "/whatsapp_business/attachments"
)

// upload answers POST /{version}/{number}/media, a form with file, type and
// messaging_product.
func (s *Sim) upload(w http.ResponseWriter, r *http.Request) {
	st, number := s.standing.Load(), r.PathValue("id")
	if _, ok := st.number(number, s.options.Rate); !ok {
		s.deny(w, missing(r))
		return
	}
	if d := st.mayTouch(scopeMessaging); d != nil {
		s.deny(w, d)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, s.media.most)
	f, product, err := readUpload(r)
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		s.refuse(w, 131053, "The file is larger than 100 MB.")
		return
	}
	switch {
	case err != nil || f == nil:
		s.deny(w, required("file"))
		return
	case cmp.Or(product, r.URL.Query().Get("messaging_product")) != "whatsapp":
		s.deny(w, required("messaging_product"))
		return
	}
	i := slices.IndexFunc(mediaTypes, func(t content.MediaType) bool { return t.Type == f.kind })
	if i < 0 {
		var names []string
		for _, t := range mediaTypes {
			names = append(names, t.Type)
		}
		s.deny(w, invalid(fmt.Sprintf(
			"Param file must be a file with one of the following types: %s. Received file of type '%s'.", strings.Join(names, ", "), f.kind)))
		return
	}
	// Meta documents the limits, but not their error code.
	if most := mediaTypes[i].Most; int64(len(f.data)) > most {
		s.refuse(w, 131053, fmt.Sprintf("The file has %d bytes; %s may have %d.", len(f.data), f.kind, most))
		return
	}
	sum := sha256.Sum256(f.data)
	f.number, f.hash, f.at = number, hex.EncodeToString(sum[:]), time.Now()
	s.succeed(w, map[string]string{"id": s.media.add(f)})
}

// readUpload reads the parts of an upload; no file is nil.
func readUpload(r *http.Request) (f *file, product string, err error) {
	parts, err := r.MultipartReader()
	if err != nil {
		return nil, "", err
	}
	kind := ""
	for {
		p, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, "", err
		}
		data, err := io.ReadAll(p)
		if err != nil {
			return nil, "", err
		}
		switch p.FormName() {
		case "file":
			f = &file{data: data, kind: p.Header.Get("Content-Type")}
		case "type":
			kind = string(data)
		case "messaging_product":
			product = string(data)
		}
	}
	if f != nil {
		if f.kind == "" || f.kind == "application/octet-stream" {
			f.kind = kind
		}
		if bare, _, err := mime.ParseMediaType(f.kind); err == nil {
			f.kind = bare
		}
	}
	return f, product, nil
}

// mediaInfo answers GET /{version}/{media}, with a URL that is valid for five minutes.
func (s *Sim) mediaInfo(w http.ResponseWriter, r *http.Request) {
	f := s.media.get(r.PathValue("id"))
	if !s.ownMedia(w, r, f) {
		return
	}
	until := fmt.Sprint(time.Now().Add(mediaURLGood).Unix())
	link := url.URL{Scheme: "http", Host: r.Host, Path: mediaPath, RawQuery: url.Values{"mid": {f.id}, "ext": {until}, "hash": {f.hash[:16]}}.Encode()}
	s.succeed(w, map[string]any{
		"messaging_product": "whatsapp", "id": f.id, "mime_type": f.kind, "sha256": f.hash, "file_size": fmt.Sprint(len(f.data)), "url": link.String(),
	})
}

// deleteNode answers DELETE /{version}/{id}: media, or a flow.
func (s *Sim) deleteNode(w http.ResponseWriter, r *http.Request) {
	if s.assets.hasFlow(r.PathValue("id")) {
		s.deleteFlow(w, r)
		return
	}
	f := s.media.get(r.PathValue("id"))
	if !s.ownMedia(w, r, f) {
		return
	}
	s.media.remove(f.id)
	s.succeed(w, map[string]bool{"success": true})
}

// ownMedia reports whether a call may use media. If not, it answers the call itself. A call may name the
// number of the media.
func (s *Sim) ownMedia(w http.ResponseWriter, r *http.Request, f *file) bool {
	number := r.URL.Query().Get("phone_number_id")
	if f == nil || number != "" && number != f.number {
		s.deny(w, missing(r))
		return false
	}
	d := s.standing.Load().mayTouch(scopeMessaging)
	if d != nil {
		s.deny(w, d)
	}
	return d == nil
}

// download answers the URLs that mediaInfo returns. Old ones have expired, like Meta's.
func (s *Sim) download(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	f := s.media.get(q.Get("mid"))
	var until int64
	fmt.Sscan(q.Get("ext"), &until) // a value that is no number counts as 0, which is past
	if f == nil || time.Now().Unix() > until || q.Get("hash") != f.hash[:16] {
		s.count("404")
		http.Error(w, "this media URL is not valid any more: ask for the media's URL again", http.StatusNotFound)
		return
	}
	s.count(okay)
	w.Header().Set("Content-Type", f.kind)
	w.Write(f.data)
}
