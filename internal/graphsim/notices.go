package graphsim

import (
	"encoding/json"
	"strconv"
	"time"
)

// notice sends a webhook of a field other than messages at once. Its value is
// as in Meta's reference:
// https://developers.facebook.com/docs/graph-api/webhooks/reference/whatsapp-business-account
func (h *hooks) notice(field string, value any) { h.noticeOf("", field, value) }

// noticeOf is notice for a number, which may have a callback URL of its own.
func (h *hooks) noticeOf(number, field string, value any) {
	to, ok := h.target(field, number)
	if !ok {
		return
	}
	now := time.Now()
	body, err := json.Marshal(map[string]any{
		"object": "whatsapp_business_account",
		"entry": []any{map[string]any{
			"id": h.standing.Load().ID, "time": now.Unix(),
			"changes": []any{map[string]any{"field": field, "value": value}},
		}},
	})
	if err != nil {
		panic(err) // cannot happen: values are JSON already, or texts and numbers
	}
	h.queue.put(&parcel{due: now, url: to, body: escape(body), reports: []report{{at: now}}})
}

// announce sends the webhooks that Meta sends when an account changes from one standing to the
// next.
func (h *hooks) announce(before, after *standing) {
	if before.Review != after.Review {
		h.notice("account_review_update", map[string]any{"decision": after.Review})
	}
	if before.Tier != after.Tier {
		h.notice("business_capability_update", map[string]any{"max_daily_conversations_per_business": after.Tier, "max_phone_numbers_per_business": 25})
	}
	if was, is := disabled(before), disabled(after); was != is {
		state := "REINSTATE"
		if is {
			state = "DISABLE"
		}
		h.notice("account_update", map[string]any{
			"event": "DISABLED_UPDATE", "ban_info": map[string]any{"waba_ban_state": state, "waba_ban_date": time.Now().UTC().Format("January 2, 2006")},
		})
	}
	for _, n := range after.Numbers {
		if old, ok := before.numbers[n.ID]; ok {
			h.tellNumber(after, old, n)
		}
	}
	for _, t := range after.Templates {
		old, ok := before.templates[t.key()]
		if !ok {
			old = &sheet{Template: Template{Status: "PENDING", Quality: "UNKNOWN", Category: t.Category}}
		}
		if ok || before.Templates != nil {
			h.tellTemplate(old.Template, t)
		}
	}
}

// disabled reports whether Meta has disabled the whole account because of its conduct.
func disabled(st *standing) bool { return st.Refuse == 131031 || st.Refuse == 368 }

func (h *hooks) tellNumber(st *standing, old, n Number) {
	quality := func(event string) {
		h.notice("phone_number_quality_update", map[string]any{
			"display_phone_number": n.digits(), "event": event, "current_limit": st.Tier, "max_daily_conversations_per_business": st.Tier,
		})
	}
	switch {
	case old.Throughput != n.Throughput && n.Throughput == "HIGH":
		quality("THROUGHPUT_UPGRADE")
	case old.Status != n.Status && n.Status == "FLAGGED":
		quality("FLAGGED")
	case old.Status != n.Status && old.Status == "FLAGGED":
		quality("UNFLAGGED")
	}
	if old.NameStatus != n.NameStatus && (n.NameStatus == "APPROVED" || n.NameStatus == "DECLINED") {
		decision := "APPROVED"
		if n.NameStatus == "DECLINED" {
			decision = "REJECTED"
		}
		h.notice("phone_number_name_update", map[string]any{
			"display_phone_number": n.digits(), "decision": decision, "requested_verified_name": n.Name, "rejection_reason": nil,
		})
	}
}

func (h *hooks) tellTemplate(old, t Template) {
	about := func(more map[string]any) map[string]any {
		id, _ := strconv.Atoi(t.ID)
		more["message_template_id"], more["message_template_name"], more["message_template_language"] = id, t.Name, t.Language
		return more
	}
	if old.Status != t.Status {
		more := map[string]any{"event": t.Status, "reason": t.Rejected, "message_template_category": t.Category}
		switch {
		case t.Status == deleted:
			more["reason"] = nil
		case t.Status == "REJECTED" && t.Rejected == "INVALID_FORMAT":
			more["rejection_info"] = map[string]string{
				"reason": "The template has a format that is not valid.", "recommendation": "Correct the template and submit it again.",
			}
		case t.Status == "PAUSED":
			more["other_info"] = map[string]string{"title": "FIRST_PAUSE", "description": "The template is paused for its low quality."}
		case t.Status == "APPROVED" && old.Status == "PAUSED":
			more["other_info"] = map[string]string{"title": "UNPAUSE", "description": "The template can be sent again."}
		case t.Status == "DISABLED":
			more["disable_info"] = map[string]int64{"disable_date": time.Now().Unix()}
		}
		h.notice("message_template_status_update", about(more))
	}
	if old.Quality != t.Quality {
		h.notice("message_template_quality_update", about(map[string]any{"previous_quality_score": old.Quality, "new_quality_score": t.Quality}))
	}
	if old.Category != t.Category {
		h.notice("template_category_update", about(map[string]any{"previous_category": old.Category, "new_category": t.Category}))
	}
}
