package intake

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

const (
	// maxMedia is Meta's limit, 100 MB, and 1 MB for the form around the media.
	maxMedia  = 100<<20 + 1<<20
	mediaTime = 5 * time.Minute
	// The time limits of Meta for forwarded calls, without and with media. The server has 20 s to read a request
	// and to answer it, and mediaTime for media.
	passTime      = 8 * time.Second
	passMediaTime = mediaTime - 10*time.Second
)

// forward forwards a call with the token of a number.
func (in *Intake) forward(w http.ResponseWriter, r *http.Request, number string, most time.Duration) {
	r, cancel := within(r, most)
	defer cancel()
	in.o.Graph.Forward(w, r, number, httpapi.Origin(r))
	if r.Method != http.MethodGet && in.o.Templates != nil && mayChangeTemplate(r.URL.Path) {
		if err := in.o.Templates.Want(context.WithoutCancel(r.Context()), number); err != nil {
			in.o.Log.Warn("cannot ask for a sync of templates", "phone_number_id", number, "err", err)
		}
	}
}

// mayChangeTemplate reports whether a call that changes something at a path of Meta may change a template: it creates, edits or
// deletes one. The path of an edit has the id of a template or of another object alone.
func mayChangeTemplate(path string) bool {
	return strings.HasSuffix(path, "message_templates") || strings.Count(path, "/") == 2
}

// within returns r with a time limit for Meta. If Meta does not answer in time, Sluice can still write an error
// before the deadline of the connection.
func within(r *http.Request, most time.Duration) (*http.Request, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(r.Context(), most)
	return r.WithContext(ctx), cancel
}

// reachable refuses calls of a number that is not configured or that the key does not cover.
func (in *Intake) reachable(key httpapi.Key, number string) refusal {
	switch {
	case !message.IsNumberID(number) || !key.Covers(number) || !in.o.Numbers(number):
		return refuse("phone_number_id_not_found")
	case in.o.Graph == nil:
		return refuse("forwarding_not_configured")
	}
	return nil
}

// giveTime extends the time limits of a request to mediaTime.
func giveTime(w http.ResponseWriter) {
	c := http.NewResponseController(w)
	c.SetReadDeadline(time.Now().Add(mediaTime))
	c.SetWriteDeadline(time.Now().Add(mediaTime))
}

// graphObject serves GET /{version}/{id}.
func (in *Intake) graphObject(w http.ResponseWriter, r *http.Request) {
	key, refused := in.graphKey(r, httpapi.ScopeRead)
	id, number := r.PathValue("id"), ""
	switch {
	case refused != nil:
	case in.o.Numbers(id):
		number, refused = id, in.reachable(key, id)
	case isMessageID(id):
		refused = graphRefusal("message_of_sluice")
	default:
		if in.media.of(id) == "" {
			number, _ = in.accountNumber(r, key, id, false)
		}
		if number == "" {
			in.graphMediaOrFlow(w, r, key)
			return
		}
		refused = in.checkFields(r, key, id)
	}
	if refused != nil {
		in.graphRefuse(w, r, refused)
		return
	}
	in.forward(w, r, number, passTime)
}

// isMessageID reports whether an id is Sluice's id of a message.
func isMessageID(id string) bool {
	_, ours := message.Number(id)
	return ours
}

// graphMediaOrFlow answers with the description of media, a flow or a template.
func (in *Intake) graphMediaOrFlow(w http.ResponseWriter, r *http.Request, key httpapi.Key) {
	object, number, failed := in.findMedia(r, key)
	if object != nil {
		object["url"] = mediaURL(r, number)
		httpapi.WriteJSON(w, "application/json", http.StatusOK, object)
		return
	}
	if failed.away() {
		in.writeFailed(w, r, failed)
		return
	}
	owner, found, refused := in.ownerOf(r, key, r.PathValue("id"), false)
	switch {
	case refused != nil:
		in.graphRefuse(w, r, refused)
	case found:
		in.forward(w, r, owner, passTime)
	default:
		in.writeFailed(w, r, failed)
	}
}

// graphSetObject serves POST /{version}/{id}: it changes a message template or a flow.
func (in *Intake) graphSetObject(w http.ResponseWriter, r *http.Request) {
	key, refused := in.graphKey(r, httpapi.ScopeAccount)
	var number string
	var found bool
	if refused == nil {
		number, found, refused = in.ownerOf(r, key, r.PathValue("id"), true)
	}
	if refused == nil && !found {
		refused = graphRefusal("object_not_changed")
	}
	if refused != nil {
		in.graphRefuse(w, r, refused)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	in.forward(w, r, number, passTime)
}

// graphDelete serves DELETE /{version}/{id} for media and flows.
func (in *Intake) graphDelete(w http.ResponseWriter, r *http.Request) {
	key, refused := in.graphKey(r, httpapi.ScopeSend)
	if refused != nil {
		in.graphRefuse(w, r, refused)
		return
	}
	object, number, failed := in.findMedia(r, key)
	if object == nil && failed.away() {
		in.writeFailed(w, r, failed)
		return
	}
	if object == nil {
		var found bool
		number, found, refused = in.ownerOf(r, key, r.PathValue("id"), true)
		switch {
		case refused != nil:
		case !found:
			in.writeFailed(w, r, failed)
			return
		case !slices.Contains(key.Scopes, httpapi.ScopeAccount):
			refused = refuse("scope_missing")
		}
	}
	if refused != nil {
		in.graphRefuse(w, r, refused)
		return
	}
	in.forward(w, r, number, passTime)
	if object == nil || in.o.Uploads == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), storeTimeout)
	defer cancel()
	if err := in.o.Uploads.Remove(ctx, number, r.PathValue("id")); err != nil { // also if Meta did not delete it: then it is uploaded once more
		in.o.Log.Warn("cannot forget deleted media, messages may still name it by its hash", "phone_number_id", number, "err", err)
	}
}
