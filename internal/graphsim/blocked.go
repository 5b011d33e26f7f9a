package graphsim

import (
	"net/http"
	"slices"
)

// blocked is a user whom a number has blocked.
type blocked struct{ phone, user string }

// blockedUsers answers GET /{version}/{number}/block_users:
// https://developers.facebook.com/documentation/business-messaging/whatsapp/block-users
func (s *Sim) blockedUsers(w http.ResponseWriter, r *http.Request) {
	s.forNumber(scopeMessaging, func(n *numberAssets, _ string, _ parameters) (any, *denial) {
		list := []any{}
		for _, b := range n.blocked {
			u := map[string]any{"messaging_product": "whatsapp"}
			if b.phone != "" {
				u["wa_id"] = b.phone
			} else {
				u["user_id"] = b.user
			}
			list = append(list, u)
		}
		return list, nil
	})(w, r)
}

// blockUsers answers POST /{version}/{number}/block_users. Meta blocks only users who wrote within 24 hours; the simulator blocks all.
func (s *Sim) blockUsers(w http.ResponseWriter, r *http.Request) {
	s.changeBlocked("added_users", func(list []blocked, b blocked) []blocked {
		if slices.Contains(list, b) {
			return list
		}
		return append(list, b)
	})(w, r)
}

// unblockUsers answers DELETE /{version}/{number}/block_users.
func (s *Sim) unblockUsers(w http.ResponseWriter, r *http.Request) {
	s.changeBlocked("removed_users", func(list []blocked, b blocked) []blocked {
		return slices.DeleteFunc(list, func(other blocked) bool { return other == b })
	})(w, r)
}

func (s *Sim) changeBlocked(changed string, change func([]blocked, blocked) []blocked) http.HandlerFunc {
	return s.forNumber(scopeMessaging, func(n *numberAssets, _ string, p parameters) (any, *denial) {
		if d := product(p); d != nil {
			return nil, d
		}
		users := objects(p["block_users"])
		if len(users) == 0 {
			return nil, required("block_users")
		}
		list := []any{}
		for _, u := range users {
			phone, _ := u["user"].(string)
			id, _ := u["user_id"].(string)
			b := blocked{digits(phone), id}
			entry := map[string]any{"input": phone, "wa_id": b.phone}
			if b.phone == "" {
				entry = map[string]any{"input": id, "user_id": id}
			} else {
				b.user = ""
			}
			if b == (blocked{}) {
				return nil, required("block_users[0]['user']")
			}
			n.blocked = change(n.blocked, b)
			list = append(list, entry)
		}
		return map[string]any{"messaging_product": "whatsapp", "block_users": map[string]any{changed: list}}, nil
	})
}

// blocks reports whether a number has blocked a recipient. Messages to the recipient then fail; Meta documents no code for that.
func (a *assets) blocks(number string, m request) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.numbers[number]
	if n == nil {
		return false
	}
	b := blocked{phone: m.recipient}
	if m.toUser() {
		b = blocked{user: m.recipient}
	}
	return slices.Contains(n.blocked, b)
}
