package pages

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/internal/message"
)

// messageRecord is the record of a message, as the API of callers shows it.
type messageRecord struct {
	message.Context
	State      message.State
	Final      bool
	Reason     string
	Code       int
	Error      *metaError
	Attempt    int
	WAMID      string
	AcceptedAt time.Time `json:"accepted_at"`
	SendAt     time.Time `json:"send_at"`
	ExpiresAt  time.Time `json:"expires_at"`
	NextAt     time.Time `json:"next_at"`
	After      *message.After
	Followers  []message.After
	MovedTo    string `json:"moved_to"`
	Duplicates int
	KeyUntil   time.Time `json:"key_until"`
	Timeline   []timelineStep
}

// Since returns when the message came into its state.
func (r messageRecord) Since() time.Time {
	if len(r.Timeline) == 0 {
		return r.AcceptedAt
	}
	return r.Timeline[len(r.Timeline)-1].At
}

// InDoubt reports whether an operator must decide about the message, or may.
func (r messageRecord) InDoubt() bool { return r.State == message.Parked || r.State == message.InDoubt }

// metaError is what Meta answered or reported, with the advice.
type metaError struct {
	Code   *int
	Title  string
	Advice string
	message.ErrorDetail
}

// timelineStep is a state change of a message.
type timelineStep struct {
	At      time.Time
	State   message.State
	Attempt int
	Code    int
	Title   string
	Reason  string
}

// searchResult is what a search found.
type searchResult struct {
	Messages []messageRecord
	Next     string `json:"next_cursor"`
	Query    url.Values
}

// filters are the members of a search that the address of the page may have. A recipient must not be in an address: browsers
// and proxies keep it.
var filters = []string{"phone_number_id", "state", "tag", "campaign", "client", "since", "until", "cursor"}

func messagesPage() page {
	return page{
		name: "messages", path: "messages", title: "Messages", nav: true,
		read: func(v *view) (any, *problem) {
			q := v.r.URL.Query()
			body := map[string]any{}
			for _, name := range filters {
				if text := strings.TrimSpace(q.Get(name)); text != "" {
					body[name] = text
				}
			}
			if text := strings.TrimSpace(q.Get("code")); text != "" {
				code, failed := codeOf(text)
				if failed != nil {
					return nil, failed
				}
				body["code"] = code
			}
			if len(body) == 0 || v.r.Method == http.MethodPost {
				return nil, nil
			}
			return v.search(body, q)
		},
		acts: map[string]func(*view) (done, *problem){"find": findMessages},
	}
}

// findMessages searches by one name of messages. Its result is not at an address, because a recipient is typed here.
func findMessages(v *view) (done, *problem) {
	by, members := v.field("by"), map[string]any{}
	if !slices.Contains([]string{"id", "key", "ref", "wamid", "recipient"}, by) {
		return done{}, &problem{Status: http.StatusBadRequest, Title: "Nothing was searched", Detail: "Choose what to search by."}
	}
	for name, text := range map[string]string{by: v.field("text"), "phone_number_id": v.field("phone_number_id")} {
		if text != "" {
			members[name] = text
		}
	}
	list, failed := v.search(members, nil)
	return done{show: list}, failed
}

func (v *view) search(body map[string]any, q url.Values) (*searchResult, *problem) {
	list := searchResult{Query: q}
	if failed := v.api("POST", "/v1/messages/search", body, &list); failed != nil {
		return nil, failed
	}
	return &list, nil
}

// NextPage returns the address of the next page of a search; empty: there is none.
func (f searchResult) NextPage() string {
	if f.Next == "" {
		return ""
	}
	q := url.Values{}
	for name, values := range f.Query {
		q[name] = values
	}
	q.Set("cursor", f.Next)
	return root + "messages?" + q.Encode()
}

// codeOf reads a code of Meta that was typed.
func codeOf(text string) (int, *problem) {
	code, err := strconv.Atoi(text)
	if err != nil || code < 0 {
		return 0, &problem{Status: http.StatusUnprocessableEntity, Title: "The code is not a number", Detail: "Codes of Meta have digits only, for example 131026."}
	}
	return code, nil
}

// explanation is what a message waits for, as the API of callers explains it.
type explanation struct {
	Rule   string
	Detail string
	Until  time.Time
	Then   string
	Ahead  *int
}

// aMessage is the data of the page of one message.
type aMessage struct {
	messageRecord
	Waits explanation
}

func messagePage() page {
	return page{
		name: "message", path: "messages/{id}", title: "Message", live: true,
		read: func(v *view) (any, *problem) {
			path := v.messagePath()
			var m aMessage
			if failed := v.api("GET", path, nil, &m.messageRecord); failed != nil {
				return nil, failed
			}
			if failed := v.api("GET", path+"/explain", nil, &m.Waits); failed != nil {
				return nil, failed
			}
			return m, nil
		},
		acts: map[string]func(*view) (done, *problem){
			"cancel": func(v *view) (done, *problem) {
				var now messageRecord
				failed := v.console("POST", v.messagePath()+"/cancel", v.order(nil), &now)
				return done{text: "The message is cancelled."}, failed
			},
			"resend": func(v *view) (done, *problem) {
				var now messageRecord
				failed := v.console("POST", v.messagePath()+"/resend", v.order(map[string]any{"extend": v.field("extend")}), &now)
				return done{text: "The message is queued again. Its deadline is " + clock(now.ExpiresAt) + " UTC."}, failed
			},
			"resolve": func(v *view) (done, *problem) {
				var now messageRecord
				failed := v.console("POST", "/v1/in-doubt/"+url.PathEscape(v.r.PathValue("id"))+"/resolve", v.order(map[string]any{"resolution": v.field("resolution")}), &now)
				return done{text: fmt.Sprintf("The decision is applied: the message is %s.", now.State)}, failed
			},
		},
	}
}

// messagePath returns the path of the message of a page in both APIs.
func (v *view) messagePath() string { return "/v1/messages/" + url.PathEscape(v.r.PathValue("id")) }
