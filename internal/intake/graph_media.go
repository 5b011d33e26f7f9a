package intake

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// maxAsked is the number of numbers of an API key that Meta is asked about for media without a number.
const maxAsked = 32

// mediaFailure is why media was not found: a refusal, or Meta's answer.
type mediaFailure struct {
	refused refusal
	status  int
	answer  []byte
}

// away reports that Meta does not answer, so that asking it more would take too long.
func (f mediaFailure) away() bool { return f.status >= http.StatusInternalServerError }

// graphUpload serves POST /{version}/{phone_number_id}/media. It remembers the number of the media.
func (in *Intake) graphUpload(w http.ResponseWriter, r *http.Request) {
	key, refused := in.graphKey(r, httpapi.ScopeSend)
	number := r.PathValue("phone_number_id")
	if refused == nil {
		refused = in.reachable(key, number)
	}
	if refused != nil {
		in.graphRefuse(w, r, refused)
		return
	}
	giveTime(w)
	r.Body = http.MaxBytesReader(w, r.Body, maxMedia)
	body, sum := hashed(r)
	r.Body = body
	copied := &answerCopy{ResponseWriter: w}
	in.forward(copied, r, number, passMediaTime)
	hash := sum()
	var at uploaded
	if json.Unmarshal(copied.start.Bytes(), &at) != nil || !message.IsNumberID(at.ID) {
		return
	}
	in.media.add(at.ID, number)
	if hash == "" || in.o.Uploads == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), storeTimeout)
	defer cancel()
	if err := in.o.Uploads.Add(ctx, number, hash, at.ID); err != nil {
		in.o.Log.Warn("cannot remember uploaded media, messages cannot name it by its hash", "phone_number_id", number, "err", err)
	}
}

// answerCopy keeps the start of an answer.
type answerCopy struct {
	http.ResponseWriter
	start bytes.Buffer
}

// Write writes to the answer.
func (a *answerCopy) Write(b []byte) (int, error) {
	if a.start.Len() < 1<<10 {
		a.start.Write(b)
	}
	return a.ResponseWriter.Write(b)
}

// Unwrap returns the writer, for http.ResponseController.
func (a *answerCopy) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// graphDownload serves GET /{version}/{id}/download, a path that Meta does not have: the content of media, for
// callers without a token of Meta.
func (in *Intake) graphDownload(w http.ResponseWriter, r *http.Request) {
	key, refused := in.graphKey(r, httpapi.ScopeRead)
	if refused != nil {
		in.graphRefuse(w, r, refused)
		return
	}
	object, number, failed := in.findMedia(r, key)
	if object == nil {
		in.writeFailed(w, r, failed)
		return
	}
	giveTime(w)
	r, cancel := within(r, passMediaTime)
	defer cancel()
	in.o.Graph.Download(w, r, number, object["url"].(string))
}

// mediaURL returns the URL at which Sluice serves the content of media.
func mediaURL(r *http.Request, number string) string {
	here := httpapi.Origin(r)
	here.Path, here.RawQuery = r.URL.Path+"/download", url.Values{"phone_number_id": {number}}.Encode()
	return here.String()
}

// findMedia asks Meta for the media of a call, and returns the number that it belongs to. A call need not name the
// number: then it is the number of the upload, or the first number of the key to which Meta says that the media belongs.
// Objects of other kinds and of numbers that the key does not cover are not found: the token of a number can read more
// than the caller may.
func (in *Intake) findMedia(r *http.Request, key httpapi.Key) (object map[string]any, number string, failed mediaFailure) {
	id, numbers := r.PathValue("id"), in.covered(key)
	if !message.IsNumberID(id) {
		return nil, "", mediaFailure{refused: graphRefusal("object_not_found")}
	}
	if given := r.URL.Query().Get("phone_number_id"); given != "" {
		numbers = []string{given}
	} else if known := in.media.of(id); known != "" && key.Covers(known) {
		numbers = []string{known}
	}
	if len(numbers) == 0 || len(numbers) > maxAsked {
		return nil, "", mediaFailure{refused: graphRefusal("number_not_named")}
	}
	r, cancel := within(r, passTime)
	defer cancel()
	for _, number = range numbers {
		if refused := in.reachable(key, number); refused != nil {
			return nil, "", mediaFailure{refused: refused}
		}
		object, status, answer := in.o.Graph.Media(r, number, r.PathValue("version"), id)
		if isMedia(object) {
			in.media.add(id, number)
			return object, number, failed
		}
		if object == nil {
			failed = mediaFailure{status: status, answer: answer}
		} else {
			failed = mediaFailure{refused: graphRefusal("object_not_found")}
		}
		if failed.away() {
			break
		}
	}
	return nil, "", failed
}

// isMedia reports whether an object of Meta is media.
func isMedia(object map[string]any) bool {
	_, isURL := object["url"].(string)
	_, isMedia := object["mime_type"].(string)
	return isURL && isMedia
}

// writeFailed answers that an object was not found.
func (in *Intake) writeFailed(w http.ResponseWriter, r *http.Request, f mediaFailure) {
	switch {
	case f.refused != nil:
		in.graphRefuse(w, r, f.refused)
	case f.answer != nil:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(f.status)
		w.Write(f.answer)
	default:
		in.graphRefuse(w, r, graphRefusal("object_not_found"))
	}
}
