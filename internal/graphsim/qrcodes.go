package graphsim

import (
	"encoding/base32"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// qrCode is a QR code that opens a chat with a prefilled message.
type qrCode struct{ code, message, image string }

func (q *qrCode) fields() map[string]any {
	f := map[string]any{"code": q.code, "prefilled_message": q.message, "deep_link_url": "https://wa.me/message/" + q.code}
	if q.image != "" {
		f["qr_image_url"] = "https://scontent.xx.fbcdn.net/m1/v/t6/" + q.code + "." + strings.ToLower(q.image)
	}
	return f
}

// qrCodes answers GET /{version}/{number}/message_qrdls, and GET of one code:
// https://developers.facebook.com/documentation/business-messaging/whatsapp/qr-codes
func (s *Sim) qrCodes(w http.ResponseWriter, r *http.Request) {
	s.forNumber(scopeManagement, func(n *numberAssets, _ string, p parameters) (any, *denial) {
		list := []any{}
		for _, q := range n.codes {
			if wanted := codeOf(r, p); wanted == "" || wanted == q.code {
				f := q.fields()
				delete(f, "qr_image_url") // only a field that the call names
				list = append(list, f)
			}
		}
		return list, nil
	})(w, r)
}

// putQRCode answers POST /{version}/{number}/message_qrdls: it makes a QR code, or changes the one that the call names.
func (s *Sim) putQRCode(w http.ResponseWriter, r *http.Request) {
	s.forNumber(scopeManagement, func(n *numberAssets, id string, p parameters) (any, *denial) {
		message, image := p.text("prefilled_message"), strings.ToUpper(p.text("generate_qr_image"))
		switch {
		case message == "":
			return nil, required("prefilled_message")
		case image != "" && image != "PNG" && image != "SVG":
			return nil, invalid(fmt.Sprintf("Param generate_qr_image must be one of {SVG, PNG} - got %q.", image))
		}
		wanted := codeOf(r, p)
		if wanted == "" {
			wanted = base32.StdEncoding.EncodeToString([]byte(numberOf(fmt.Sprint("qr", id, s.assets.next()))))[:14]
			n.codes = append(n.codes, &qrCode{code: wanted, image: image})
		}
		i := slices.IndexFunc(n.codes, func(q *qrCode) bool { return q.code == wanted })
		if i < 0 {
			return nil, invalid("Invalid parameter")
		}
		n.codes[i].message = message
		return n.codes[i].fields(), nil
	})(w, r)
}

// deleteQRCode answers DELETE /{version}/{number}/message_qrdls/{code}.
func (s *Sim) deleteQRCode(w http.ResponseWriter, r *http.Request) {
	s.forNumber(scopeManagement, func(n *numberAssets, _ string, p parameters) (any, *denial) {
		before := len(n.codes)
		n.codes = slices.DeleteFunc(n.codes, func(q *qrCode) bool { return q.code == codeOf(r, p) })
		if len(n.codes) == before {
			return nil, invalid("Invalid parameter")
		}
		return done, nil
	})(w, r)
}

// codeOf returns the QR code that a call names, in its path or as a parameter.
func codeOf(r *http.Request, p parameters) string {
	if code := r.PathValue("code"); code != "" {
		return code
	}
	return p.text("code")
}
