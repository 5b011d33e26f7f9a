package intake

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// searchRequest is the body of POST /v1/messages/search.
type searchRequest struct {
	ID        string    `json:"id,omitempty" doc:"Sluice's id of the message."`
	Key       string    `json:"key,omitempty" doc:"The idempotency key of the message."`
	Ref       string    `json:"ref,omitempty" doc:"The reference of the messages."`
	WAMID     string    `json:"wamid,omitempty" doc:"Meta's id of the message. Not found any more after the state read or played."`
	Recipient string    `json:"recipient,omitempty" doc:"The recipient: a phone number with its country code (spaces, hyphens and brackets do not matter), the id of a group, or a business-scoped user id. It is not stored and not logged."`
	Number    string    `json:"phone_number_id,omitempty" doc:"Only messages from this number: Meta's id of the sending number."`
	State     string    `json:"state,omitempty" doc:"In this state, or in one of several states, separated by commas."`
	Tag       string    `json:"tag,omitempty" doc:"Accepted with this tag."`
	Campaign  string    `json:"campaign,omitempty" doc:"Of this campaign."`
	Client    string    `json:"client,omitempty" doc:"With campaign: of this client. Default: the client of the API key."`
	Code      *int      `json:"code,omitempty" doc:"With this error code of Meta."`
	Since     time.Time `json:"since,omitzero" doc:"Only messages that came into their present state at this time or later."`
	Until     time.Time `json:"until,omitzero" doc:"Only messages that came into their present state at this time or earlier."`
	Cursor    string    `json:"cursor,omitempty" doc:"next_cursor of the last page."`
	Limit     *int      `json:"limit,omitempty" doc:"Number of messages on a page, 1 to 200. Default: 100."`
}

const aboutSearch = "Give exactly one of `id`, `key`, `ref`, `wamid` and `recipient`, or a filter with at least one of `state`, `tag`, `campaign` and `code`. `phone_number_id` selects fewer. Without it Sluice searches all " +
	"numbers that the API key may use. A search by `ref`, `wamid` or `recipient` answers the latest 100 messages, the latest first. A search by filter has pages and costs as much as `GET /v1/messages`.\n\n" +
	"The request is a POST with a body, so that no URL and no log has the recipient. A search by recipient finds messages that were accepted with the setting `recipient_index`."

// search serves POST /v1/messages/search.
func (in *Intake) search(w http.ResponseWriter, r *http.Request) {
	key, refused := in.o.Keys.Authorize(r, httpapi.ScopeRead, httpapi.ScopeConsole)
	var ask searchRequest
	if refused == nil {
		refused = httpapi.ReadJSON(w, r, &ask)
	}
	var records []message.Record
	var next string
	if refused == nil {
		ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
		defer cancel()
		records, next, refused = in.searchFor(ctx, ask, key)
	}
	if refused != nil {
		refused.Write(w)
		return
	}
	in.writeList(w, key, records, next)
}

// searchFor returns the messages that a search selects, and the cursor of the next page.
func (in *Intake) searchFor(ctx context.Context, ask searchRequest, key httpapi.Key) ([]message.Record, string, refusal) {
	numbers, refused := in.searched(ask, key)
	if refused != nil {
		return nil, "", refused
	}
	named := numbers // the numbers by name, for indexes that have the number in their key
	if named == nil {
		named = in.o.All()
	}
	var found []message.Record
	var err error
	switch {
	case ask.ID != "":
		if number, ok := message.Number(ask.ID); !ok || !key.Covers(number) || ask.Number != "" && ask.Number != number {
			return nil, "", nil
		}
		found, err = in.read(ctx, []string{ask.ID})
	case ask.Key != "":
		var ids []string
		for _, number := range named {
			for _, client := range append([]string{in.o.Owner(number)}, in.o.SharedWith(number)...) {
				ids = append(ids, in.idOf(number, client, ask.Key))
			}
		}
		found, err = in.read(ctx, ids)
	case ask.Ref != "":
		found, err = in.o.Finder.ByRef(ctx, named, ask.Ref)
	case ask.WAMID != "":
		found, err = in.o.Finder.ByWAMID(ctx, numbers, ask.WAMID)
	case ask.Recipient != "":
		found, err = in.o.Finder.ByRecipient(ctx, numbers, plain(ask.Recipient))
	default:
		return in.byFilter(ctx, ask.query(), key)
	}
	switch {
	case errors.Is(err, message.ErrNoIndex):
		return nil, "", refuseAt("recipient", "recipient_index_missing")
	case err != nil:
		return nil, "", in.notListed(err)
	}
	return found, "", nil
}

// searched returns the numbers in which a search looks; nil: all. It refuses a search that is not clear.
func (in *Intake) searched(ask searchRequest, key httpapi.Key) ([]string, refusal) {
	given := 0
	for _, s := range []string{ask.ID, ask.Key, ask.Ref, ask.WAMID, ask.Recipient} {
		if s != "" {
			given++
		}
	}
	filter := ask.State != "" || ask.Tag != "" || ask.Campaign != "" || ask.Client != "" || ask.Code != nil
	paged := ask.Cursor != "" || ask.Limit != nil || !ask.Since.IsZero() || !ask.Until.IsZero()
	switch {
	case given > 1, given == 0 && !filter, given == 1 && (filter || paged):
		return nil, refuse("search_unclear")
	case ask.Number != "" && !key.Covers(ask.Number):
		return nil, refuseAt("phone_number_id", "phone_number_id_not_found")
	case ask.Number != "":
		return []string{ask.Number}, nil
	case !key.CoversAll():
		return key.Numbers, nil
	}
	return nil, nil
}

// read returns the records of some ids that have one.
func (in *Intake) read(ctx context.Context, ids []string) (found []message.Record, err error) {
	records, err := in.o.Reader.Progress(ctx, ids)
	for _, rec := range records {
		if rec.State != "" {
			found = append(found, rec)
		}
	}
	return found, err
}

// query returns the filter as the query of GET /v1/messages, which has its rules.
func (ask searchRequest) query() url.Values {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	set("phone_number_id", ask.Number)
	set("state", ask.State)
	set("tag", ask.Tag)
	set("campaign", ask.Campaign)
	set("client", ask.Client)
	set("cursor", ask.Cursor)
	for name, n := range map[string]*int{"code": ask.Code, "limit": ask.Limit} {
		if n != nil {
			q.Set(name, strconv.Itoa(*n))
		}
	}
	for name, at := range map[string]time.Time{"since": ask.Since, "until": ask.Until} {
		if !at.IsZero() {
			q.Set(name, at.Format(time.RFC3339Nano))
		}
	}
	return q
}

var phoneNumber = regexp.MustCompile(`^\+?[0-9]+$`)

// plain returns a phone number without what people write between its digits. Another recipient stays as it is.
func plain(recipient string) string {
	digits := strings.NewReplacer(" ", "", "\u00a0", "", "-", "", "(", "", ")", "", ".", "", "/", "").Replace(recipient)
	if phoneNumber.MatchString(digits) {
		return digits
	}
	return strings.TrimSpace(recipient)
}
