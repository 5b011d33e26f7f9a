package doctor

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/config"
)

// numberChecks are the checks of a phone number that is configured with a rate.
var numberChecks = []struct {
	name  string
	judge func(n cloudapi.Number, rate int) Finding
}{
	{"number status", func(n cloudapi.Number, _ int) Finding {
		says := n.Status
		switch {
		case n.Platform != "CLOUD_API":
			return found(Fail, "not registered for the Cloud API, but "+n.Platform, "register it: POST /{phone number id}/register with its PIN")
		case n.Registered() && says == "CONNECTED":
			return found(OK, says, "")
		case n.Registered():
			return found(Warn, says+": it still sends. Recipients blocked or reported it", "send only to recipients who asked for it; Meta restricts a number that stays flagged")
		case says == "RESTRICTED" || says == "BANNED" || says == "RATE_LIMITED":
			return found(Fail, says+": Meta refuses what it sends", "read the reason in WhatsApp Manager, Account quality, and appeal there; Sluice keeps the messages")
		}
		return found(Fail, says+": it cannot send", "verify and register the number in WhatsApp Manager")
	}},
	{"number health", func(n cloudapi.Number, _ int) Finding {
		var problems, fixes []string
		for _, e := range n.Health.Entities {
			for _, one := range e.Errors {
				problems = append(problems, fmt.Sprintf("%s %d %s", e.Type, one.Code, one.What))
				fixes = append(fixes, one.Solution)
			}
		}
		says := strings.Join(append([]string{n.Health.CanSend}, problems...), "; ")
		fix := "Meta says: " + strings.Join(fixes, "; ")
		switch n.Health.CanSend {
		case "AVAILABLE":
			return found(OK, "AVAILABLE", "")
		case "BLOCKED":
			return found(Fail, says, fix)
		}
		return found(Warn, says, fix)
	}},
	{"number quality", func(n cloudapi.Number, _ int) Finding {
		const fix = "send fewer and better messages: recipients block or report them"
		switch n.Quality {
		case "YELLOW":
			return found(Warn, n.Quality, fix)
		case "RED":
			return found(Warn, n.Quality+": Meta may lower the limit or restrict the number", fix)
		}
		return found(OK, n.Quality, "")
	}},
	{"number name", func(n cloudapi.Number, _ int) Finding {
		switch n.NameStatus {
		case "APPROVED", "AVAILABLE_WITHOUT_REVIEW":
			return found(OK, n.NameStatus, "")
		}
		return found(Warn, n.NameStatus+": recipients see the number without its name, and limits stay low", "enter a display name in WhatsApp Manager that follows Meta's rules, and wait for the review")
	}},
	{"number mode", func(n cloudapi.Number, _ int) Finding {
		if n.Mode != "LIVE" {
			return found(Warn, n.Mode+": a test number, which reaches only the recipients listed at Meta", "add a number of your own before you send to customers")
		}
		return found(OK, n.Mode, "")
	}},
	{"number throughput", func(n cloudapi.Number, rate int) Finding {
		says, most := n.Throughput.Level, map[string]int{"STANDARD": 80, "HIGH": 1000}[n.Throughput.Level]
		if n.OnBizApp {
			says, most = "shared with the WhatsApp Business app", 20
		}
		switch {
		case most == 0:
			return found(Warn, "Meta reports the level "+strconv.Quote(says), "register the number for the Cloud API")
		case rate > most:
			return found(Warn, fmt.Sprintf("%s, %d messages per second, and rate_limit is %d", says, most, rate), fmt.Sprintf("set the rate_limit of the number to %d; until then Meta refuses messages, and Sluice lowers the effective rate", most))
		}
		return found(OK, fmt.Sprintf("%s, %d messages per second; rate_limit is %d", says, most, rate), "")
	}},
	{"number messaging limit", func(n cloudapi.Number, _ int) Finding {
		switch n.Limit {
		case "":
			return found(OK, "Meta reports none", "")
		case "TIER_50", "TIER_250":
			return found(Warn, n.Limit+": the portfolio reaches few people in 24 hours, and Meta does not deliver the messages above that", "verify the business in Meta's business settings, and send good messages: Meta raises the limit")
		}
		return found(OK, n.Limit+" people of the portfolio in 24 hours", "")
	}},
}

// OfNumber returns the findings about a number with an access token, by what Meta says of the two. rate is its configured rate
// limit.
func OfNumber(g cloudapi.Grant, n cloudapi.Number, rate int) (r Report) {
	for _, c := range tokenChecks {
		f := c.judge(g, time.Now())
		f.Check = c.name
		r = append(r, f)
	}
	for _, c := range numberChecks {
		f := c.judge(n, rate)
		f.Check = c.name
		r = append(r, f)
	}
	return r
}

// callback checks where Meta sends the webhooks of a number's messages. An override of the number wins over that of its account.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/override
func (v *visit) callback(n cloudapi.Number) Finding {
	to, of := n.Callbacks.Number, "number"
	if to == "" {
		to, of = n.Callbacks.Account, "account"
	}
	switch {
	case to == "":
		return found(OK, "the webhooks of its messages go to the URL of the app", "")
	case to == v.o.WebhookURL:
		return found(OK, "an override of the "+of+" leads to --webhook-url", "")
	}
	place := "another URL"
	if u, err := url.Parse(to); err == nil {
		place = u.Host + u.Path // its query may have a secret
	}
	return found(Warn, "the webhooks of its messages go to "+place+", by an override of the "+of, "if no installation of Sluice is there, remove the override at Meta, or set it to the URL of the webhook with `sluice onboard`")
}

// number checks a phone number, and returns the account that it belongs to. It returns false when Meta does not answer
// about the number.
func (v *visit) number(ctx context.Context, c config.Number) (account string, ok bool) {
	n, err := v.graph.Number(ctx, c.ID)
	if err != nil {
		v.add("number", c.ID, why(err))
		return "", false
	}
	for _, check := range numberChecks {
		v.add(check.name, c.ID, check.judge(n, c.Rate))
	}
	v.add("number callback", c.ID, v.callback(n))
	return n.Account(), true
}
