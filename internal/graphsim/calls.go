package graphsim

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"time"
)

// callActions answers POST /{version}/{number}/calls:
// https://developers.facebook.com/documentation/business-messaging/whatsapp/calling/reference
func (s *Sim) callActions(w http.ResponseWriter, r *http.Request) {
	s.forNumber(scopeMessaging, func(n *numberAssets, id string, p parameters) (any, *denial) {
		if d := product(p); d != nil {
			return nil, d
		}
		action, call := p.text("action"), p.text("call_id")
		switch action {
		case "connect":
			if p.text("to") == "" && p.text("recipient") == "" {
				return nil, required("to")
			}
			call = "wacid." + base64.RawStdEncoding.EncodeToString([]byte(fmt.Sprint("call", id, s.assets.next())))
			n.calls[call] = true
			return map[string]any{"messaging_product": "whatsapp", "calls": []any{map[string]string{"id": call}}}, nil
		case "pre_accept", "accept", "reject", "terminate":
			if call == "" {
				return nil, required("call_id")
			}
			if !n.calls[call] {
				return nil, &denial{status: http.StatusBadRequest, code: 138008, subcode: 0, message: "(#138008) Call not found"}
			}
			n.calls[call] = action == "pre_accept" || action == "accept"
			return map[string]any{"messaging_product": "whatsapp", "success": true}, nil
		}
		return nil, invalid(fmt.Sprintf("Param action must be one of {CONNECT, PRE_ACCEPT, ACCEPT, REJECT, TERMINATE} - got %q.", action))
	})(w, r)
}

// callPermissions answers GET /{version}/{number}/call_permissions: everybody permits calls for a week.
func (s *Sim) callPermissions(w http.ResponseWriter, r *http.Request) {
	s.forNumber(scopeMessaging, func(_ *numberAssets, _ string, p parameters) (any, *denial) {
		if p.text("user_wa_id") == "" && p.text("recipient") == "" {
			return nil, required("user_wa_id")
		}
		until := time.Now().Add(7 * day).Unix()
		limit := func(period string, most int) map[string]any {
			return map[string]any{"time_period": period, "max_allowed": most, "current_usage": 0}
		}
		return map[string]any{
			"messaging_product": "whatsapp",
			"permission":        map[string]any{"status": "temporary", "expiration_time": until},
			"actions": []any{
				map[string]any{"action_name": "send_call_permission_request", "can_perform_action": true, "limits": []any{limit("PT24H", 1), limit("P7D", 2)}},
				map[string]any{"action_name": "start_call", "can_perform_action": true, "limits": []any{limit("PT24H", 5)}},
			},
		}, nil
	})(w, r)
}
