package cloudapi

import (
	"encoding/json"
	"strings"

	"sluice/internal/message"
)

// Mended tells whether an update of Meta's says that what was held may go on: a template, by
// its "<name>/<language>", or the account.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference
func Mended(e message.Event) (template string, account bool) {
	var v struct {
		Event    string `json:"event"`
		Name     string `json:"message_template_name"`
		Language string `json:"message_template_language"`
		Other    struct {
			Title string `json:"title"`
		} `json:"other_info"`
	}
	json.Unmarshal(e.Meta, &v) // what is of another type than ours stays empty, and says nothing
	switch e.Field {
	case "message_template_status_update":
		if v.Event == "APPROVED" || v.Event == "REINSTATED" || v.Other.Title == "UNPAUSE" {
			return v.Name + "/" + strings.ReplaceAll(v.Language, "-", "_"), false
		}
	case "account_update":
		return "", v.Event == "ACCOUNT_RECONNECTED" || v.Event == "DISABLED_UPDATE" && strings.Contains(string(e.Meta), `"REINSTATE"`)
	}
	return "", false
}
