package intake

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// mediaChecker fetches files behind links, as Meta will.
type mediaChecker interface {
	// Check returns type and size of the file behind a link for a message of a kind, or the problems that Meta would have with it. It blocks for up
	// to 15 s, and may return message.ErrBusy.
	Check(ctx context.Context, kind, link string) (message.MediaFile, []message.Problem, error)
}

// mediaRequest is the body of POST /v1/media/check.
type mediaRequest struct {
	Type string `json:"type" doc:"The type of the message, or of the parameter of the template: image, video, audio, document or sticker."`
	Link string `json:"link" doc:"The link to the file."`
}

// checkMedia serves POST /v1/media/check.
func (in *Intake) checkMedia(w http.ResponseWriter, r *http.Request) {
	var ask mediaRequest
	_, refused := in.o.Keys.Authorize(r, httpapi.ScopeSend)
	if refused == nil {
		refused = httpapi.ReadJSON(w, r, &ask)
	}
	if refused == nil && !slices.Contains(message.MediaKinds(), ask.Type) {
		refused = refuseAt("type", "media_kind_unknown")
	}
	var file message.MediaFile
	if refused == nil {
		var err error
		file, refused, err = in.o.Media.Check(r.Context(), ask.Type, ask.Link)
		switch {
		case errors.Is(err, message.ErrBusy):
			refused = refuse("media_check_busy")
		case err != nil: // the caller has gone
			refused = refuse("timeout")
		}
		for i, p := range refused {
			if fix := problem(p.Path, p.Code).Fix; p.Fix == "" {
				refused[i].Fix = fix
			}
		}
	}
	if refused != nil {
		refused.Write(w)
		return
	}
	httpapi.WriteJSON(w, "application/json", http.StatusOK, file)
}
