package cloudapi

import (
	"encoding/json"

	"sluice/internal/message"
)

// Priced is what a status of Meta's says about the recipient and the price of a message.
type Priced struct {
	Recipient string // a phone number without a plus, else a business-scoped user id; empty: Meta named none
	Category  string // for example "marketing"; empty: the status has no price
	Type      string // "regular" is billed; "free_customer_service" and "free_entry_point" are free
	Billable  bool   // Meta replaces it by Type
}

// PricedOf reads the members of a status, the member meta of a status event. What cannot be read is left out.
func PricedOf(status json.RawMessage) Priced {
	var s struct {
		Recipient string `json:"recipient_id"`
		User      string `json:"recipient_user_id"`
		Pricing   struct {
			Category string `json:"category"`
			Type     string `json:"type"`
			Billable bool   `json:"billable"`
		} `json:"pricing"`
	}
	_ = json.Unmarshal(status, &s) // a member of another type leaves the others as they are
	p := Priced{s.Recipient, s.Pricing.Category, s.Pricing.Type, s.Pricing.Billable}
	if p.Recipient == "" {
		p.Recipient = s.User
	}
	return p
}

// ChargeOf returns what Meta charges for a message by a status, the member meta of a status event, without the cost, and the region on which
// the cost depends; zero: the status does not say it. Meta charges at delivery: the price in an earlier status does not count.
func ChargeOf(r message.StatusReport, status json.RawMessage) (c message.Charge, region string) {
	if s, known := r.State(); !known || s != message.Delivered && s != message.Read && s != message.Played {
		return c, ""
	}
	p := PricedOf(status)
	switch {
	case p.Category == "":
	case p.Type == "regular" || p.Type == "" && p.Billable:
		c.Category = p.Category
	default:
		c.Free = true
	}
	return c, p.Recipient
}
