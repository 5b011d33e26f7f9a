package intake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"mime"
	"mime/multipart"
	"net/http"

	"sluice/internal/content"
	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// uploads remembers which files were uploaded from which numbers.
type uploads interface {
	// Add remembers Meta's id of a file, by the hash of its content.
	Add(ctx context.Context, number, hash, id string) error
	// Remove forgets a file by Meta's id.
	Remove(ctx context.Context, number, id string) error
	// Find returns Meta's id of each file at a number, by their hashes; empty: it is not known.
	Find(ctx context.Context, number string, hashes []string) ([]string, error)
}

// uploaded is the answer of GET /v1/media/{sha256}.
type uploaded struct {
	ID string `json:"id" doc:"Meta's id of the file."`
}

func (in *Intake) findMediaRoute() httpapi.Route {
	return httpapi.Route{
		Method: http.MethodGet, Path: "/v1/media/{sha256}", Name: "findMedia", Group: "Messages",
		Summary: "Find a file that was uploaded from a number in the last 22 days.",
		Doc: "Upload it by Meta's `POST /{version}/{phone_number_id}/media` only if it is not found: Meta keeps a file for 30 days. Messages of the number can name it by `\"id\": \"sha256:...\"` " +
			"in place of Meta's id, for 22 days.",
		Scope: httpapi.ScopeSend,
		Params: []httpapi.Param{
			{In: "path", Name: "sha256", Doc: "The SHA-256 hash of the content of the file, in lower-case hexadecimal digits.", Example: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
			{In: "query", Name: "phone_number_id", Doc: "The number from which it was uploaded. Required.", Example: "106540352242922"},
		},
		Answers: []httpapi.Answer{{Status: 200, Doc: "Meta's id of the file.", Type: uploaded{}}},
		Codes:   []string{"phone_number_id_not_found", "media_not_uploaded", "store_unavailable"},
		Handler: in.findUpload,
	}
}

// findUpload serves GET /v1/media/{sha256}.
func (in *Intake) findUpload(w http.ResponseWriter, r *http.Request) {
	key, refused := in.o.Keys.Authorize(r, httpapi.ScopeSend)
	number, hash := r.URL.Query().Get("phone_number_id"), r.PathValue("sha256")
	if refused == nil && !(message.IsNumberID(number) && key.Covers(number) && in.o.Numbers(number)) {
		refused = refuseAt("phone_number_id", "phone_number_id_not_found")
	}
	if refused == nil && !content.IsHash(hash) {
		refused = refuse("media_not_uploaded")
	}
	var ids []string
	if refused == nil {
		ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
		defer cancel()
		var err error
		switch ids, err = in.o.Uploads.Find(ctx, number, []string{hash}); {
		case err != nil:
			in.o.Log.Error("cannot find uploaded media", "phone_number_id", number, "err", err)
			refused = refuse("store_unavailable")
		case ids[0] == "":
			refused = refuse("media_not_uploaded")
		}
	}
	if refused != nil {
		refused.Write(w)
		return
	}
	httpapi.WriteJSON(w, "application/json", http.StatusOK, uploaded{ids[0]})
}

// hashed returns a body that hashes the file of a form while it is read, and a function that returns the hash when the body has been read;
// empty: it has no file.
func hashed(r *http.Request) (body io.ReadCloser, sum func() string) {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "multipart/form-data" {
		return r.Body, func() string { return "" }
	}
	from, to := io.Pipe()
	hash := make(chan string, 1)
	go func() {
		defer from.CloseWithError(io.ErrClosedPipe) // what is left is not needed
		parts := multipart.NewReader(from, params["boundary"])
		for {
			part, err := parts.NextRawPart()
			if err != nil {
				hash <- ""
				return
			}
			if part.FormName() != "file" {
				continue
			}
			h := sha256.New()
			if _, err := io.Copy(h, part); err != nil {
				hash <- ""
				return
			}
			hash <- hex.EncodeToString(h.Sum(nil))
			return
		}
	}()
	return &teeBody{r.Body, to}, func() string {
		to.Close()
		return <-hash
	}
}

// teeBody is a body whose bytes are also written to a pipe, as long as that is read.
type teeBody struct {
	io.ReadCloser
	to *io.PipeWriter
}

// Read reads from the body.
func (t *teeBody) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	t.to.Write(p[:n]) // fails when the hash is known
	return n, err
}

// useUploads puts Meta's ids in the place of the hashes with which a message names files, and returns the problems.
func (in *Intake) useUploads(m *message.Message) []message.Problem {
	hashes := append(content.Uploads(m.Payload), content.Uploads(m.Fallback.Payload)...)
	if len(hashes) == 0 || in.o.Uploads == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	found, err := in.o.Uploads.Find(ctx, m.From, hashes)
	if err != nil {
		in.o.Log.Error("cannot find uploaded media", "phone_number_id", m.From, "err", err)
		return []message.Problem{problem("message", "store_unavailable")}
	}
	ids := map[string]string{}
	for i, id := range found {
		if ids[hashes[i]] = id; id == "" {
			return []message.Problem{problem("message", "media_not_uploaded")}
		}
	}
	m.Payload = content.UseUploads(m.Payload, ids)
	if len(m.Fallback.Payload) > 0 {
		m.Fallback.Payload = content.UseUploads(bytes.Clone(m.Fallback.Payload), ids)
	}
	return nil
}
